"""What was compared in this session, to take away: one HTML file, the predictions as CSV, the numbers as npz.

Nothing here asks Streamlit for anything: a download is made at its click, when no script is running.
"""

import json
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from time import gmtime, strftime
from typing import Any

import numpy as np
import torch

from explorer import __version__, figures
from explorer.architectures import ArchitectureSpec, Network
from explorer.experiments.agreement import Predictions, accuracy_of, confusion
from explorer.figures import Chapter, Chart, Table, Thumbnail
from explorer.files import csv_text, npz
from explorer.labels import listed
from explorer.machine import cores
from explorer.ui import dataset_access
from explorer.ui.compare import charts, differences, findings, one_picture
from explorer.ui.compare.compared import Compared, relative_depths
from explorer.ui.compare.findings import Answer, Kind, Question
from explorer.ui.compare.one_picture import Picture
from explorer.ui.compare.state import CompareState
from explorer.ui.services.caches import CACHES
from explorer.ui.services.inference import NetworkResult

PACKAGES = ("torch", "numpy", "plotly", "streamlit")
MOST_CELLS = 21_000  # of similarities that are drawn twice; 84 layers beside 84 take half a megabyte each time


def html_report(
    looked: Sequence[NetworkResult],
    names: Mapping[str, str],
    kept: Mapping[str, Answer],
    picture: Picture | None = None,
    state: CompareState | None = None,
) -> str:
    """The report as one HTML file: the networks, the one picture as that `state` of the page shows it, and all that
    `kept` holds about these networks, a chapter for each question."""
    looked = [
        replace(network, colour=figures.network_colour(network.checkpoint.spec.shortcut, "light")) for network in looked
    ]
    dashes = findings.dashes(looked)
    compared = [
        Compared(network, names[network.name], dashes[network.name], relative_depths(network.checkpoint.spec, layers))
        for network in looked
        for layers in [[column.name for column in network.profiles]]
    ]
    chapters = [_networks(compared), one_picture.said(compared, picture)]
    chapters += one_picture.seen(compared, state or CompareState())
    many = _said(looked, names, kept) + _inside(names, kept) + _objects(looked, names, kept)
    nothing = "Nothing was measured on many pictures before this report was made."
    chapters += many or [Chapter("On many pictures", [nothing])]
    chapters.append(_made_with())
    return figures.report_html(f"Comparison of {listed(list(names.values()))}", chapters)


@lru_cache(CACHES["ui.compare.report._empty"].entries)
def _empty(spec: ArchitectureSpec) -> Network:
    with torch.device("meta"), torch.no_grad():
        return Network(spec).eval()


def without_weights(looked: Sequence[NetworkResult]) -> list[NetworkResult]:
    """The same with networks that have shapes and no weights: what waits for its download may not hold gigabytes."""
    return [
        replace(network, checkpoint=replace(network.checkpoint, network=_empty(network.checkpoint.spec)))
        for network in looked
    ]


def _networks(compared: Sequence[Compared]) -> Chapter:
    checkpoints = [network.looked.checkpoint for network in compared]
    rows = differences.rows(checkpoints)
    ordered = [row for row in rows if not row.is_equal] + [row for row in rows if row.is_equal]
    table = Table(["", *(network.title for network in compared)], [[row.name, *row.values] for row in ordered])
    details = []
    for network, own in zip(compared, checkpoints, strict=True):
        about: dict[str, Any] = {
            "name": network.looked.name,
            "spec": own.spec.to_dict(),
            "seed": own.seed,
            "data": own.data,
            "config": own.config,
        }
        about |= {"versions": own.record.get("versions"), "device": own.record.get("device")}
        about |= {"class_names": list(own.class_names), "mean": own.mean, "std": own.std, "figures": own.metrics}
        details.append((f"{network.title}: spec, training, versions", json.dumps(about, indent=2)))
    curves, lacking = one_picture.training(compared)
    words = "What is known of the networks: first what differs, then what is the same in all of them."
    return Chapter("The networks", [words, *lacking], [table], charts=curves, details=details)


def _complete(looked: Sequence[NetworkResult], answers: Sequence[Answer]) -> tuple[list[NetworkResult], dict[str, Any]]:
    """Those of the networks that were asked, and what each answered."""
    results = {each.names[0]: each.result for each in answers}
    return [network for network in looked if network.name in results], results


def _asked(question: Question) -> str:
    return f"test pictures of {dataset_access.data_title(question.data)}, taken evenly over the split"


def _heading(words: str, question: Question, questions: Collection[Question]) -> str:
    """`words`, and which pictures, and which class, where there are several chapters of the kind."""
    if len(questions) < 2:
        return words
    explained = f", {question.target} explained" if question.kind == "shares" else ""
    return f"{words}: {question.n:,} pictures of {dataset_access.data_title(question.data)}{explained}"


def _said(looked: Sequence[NetworkResult], names: Mapping[str, str], kept: Mapping[str, Answer]) -> list[Chapter]:
    questions = findings.asked(kept, "said", names)
    return [
        _answers(_heading("What they say on a labelled set", question, questions), question, looked, names, kept)
        for question in questions
    ]


def _answers(
    heading: str,
    question: Question,
    looked: Sequence[NetworkResult],
    names: Mapping[str, str],
    kept: Mapping[str, Answer],
) -> Chapter:
    asked, said = _complete(looked, findings.asked(kept, "said", names)[question])
    first = said[asked[0].name]
    n = len(first)
    found = {network.name: accuracy_of(said[network.name]) for network in asked}
    tables = [charts.accuracy_table(names, found)]
    drawn = [Chart(charts.accuracies(asked, names, found), f"Accuracy with 95 % interval (Wilson), n = {n:,}.")]
    sentences = [f"Each network was asked about {n:,} {_asked(question)}."]
    if len(first.class_names) > figures.MATRIX_CLASSES:
        tables.append(charts.frequent_mistakes(asked, names, said))
        sentences.append(charts.MOST_OFTEN)
    else:
        drawn.append(Chart(charts.confusions(asked, names, said), f"{charts.MIXED_UP} n = {n:,}."))
    if len(asked) > 1:
        found_pairs, verdicts = charts.pair_table(asked, names, said)
        tables.append(found_pairs)
        sentences += verdicts
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
    return Chapter(heading, sentences, tables, charts=drawn, pictures=thumbnails)


def _inside(names: Mapping[str, str], kept: Mapping[str, Answer]) -> list[Chapter]:
    questions = findings.asked(kept, "cka", names)
    both = sum(each.result.cka.size for answers in questions.values() for each in answers) <= MOST_CELLS
    estimates = {True: "debiased", **({False: "plain"} if both else {})}
    chapters = []
    for question, answers in questions.items():
        drawn, sentences = [], [charts.INSIDE, charts.BIAS]
        if not both:
            sentences.append("To keep this file small only the debiased estimate is drawn; the raw numbers hold both.")
        for each in answers:
            first, second = (names[name] for name in each.names)
            for debiased, word in estimates.items():
                caption = f"Linear CKA ({word}) of all layers of {first} and {second}, on {each.result.n:,} "
                drawn.append(
                    Chart(charts.similarities(each.result, (first, second), debiased), caption + f"{_asked(question)}.")
                )
            sentences.append(charts.most_alike(each.result, (first, second), True))
            sentences += charts.undefined(each.result, (first, second))
        heading = _heading("How alike they are inside", question, questions)
        chapters.append(Chapter(heading, sentences, charts=drawn))
    return chapters


def _objects(looked: Sequence[NetworkResult], names: Mapping[str, str], kept: Mapping[str, Answer]) -> list[Chapter]:
    questions = findings.asked(kept, "shares", names)
    chapters = []
    for question, answers in questions.items():
        asked, shares = _complete(looked, answers)
        chart = charts.object_shares(asked, names, findings.dashes(asked), shares)
        caption = f"{shares[asked[0].name].pictures:,} {_asked(question)}; explained is the {question.target}."
        drawn = [Chart(chart, f"{caption} Bands: one standard error of the mean.")]
        heading = _heading("How much of the Grad-CAM lies on the object", question, questions)
        chapters.append(Chapter(heading, charts.share_sentences(asked, names, shares), charts=drawn))
    return chapters


def _made_with() -> Chapter:
    rows = [["CNN & ResNet Explorer", __version__], ["Python", platform.python_version()]]
    rows += [[package, version(package)] for package in PACKAGES]
    rows += [["machine", f"{platform.machine()}, {cores()} cores, {platform.system()}"]]
    rows += [["made", strftime("%Y-%m-%d %H:%M UTC", gmtime())]]
    return Chapter("Made with", (), [Table(["", ""], rows)])


def predictions_csv(names: Mapping[str, str], said: Mapping[str, Predictions], indices: Collection[int]) -> bytes:
    """A line for each picture: its number in the test split, its label, and of each network the class that it says,
    its probability, the probability of the label, and whether it is right. UTF-8, with a mark for spreadsheets."""
    heads = ["test picture", "label"]
    for name in said:
        heads += [f"{names[name]}: {part}" for part in ("says", "probability", "probability of the label", "right")]
    rows, first = [heads], next(iter(said.values()))
    for row, number in enumerate(indices):
        cells = [str(number), first.class_names[first.labels[row]]]
        for of in said.values():
            predicted = int(of.predicted[row])
            cells += [of.class_names[predicted], f"{of.probabilities[row, predicted]:.6g}"]
            cells += [f"{of.of_label[row]:.6g}", "yes" if of.right[row] else "no"]
        rows.append(cells)
    return b"\xef\xbb\xbf" + csv_text(rows).encode("utf-8", "replace")


def arrays_npz(looked: Sequence[NetworkResult], names: Mapping[str, str], kept: Mapping[str, Answer]) -> bytes:
    """Arrays by name; A and B below stand for the place of a network in `networks`, from 0, and Q for a question: the
    data, the number of pictures, and, of shares, the class that was explained.

    `A/cam/LAYER`, `A/layers`, `A/activation`, `A/gradient`, `A/logits`, `A/class_names` are of the one picture;
    `said/Q/...`, `cka/Q/A-B/...` and `shares/Q/A/...` of many; NaN stands for what is not defined.
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
    for question, of, asked in _results(kept, "said", names):
        under = f"said/{question.data}-{question.n}"
        arrays[f"{under}/class_names"], arrays[f"{under}/labels"] = np.array(of.class_names), of.labels
        under += f"/{places[asked[0]]}"
        arrays[f"{under}/predicted"], arrays[f"{under}/probabilities"] = of.predicted, of.probabilities
        arrays[f"{under}/confusion"] = confusion(of)
    for question, of, asked in _results(kept, "cka", names):
        under = f"cka/{question.data}-{question.n}/{'-'.join(str(places[name]) for name in asked)}"
        arrays[f"{under}/plain"], arrays[f"{under}/debiased"] = of.cka.filled(np.nan), of.debiased.filled(np.nan)
        arrays[f"{under}/rows"], arrays[f"{under}/columns"] = np.array(of.layers_a), np.array(of.layers_b)
    for question, of, asked in _results(kept, "shares", names):
        under = f"shares/{question.data}-{question.n}-{question.target}/{places[asked[0]]}"
        arrays[f"{under}/layers"], arrays[f"{under}/maps"] = np.array(of.layers), of.n
        arrays[f"{under}/mean"] = of.mean.filled(np.nan)
        arrays[f"{under}/error"] = of.error.filled(np.nan)
        arrays[f"{under}/chance"] = np.array(of.chance)
    return npz(arrays)


def _results(
    kept: Mapping[str, Answer], kind: Kind, names: Mapping[str, str]
) -> Iterator[tuple[Question, Any, tuple[str, ...]]]:
    for question, answers in findings.asked(kept, kind, names).items():
        for each in answers:
            yield question, each.result, each.names
