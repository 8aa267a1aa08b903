"""`arithmetic`: where one number of a pass comes from."""

import argparse
import re
from dataclasses import asdict
from typing import Any

import numpy as np

from explorer.architectures.interventions import as_text
from explorer.cli import CommandResult, inputs
from explorer.cli.formatting import heading, notes_block, table
from explorer.experiments.arithmetic import PROBABILITIES, TOLERANCE, Arithmetic, Step, Window, arithmetic

LARGEST = 10  # channels of a window in the table
LARGEST_GRID = 200  # values of a channel that are printed
GRIDS = 3  # channels whose values, weights and products are printed


def arithmetic_arguments(parser: argparse.ArgumentParser) -> None:
    inputs.add_checkpoint(parser)
    parser.add_argument("picture", metavar="PICTURE", help=inputs.PICTURE_HELP)
    inputs.add_paper(parser)
    inputs.add_change(parser)
    layers = f"any layer that `describe` lists, or {PROBABILITIES}, which follow the last one"
    parser.add_argument("--layer", required=True, metavar="LAYER", help=layers)
    places = "channel, row and column of the value, counted from 0; in the head the unit alone"
    parser.add_argument("--at", required=True, metavar="C,Y,X", help=places)


def show_arithmetic(arguments: argparse.Namespace) -> CommandResult:
    """Show where one number of a network comes from: inputs, weights, products and their sum."""
    if not re.fullmatch(r"-?[0-9]{1,9}(,-?[0-9]{1,9})*", arguments.at):
        raise ValueError(f"`--at` must be whole numbers with commas, such as 3,10,12; received {arguments.at!r}.")
    checkpoint = inputs.checkpoint(arguments.checkpoint)
    picture = inputs.picture(arguments.picture, checkpoint, arguments.paper)
    image, change = inputs.image(picture, checkpoint), inputs.changes(arguments)
    at = [int(each) for each in arguments.at.split(",")]
    found = arithmetic(checkpoint.network, image, arguments.layer, at, change)
    document = {
        "checkpoint": arguments.checkpoint,
        "picture": arguments.picture,
        "change": as_text(change),
        "layer": found.layer,
        "at": found.at,
        "value": found.value,
        "difference": found.difference,
        "tolerance": TOLERANCE,
        "receptive_field": None if found.field is None else found.field._asdict(),
        "steps": [_document(step) for step in found.steps],
    }
    lines = [heading(arguments.picture, picture), *notes_block(picture.notes)]
    lines += [f"Changed: {', '.join(map(str, change))}."] if change else []
    lines += [f"{_place(found.layer, found.at)} is {found.value:.4g}", _field(found)]
    for step in found.steps:
        lines += ["", *_lines(step)]
    return document, [*lines, "", found.check]


def _place(layer: str, at: tuple[int, ...]) -> str:
    return f"{layer or 'picture'} at {','.join(map(str, at))}"


def _field(found: Arithmetic) -> str:
    if found.field is None:
        return "It depends on no pixel of the picture"
    top, left, bottom, right = found.field
    return (
        f"It depends on rows {top} to {bottom} and columns {left} to {right} of the network's input "
        f"({bottom - top + 1} × {right - left + 1} pixels)"
    )


def _document(step: Step) -> dict[str, Any]:
    names = ("layer", "at", "value", "operation", "formula", "computed", "change")
    known = {name: getattr(step, name) for name in names}
    return {**known, "terms": [asdict(term) for term in step.terms], "window": step.window and _window(step.window)}


def _window(window: Window) -> dict[str, Any]:
    """Padding is null. The source is null for the picture, and for values that an intervention replaced."""
    values = window.values.astype(object)
    values[:, ~window.inside] = None
    products = window.products
    return {
        "source": window.source or None,
        "first": window.first,
        "spacing": window.spacing,
        "values": values.tolist(),
        "factors": None if window.factors is None else window.factors.tolist(),
        "products": None if products is None else products.tolist(),
        "sums": window.sums.tolist(),
        "winner": window.winner,
    }


def _lines(step: Step) -> list[str]:
    lines = [f"{_place(step.layer, step.at)}, {step.operation}: {step.value:.4g}", f"  {step.formula}"]
    rows = [
        [term.name, term.value, "" if term.at is None else _place(term.layer or "", term.at)] for term in step.terms
    ]
    if rows:
        lines += [f"  {line}" for line in table(("number", "value", "from"), rows)]
    return lines + [f"  {line}" for line in (_window_lines(step.window, step.layer) if step.window else [])]


def _window_lines(window: Window, layer: str) -> list[str]:
    channels, rows, columns = window.values.shape
    padded = int((~window.inside).sum())
    source = f"{layer} before the change" if window.source is None else window.source
    lines = [
        f"window of {channels} × {rows} × {columns} values of {_place(source, window.first)} on"
        + (f", {padded} places of {rows * columns} in padding" if padded else "")
    ]
    if window.winner is not None:
        place = [
            first + way * step
            for first, way, step in zip(window.first, window.winner, (1, *window.spacing), strict=True)
        ]
        lines.append(f"the value that counts is {window.values[window.winner]:.4g}, at {','.join(map(str, place))}")
    sums, single = window.sums, rows * columns == 1
    order = np.argsort(-np.abs(sums), kind="stable")
    shown, others = order[:LARGEST], order[LARGEST:]
    if single and window.factors is not None:
        cells: list[list[Any]] = [
            [int(window.first[0] + k), *map(float, (window.values[k, 0, 0], window.factors[k, 0, 0], sums[k]))]
            for k in shown
        ]
        header: tuple[str, ...] = ("channel or unit", "input", "weight", "product")
    else:
        cells = [[int(window.first[0] + k), float(sums[k])] for k in shown]
        header = ("channel or unit", "sum of products" if window.factors is not None else "sum of values")
    if len(others):
        cells.append([f"{len(others)} others", *[None] * (len(header) - 2), float(sums[others].sum())])
    lines += table(header, [[str(row[0]), *row[1:]] for row in cells])
    for k in order[: 0 if single or rows * columns > LARGEST_GRID else GRIDS]:
        lines.append(f"channel {window.first[0] + k}:")
        parts = {"input": np.where(window.inside, window.values[k], np.nan)}
        if window.factors is not None and window.products is not None:
            parts |= {"weights": window.factors[k], "products": np.where(window.inside, window.products[k], np.nan)}
        for name, grid in parts.items():
            lines += [f"  {name:8}  {'  '.join(f'{_number(value):>9}' for value in row)}" for row in grid]
    return lines


def _number(value: float) -> str:
    return "padding" if np.isnan(value) else f"{value:.4g}"
