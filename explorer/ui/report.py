"""What was compared in this session, to take away: one HTML file, the predictions as CSV, the numbers as npz.

Nothing here asks Streamlit for anything: a download is made at its click, when no script is running.
"""

import csv
import io
import json
import os
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import combinations
from time import gmtime, strftime
from typing import Any

import numpy as np

from explorer import __version__, figures
from explorer.architectures import describe
from explorer.attribution import top_classes
from explorer.experiments.agreement import Predictions, accuracy_of, agreement, confusion
from explorer.figures import Chapter, Chart, Table, Thumbnail
from explorer.images import to_pixels
from explorer.ui import charts, findings, trainings
from explorer.ui.findings import Answer, Question
from explorer.ui.resources import Looked

PACKAGES = ("torch", "numpy", "plotly", "streamlit")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the start of one


def html_report(looked: Sequence[Looked], names: Mapping[str, str], kept: Mapping[str, Answer]) -> str:
    """The report as one HTML file: the networks, the one picture, and all that `kept` holds about them."""
    light = figures.NETWORK_COLOURS["light"]
    looked = [
        replace(network, colour=light["plain" if network.checkpoint.spec.shortcut == "none" else "residual"])
        for network in looked
    ]
    chapters = [_networks(looked, names), _one_picture(looked, names)]
    chapters += _said(looked, names, kept) + _inside(looked, names, kept) + _objects(looked, names, kept)
    if len(chapters) == 2:
        chapters.append(
            Chapter("On many pictures", ["Nothing was measured on many pictures before this report was made."])
        )
    chapters.append(_made_with())
    return figures.report_html(f"Comparison of {_list(list(names.values()))}", chapters)


def _list(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _networks(looked: Sequence[Looked], names: Mapping[str, str]) -> Chapter:
    specs = [network.checkpoint.spec.to_dict() for network in looked]
    rows = [
        [field, *(_short(spec.get(field)) for spec in specs)]
        for field in specs[0]
        if len({json.dumps(spec.get(field), sort_keys=True) for spec in specs}) > 1
    ]
    facts: list[list[str]] = [["layers"], ["parameters"], ["multiply-accumulates a picture"], ["trained on"], ["seed"]]
    facts += [["test accuracy that came with it"]]
    for network in looked:
        built, own = describe(network.checkpoint.spec), network.checkpoint
        test = own.figures.get("test", {})
        known = f"{test['accuracy']:.2%} of {test['n']:,}" if {"accuracy", "n"} <= set(test) else "not known"
        seed = "not known" if own.seed is None else str(own.seed)
        cells = (str(built.depth), f"{built.parameters:,}", f"{built.macs:,}", own.data, seed, known)
        for row, cell in zip(facts, cells, strict=True):
            row.append(cell)
    columns = ["", *(names[network.name] for network in looked)]
    same = "Their specs are equal." if not rows else "The second table holds the fields in which their specs differ."
    details = []
    for network, spec in zip(looked, specs, strict=True):
        own = network.checkpoint
        about: dict[str, Any] = {
            "name": network.name,
            "spec": spec,
            "seed": own.seed,
            "data": own.data,
            "config": own.config,
        }
        about |= {"versions": own.record.get("versions"), "device": own.record.get("device")}
        about |= {"class_names": list(own.class_names), "mean": own.mean, "std": own.std, "figures": own.figures}
        details.append((f"{names[network.name]}: spec, training, versions", json.dumps(about, indent=2)))
    return Chapter(
        "The networks", [same], [Table(columns, facts), *([Table(columns, rows)] if rows else [])], (), (), details
    )


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _one_picture(looked: Sequence[Looked], names: Mapping[str, str]) -> Chapter:
    rows, sizes, thumbnails = [], [], []
    for network in looked:
        best = top_classes(network.trace)
        said = ", ".join(f"{network.checkpoint.class_names[index]} {value:.1%}" for index, value in best)
        rows.append([names[network.name], said, network.target])
        seen = to_pixels(network.trace.image, network.checkpoint.mean, network.checkpoint.std)
        thumbnails.append(Thumbnail(figures.shown(seen, 96), [f"as {names[network.name]} sees it"]))
        for column in network.profiles:
            numbers = (column.activation_magnitude, column.gradient_magnitude, float(column.cam.max()))
            sizes.append([names[network.name], column.name, *(f"{number:.4g}" for number in numbers)])
    columns = ["network", "layer", "activation, root mean square", "gradient of the score, root mean square"]
    table = Table([*columns, "largest Grad-CAM value"], sizes)
    text = "\n".join("\t".join(row) for row in [list(table.columns), *table.rows])
    return Chapter(
        "One picture",
        ["What each network says of the picture that was looked at, and which class was explained."],
        [Table(["network", "most probable classes", "explained"], rows)],
        (),
        thumbnails,
        [("Every layer: sizes of activation, gradient and Grad-CAM", text)],
    )


def _complete(looked: Sequence[Looked], answers: Sequence[Answer]) -> tuple[list[Looked], dict[str, Any]]:
    """Those of the networks that were asked, and what each answered."""
    results = {each.names[0]: each.result for each in answers}
    return [network for network in looked if network.name in results], results


def _asked(question: Question) -> str:
    return f"test pictures of {trainings.data_title(question.data)}, taken evenly over the split"


def _said(looked: Sequence[Looked], names: Mapping[str, str], kept: Mapping[str, Answer]) -> list[Chapter]:
    answers = findings.latest(kept, "said", names)
    if not answers:
        return []
    asked, said = _complete(looked, answers)
    question, n = answers[0].question, len(answers[0].result)
    found = {network.name: accuracy_of(said[network.name]) for network in asked}
    rows = [[names[name], *charts.accuracy_cells(each)] for name, each in found.items()]
    tables = [Table(["network", "right", "accuracy", "95 % interval (Wilson)"], rows)]
    drawn = [
        Chart(charts.accuracies(asked, names, found), f"Accuracy with 95 % interval (Wilson), n = {n:,}."),
        Chart(charts.confusions(asked, names, said), f"{charts.MIXED_UP} n = {n:,}."),
    ]
    sentences = [f"Each network was asked about {n:,} {_asked(question)}."]
    if len(asked) > 1:
        lines = []
        for a, b in combinations(asked, 2):
            counts = agreement(said[a.name], said[b.name])
            cells = (counts.both, counts.only_a, counts.only_b, counts.neither, counts.same)
            lines.append([f"{names[a.name]}, {names[b.name]}", *(f"{count:,}" for count in cells)])
            sentences.append(charts.verdict(names[a.name], names[b.name], counts))
        heads = ["pair", "both right", "only the first", "only the second", "neither", "same class said"]
        tables.append(Table(heads, lines))
        drawn.append(Chart(charts.pairs(asked, names, said), f"What only one of each pair has right, n = {n:,}."))
        sentences.append(charts.LIMITS_OF_P)
    shown = kept.get(replace(question, kind="pictures").key(*(network.name for network in asked)))
    pictures, indices = shown.result if shown else ({}, ())
    thumbnails = [
        Thumbnail(
            figures.shown(pixels, 96),
            [f"{label} (test picture {indices[index]})", *lines],
        )
        for index, pixels in pictures.items()
        for label, *lines in [charts.what_they_say(index, asked, names, said)]
    ]
    return [Chapter("What they say on a labelled set", sentences, tables, drawn, thumbnails)]


def _inside(looked: Sequence[Looked], names: Mapping[str, str], kept: Mapping[str, Answer]) -> list[Chapter]:
    drawn, sentences = [], [charts.INSIDE, charts.BIAS]
    for each in findings.latest(kept, "cka", names):
        first, second = (names[name] for name in each.names)
        n = each.result.n
        for debiased in (True, False):
            word = "debiased" if debiased else "plain"
            caption = f"Linear CKA ({word}) of all layers of {first} and {second}, on {n:,} {_asked(each.question)}."
            drawn.append(Chart(charts.similarities(each.result, (first, second), debiased), caption))
        sentences.append(charts.most_alike(each.result, (first, second), True))
        sentences += charts.undefined(each.result, (first, second))
    return [Chapter("How alike they are inside", sentences, (), drawn)] if drawn else []


def _objects(looked: Sequence[Looked], names: Mapping[str, str], kept: Mapping[str, Answer]) -> list[Chapter]:
    answers = findings.latest(kept, "shares", names)
    if not answers:
        return []
    asked, shares = _complete(looked, answers)
    question = answers[0].question
    chart = charts.object_shares(asked, names, findings.dashes(asked), shares)
    n = shares[asked[0].name].pictures
    caption = f"{n:,} {_asked(question)}; explained is the {question.target}. Bands: one standard error of the mean."
    heading = "How much of the Grad-CAM lies on the object"
    return [Chapter(heading, charts.share_sentences(asked, names, shares), (), [Chart(chart, caption)])]


def _made_with() -> Chapter:
    rows = [["CNN & ResNet Explorer", __version__], ["Python", platform.python_version()]]
    rows += [[package, version(package)] for package in PACKAGES]
    rows += [["machine", f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"]]
    rows += [["made", strftime("%Y-%m-%d %H:%M UTC", gmtime())]]
    return Chapter("Made with", (), [Table(["", ""], rows)])


def predictions_csv(names: Mapping[str, str], said: Mapping[str, Predictions], indices: Collection[int]) -> bytes:
    """A line for each picture: its number in the test split, its label, and of each network the class that it says,
    its probability, the probability of the label, and whether it is right. UTF-8, with a mark for spreadsheets."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    heads = ["test picture", "label"]
    for name in said:
        heads += [f"{names[name]}: {part}" for part in ("says", "probability", "probability of the label", "right")]
    writer.writerow(map(_cell, heads))
    first = next(iter(said.values()))
    for row, number in enumerate(indices):
        cells = [str(number), first.class_names[first.labels[row]]]
        for of in said.values():
            predicted = int(of.predicted[row])
            cells += [of.class_names[predicted], f"{of.probabilities[row, predicted]:.6g}"]
            cells += [f"{of.of_label[row]:.6g}", "yes" if of.right[row] else "no"]
        writer.writerow(map(_cell, cells))
    return b"\xef\xbb\xbf" + text.getvalue().encode("utf-8", "replace")


def _cell(text: str) -> str:
    """A name that starts like a formula gets an apostrophe, else a spreadsheet would run it."""
    return f"'{text}" if text.startswith(FORMULA) else text


def arrays_npz(looked: Sequence[Looked], names: Mapping[str, str], kept: Mapping[str, Answer]) -> bytes:
    """Arrays by name; A and B below stand for the place of a network in `networks`, from 0.

    `A/cam/LAYER`, `A/layers`, `A/activation`, `A/gradient`, `A/logits`, `A/class_names` are of the one picture;
    `said/...`, `cka/A-B/...` and `shares/A/...` of many; NaN stands for what is not defined.
    """
    arrays: dict[str, np.ndarray] = {"networks": np.array([names[network.name] for network in looked])}
    for place, network in enumerate(looked):
        arrays[f"{place}/class_names"] = np.array(network.checkpoint.class_names)
        arrays[f"{place}/logits"] = network.trace.logits
        arrays[f"{place}/layers"] = np.array([column.name for column in network.profiles])
        arrays[f"{place}/activation"] = np.array([column.activation_magnitude for column in network.profiles])
        arrays[f"{place}/gradient"] = np.array([column.gradient_magnitude for column in network.profiles])
        arrays |= {f"{place}/cam/{column.name}": column.cam for column in network.profiles}
    places = {network.name: place for place, network in enumerate(looked)}
    for each in findings.latest(kept, "said", names):
        of, place = each.result, places[each.names[0]]
        arrays["said/class_names"], arrays["said/labels"] = np.array(of.class_names), of.labels
        arrays[f"said/{place}/predicted"], arrays[f"said/{place}/probabilities"] = of.predicted, of.probabilities
        arrays[f"said/{place}/confusion"] = confusion(of)
    for each in findings.latest(kept, "cka", names):
        of, where = each.result, "-".join(str(places[name]) for name in each.names)
        arrays[f"cka/{where}/plain"], arrays[f"cka/{where}/debiased"] = (
            of.cka.filled(np.nan),
            of.debiased.filled(np.nan),
        )
        arrays[f"cka/{where}/rows"], arrays[f"cka/{where}/columns"] = np.array(of.layers_a), np.array(of.layers_b)
    for each in findings.latest(kept, "shares", names):
        of, place = each.result, places[each.names[0]]
        arrays[f"shares/{place}/layers"], arrays[f"shares/{place}/maps"] = np.array(of.layers), of.n
        arrays[f"shares/{place}/mean"] = of.mean.filled(np.nan)
        arrays[f"shares/{place}/error"] = of.error.filled(np.nan)
        arrays[f"shares/{place}/chance"] = np.array(of.chance)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
