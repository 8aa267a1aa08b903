"""Rows of the tables that the benchmarks print and write into docs/: written by the command, never by hand."""

import os
import re
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

from driving.chromium import find_chromium, version
from explorer.machine import cores
from explorer.training import choose_device, choose_precision, device_name

ROOT = Path(__file__).parents[1]
# What decides how fast a processor computes, the best first, as torch names it.
INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "avx512_f": "AVX-512", "avx2": "AVX2"}
LIMITS = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")  # which keep torch from some of them
HEAD = "| figure | measured | bound | met | n |\n|---|---|---|---|---|"


@dataclass(frozen=True)
class Bound:
    """What was promised of a figure, and whether what was measured keeps it."""

    words: str
    met: bool


@dataclass(frozen=True)
class Row:
    """One figure: what was measured, with its spread and unit, over `n` rounds, starts or answers."""

    figure: str
    measured: str
    n: int
    bound: Bound | None = None

    def __str__(self) -> str:
        words, met = ("", "") if self.bound is None else (self.bound.words, "yes" if self.bound.met else "**missed**")
        return f"| {self.figure} | {self.measured} | {words} | {met} | {self.n:,} |"


def at_most(value: float, most: float, unit: str = "", what: str = "") -> Bound:
    return Bound(f"{what} ≤ {most:,g}{unit}".strip(), value <= most)


def at_least(value: float, least: float) -> Bound:
    return Bound(f"≥ {least:,g}", value >= least)


def above(value: float, than: float) -> Bound:
    return Bound(f"> {than:,g}", value > than)


def ratios(some: Sequence[float], others: Sequence[float]) -> list[float]:
    """Round by round."""
    return [one / other for one, other in zip(some, others, strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median and the quartiles."""
    low, _, high = statistics.quantiles(values, n=4)
    return f"{statistics.median(values):.{digits}f} (quartiles {low:.{digits}f} to {high:.{digits}f})"


def compared(some: Sequence[float], others: Sequence[float]) -> str:
    """Of seconds: the median of the ratios of each round, their quartiles, and both medians."""
    absolute = f"{1e3 * statistics.median(some):,.0f} / {1e3 * statistics.median(others):,.0f} ms"
    return f"{spread(ratios(some, others)).removesuffix(')')}; {absolute})"


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def machine(*, browser: bool = False) -> str:
    """On what, with what, of which state of this repository, and when. `browser`: with which one, too, which is the
    headless shell where the whole browser is missing."""
    able = torch.cpu.get_capabilities()
    computes = next((f" with {words}" for key, words in INSTRUCTIONS.items() if able.get(key)), "")
    parts = [f"{cores()} processors", device_name(torch.device("cpu")) + computes, f"torch {torch.__version__}"]
    parts += [f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ]
    if browser and (found := find_chromium(whole=True) or find_chromium()):
        parts.append(version(found))
    return ", ".join([*parts, f"commit {_commit()}", str(date.today())])


def precision() -> str:
    """What this machine trains in, "float32" or "bfloat16"."""
    return str(choose_precision(choose_device())).removeprefix("torch.")


def by_precision(name: str) -> str:
    """The name of a table that both kinds of machines have, those that train in bfloat16 and the others."""
    return f"{name}-{precision()}"


def _commit() -> str:
    """Its short number, with a plus where the files differ from it."""
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, encoding="utf-8")
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, encoding="utf-8"
    ).stdout.strip()
    return (told.stdout.strip() or "unknown") + ("+" if changed else "")


class Report:
    """Prints the rows as they come, and keeps what was printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.rows: list[Row] = []
        self.missed = 0
        self._print(HEAD)

    def show(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.rows.append(row)
            self.missed += row.bound is not None and not row.bound.met
            self._print(str(row))

    def end(self, note: str) -> None:
        self._print(f"\n{note}")

    def _print(self, text: str) -> None:
        self.lines += text.split("\n")
        print(text, flush=True)

    def write(self, name: str) -> None:
        write(name, self.lines)


def refresh(name: str, part: str, rows: Sequence[Row], machine: str) -> None:
    """Puts these rows into the table `docs/NAME.md`: each in the place of the one of the same figure, others at its
    end. The note below it says on which machine this `part` was measured, and how busy that was."""
    *table, _, note = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8").splitlines()
    for line in map(str, rows):
        same = [index for index, other in enumerate(table) if other.split("|")[1] == line.split("|")[1]]
        table[same[0] if same else len(table) :] = [line, *table[same[0] + 1 :]] if same else [line]
    load = psutil.getloadavg()[-1]
    words = f"Rows of `{part}`, at a load average of {load:.1f} in the last 15 minutes: {machine}."
    older = re.compile(rf" Rows of `{re.escape(part)}`[^:]*: .*?\d{{4}}-\d\d-\d\d\.")
    write(name, [*table, "", f"{older.sub('', note)} {words}"])


def write(name: str, lines: Iterable[str]) -> None:
    """Writes the table to `docs/NAME.md`, which docs/measurements.md links to."""
    (ROOT / "docs" / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
