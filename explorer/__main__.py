"""The same things from a terminal: `python -m explorer COMMAND`; and the process of a run: `train DIRECTORY`."""

import sys
from pathlib import Path

from explorer import runs
from explorer.runs import Run


def execute(run: Run) -> int:
    """Waits for the run's turn and executes it. 0 where it ended as asked, 1 where it failed."""
    try:
        runs.hold(run)
    except ValueError as error:
        print(f"explorer: {error}", file=sys.stderr)
        return 2
    if not runs.wait_for_turn(run):
        return 0
    # Only now: it imports torch, and ten runs that wait must not hold ten of those.
    from explorer.runs.execution import execute

    return 1 if execute(run) == "failed" else 0


def main() -> int:
    match sys.argv[1:]:
        case ["train", directory] if Path(directory, "request.json").is_file():
            return execute(Run(Path(directory)))
        case arguments:
            from explorer.commands import line

            return line.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
