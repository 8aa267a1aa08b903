"""Stored results: equal to fresh ones to the bit, gone with any other input, bounded, whole, and of their owner."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from explorer import checkpoints, stored_results
from explorer.architectures import build
from explorer.checkpoints import Checkpoint
from explorer.files import npz
from explorer.presets import cifar

INPUTS: dict[str, Any] = {"kind": "shares", "weights": ("a", "b"), "data": "d", "n": 4, "target": "label"}


def key(**changes: Any) -> str:
    return stored_results.key(**{**INPUTS, **changes})


@dataclass(frozen=True, eq=False)
class Result:
    names: tuple[str, ...]
    values: np.ndarray
    share: np.ma.MaskedArray
    reasons: dict[str, str]
    chance: float
    loss: float | None


def result() -> Result:
    values = np.array([0.1, -0.0, 5e-324, np.inf, np.nan])
    share = np.ma.array([[0.25, 7.0]], mask=[[False, True]])
    return Result(("å", ""), values.astype(np.float32), share, {"layer": "no value"}, 0.1 + 0.2, None)


def checkpoint(seed: int = 0) -> Checkpoint:
    return Checkpoint(build(cifar(8), seed).freeze(), tuple("abcdefghij"), (0.5,) * 3, (0.25,) * 3, "noise")


# --- what is stored is what was measured ------------------------------------------------------------------------------


def test_a_value_comes_back_to_the_bit() -> None:
    stored_results.store(key(), stored_results.pack(result()))
    found, fresh = stored_results.unpack(Result, stored_results.load(key())), result()
    assert found is not None
    assert (found.names, found.reasons, found.chance, found.loss) == (fresh.names, fresh.reasons, fresh.chance, None)
    assert found.values.dtype == fresh.values.dtype and found.values.tobytes() == fresh.values.tobytes()
    assert found.share.data.tobytes() == fresh.share.data.tobytes()
    assert np.array_equal(np.ma.getmaskarray(found.share), np.ma.getmaskarray(fresh.share))


def test_other_arrays_are_no_value() -> None:
    assert stored_results.unpack(Result, None) is None
    assert stored_results.unpack(Result, {"names": np.zeros(3)}) is None
    packed = stored_results.pack(result())
    del packed["values"]
    assert stored_results.unpack(Result, packed) is None


# --- any other input is another result --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "cka"},
        {"weights": ("b", "a")},
        {"weights": ("a",)},
        {"weights": ("ab",)},
        {"data": "e"},
        {"n": 5},
        {"target": "prediction"},
        {"more": 1},
        {"owner": "0" * 32},
    ],
)
def test_any_other_input_is_a_miss(changes: dict[str, Any]) -> None:
    stored_results.store(key(), stored_results.pack(result()))
    assert stored_results.load(key()) is not None and stored_results.load(key(**changes)) is None


def test_another_version_of_the_code_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    stored_results.store(key(), stored_results.pack(result()))
    monkeypatch.setitem(stored_results.VERSIONS, "shares", stored_results.VERSIONS["shares"] + 1)
    assert stored_results.load(key()) is None


def test_another_version_of_a_package_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    stored_results.store(key(), stored_results.pack(result()))
    monkeypatch.setattr(stored_results, "_versions", stored_results._versions.__wrapped__)  # as after a new start
    monkeypatch.setattr(stored_results, "version", lambda package: "0.0")
    assert stored_results.load(key()) is None


def test_nothing_of_one_owner_reaches_another() -> None:
    mine, yours = key(owner="1" * 32), key(owner="2" * 32)
    stored_results.store(mine, stored_results.pack(result()))
    assert stored_results.load(mine) is not None
    assert stored_results.load(yours) is None and stored_results.load(key()) is None


def shifted(loaded: Checkpoint) -> Checkpoint:
    """The same with the last bit of one weight changed."""
    network = build(loaded.spec, 0)
    with torch.no_grad():
        weight = network.get_parameter("head.fc.weight")
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(torch.inf))
    return replace(loaded, network=network.freeze())


@pytest.mark.parametrize(
    "change",
    [
        shifted,
        lambda loaded: checkpoint(seed=1),
        lambda loaded: replace(loaded, mean=(0.5, 0.5, 0.4)),
        lambda loaded: replace(loaded, std=(0.25, 0.25, 0.2)),
        lambda loaded: replace(loaded, resize_shorter_to=40),
        lambda loaded: replace(loaded, class_names=tuple("bacdefghij")),
    ],
)
def test_whatever_changes_an_output_changes_the_digest(change: Callable[[Checkpoint], Checkpoint]) -> None:
    assert checkpoints.digest(change(checkpoint())) != checkpoints.digest(checkpoint())


def test_facts_about_a_network_and_its_file_change_no_digest(tmp_path: Path) -> None:
    file = tmp_path / "network.safetensors"
    checkpoints.save(replace(checkpoint(), data="other", metrics={}, seed=3), file)
    assert checkpoints.digest(checkpoints.load(file)) == checkpoints.digest(checkpoint())


# --- the disk ---------------------------------------------------------------------------------------------------------


def put(number: int, values: int = 1000) -> str:
    name = key(n=number)
    stored_results.store(name, {"values": np.random.default_rng(number).random(values)})
    return name


def aged(name: str, seconds: int) -> None:
    os.utime(stored_results._path(name), (seconds, seconds))


def test_the_results_that_were_used_longest_ago_go(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [put(number) for number in range(3)]
    size = stored_results._path(names[0]).stat().st_size
    monkeypatch.setattr(stored_results, "MOST_BYTES", 3 * size + 100)
    for place, name in enumerate(names):
        aged(name, 1000 + place)
    assert stored_results.load(names[0]) is not None, "a use makes it the newest"
    names.append(put(3))
    assert [stored_results.load(name) is not None for name in names] == [True, False, True, True]
    assert sum(path.stat().st_size for path in stored_results.folder().iterdir()) <= 3 * size + 100


def test_a_result_that_cannot_be_removed_does_not_keep_the_others(scanned: list[Path]) -> None:
    for number in (1, 2):
        stored_results.store(key(n=number), {"a": np.zeros(1)})
    stored_results._trim(0)
    assert len(scanned) == 2


def test_one_result_that_is_too_large_for_the_disk_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_results, "MOST_BYTES", 100)
    assert stored_results.load(put(0)) is None and not list(stored_results.folder().iterdir())


@pytest.mark.parametrize("damage", [lambda c: c[:-30], lambda c: b"", lambda c: b"PK" + c[2:][::-1], lambda c: c[:200]])
def test_a_damaged_file_is_a_miss_and_measured_anew(damage: Callable[[bytes], bytes]) -> None:
    name = put(0)
    path = stored_results._path(name)
    path.write_bytes(damage(path.read_bytes()))
    assert stored_results.load(name) is None
    put(0)
    assert stored_results.load(name) is not None


def test_every_changed_byte_of_the_values_is_found() -> None:
    name = put(0)
    path = stored_results._path(name)
    content = path.read_bytes()
    for place in range(100, len(content) - 200, 997):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert stored_results.load(name) is None


def test_nothing_is_unpickled() -> None:
    name = put(0)
    stored_results._path(name).write_bytes(npz({"values": np.array([{"an": "object"}], dtype=object)}))
    assert stored_results.load(name) is None


def test_a_disk_without_room_stores_nothing_and_raises_nothing(data_folder: Path) -> None:
    data_folder.joinpath("results").write_text("a file stands in the way")
    assert stored_results.load(put(0)) is None


# --- what comes with the app ------------------------------------------------------------------------------------------


def test_a_shipped_result_is_found_and_a_changed_file_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "PRETRAINED", tmp_path)
    file = tmp_path / "made.npz"
    stored_results.ship({key(): stored_results.pack(result()), key(n=9): {"x": np.ones(2)}}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    for pinned, is_found in ((digest, True), ("0" * 64, False)):
        monkeypatch.setattr(checkpoints, "pinned", lambda kind, pinned=pinned: {"made": pinned})
        stored_results._shipped.cache_clear()
        assert (stored_results.unpack(Result, stored_results.load(key())) is not None) is is_found
        assert (stored_results.load(key(n=9)) is not None) is is_found
    stored_results._shipped.cache_clear()


def test_equal_results_are_shipped_as_equal_bytes(tmp_path: Path) -> None:
    files = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for file in files:
        stored_results.ship({key(): stored_results.pack(result())}, file)
    assert files[0].read_bytes() == files[1].read_bytes()
