"""Measurements of gradient geometry on all cores, their cost, and where their results are kept."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from explorer import stored_results
from explorer.architectures import ArchitectureSpec, describe
from explorer.experiments.gradient_geometry import blocks, paths, shattering
from explorer.experiments.gradient_geometry.blocks import BlockSizes
from explorer.experiments.gradient_geometry.passes import (
    NORMED,
    InitialNetwork,
    at_once,
    initial_network,
    macs_of,
    spans,
)
from explorer.experiments.gradient_geometry.paths import PathSizes
from explorer.experiments.gradient_geometry.shattering import Shattering
from explorer.experiments.gradient_geometry.widths import FACTORS, widened
from explorer.experiments.stored_gradients import LabelledBatch
from explorer.experiments.throughput import on_all_cores

GeometryQuestion = Literal["shattering", "widths", "blocks", "paths"]
Result = Shattering | BlockSizes | PathSizes

QUESTIONS: dict[GeometryQuestion, type[Result]] = {
    "shattering": Shattering,
    "widths": Shattering,
    "blocks": BlockSizes,
    "paths": PathSizes,
}
"""What each question measures of a network and a seed."""


@dataclass(frozen=True, eq=False)
class GeometryStep:
    """The `share` of the work that is done, 0..1, and the result of a network and a seed where one has been found."""

    share: float
    spec: ArchitectureSpec | None = None
    seed: int = 0
    result: Result | None = None


def specs_of(question: GeometryQuestion, specs: Sequence[ArchitectureSpec]) -> tuple[ArchitectureSpec, ...]:
    """The networks that are measured: for "widths" each with the channels of all `FACTORS`, none twice, for "blocks"
    and "paths" those with residual blocks."""
    if question == "widths":
        return tuple(dict.fromkeys(widened(spec, factor) for spec in specs for factor in FACTORS))
    if question == "shattering":
        return tuple(specs)
    return tuple(spec for spec in specs if has_an_answer(question, spec))


def has_an_answer(question: GeometryQuestion, spec: ArchitectureSpec) -> bool:
    """Whether the question can be asked of the network: a plain one has no residual blocks."""
    return question in ("shattering", "widths") or residual_blocks(spec) > 0


def residual_blocks(spec: ArchitectureSpec) -> int:
    return sum(layer.kind == "sum" for layer in describe(spec).layers)


def cost(question: GeometryQuestion, spec: ArchitectureSpec, pictures: int) -> int:
    """Multiply-accumulates of one seed of one network, whose batch has so many `pictures`."""
    forward, normed = macs_of(spec), min(pictures, NORMED)
    if question == "blocks":
        return forward * normed
    if question == "paths":
        lengths = residual_blocks(spec) + 1
        parts = -(-lengths // paths.LENGTHS_AT_ONCE)
        return forward * (normed + min(pictures, paths.PICTURES) * (parts + lengths))
    return forward * (normed + 2 * shattering.PICTURES)


def measure(
    question: GeometryQuestion,
    asked: Sequence[tuple[ArchitectureSpec, int]],
    batch: LabelledBatch,
    threads: int | None = None,
) -> Generator[GeometryStep, None, None]:
    """The results for each of `asked`, a network and a seed, in their order, the last step with a `share` of 1.

    `threads` are those of `on_all_cores`. A generator that is closed stops after the parts that are being computed.
    Raises ValueError for a network without an answer, or one that takes other pictures.
    """
    for spec in {spec for spec, _ in asked}:
        if not has_an_answer(question, spec):
            raise ValueError(f"{spec.name} has no residual blocks, so nothing goes around a branch; choose a ResNet.")
    costs = [cost(question, spec, len(batch.labels)) for spec, _ in asked]
    total, done, place = sum(costs), 0.0, 0
    found: list[Any] = []
    with closing(on_all_cores(_calls(question, asked, batch), threads)) as results:
        for work, part in results:
            if part is None:
                continue
            found.append(part)
            share = min((done + costs[place] * len(found) / len(work.parts)) / total, 0.999)
            if len(found) < len(work.parts):
                yield GeometryStep(share)
                continue
            yield GeometryStep(share, *asked[place], work.finish(found))
            done, place, found = done + costs[place], place + 1, []
    yield GeometryStep(1.0)


@dataclass(frozen=True, eq=False)
class _Work:
    """One network and seed: its `network`, which one thread sets `first`, the `parts`, which take it, and what they
    come to."""

    network: Future[InitialNetwork]
    first: Callable[[], InitialNetwork]
    parts: Sequence[Callable[[InitialNetwork], Any]]
    finish: Callable[[Sequence[Any]], Result]


def _calls(
    question: GeometryQuestion, asked: Sequence[tuple[ArchitectureSpec, int]], batch: LabelledBatch
) -> Iterator[Callable[[], tuple[_Work, Any]]]:
    """The calls of all works, whose results are parts, or None of the first call.

    A network is set before the parts of the one before it, so that a part seldom waits for its own, and only for a call
    that has begun. Networks are made one by one: those of all seeds need not fit into the memory.
    """
    before: _Work | None = None
    for work in (_work(question, spec, seed, batch) for spec, seed in asked):
        yield partial(_begin, work)
        if before:
            yield from (partial(_continue, before, part) for part in before.parts)
        before = work
    if before:
        yield from (partial(_continue, before, part) for part in before.parts)


def _begin(work: _Work) -> tuple[_Work, None]:
    try:
        work.network.set_result(work.first())
    except BaseException as error:
        work.network.set_exception(error)
        raise
    return work, None


def _continue(work: _Work, part: Callable[[InitialNetwork], Any]) -> tuple[_Work, Any]:
    return work, part(work.network.result())


def _work(question: GeometryQuestion, spec: ArchitectureSpec, seed: int, batch: LabelledBatch) -> _Work:
    network: Future[InitialNetwork] = Future()
    parts: list[Callable[[InitialNetwork], Any]]
    if question == "blocks":
        return _Work(network, lambda: blocks.with_sums(spec, seed, batch), [blocks.block_sizes], lambda found: found[0])
    if question == "paths":
        lengths = spans(residual_blocks(spec) + 1, paths.LENGTHS_AT_ONCE)
        parts = [partial(paths.path_norms, seed=seed, lengths=each) for each in lengths]
        finish: Callable[[Sequence[Any]], Result] = paths.path_sizes
    else:
        pictures = spans(shattering.PICTURES, at_once(spec, shattering.AT_ONCE))
        parts = [partial(shattering.input_gradients, seed=seed, span=span) for span in pictures]

        def finish(found: Sequence[Any]) -> Result:
            return shattering.shattering(network.result(), seed, found)

    return _Work(network, lambda: initial_network(spec, seed, batch), parts, finish)


# --- kept results -----------------------------------------------------------------------------------------------------


def key(question: GeometryQuestion, spec: ArchitectureSpec, seed: int, batch: LabelledBatch) -> str:
    """Of the stored result of a network and a seed. A network of "widths" has the result of "shattering"."""
    measured = QUESTIONS[question].__name__
    return stored_results.key("geometry", [spec.fingerprint, str(seed)], batch.digest, measured=measured)


def load(question: GeometryQuestion, key: str) -> Result | None:
    """The result of that key on the server; None where there is none."""
    return stored_results.unpack(QUESTIONS[question], stored_results.load(key))


def store(key: str, result: Result) -> None:
    stored_results.store(key, stored_results.pack(result))
