"""`study`: many trainings as one question, on this machine or on Ray."""

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from explorer import runs, studies
from explorer.cli import CommandResult
from explorer.cli.formatting import notes_block, percent, table
from explorer.labels import ENGINES, run_state
from explorer.runs import speed as machine_speed
from explorer.studies import Study, StudyFolder, StudyProgress, driver
from explorer.studies.analysis import Analysis, analyse
from explorer.studies.cost import Cost, cost
from explorer.studies.engine import EngineError
from explorer.studies.local import default_places, measure_places
from explorer.studies.ray_connection import check_wished, is_elsewhere
from explorer.studies.ready_made import READY_MADE, ready_made
from explorer.studies.study import words
from explorer.training import choose_device


def study_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "study",
        nargs="?",
        metavar="STUDY",
        help="a JSON file, the directory of a study to continue, or a ready-made one: " + ", ".join(READY_MADE),
    )
    parser.add_argument("--engine", choices=[*ENGINES], help="what executes the runs (default: local)")
    parser.add_argument(
        "--places",
        metavar="K",
        help="runs at once; `measure` finds the best number (default: one for every two cores, on a GPU 1)",
    )
    parser.add_argument("--list", action="store_true", help="list the ready-made studies")
    parser.add_argument("--cost", action="store_true", help="print what the study would take, and start nothing")
    parser.add_argument("--print", action="store_true", help="print the study as JSON, to be edited, and start nothing")


def run_study(arguments: argparse.Namespace) -> CommandResult:
    """Train a study's networks and compare them, or continue a study."""
    if arguments.list:
        return _listing()
    if arguments.study is None:
        raise ValueError("give a JSON file, the directory of a study, or the name of one that `study --list` lists.")
    place = _kept(arguments.study)
    study = place.study() if place else _study(arguments.study)
    if arguments.print:
        return study.to_dict(), json.dumps(study.to_dict(), indent=2).splitlines()
    settings = place.settings() if place else {}
    engine = arguments.engine or settings.get("engine") or "local"
    kept_places = settings.get("places") if engine == settings.get("engine") else None
    # Ray knows how many it has.
    places = _places(arguments.places) or int(kept_places or (_usual_places(study) if engine == "local" else 0))
    if arguments.cost:
        return _cost_document(study, _cost(study, engine, places))
    try:
        if engine == "ray":
            check_wished()  # before a directory is made
        if place is None:
            place = _created(study, engine, places)
        _follow(place, engine, places)
    except EngineError as error:
        raise ValueError(str(error)) from None
    return _document(place)


def _created(study: Study, engine: str, places: int) -> StudyFolder:
    """The study's new directory; what it takes goes to stderr. Raises ValueError where that is too much."""
    study.check_size()
    expected = _cost(study, engine, places)
    expected.check()
    print(_titled(study, expected.sentence), file=sys.stderr, flush=True)
    place = studies.create(study, engine=engine, places=places)
    print(f"`study {place.folder}` continues it if it is interrupted.", file=sys.stderr, flush=True)
    return place


def _cost(study: Study, engine: str, places: int) -> Cost:
    elsewhere = is_elsewhere(engine)
    return cost(study, machine_speed.measure(), places if elsewhere else places or _usual_places(study), elsewhere)


def _titled(study: Study, sentence: str) -> str:
    return f"{study.name}{'' if study.name[-1] in '.?!' else '.'} {sentence}"


def _listing() -> CommandResult:
    found = [
        {"name": name, "title": entry.title, "question": entry.question, "note": entry.note}
        | {"runs": (study := entry.make()).runs, "networks": study.networks}
        for name, entry in READY_MADE.items()
    ]
    rows = [(entry["name"], entry["question"], entry["runs"], entry["networks"]) for entry in found]
    return {"studies": found}, table(("name", "question", "runs", "networks"), rows)


def _kept(text: str) -> StudyFolder | None:
    """The study in that directory; None where it is none. Raises ValueError where it lies elsewhere."""
    folder = Path(text)
    if not folder.joinpath("study.json").is_file():
        return None
    place = studies.find(folder.resolve().name)
    if place is None or not place.folder.samefile(folder):
        raise ValueError(
            f"a study is continued where it was made, in `{studies.studies_folder()}`; set EXPLORER_DATA accordingly."
        )
    return place


def _study(text: str) -> Study:
    """The study in that file, or the ready-made one of that name. Raises ValueError."""
    file = Path(text)
    if not file.exists():
        if file.suffix or "/" in text:
            raise ValueError(f"there is no file `{text}`; `study --list` lists the ready-made studies.")
        return ready_made(text)
    try:
        values = json.loads(file.read_bytes())  # in UTF-16 too, which PowerShell's `>` writes
    except (ValueError, RecursionError, OSError):
        raise ValueError(f"`{text}` is no JSON document; `study NAME --print` prints one.") from None
    return Study.from_dict(values)


def _usual_places(study: Study) -> int:
    return default_places(choose_device(study.device).type)  # type: ignore[arg-type]


def _places(typed: str | None) -> int:
    """0 where none are given. Raises ValueError."""
    if typed is None:
        return 0
    if typed == "measure":
        best, measured = measure_places()
        speeds = ", ".join(f"{count}: {speed:,.0f}" for count, speed in measured.items())
        print(f"Steps a second of so many runs at once: {speeds}.", file=sys.stderr, flush=True)
        return best
    if not typed.isascii() or not typed.isdigit() or not 1 <= int(typed[:6]) <= 64:
        raise ValueError(f"`--places` must be a whole number from 1 to 64, or `measure`, received {typed[:20]!r}.")
    return int(typed)


def _follow(place: StudyFolder, engine: str, places: int) -> None:
    """Drives the study in this process; its address in the app and the ends of its runs go to stderr. Ctrl-C stops it
    with its runs."""
    print(f"The app shows it at /experiments?study={place.id}", file=sys.stderr, flush=True)  # no list has it
    trials = len(place.trials())
    ended = 0
    with closing(driver.drive(place, driver.open_engine(engine, places))) as drive:
        try:
            for end in drive:
                ended += 1
                print(f"{end.kept.trial.title}: {end.state}{_reason(end)}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            for kept in place.trials():
                if runs.is_alive(kept.run):
                    runs.stop(kept.run)
            raise
    print(f"{ended} of {trials} runs ended now.", file=sys.stderr, flush=True)


def _reason(end: driver.TrialEnd) -> str:
    message = (runs.status(end.kept.run).log.end or {}).get("message") if end.state == "failed" else ""
    return f" ({message})" if message else ""


def _cost_document(study: Study, expected: Cost) -> CommandResult:
    try:
        expected.check()
        problem = ""
    except ValueError as error:
        problem = str(error)
    return {**vars(expected), "name": study.name, "refused": problem}, [
        _titled(study, expected.sentence),
        *notes_block([problem] if problem else []),
    ]


def _document(place: StudyFolder) -> CommandResult:
    found = studies.progress(place)
    study = place.study()
    results = [
        {
            **dict(result.cell),
            "seed": result.seed,
            "run": result.run_id,
            "network": result.title,
            "outcome": result.outcome,
            "steps": result.steps,
            "train": result.train,
            "test": {name: result.test[name] for name in ("accuracy", "loss", "n")},
        }
        for result in found.results
    ]
    analysis = analyse(study, found.results)
    failed = [
        {"trial": trial.trial.title, "run": trial.run_id, "state": trial.state, "message": trial.message}
        for trial in found.trials
        if trial.state != "finished"
    ]
    document: dict[str, Any] = {
        "study": study.to_dict(),
        "id": place.id,
        "folder": str(place.folder),
        "state": found.state,
        "message": found.message,
        "results": results,
        "analysis": analysis.to_dict(),
        "unfinished": failed,
    }
    fields = [axis.field for axis in study.axes]
    rows = [
        [words(field, dict(result.cell)[field]) for field in fields]
        + [result.seed, result.title]
        + [percent(result.train["accuracy"]) if result.train else None, percent(result.test["accuracy"])]
        + [result.test["n"], result.outcome]
        for result in found.results
    ]
    header = (*fields, "seed", "network", "train accuracy", "test accuracy", "n", "outcome")
    lines = [_titled(study, f"{_summary(found)}."), "", *table(header, rows), *_paragraph(analysis)]
    return document, [*lines, *notes_block(_notes(found))]


def _paragraph(analysis: Analysis) -> list[str]:
    return ["", *analysis.paragraph] if analysis.trained else []


def _summary(found: StudyProgress) -> str:
    return f"{found.count('finished')} of {len(found.trials)} runs finished"


def _notes(found: StudyProgress) -> list[str]:
    unfinished = [
        f"{trial.trial.title} is {run_state(trial.state)}{': ' + trial.message if trial.message else '.'}"
        for trial in found.trials
        if trial.state not in ("finished", "waiting")
    ]
    return [*filter(None, [found.message]), *unfinished]
