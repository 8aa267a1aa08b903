"""Explore in real Chromium: from a click to the last change of the page, beside a page of Streamlit with one button.

All pages are open in one browser and take their turns; what a click costs is measured inside the page.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import psutil  # type: ignore[import-untyped]
import torch
from playwright.sync_api import Browser, Page

from benchmarks.explaining import bare
from benchmarks.rows import Row, at_most, compared, ratios
from benchmarks.visitors import random_picture
from driving.chromium import QUIET
from driving.serving import chromium, served
from driving.sessions import Session
from explorer import checkpoints, runs
from explorer.architectures import Network, build
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.presets import cifar, imagenet_resnet
from explorer.training import TrainingConfig

ROUNDS, WARM_UP, STARTS = 15, 2, 5
SMALL_BOUND, LARGE_BOUND, CHANGE_BOUND, START_BOUND, MEMORY_BOUND = 2.0, 1.5, 1.3, 12.0, 2500.0
QUIET_MS = 700  # without any change: then the page is drawn
TIMEOUT_S = 120

RUN = "a" * 32  # the run whose networks have 224 pixels

# Every change below the page and the sidebar counts, in components too, and every picture that has been decoded. The
# sign of work in the corner does not: it goes on its own time. Nor do Streamlit's marks of what a running script has
# not drawn again yet: their style, "opacity 1s ease-in 0.5s", shows nothing for half a second. `rest` counts them too.
# `main` is the last change outside of the sidebar, where an uploader says how far it is.
WATCH = """() => {
  const bench = (window.bench ??= { start: 0, last: 0, main: 0, rest: 0, seen: new WeakSet() });
  const shows = ({ type, attributeName, target }) => type !== "attributes"
    || !["class", "data-stale"].includes(attributeName) || !target.matches("[data-stale], [role=tablist]");
  const watch = (root) => {
    if (bench.seen.has(root)) return;
    bench.seen.add(root);
    const aside = (root.host ?? root).closest("[data-testid=stSidebar]");
    const now = () => {
      bench.last = bench.rest = performance.now();
      if (!aside) bench.main = bench.last;
    };
    new MutationObserver((records) => {
      if (records.some(shows)) now();
      bench.rest = performance.now();
      for (const record of records) record.addedNodes.forEach(components);
    }).observe(root, { subtree: true, childList: true, attributes: true, characterData: true });
    root.addEventListener("load", now, true);
  };
  const components = (node) => {
    const inside = node.querySelectorAll ? [node, ...node.querySelectorAll("*")] : [];
    for (const element of inside) if (element.shadowRoot) watch(element.shadowRoot);
  };
  document.querySelectorAll("[data-testid=stMain], [data-testid=stSidebar]").forEach(watch);
  components(document.body);
}"""
SETTLED = """quiet => document.querySelector("[data-testid=stApp]")?.dataset.testScriptState === "notRunning"
  && !document.querySelector("[data-testid=stSkeleton]")
  && window.bench.last > window.bench.start && performance.now() - window.bench.rest > quiet"""
DRAWN = """() => document.querySelector("[data-testid=stApp]")?.dataset.testScriptState === "notRunning"
  && !document.querySelector("[data-testid=stSkeleton]")"""


def inside(selector: str) -> str:
    """The first element of a component that fits, in JavaScript."""
    return f"""[...document.querySelectorAll("*")]
      .map(each => each.shadowRoot?.querySelector("{selector}")).find(Boolean)"""


STRIP = inside(".strip")

BLANK = """import streamlit as st

st.session_state.setdefault("runs", 0)
st.button("Again", on_click=lambda: st.session_state.update(runs=st.session_state["runs"] + 1))
st.write(f"Run {st.session_state['runs']}")
"""
AGAIN = "document.querySelector('[data-testid=stButton] button').click()"
NEXT = f"{inside('.gallery .next')}.click()"
# A layer of both networks that is not the chosen one.
LAYER = f"""const all = [...{STRIP}.querySelectorAll('button[data-place^="1/cam/"]')].filter(
    each => /conv[12],/.test(each.ariaLabel));
  window.turn = ((window.turn ?? 0) + 5) % all.length;
  all[window.turn].click();"""
# The tile after the chosen one, on the first sheet of feature maps.
CHANNEL = f"""const tiles = [...{inside(".tiles")}.querySelectorAll("button")];
  tiles[(tiles.findIndex(each => each.ariaPressed === "true") + 1) % tiles.length].click();"""
SCALE = f"""const all = [...{inside(".scopes")}.querySelectorAll("input")];
  all[(all.findIndex(each => each.checked) + 1) % all.length].click();"""
CHANGES = {"another layer": LAYER, "another channel": CHANNEL, "another colour scale": SCALE}


@dataclass(frozen=True)
class View:
    """Explore with those networks of so many pixels: a page that looks at drawn shapes, and one at files."""

    size: str
    networks: list[Network]
    shapes: Page
    files: Page


def page_rows(rounds: int = ROUNDS, starts: int = STARTS) -> Iterator[Row]:
    """Re-runs at 32 and 224 pixels, changes that need no pass, the first visit of a fresh server, and memory."""
    with tempfile.TemporaryDirectory() as folder, chromium(*QUIET, whole=True) as browser:
        networks = large_twins(Path(folder))
        blank = Path(folder, "blank.py")
        blank.write_text(BLANK)
        with served(Path(folder)) as (url, process), served(Path(folder), script=str(blank)) as (blank_url, _):
            large = urlencode({"first": name_of(networks[0]), "second": name_of(networks[1])})
            small = [build(cifar(20, "none")).freeze(), build(cifar(20)).freeze()]
            views = [
                View("32", small, opened(browser, url), opened(browser, url)),
                View("224", networks, *(opened(browser, f"{url}/?{large}") for _ in range(2))),
            ]
            yield from rerun_rows(opened(browser, blank_url), views, opened(browser, url), process, rounds)
            yield from size_rows(url, rounds)
    yield start_row(starts)


def name_of(network: Network) -> str:
    """Its name in a link."""
    return f"run-{RUN}-{network.spec.name.lower()}"


def large_twins(folder: Path) -> list[Network]:
    """ResNet-18 and its plain twin of first weights, as networks of a run, which a link can name."""
    spec = imagenet_resnet(18, classes=10)
    dataset = shapes.load()
    home = folder / "runs" / RUN
    home.mkdir(parents=True)
    networks = []
    for each in (spec, spec.twin()):
        network = build(each, seed=0).freeze()
        checkpoint = Checkpoint(network, shapes.CLASS_NAMES, dataset.mean, dataset.std, dataset.name)
        checkpoints.save(checkpoint, home / f"{each.name.lower()}.safetensors")
        networks.append(network)
    config = TrainingConfig(seconds=60).to_dict()
    specs = tuple(network.spec.to_dict() for network in networks)
    runs.Run(home).write_request(runs.Request(specs=specs, config=config, data={"kind": "shapes", "size": 224}))
    return networks


def opened(browser: Browser, url: str) -> Page:
    """The page of a new visitor, drawn."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(TIMEOUT_S * 1000)
    page = context.new_page()
    page.goto(url)
    page.wait_for_function(DRAWN, polling=50)
    page.evaluate(WATCH)
    page.wait_for_timeout(2000)  # until what is loaded lately is there
    return page


def seconds_to_draw(page: Page, act: str) -> tuple[float, float]:
    """From the click to the last change of the page, or the last picture that was loaded; and until all is at rest."""
    page.bring_to_front()
    page.evaluate(WATCH)
    page.evaluate("act => { bench.start = performance.now(); new Function(act)(); }", act)
    return _drawn(page)


def seconds_to_answer(page: Page, act: Callable[[], object]) -> float:
    """The same up to the last change, of what only a real keyboard does."""
    page.evaluate(WATCH)
    page.evaluate("bench.start = performance.now()")
    act()
    return _drawn(page)[0]


def seconds_to_explain(page: Page, number: int) -> float:
    """From the choice of a file to the last change outside of the sidebar: the last chart that is drawn of it."""
    page.bring_to_front()
    if number == 0:
        page.get_by_role("radio", name="File").click()
        page.wait_for_timeout(2000)
    page.evaluate(WATCH)
    box = page.locator("[data-testid=stFileUploader] input")
    page.evaluate("bench.start = Infinity")
    page.evaluate(
        "window.addEventListener('change', () => (bench.start = performance.now()), { capture: true, once: true })"
    )
    box.set_input_files({"name": f"{number}.png", "mimeType": "image/png", "buffer": random_picture(number)})
    _drawn(page)
    return float(page.evaluate("bench.main - bench.start")) / 1000


def _drawn(page: Page) -> tuple[float, float]:
    page.wait_for_function(SETTLED, arg=QUIET_MS, polling=50)
    drawn, rest = page.evaluate("[bench.last - bench.start, bench.rest - bench.start]")
    return drawn / 1000, rest / 1000


def seconds_of_runs(page: Page, number: int) -> dict[str, float]:
    """What is answered by a run of the page: another class and another network."""
    page.bring_to_front()
    taken = {}
    for name, label in (("another class to explain", "Class to explain"), ("another second network", "Second network")):
        page.get_by_role("combobox", name=label).click()
        page.keyboard.press("ArrowUp" if number % 2 else "ArrowDown")
        page.wait_for_timeout(QUIET_MS)
        taken[name] = seconds_to_answer(page, lambda: page.keyboard.press("Enter"))
    return taken


def seconds_of_torch(networks: list[Network]) -> float:
    """One pass forward and one back of each network, on as many threads as the app takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    started = time.perf_counter()
    for network in networks:
        image = np.random.default_rng(0).standard_normal(network.spec.input_shape).astype(np.float32)
        bare(network, image)
    taken = time.perf_counter() - started
    torch.set_num_threads(before)
    return taken


def rerun_rows(blank: Page, views: list[View], third: Page, process: int, rounds: int) -> Iterator[Row]:
    """`third` is a page at 32 pixels too, for what would disturb the others. `process` is the server's."""
    taken: dict[tuple[str, str], list[float]] = {}
    memory = []
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
        measured |= {("run", name): seconds for name, seconds in seconds_of_runs(third, number).items()}
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
        if size == "32":
            for (kind, name), each in taken.items():
                if kind == "run":
                    figure = f"Explore at {size}: {name}, by a run of the page / (blank + bare passes)"
                    yield Row(figure, compared(each, least), rounds)
    measured_memory = f"{statistics.median(memory):,.0f} MB ({min(memory):,.0f} to {max(memory):,.0f})"
    bound = at_most(max(memory), MEMORY_BOUND, " MB")
    yield Row("Memory of the server with five views of Explore open", measured_memory, rounds, bound)


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
        session.drawing(picture=f"sample-{number % 10}-{7000 + number}")
        drawings.append((session.received - before) / 1e3)
        before = session.received
        session.rerun(picture=f"sample-{number % 10}-{7000 + number}")
        runs_of_page.append((session.received - before) / 1e3)
        messages.append(len(session.answer))
    session.close()
    yield Row("Explore at 32: the drawing of another shape, over the wire", kilobytes(drawings), rounds)
    said = f"{kilobytes(runs_of_page)} in {statistics.median(messages):.0f} messages"
    yield Row("Explore at 32: the run of the page after it, over the wire", said, rounds)


def kilobytes(sizes: list[float]) -> str:
    return f"{statistics.median(sizes):,.0f} kB ({min(sizes):,.0f} to {max(sizes):,.0f})"


def start_row(starts: int) -> Row:
    """From the start of the server's process to the first view, drawn, of a browser that has seen nothing yet."""
    taken = []
    with chromium(*QUIET, whole=True) as browser:
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
