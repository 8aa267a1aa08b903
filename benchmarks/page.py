"""Explore in real Chromium: from a click to the last change of the page, beside a page of Streamlit with one button.

All pages are open in one browser and take their turns; what a click costs is measured inside the page.
"""

import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import psutil  # type: ignore[import-untyped]
from playwright.sync_api import Page

from benchmarks.explaining import bare, threads_of_the_app
from benchmarks.rows import Row, at_most, compared, ratios
from benchmarks.watching import (
    AGAIN,
    BEFORE,
    CHANGES,
    DIAL,
    DRAWN,
    NEXT,
    STRIP,
    TIMEOUT_S,
    layer_of,
    opened,
    seconds_to_answer,
    seconds_to_draw,
    seconds_to_explain,
    seconds_to_open,
)
from driving.chromium import BROWSER_ARGUMENTS
from driving.protocol_client import Session
from driving.server_process import chromium, served
from explorer import checkpoints, runs
from explorer.architectures import Network, build
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.presets import cifar, imagenet_resnet
from explorer.training import TrainingConfig

ROUNDS, WARM_UP, STARTS, LINKS = 15, 2, 5, 5
SMALL_BOUND, LARGE_BOUND, CHANGE_BOUND, LINK_BOUND = 2.0, 1.5, 1.3, 2.0
DIAL_PASSES, DIAL_S = 2, 0.060
START_BOUND, MEMORY_BOUND, WIRE_BOUND = 12.0, 2500.0, 140.0  # seconds, MB, kB

RUN = "a" * 32  # the run whose networks have 224 pixels
OWNER = "b" * 32  # who finds its networks in the lists

BLANK = """import streamlit as st

st.session_state.setdefault("runs", 0)
st.button("Again", on_click=lambda: st.session_state.update(runs=st.session_state["runs"] + 1))
st.write(f"Run {st.session_state['runs']}")
"""


@dataclass(frozen=True)
class View:
    """Explore with those networks of so many pixels: a page that looks at drawn shapes, one at files, and one for what
    would disturb these."""

    size: str
    networks: list[Network]
    shapes: Page
    files: Page
    others: Page


def page_rows(rounds: int = ROUNDS, starts: int = STARTS) -> Iterator[Row]:
    """Re-runs at 32 and 224 pixels, changes that need no pass, links, the first visit of a fresh server, and memory."""
    with tempfile.TemporaryDirectory() as folder, chromium(*BROWSER_ARGUMENTS, whole=True) as browser:
        networks = large_twins(Path(folder))
        script = Path(folder, "blank.py")
        script.write_text(BLANK, encoding="utf-8", newline="\n")
        with served(Path(folder)) as (url, process), served(Path(folder), script=str(script)) as (blank_url, _):
            home = f"{url}/?layers=main"  # convolutions too, of which another one is chosen
            large = f"{home}&{urlencode({'first': name_of('resnet-18'), 'second': name_of('plain-18')})}"
            small = [build(cifar(20, "none")).freeze(), build(cifar(20)).freeze()]
            views = [
                View("32", small, *(opened(browser, home) for _ in range(3))),
                View("224", networks, *(opened(browser, large, owner=OWNER) for _ in range(3))),
            ]
            blank = opened(browser, blank_url)
            yield from rerun_rows(blank, views, process, rounds)
            yield from dial_rows(views, rounds)
            yield from layer_rows(blank, opened(browser, f"{home}&first={name_of('resnet-50')}&second=none"), rounds)
            yield from link_rows(blank, blank_url, zip(views, (f"{home}&", f"{large}&"), strict=True))
            yield from size_rows(url, rounds)
    yield start_row(starts)


def name_of(stem: str) -> str:
    """A link's name for the network of that file of the run."""
    return f"run-{RUN}-{stem}"


def large_twins(folder: Path) -> list[Network]:
    """ResNet-18 and its plain twin of first weights, as networks of a run, which a link can name. The run has a
    ResNet-50 too, and another ResNet-18, which follows the twin in the list of second networks: one of another title,
    for Streamlit tells the lines of a list apart by their words."""
    spec = imagenet_resnet(18, classes=10)
    dataset = shapes.load()
    home = folder / "runs" / RUN
    home.mkdir(parents=True)
    networks = {
        "resnet-18": build(spec, seed=0),
        "plain-18": build(spec.twin(), seed=0),
        "resnet-18-other": build(spec, seed=1),
        "resnet-50": build(imagenet_resnet(50, classes=10), seed=0),
    }
    for stem, network in networks.items():
        checkpoint = Checkpoint(network.freeze(), shapes.CLASS_NAMES, dataset.mean, dataset.std, dataset.name)
        checkpoints.save(checkpoint, home / f"{stem}.safetensors")
    twins = [networks["resnet-18"], networks["plain-18"]]
    specs = tuple(network.spec.to_dict() for network in twins)
    config = TrainingConfig(seconds=60).to_dict()
    data = {"kind": "shapes", "size": 224}
    runs.Run(home).write_request(runs.Request(specs=specs, config=config, data=data, owner=OWNER))
    return twins


def seconds_of_lists(page: Page, number: int) -> dict[str, float]:
    """Another class and another network. Of another shape each time, or the session would still have these passes and
    compute nothing."""
    seconds_to_draw(page, NEXT)
    taken = {}
    for name, label in (("another class to explain", "Class to explain"), ("another second network", "Second network")):
        page.get_by_role("combobox", name=label).focus()
        taken[name] = seconds_to_answer(page, lambda: page.keyboard.press("ArrowUp" if number % 2 else "ArrowDown"))
    return taken


def seconds_of_torch(networks: list[Network]) -> float:
    """One pass forward and one back of each network, on as many threads as the app takes."""
    with threads_of_the_app():
        started = time.perf_counter()
        for network in networks:
            image = np.random.default_rng(0).standard_normal(network.spec.input_shape).astype(np.float32)
            bare(network, image)
        return time.perf_counter() - started


def rerun_rows(blank: Page, views: list[View], process: int, rounds: int) -> Iterator[Row]:
    """`process` is the server's."""
    taken: dict[tuple[str, str], list[float]] = {}
    memory = []
    by_list = []
    for number in range(WARM_UP + rounds):
        measured = {("blank", ""): seconds_to_draw(blank, AGAIN)[0]}
        for view in views:
            measured[view.size, "torch"] = seconds_of_torch(view.networks)
            measured[view.size, "another shape"] = seconds_to_draw(view.shapes, NEXT)[0]
            measured[view.size, "an uploaded picture"] = seconds_to_explain(view.files, number)
            rests = []
            for change, act in CHANGES.items():
                measured[view.size, change], rest = seconds_to_draw(view.shapes, act)
                rests.append(rest)
            measured[view.size, "rest"] = statistics.mean(rests)
            found = seconds_of_lists(view.others, number)
            found["a dropped picture"] = seconds_to_explain(view.files, number, dropped=True)
            by_list = list(found)
            measured |= {(view.size, name): seconds for name, seconds in found.items()}
        if number >= WARM_UP:
            memory.append(resident(process))
            for key, seconds in measured.items():
                taken.setdefault(key, []).append(seconds)
    nothing = taken["blank", ""]
    yield Row("Re-run of a blank Streamlit page in Chromium", milliseconds(nothing), rounds)
    for view in views:
        size = view.size
        names = " and ".join(network.spec.name for network in view.networks)
        least = [one + other for one, other in zip(nothing, taken[size, "torch"], strict=True)]
        for picture in ("another shape", "an uploaded picture"):
            figure = f"Explore, {names} at {size}: {picture} / (blank + bare passes)"
            yield ratio_row(figure, taken[size, picture], least, SMALL_BOUND if size == "32" else LARGE_BOUND)
        for change in CHANGES:
            yield ratio_row(f"Explore, {names} at {size}: {change} / blank", taken[size, change], nothing, CHANGE_BOUND)
        figure = f"Explore at {size}: after such a change, until the server has it in the link too"
        yield Row(figure, milliseconds(taken[size, "rest"]), rounds)
        for name in by_list:
            figure = f"Explore at {size}: {name} / (blank + bare passes)"
            yield ratio_row(figure, taken[size, name], least, SMALL_BOUND if size == "32" else LARGE_BOUND)
    measured_memory = f"{statistics.median(memory):,.0f} MB ({min(memory):,.0f} to {max(memory):,.0f})"
    bound = at_most(max(memory), MEMORY_BOUND, " MB")
    yield Row("Memory of the server with six views of Explore open", measured_memory, rounds, bound)


def dial_rows(views: list[View], rounds: int) -> Iterator[Row]:
    """A block of both networks on the dial: an answer needs the changed passes; the untouched ones are there."""
    for view in views:
        bare_passes, taken = [], []
        for number in range(WARM_UP + rounds):
            passes, seconds = seconds_of_torch(view.networks), seconds_to_draw(view.others, DIAL)[0]
            if number >= WARM_UP:
                bare_passes.append(passes)
                taken.append(seconds)
        least = [DIAL_PASSES * passes + DIAL_S for passes in bare_passes]
        bound = f"{DIAL_PASSES} × bare passes + {1e3 * DIAL_S:.0f} ms"
        figure = f"Explore at {view.size}: another factor of a block / ({bound})"
        yield ratio_row(figure, taken, least, 1.0)


def layer_rows(blank: Page, large: Page, rounds: int) -> Iterator[Row]:
    """A change of layer where the layers are too large to be sent before anybody chooses them: to one that the server
    has to send, and back to the one before, which the browser keeps."""
    if large.evaluate("document.documentElement.dataset.viewer === 'complete'"):
        raise RuntimeError("the layers of ResNet-50 are sent ahead now; this row wants a larger network.")
    seconds_to_draw(large, layer_of(0))
    nothing, sent, kept = [], [], []
    for _ in range(rounds):
        nothing.append(seconds_to_draw(blank, AGAIN)[0])
        sent.append(seconds_to_draw(large, layer_of(0))[0])
        kept.append(seconds_to_draw(large, BEFORE)[0])
    figure = "Explore, ResNet-50 at 224, whose layers are not fetched ahead: another layer / blank"
    yield Row(figure, compared(sent, nothing), rounds)
    yield ratio_row("Explore, ResNet-50 at 224: a layer whose data has come / blank", kept, nothing, CHANGE_BOUND)


def link_rows(blank: Page, blank_url: str, views: Iterable[tuple[View, str]]) -> Iterator[Row]:
    """A link to another picture, opened in a browser that has been there: the page is loaded and runs. With each view
    comes its link, up to the picture."""
    views = list(views)
    nothing: list[float] = []
    bare_passes: list[list[float]] = [[] for _ in views]
    taken: list[list[float]] = [[] for _ in views]
    for number in range(LINKS):
        nothing.append(seconds_to_open(blank, blank_url, "[data-testid=stButton]"))
        for (view, link), passes, seconds in zip(views, bare_passes, taken, strict=True):
            passes.append(seconds_of_torch(view.networks))
            seconds.append(seconds_to_open(view.shapes, f"{link}picture=sample-{number % 10}-{8000 + number}"))
    for (view, _), passes, seconds in zip(views, bare_passes, taken, strict=True):
        least = [one + other for one, other in zip(nothing, passes, strict=True)]
        figure = f"Explore at {view.size}: a link to another picture, opened / (a blank page, opened + bare passes)"
        yield ratio_row(figure, seconds, least, LINK_BOUND)


def ratio_row(figure: str, some: list[float], others: list[float], most: float) -> Row:
    return Row(figure, compared(some, others), len(some), at_most(statistics.median(ratios(some, others)), most))


def milliseconds(taken: list[float]) -> str:
    low, middle, high = statistics.quantiles(taken, n=4)
    return f"{1e3 * middle:.0f} ms (quartiles {1e3 * low:.0f} to {1e3 * high:.0f})"


def size_rows(url: str, rounds: int) -> Iterator[Row]:
    """How much goes over the wire for another drawn shape: the drawing, and the page's run that is told of it."""
    session = Session(url)
    drawings: list[float] = []
    runs_of_page: list[float] = []
    messages: list[int] = []
    session.rerun()
    for number in range(rounds):
        before = session.received
        session.explain(picture=f"sample-{number % 10}-{7000 + number}")
        drawings.append((session.received - before) / 1e3)
        before = session.received
        session.rerun(picture=f"sample-{number % 10}-{7000 + number}")
        runs_of_page.append((session.received - before) / 1e3)
        messages.append(len(session.answer))
    session.close()
    yield Row("Explore at 32: the message about another shape, over the wire", kilobytes(drawings), rounds)
    text = f"{kilobytes(runs_of_page)} in {statistics.median(messages):.0f} messages"
    yield Row("Explore at 32: the run of the page after it, over the wire", text, rounds)
    both = [one + other for one, other in zip(drawings, runs_of_page, strict=True)]
    bound = at_most(statistics.median(both), WIRE_BOUND, " kB")
    yield Row("Explore at 32: another shape, all that goes over the wire", kilobytes(both), rounds, bound)


def kilobytes(sizes: list[float]) -> str:
    return f"{statistics.median(sizes):,.0f} kB ({min(sizes):,.0f} to {max(sizes):,.0f})"


def start_row(starts: int) -> Row:
    """From the start of the server's process to the first view, drawn, of a browser that has seen nothing yet."""
    taken = []
    with chromium(*BROWSER_ARGUMENTS, whole=True) as browser:
        for _ in range(starts):
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                with served(Path(folder)) as (url, _):
                    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
                    page = context.new_page()
                    page.goto(url, timeout=TIMEOUT_S * 1000)
                    page.wait_for_function(f"() => {STRIP} && ({DRAWN})()", polling=50, timeout=TIMEOUT_S * 1000)
                    taken.append(time.perf_counter() - started)
                    context.close()
    middle = statistics.median(taken)
    measured = f"{middle:.1f} s ({min(taken):.1f} to {max(taken):.1f})"
    figure = "From the start of the server to the first explained picture"
    return Row(figure, measured, starts, at_most(middle, START_BOUND, " s"))


def resident(process: int) -> float:
    """Megabytes of memory that the process holds."""
    return float(psutil.Process(process).memory_info().rss) / 1e6
