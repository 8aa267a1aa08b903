"""The same things from a terminal: `python -m explorer COMMAND`, installed `cnn-resnet-explorer`; and the process of a
run: `train DIRECTORY`, and of a study or a loss surface that a page started: `study DIRECTORY`, `surface DIRECTORY`."""

import os
import sys
from pathlib import Path

from explorer import __version__, installation, machine, requirements, runs
from explorer.experiments import surface_process, surface_runs
from explorer.machine.processes import end_with_parent
from explorer.runs import Run
from explorer.studies import StudyFolder, driver


def execute(run: Run) -> int:
    """Waits for the run's turn and executes it. 0 where it ended as asked, 1 where it failed; the epilog of
    `cli/main.py` says that too. Of several processes the first one waits, and the others wait for it."""
    end_with_parent()
    if machine.launched()[0] > 0:
        machine.give_way()
        os._exit(runs.execute_beside(run))
    try:
        runs.take_lock(run)
        machine.give_way()  # before torch starts threads, which inherit it
    except (ValueError, OSError) as error:
        print(f"explorer: {error}", file=sys.stderr)
        return 2
    try:
        # It imports torch only when the turn has come: ten runs that wait must not hold ten of those.
        failed = runs.wait_for_turn(run) and runs.execute(run) == "failed"
    except KeyboardInterrupt:
        return 130
    os._exit(failed)  # all is said and flushed; torch would take its time to go, and the next run waits for this one


def command() -> int:
    """What the installed command does: without a command, or with options alone, it starts the app."""
    given = sys.argv[1:]
    starts_app = not given or (given[0].startswith("-") and given[0] not in ("-h", "--help", "--version"))
    sys.argv[1:] = ["app", *given] if starts_app else given
    return main(installation.NAME)


def main(prog: str = "python -m explorer") -> int:
    try:
        requirements.check_torch()
    except requirements.RequirementError as error:
        print(f"explorer: {error}", file=sys.stderr)
        return 2
    match sys.argv[1:]:
        case ["--version"]:
            print(__version__)
            return 0
        case ["train", directory] if os.path.isfile(os.path.join(directory, "request.json")):
            return execute(Run(Path(directory).resolve()))
        case ["study", directory] if driver.LOCK_ENV in os.environ:
            return driver.run_process(StudyFolder(Path(directory).resolve()))  # without torch
        case ["surface", directory] if surface_runs.LOCK_ENV in os.environ:
            code = surface_process.run_process(surface_runs.SurfaceRun(Path(directory).resolve()))
            sys.stdout.flush()
            os._exit(code)  # all is kept; torch would take its time to go, and the next surface waits for this one
        case arguments:
            from explorer.cli import main as cli

            return cli.main(arguments, prog)


if __name__ == "__main__":
    sys.exit(main())
