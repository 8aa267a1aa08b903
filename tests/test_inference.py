"""What a session keeps of its pictures and passes: as much as its limits allow, computed once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from explorer import checkpoints, figures
from explorer.experiments.residual_blocks import block_names
from explorer.ui.services import inference
from explorer.ui.services.caches import BLOCKS_BYTES, CACHES
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import ChosenNetwork, InferenceCache, NetworkResult
from explorer.ui.services.input_images import IMAGE_SIDE_PX, UploadStore, sample_image

NAMES = ("shapes-plain-20", "shapes-resnet-20")


def test_the_oldest_pictures_of_a_session_make_room() -> None:
    shown = figures.fit_to_screen(np.zeros((20, 20, 3), np.uint8), IMAGE_SIDE_PX)
    pictures = UploadStore(
        replace(CACHES["ui.services.input_images.UploadStore"], bytes=2 * (20 * 20 * 3 + shown.nbytes))
    )
    sizes = [figures.png(np.full((20, 20, 3), shade, np.uint8)) for shade in range(3)]
    keys = [pictures.add(content, "a.png") for content in sizes[:2]]
    assert pictures.add(sizes[0], "again.png") == keys[0]
    keys += [pictures.add(content, "a.png") for content in sizes[2:3]]
    assert [pictures.get(key) is not None for key in keys] == [True, False, True], "the one used longest ago goes"
    large = pictures.add(figures.png(np.zeros((400, 400, 3), np.uint8)), "a.png")
    assert pictures.get(large) is not None and all(pictures.get(key) is None for key in keys), "the newest stays"


def test_a_large_pass_makes_room_for_the_next() -> None:
    """Two at 224 pixels hold hundreds of megabytes."""
    network = ChosenNetwork(NAMES[0], checkpoints.load_pretrained(NAMES[0]), "#123456")

    def look(label: int) -> NetworkResult:
        return passes.run(network, AppState(), sample_image(label, 0))

    passes = InferenceCache()
    seen = [look(label) for label in range(3)]
    assert look(0).trace is seen[0].trace, "six small ones are kept"
    passes = InferenceCache(large=16)
    seen = [look(label) for label in range(3)]
    assert look(1).trace is seen[1].trace
    assert look(0).trace is not seen[0].trace


def test_blocks_are_opened_at_once_where_there_is_room_and_else_each_when_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded, subject = checkpoints.load_pretrained(NAMES[1]), sample_image(6, 6)
    names = block_names(loaded.network)
    computed: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        compute = getattr(inference, name)

        def run(*arguments: Any) -> Any:
            computed.append(name)
            return compute(*arguments)

        return run

    for each in ("anatomy", "anatomies"):
        monkeypatch.setattr(inference, each, counted(each))
    passes = InferenceCache()
    network = passes.run(ChosenNetwork(NAMES[1], loaded, "#123456"), AppState(), subject)
    every = {name: passes.block(network, subject, name) for name in (*names, *names)}
    assert computed == ["anatomies"]
    taken = sum(inside.nbytes for inside in every.values())
    assert taken <= BLOCKS_BYTES < 178_000_000, "a ResNet-50's at 224 pixels"

    computed.clear()
    passes = InferenceCache(blocks_bytes=taken - 1)
    for name in (names[0], names[-1], names[0]):
        np.testing.assert_array_equal(passes.block(network, subject, name).sum, every[name].sum)
    assert computed == ["anatomy", "anatomy"]
    computed.clear()
    passes = InferenceCache(blocks_bytes=1)  # less than one block: those of two networks stay all the same
    for name in (names[0], names[1], names[1], names[0], names[2], names[0], names[1]):
        passes.block(network, subject, name)
    assert len(computed) == 4
