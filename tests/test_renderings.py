"""One rendering for all images of a set, kept with the set and with a network that learned from it."""

import io
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer import checkpoints
from explorer.architectures import build
from explorer.checkpoints import Checkpoint
from explorer.cli.main import main
from explorer.datasets import folders, stored
from explorer.images import PAPERS, PLAIN, Rendering, common_scale, decode
from explorer.presets import cifar
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import pixels_for
from explorer.ui.services.input_images import InputImage, UploadStore, find_image

RANDOM = np.random.default_rng(0)


def png(pixels: np.ndarray | Image.Image) -> bytes:
    file = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, "PNG")
    return file.getvalue()


def deep(largest: int, side: int = 8) -> np.ndarray:
    pixels = RANDOM.integers(0, largest, (side, side)).astype(np.uint16)
    pixels[0, :2] = 100, largest
    return pixels


def icon(colour: tuple[int, int, int]) -> Image.Image:
    """A square of that colour on nothing."""
    image = Image.new("RGBA", (8, 8), (*colour, 0))
    image.paste((*colour, 255), (2, 2, 6, 6))
    return image


def folder_of(root: Path, pictures: dict[str, bytes]) -> Path:
    for name, content in pictures.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def network(rendering: Rendering) -> Checkpoint:
    found = build(cifar(8, classes=2)).freeze()
    return Checkpoint(found, ("a", "b"), (0.5,) * 3, (0.2,) * 3, "own", rendering=rendering)


def found_image(state: AppState, uploads: UploadStore) -> InputImage:
    found = find_image(state, uploads)
    assert found
    return found


# --- the scale -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ((0, 65535), (0, 65535)),
        ((7, 4000), (0, 4095)),
        ((0, 4096), (0, 8191)),
        ((3, 200), (0, 255)),
        ((-1024, 3071), (-1024, 4095)),
        ((0.25, 0.75), (0.25, 0.75)),
        ((0, 0), (0, 255)),
        ((1.5, 1.5), (1.5, 2.5)),
    ],
)
def test_the_scale_is_that_of_the_bit_depth_or_of_the_values(values, scale):
    assert common_scale(values) == scale


@pytest.mark.parametrize("order", list(itertools.permutations((300, 4000, 60_000))))
def test_equal_values_get_equal_levels_whatever_else_is_in_a_file(tmp_path, order):
    pictures = {f"{name}/{number}.png": deep(largest) for number, largest in enumerate(order) for name in "ab"}
    source = folder_of(tmp_path, {name: png(pixels) for name, pixels in pictures.items()})
    dataset = folders.load(source, (8, 8), validation=0)
    assert dataset.rendering == Rendering(scale=(0, 65535))
    found = np.concatenate([dataset.train.images, dataset.test.images])[:, 0]
    expected = np.stack([np.rint(pixels / 257).astype(np.uint8) for pixels in pictures.values()])
    assert sorted(map(bytes, found)) == sorted(map(bytes, expected))
    (note,) = [note for note in dataset.notes if "more than 8 bits" in note]
    assert note.startswith(
        "Images of one channel with more than 8 bits: 6. All have the same scale, 0 (black) to 65535"
    )


def test_a_dark_set_is_not_black(tmp_path):
    source = folder_of(tmp_path, {f"{name}/{number}.png": png(deep(4000)) for name in "ab" for number in range(3)})
    dataset = folders.load(source, (8, 8))
    assert dataset.rendering.scale == (0, 4095) and dataset.train.images.max() == round(4000 * 255 / 4095)


def test_a_given_scale_is_kept(tmp_path):
    source = folder_of(tmp_path, {f"{name}/{number}.png": png(deep(4000)) for name in "ab" for number in range(3)})
    dataset = folders.load(source, (8, 8), rendering=Rendering("black", (0, 65535)))
    assert dataset.rendering == Rendering("black", (0, 65535)) and dataset.train.images.max() == round(4000 / 257)


# --- paper -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paper", PAPERS)
def test_transparent_parts_lie_on_the_paper_that_was_chosen(tmp_path, paper):
    level = {"white": 255, "grey": 128, "black": 0}[paper]
    pictures = {f"{name}/{number}.png": png(icon((250, 0, 0))) for name in "ab" for number in range(3)}
    dataset = folders.load(folder_of(tmp_path, pictures), (8, 8), rendering=Rendering(paper))
    assert (dataset.train.images[:, :, 0, 0] == level).all() and (dataset.train.images[:, 0, 4, 4] == 250).all()
    assert f"Images with transparent parts, laid on {paper}: 6." in dataset.notes
    assert decode(png(icon((250, 0, 0))), "a", Rendering(paper)).notes == (
        f"Its transparent parts are shown on {paper}.",
    )


def test_a_picture_that_is_one_colour_is_named(tmp_path):
    pictures = {f"{name}/{number}.png": png(icon((0, 0, 0))) for name in "ab" for number in range(3)}
    source = folder_of(tmp_path, pictures)
    with pytest.raises(ValueError, match="one and the same colour on black.*choose another colour under transparent"):
        folders.load(source, (8, 8), rendering=Rendering("black"))
    folder_of(tmp_path, {f"b/red{number}.png": png(icon((200, 0, 0))) for number in range(4)})
    dataset = folders.load(source, (8, 8), rendering=Rendering("black"))
    (note,) = [note for note in dataset.notes if "one colour" in note]
    assert note.startswith("Images that are one colour on black, so that nothing is seen: 6 (`a/0.png`, ")
    assert not any("one colour" in note for note in folders.load(source, (8, 8)).notes)
    assert "All of it is one colour on black" in decode(png(icon((0, 0, 0))), "a", Rendering("black")).notes[-1]


def test_a_picture_is_rendered_again_as_if_from_its_file():
    for data in (png(deep(4000)), png(icon((9, 8, 7))), png(Image.fromarray(deep(200).astype(np.uint8)))):
        first = decode(data, "a")
        for rendering in (Rendering("black"), Rendering("grey", (0, 8191)), PLAIN):
            again, anew = first.rendered(rendering), decode(data, "a", rendering)
            np.testing.assert_array_equal(again.pixels, anew.pixels)
            assert again.notes == anew.notes


# --- kept ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rendering", [PLAIN, Rendering("black"), Rendering("grey", (0, 4095)), Rendering(scale=(-1.5, 2.0))]
)
def test_it_is_kept_with_the_set_and_with_the_network(tmp_path, rendering):
    pictures = {f"{name}/{number}.png": png(deep(255).astype(np.uint8)) for name in "ab" for number in range(3)}
    dataset = replace(folders.load(folder_of(tmp_path / "own", pictures), (8, 8)), rendering=rendering)
    stored.save(dataset, tmp_path / "set")
    assert stored.load(tmp_path / "set").rendering == rendering
    checkpoints.save(network(rendering), tmp_path / "a.safetensors")
    assert checkpoints.load(tmp_path / "a.safetensors").rendering == rendering


def test_the_digest_of_a_network_is_as_before_unless_it_has_a_rendering():
    plain, dark = checkpoints.digest(network(PLAIN)), checkpoints.digest(network(Rendering("black")))
    assert plain != dark


def test_explore_gives_each_network_the_rendering_of_its_images():
    pixels, uploads = deep(4000), UploadStore()
    picture = uploads.add(png(pixels), "a.png")
    image = found_image(AppState(picture=picture), uploads)
    wide = network(Rendering(scale=(0, 65535)))
    np.testing.assert_array_equal(pixels_for(wide, image)[0][..., 0], np.rint(pixels / 257))
    np.testing.assert_array_equal(pixels_for(network(PLAIN), image)[0], image.pixels)


def test_explore_lays_a_picture_on_the_paper_of_the_view_else_of_each_network():
    uploads = UploadStore()
    picture = uploads.add(png(icon((250, 0, 0))), "a.png")
    corner = {}
    for paper in (None, *PAPERS):
        image = found_image(AppState(picture=picture, paper=paper), uploads)
        corner[paper] = [
            int(pixels_for(each, image)[0][0, 0, 0]) for each in (network(PLAIN), network(Rendering("black")))
        ]
    assert corner == {None: [255, 0], "white": [255, 255], "grey": [128, 128], "black": [0, 0]}


def test_the_terminal_does_so_too(tmp_path, capsys):
    checkpoints.save(network(Rendering("black", (0, 65535))), tmp_path / "own.safetensors")
    (tmp_path / "deep.png").write_bytes(png(deep(4000)))
    (tmp_path / "icon.png").write_bytes(png(icon((250, 0, 0))))
    asked = [
        "classify",
        str(tmp_path / "own.safetensors"),
        *(str(tmp_path / f"{name}.png") for name in ("deep", "icon")),
    ]

    def notes(*more: str) -> list[list[str]]:
        assert main([*asked, *more, "--json"]) == 0
        return [each["notes"] for each in json.loads(capsys.readouterr().out)["pictures"]]

    assert notes()[0][0].endswith("to 4000, are shown from 0 (black) to 65535 (white), as in the data set.")
    assert notes()[1] == ["Its transparent parts are shown on black."]
    assert notes("--paper", "grey")[1] == ["Its transparent parts are shown on grey."]


def test_an_own_set_of_8_bits_has_the_plain_rendering(tmp_path):
    pictures = {f"{name}/{number}.png": png(deep(255).astype(np.uint8)) for name in "ab" for number in range(3)}
    assert folders.load(folder_of(tmp_path, pictures), (8, 8)).rendering == PLAIN
