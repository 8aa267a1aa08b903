"""The command line: `python -m explorer COMMAND`."""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from explorer import __version__
from explorer.commands.networks import describe_arguments, describe_network
from explorer.commands.pictures import classify_arguments, classify_pictures, explain_arguments, explain_picture
from explorer.commands.text import sentence, visible
from explorer.commands.training import (
    evaluate_arguments,
    evaluate_network,
    measure_arguments,
    measure_machine,
    pretrained_arguments,
    rebuild_pretrained,
    train_arguments,
    train_network,
)
from explorer.commands.weights import convert_arguments, convert_file, inspect_arguments, inspect_file
from explorer.labels import capital
from explorer.numbers import finite

COMMANDS = (
    (
        "describe",
        describe_arguments,
        describe_network,
        "list a network's layers, parameters, MACs and receptive fields",
    ),
    ("train", train_arguments, train_network, "train a network, alone or with its twin, and save it"),
    ("evaluate", evaluate_arguments, evaluate_network, "measure a network's accuracy and loss, class by class"),
    ("classify", classify_arguments, classify_pictures, "give the five most probable classes of pictures"),
    ("explain", explain_arguments, explain_picture, "show layer by layer how a network looks at a picture"),
    ("speed", measure_arguments, measure_machine, "measure how fast this machine trains, as forecasts need it"),
    ("pretrained", pretrained_arguments, rebuild_pretrained, "list the pretrained networks, or train them again"),
    ("inspect", inspect_arguments, inspect_file, "say what weights of anybody's are, and how sure that is"),
    ("convert", convert_arguments, convert_file, "save weights of anybody's as a file of this app"),
)


class Parser(argparse.ArgumentParser):
    """Raises what argparse would print below the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; see `{self.prog} --help`.")


def parser() -> Parser:
    parser = Parser(
        prog="python -m explorer",
        description="CNN & ResNet Explorer: see how a plain CNN and its ResNet twin look at a picture.",
        epilog="`COMMAND --help` says all of one. Each prints text or, with --json, one JSON document; progress goes "
        "to stderr. `train RUN`, the directory of a run of the page, goes on with it. Exit status: 0; 1 where such a "
        "run failed, of which its page and `metrics.jsonl` say why; 2 after wrong use, with one sentence on stderr; "
        "130 after Ctrl-C; 141 where nobody reads the output to its end.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name, arguments, run, text in COMMANDS:
        command = commands.add_parser(name, help=text, description=f"{capital(text)}.", allow_abbrev=False)
        command.set_defaults(run=run)
        arguments(command)
        command.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to fail
    try:
        try:
            arguments = parser().parse_args(argv)
            document, lines = arguments.run(arguments)
            if arguments.json:
                print(json.dumps(finite(document), indent=2, allow_nan=False))
            else:
                print("\n".join(map(visible, lines)))
        finally:
            sys.stdout.flush()  # here, where a closed pipe is still caught
    except SystemExit as end:  # argparse has printed what --help or --version asked for
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        return 141  # what a shell reports of a program that SIGPIPE ended
    except (ValueError, OSError) as error:
        print(f"explorer: {sentence(error)}", file=sys.stderr)
        return 2
    return 0
