"""The command line: `python -m explorer COMMAND`, or `cnn-resnet-explorer COMMAND` where the package is installed."""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import shtab

from explorer import __version__, installation
from explorer.cli import (
    CommandResult,
    along_time,
    app,
    arithmetic,
    data,
    dials,
    ensembles,
    experiments,
    folding,
    geometry,
    lesions,
    networks,
    pictures,
    probing,
    study,
    surface,
    training,
    training_step,
    trust,
    units,
    weights,
)
from explorer.cli.formatting import error_line, escape_control
from explorer.numbers import finite

SHELLS = ("bash", "zsh", "fish")


def completion_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads it")


def print_completion(arguments: argparse.Namespace) -> CommandResult:
    """Print what a shell reads to complete commands, options and files."""
    whole = parser(installation.NAME)
    for each in (whole, *_commands(whole).values()):
        for action in each._actions:
            if action.nargs != 0 and action.choices is None:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    script = shtab.complete(whole, arguments.shell)
    return {"shell": arguments.shell, "script": script}, script.splitlines()


def _commands(whole: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands by their names."""
    (action,) = (each for each in whole._actions if isinstance(each, argparse._SubParsersAction))
    return dict(action.choices)


COMMANDS = (
    (app.NAME, app.app_arguments, app.run_app),
    ("describe", networks.describe_arguments, networks.describe_network),
    ("train", training.train_arguments, training.train_network),
    ("change", dials.change_arguments, dials.change_run),
    ("evaluate", training.evaluate_arguments, training.evaluate_network),
    ("data", data.data_arguments, data.describe_data),
    ("classify", pictures.classify_arguments, pictures.classify_pictures),
    ("explain", pictures.explain_arguments, pictures.explain_picture),
    ("arithmetic", arithmetic.arithmetic_arguments, arithmetic.show_arithmetic),
    ("lesions", lesions.lesions_arguments, lesions.measure_lesions),
    ("ensemble", ensembles.ensemble_arguments, ensembles.measure_ensemble),
    ("fold", folding.fold_arguments, folding.fold_network),
    ("geometry", geometry.geometry_arguments, geometry.measure_geometry),
    ("step", training_step.step_arguments, training_step.take_step),
    ("trust", trust.trust_arguments, trust.measure_trust),
    ("surface", surface.surface_arguments, surface.measure_surface),
    ("probe", probing.probe_arguments, probing.probe_layers),
    ("time", along_time.time_arguments, along_time.follow_time),
    ("shift", experiments.shift_arguments, experiments.shift_picture),
    ("attack", experiments.attack_arguments, experiments.attack_networks),
    ("unit", units.unit_arguments, units.describe_unit),
    ("study", study.study_arguments, study.run_study),
    ("speed", None, training.measure_machine),
    ("pretrained", training.pretrained_arguments, training.rebuild_pretrained),
    ("inspect", weights.inspect_arguments, weights.inspect_file),
    ("convert", weights.convert_arguments, weights.convert_file),
    ("completion", completion_arguments, print_completion),
)
"""Name, function that adds the arguments, and function whose docstring is the help."""


class Parser(argparse.ArgumentParser):
    """Raises ValueError for wrong arguments, where argparse would print its usage."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see `{self.prog} --help`.")


def parser(prog: str = "python -m explorer") -> Parser:
    parser = Parser(
        prog=prog,
        description="CNN & ResNet Explorer: see how a plain CNN and its ResNet twin look at an image.",
        epilog="`COMMAND --help` shows all options of one. Each prints text or, with --json, one JSON document; "
        "progress goes to stderr. `train RUN` continues a run of the page in its directory RUN, `study DIR` a study. "
        "`torchrun --nproc-per-node N -m explorer train …` trains in N processes that share each batch. Exit status: "
        "0; 1 where such a run failed, for the reason on its page and in `metrics.jsonl`; 2 after wrong use, with one "
        "sentence on stderr; 130 after Ctrl-C; 141 where the reader closes the output before its end.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name, add_arguments, run in COMMANDS:
        text = run.__doc__ or ""
        brief = text[:1].lower() + text[1:].removesuffix(".")
        command = commands.add_parser(name, help=brief, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        if add_arguments:
            add_arguments(command)
        if name == app.NAME:
            continue
        command.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    return parser


def main(argv: Sequence[str] | None = None, prog: str = "python -m explorer") -> int:
    """Runs one command and returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to fail
    try:
        try:
            arguments = parser(prog).parse_args(argv)
            document, lines = arguments.run(arguments)
            if not document:  # of a process that trains beside the first one, which says it
                return 0
            if arguments.json:
                print(json.dumps(finite(document), indent=2, allow_nan=False))
            else:
                print("\n".join(map(escape_control, lines)))
        finally:
            sys.stdout.flush()  # here, where a closed pipe is still caught
    except SystemExit as end:  # argparse has printed what --help or --version asked for
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # Python flushes once more when it ends
        return 141  # what a shell reports of a program that SIGPIPE ended
    except (ValueError, OSError) as error:
        print(f"explorer: {error_line(error)}", file=sys.stderr)
        return 2
    return 0
