"""A dial of Explore in real Chromium: how old the hand's place is when the answer of both networks to it is drawn."""

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from benchmarks.rows import Row, at_most, percentile
from benchmarks.watching import inside, opened
from driving.chromium import BROWSER_ARGUMENTS, find_chromium
from driving.server_process import chromium, served

SECONDS = 10.0
BOUNDS = {20: 150.0, 56: 300.0}  # milliseconds, by layers

# Sixty places a second, each once. A drawn answer names its own; it is seen after the next frame of the browser.
MOVE = f"""async seconds => {{
  const dial = [...{inside(".sliders")}.querySelectorAll("label")]
    .find(label => label.textContent.startsWith("Rotation")).querySelector("input");
  const around = {inside(".around")};
  const [moved, ages, drawn] = [new Map(), [], new Set()];
  const observer = new MutationObserver(() => {{
    const place = Number(around.textContent.match(/Rotation (-?\\d+)/)?.[1] ?? 0);
    if (!moved.has(place) || drawn.has(place)) return;
    drawn.add(place);
    requestAnimationFrame(() => setTimeout(() => ages.push(performance.now() - moved.get(place))));
  }});
  observer.observe(around, {{ childList: true, subtree: true }});
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const end = performance.now() + 1000 * seconds;
  let place = 0;
  while (performance.now() < end) {{
    place = (place + 1) % 180 || 1;
    moved.set(place, performance.now());
    drawn.delete(place);
    dial.value = place;
    dial.dispatchEvent(new Event("input", {{ bubbles: true }}));
    await wait(1000 / 60);
  }}
  await wait(3000);
  observer.disconnect();
  return [ages, drawn.has(place) && document.documentElement.dataset.viewer !== "busy"];
}}"""


def live_rows(seconds: float = SECONDS) -> Iterator[Row]:
    """For the twins of 20 and of 56 layers at 32 pixels; in the headless shell where the whole browser is missing."""
    is_whole = find_chromium(whole=True) is not None
    with tempfile.TemporaryDirectory() as folder, chromium(*BROWSER_ARGUMENTS, whole=is_whole) as browser:
        with served(Path(folder)) as (url, process):
            for depth, bound in BOUNDS.items():
                names = f"first=shapes-plain-{depth}&second=shapes-resnet-{depth}"
                page = opened(browser, f"{url}/?picture=sample-6-6&{names}")
                page.get_by_text("Change the image").click()
                page.evaluate(MOVE, 1)
                before = _cpu_seconds(process)
                ages, last = page.evaluate(MOVE, seconds)
                cpu = 1e3 * (_cpu_seconds(process) - before) / len(ages)
                if not last:
                    raise RuntimeError("the last place of the dial was not drawn.")
                age = percentile(ages, 0.95)
                measured = (
                    f"{age:.0f} ms (median {statistics.median(ages):.0f}, at most {max(ages):.0f}); "
                    f"{len(ages) / seconds:.1f} answers/s, {cpu:.0f} ms of the server's processor time each"
                )
                figure = f"A dial that moves, twins of {depth} layers: from the hand's place to its drawn answer, p95"
                yield Row(figure, measured, len(ages), at_most(age, bound, " ms"))
                page.context.close()


def _cpu_seconds(process: int) -> float:
    times = psutil.Process(process).cpu_times()
    return float(times.user + times.system)
