"""`ensemble`: the mean of several networks' probabilities against each of them alone."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from explorer import checkpoints
from explorer.checkpoints import Checkpoint
from explorer.cli import CommandResult, inputs
from explorer.cli.formatting import notes_block, percent, table
from explorer.cli.progress import followed
from explorer.experiments import agreement, ensembles
from explorer.experiments.agreement import Predictions
from explorer.experiments.ensembles import MOST_MEMBERS, Ensemble, Member
from explorer.experiments.measurement import evenly, rows
from explorer.training import use_threads


def ensemble_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help=f"two to {MOST_MEMBERS} networks: pretrained ones or files; or one kept ensemble, a .json file",
    )
    parser.add_argument(
        "--learn", action="store_true", help="learn the weights on the validation images (default: equal weights)"
    )
    parser.add_argument("--count", type=int, metavar="N", help="test images, evenly over the split (default: all)")
    parser.add_argument("--out", metavar="FILE", help="to keep the ensemble, a .json file")
    inputs.add_labelled_images(parser)
    inputs.add_threads(parser)


def measure_ensemble(arguments: argparse.Namespace) -> CommandResult:
    """Measure an ensemble of networks against each of them alone."""
    names, kept = _members(arguments)
    if arguments.count is not None and arguments.count < 1:
        raise ValueError(f"`--count` must be 1 or more, received {arguments.count}.")
    if arguments.out:
        inputs.check_new(Path(arguments.out), ".json")
    use_threads(arguments.threads)
    loaded = [inputs.checkpoint(name) for name in names]
    digests = [checkpoints.digest(each) for each in loaded]
    if kept:
        _check_members(kept, digests)
    first = inputs.labelled_images(loaded[0], arguments)
    data, class_names, notes = first.data, first.class_names, first.notes
    split = rows(first.split, evenly(len(first.split), arguments.count or len(first.split)))
    known = [inputs.labelled_images(each, arguments).checkpoint for each in loaded]
    said = [_predictions(each, split, class_names) for each in known]
    learned = None
    weights = kept.weights if kept else ensembles.uniform(len(said))
    if arguments.learn:
        validation = inputs.labelled_images(loaded[0], arguments, "validation").split
        learned = ensembles.learn_weights([_predictions(each, validation, class_names) for each in known])
        weights = learned.weights
    found = ensembles.outcome(said, weights)
    loss = ensembles.loss_of(said, weights)
    titles = inputs.titles(names, known) if not kept else [member.title for member in kept.members]
    text = ensembles.finding(titles, found)
    about = "" if learned is None else f"the {learned.n:,} validation images of {data}"
    metrics = {"test": {"accuracy": found.accuracy.share, "n": found.accuracy.n}, "data": data}
    members = tuple(Member(*each) for each in zip(names, titles, digests, strict=True))
    origin = kept.origin if kept and learned is None else "learned" if learned else "uniform"
    if kept and learned is None:
        about = kept.learned_on
    ensemble = Ensemble(members, weights, tuple(class_names), origin, about, metrics)
    if arguments.out:
        Path(arguments.out).write_text(ensemble.to_json() + "\n", encoding="utf-8", newline="\n")
    networks: list[dict[str, Any]] = [
        {"network": title, "digest": digest, "weight": weight, "loss": ensembles.loss_of([each], (1.0,))}
        | {"accuracy": alone.share, **asdict(alone)}
        | {"corrected": counts.only_a, "made_wrong": counts.only_b, "p_value": counts.p_value}
        for title, digest, weight, each, alone, counts in zip(
            titles, digests, weights, said, found.alone, found.against, strict=True
        )
    ]
    document = {
        "data": data,
        "n": found.accuracy.n,
        "class_names": list(class_names),
        "ensemble": {"accuracy": found.accuracy.share, **asdict(found.accuracy), "loss": loss, "origin": origin},
        "networks": networks,
        "learned": learned and asdict(learned),
        "none_right": found.none_right,
        "right_without_any": found.right_without_any,
        "finding": text,
        "file": arguments.out,
        "notes": list(notes),
    }
    whole = ("ensemble", None, percent(found.accuracy.share), _interval(found.accuracy), loss, None, None, None)
    cells = [
        (entry["network"], f"{entry['weight']:.3f}", percent(entry["accuracy"]), _interval(alone), entry["loss"])
        + (entry["corrected"], entry["made_wrong"], f"{entry['p_value']:.2g}")
        for entry, alone in zip(networks, found.alone, strict=True)
    ]
    header = ("network", "weight", "accuracy", "95 % interval", "loss", "corrected", "made wrong", "McNemar's p")
    lines = [f"{found.accuracy.n:,} test images of {data}", "", *table(header, [whole, *cells]), "", text]
    if learned:
        lines.append(
            f"Weights learned on {about}: loss {learned.loss:.4f} there, {learned.uniform_loss:.4f} with equal weights."
        )
    return document, [*lines, *notes_block(notes)]


def _interval(found: agreement.Accuracy) -> str:
    return f"{percent(found.low)} to {percent(found.high)}"


def _members(arguments: argparse.Namespace) -> tuple[list[str], Ensemble | None]:
    """The names of the networks, and the kept ensemble where one was given instead."""
    names: list[str] = arguments.names
    if len(names) == 1 and names[0].endswith(".json"):
        file = Path(names[0])
        if not file.is_file():
            raise ValueError(f"there is no file `{file}`; `ensemble NAME NAME --out FILE` writes one.")
        kept = Ensemble.from_json(file.read_text(encoding="utf-8", errors="replace"))
        return [member.name for member in kept.members], kept
    if not 2 <= len(names) <= MOST_MEMBERS:
        raise ValueError(f"give 2 to {MOST_MEMBERS} networks or one kept ensemble, received {len(names)}.")
    return names, None


def _check_members(kept: Ensemble, digests: list[str]) -> None:
    """Raises ValueError unless each network is still the one that was chosen."""
    for member, digest in zip(kept.members, digests, strict=True):
        if member.digest != digest:
            raise ValueError(f"`{member.name}` has other weights than when the ensemble was kept; keep it again.")


def _predictions(checkpoint: Checkpoint, split: Any, class_names: tuple[str, ...]) -> Predictions:
    return followed(agreement.predictions(checkpoint, split, class_names))
