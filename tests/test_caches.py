"""What the app caches: the table names every cache, and the LRU cache keeps what it promises."""

import ast
import functools
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from explorer import stored_results
from explorer.architectures import build
from explorer.checkpoints import Checkpoint
from explorer.presets import cifar
from explorer.ui.network_registry import weight_bytes
from explorer.ui.services.caches import CACHES, Limit, LruCache

ROOT = Path(__file__).parents[1]
DECORATORS = {"cache_resource", "cache_data", "lru_cache", "cache", "cached", "cachedmethod"}
parsed = functools.lru_cache(ast.parse)  # each file is read several times
TWO = Limit("letters", "process", entries=2)


def network(seed: int = 0) -> Checkpoint:
    return Checkpoint(build(cifar(8), seed).freeze(), tuple("abcdefghij"), (0.5,) * 3, (0.25,) * 3, "noise")


def size(loaded: Checkpoint) -> int:
    state = loaded.network.state_dict()
    return sum(value.numel() * value.element_size() for value in state.values())


def networks(most: int) -> LruCache[Checkpoint]:
    return LruCache(Limit("networks", "process", bytes=most), weight_bytes)


# --- the cache --------------------------------------------------------------------------------------------------------


def test_what_was_not_used_for_longest_goes() -> None:
    cache = networks(2 * size(network()))
    loads: list[str] = []

    def asked(name: str) -> Checkpoint:
        def load() -> Checkpoint:
            loads.append(name)
            return network()

        return cache.get(name, load)

    first = asked("a")
    for name in "babc":
        asked(name)
    assert loads == ["a", "b", "c"]
    assert asked("b") is asked("b") and loads == ["a", "b", "c"]
    assert asked("a") is not first and loads == ["a", "b", "c", "a"], "c took its place"


def test_one_that_is_larger_than_all_the_room_is_used_all_the_same() -> None:
    cache = networks(1)
    loaded = cache.get("a", network)
    assert cache.get("a", network) is loaded
    assert cache.get("b", network) is not loaded and cache.get("a", network) is not loaded


def test_never_fewer_than_the_least_are_kept() -> None:
    cache: LruCache[str] = LruCache(Limit("letters", "session", bytes=1, least=3), size=lambda _: 10)
    for letter in "abcd":
        cache.put(letter, letter)
    assert cache.snapshot() == {"b": "b", "c": "c", "d": "d"}


def test_many_who_ask_at_once_load_it_once_and_wait_for_nobody_elses() -> None:
    cache = networks(10**9)
    going, go_on = threading.Event(), threading.Event()
    loads: list[int] = []

    def slowly() -> Checkpoint:
        loads.append(1)
        going.set()
        assert go_on.wait(60)
        return network()

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(cache.get, "a", slowly) for _ in range(4)]
        assert going.wait(60)
        assert cache.get("b", network) is cache.get("b", network)
        go_on.set()
        assert len({id(each.result()) for each in waiting}) == 1
    assert loads == [1]


def test_what_could_not_be_loaded_is_tried_again() -> None:
    def broken() -> Checkpoint:
        raise ValueError("no.")

    cache = networks(10**9)
    with pytest.raises(ValueError, match="no"):
        cache.get("a", broken)
    assert cache.get("a", network) is cache.get("a", broken)


def test_the_last_few_are_kept_and_computed_once() -> None:
    kept: LruCache[str] = LruCache(TWO)
    computed: list[str] = []

    def value(key: str) -> str:
        return kept.get(key, lambda: computed.append(key) or key)  # type: ignore[func-returns-value]

    assert [value(key) for key in "abab"] == [*"abab"] and computed == [*"ab"]
    value("c")  # a was used before b
    assert value("b") == "b" and computed == [*"abc"]
    assert value("a") == "a" and computed == [*"abca"]

    def fails() -> str:
        raise ValueError("not computed")

    with pytest.raises(ValueError):
        kept.get("d", fails)
    assert value("d") == "d", "a failure is not kept"


def test_a_list_of_all_is_no_use_of_each() -> None:
    kept: LruCache[str] = LruCache(TWO)
    for letter in "ab":
        kept.put(letter, letter)
    assert kept.find("a") == "a" and list(kept.snapshot()) == ["a", "b"]
    kept.put("c", "c")
    assert "a" in kept and "b" not in kept and kept.find("b") is None
    kept.put("a", "A")
    assert kept.snapshot() == {"c": "c", "a": "A"} and len(kept) == 2, "the newest is the last"
    kept.remove("a")
    kept.remove("x")
    assert len(kept) == 1


def test_a_limit_that_the_cache_cannot_apply_is_refused() -> None:
    with pytest.raises(ValueError, match="letters"):
        LruCache(Limit("letters", "process", bytes=10))


def test_a_limit_in_bytes_counts_what_a_network_holds() -> None:
    assert weight_bytes(network()) == size(network())


# --- the table --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Use:
    """A function that a decorator caches: its place, the text of its limit, and whether its session owns it."""

    place: str
    limit: str
    of_session: bool


def uses(source: str, module: str) -> Iterator[Use]:
    """The functions in a file of `explorer/` that a decorator caches."""
    for node in ast.walk(parsed(source)):
        for decorator in getattr(node, "decorator_list", ()):
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if ast.unparse(called).split(".")[-1] not in DECORATORS:
                continue
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in getattr(decorator, "keywords", ())}
            first = [ast.unparse(argument) for argument in getattr(decorator, "args", ())]
            limit = [*first, *(given[name] for name in ("max_entries", "maxsize") if name in given)]
            assert isinstance(node, ast.FunctionDef)
            yield Use(f"{module}.{node.name}", (limit or ["None"])[0], given.get("scope") == "'session'")


def is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def named(source: str) -> list[str]:
    """The keys of the table that a file reads for a cache of its own, none of those in a decorator."""
    tree = parsed(source)
    decorators = [each for node in ast.walk(tree) for each in getattr(node, "decorator_list", ())]
    inside = {id(node) for decorator in decorators for node in ast.walk(decorator)}
    return [
        ast.literal_eval(node.slice)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and is_name(node.value, "CACHES") and id(node) not in inside
    ]


def wrong_caches(source: str, module: str) -> list[str]:
    """What is wrong with the caches of a file, one line each. `module` is without "explorer."."""
    wrong = []
    for use in uses(source, module):
        limit = CACHES.get(use.place)
        if limit is None:
            wrong.append(f"{use.place} is a cache and not in the table")
        elif use.limit not in (f"CACHES['{use.place}'].entries", str(limit.entries)):
            wrong.append(f"{use.place} has the limit {use.limit}, in the table {limit.entries}")
        elif use.of_session != (limit.lifetime == "session"):
            wrong.append(f"{use.place} does not live as long as the table says")
    nodes = list(ast.walk(parsed(source)))
    wrong += [f"{module} reads the limit of {key}" for key in named(source) if not key.startswith(f"{module}.")]
    ours = [node for node in nodes if isinstance(node, ast.Call) and is_name(node.func, "LruCache")]
    if len(ours) != len(named(source)):
        wrong.append(f"{module} makes {len(ours)} caches with {len(named(source))} limits of the table")
    for node in nodes:
        popped = isinstance(node, ast.Attribute) and node.attr == "popitem"
        if popped or isinstance(node, ast.Delete) and "next(iter(" in ast.unparse(node):
            wrong.append(f"{module} drops what is oldest by hand: use LruCache")
    return wrong


def files() -> dict[str, str]:
    """The text of each file of `explorer/` that may cache something, but of the table itself, by its module without
    "explorer."."""
    folder = ROOT / "explorer"
    texts = {
        ".".join(path.relative_to(folder).with_suffix("").parts): path.read_text() for path in folder.rglob("*.py")
    }
    del texts["ui.services.caches"]
    return {name: text for name, text in texts.items() if re.search(r"cache|popitem|next\(iter\(", text, re.I)}


def test_the_table_names_every_cache_with_its_limit_and_lifetime() -> None:
    assert not [line for module, source in files().items() for line in wrong_caches(source, module)]


def test_the_table_names_nothing_else() -> None:
    places = {use.place for module, source in files().items() for use in uses(source, module)}
    on_disk = {place for place, limit in CACHES.items() if limit.lifetime == "disk"}
    assert places | {key for source in files().values() for key in named(source)} == {*CACHES} - on_disk
    assert on_disk == {"stored_results.store"} and CACHES["stored_results.store"].bytes == stored_results.MOST_BYTES


CARD = "@st.cache_resource(max_entries=%s%s)\ndef _summary(): pass"


@pytest.mark.parametrize(
    "source",
    [
        "@lru_cache(maxsize=5)\ndef new(): pass",
        "@functools.cache\ndef new(): pass",
        "@st.cache_data\ndef new(): pass",
        CARD % (9, ""),
        CARD % ("None", ""),
        CARD % ("CACHES['ui.dataset_access._drawn'].entries", ""),
        CARD % (8, ", scope='session'"),
        "cache = LruCache(Limit('all', 'process', entries=10))",
        "del kept[next(iter(kept))]",
        "kept.popitem(last=False)",
    ],
)
def test_a_cache_beside_the_table_is_found(source: str) -> None:
    assert len(wrong_caches(source, "ui.dataset_access")) == 1


@pytest.mark.parametrize("limit", ["8", "CACHES['ui.dataset_access._summary'].entries"])
def test_a_cache_of_the_table_is_not(limit: str) -> None:
    assert not wrong_caches(CARD % (limit, ""), "ui.dataset_access")
    assert not wrong_caches("LruCache(CACHES['ui.widgets.long_task.results'])", "ui.widgets.long_task")
