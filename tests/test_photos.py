"""The photos of the gallery: rendered scenes, and the portrait that comes with matplotlib."""

import numpy as np
import pytest
from PIL import Image

from explorer.checkpoints import load_pretrained
from explorer.cli import main
from explorer.images import PHOTOS
from explorer.images.photos import RENDERED, decoded
from explorer.pretrained import CIFAR_DATA
from explorer.ui.api.binary import MessageWriter
from explorer.ui.api.introduction import SHAPES_DATA, introduction
from explorer.ui.api.predictions import pack_predictions
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import ChosenNetwork, InferenceCache, NetworkResult
from explorer.ui.services.input_images import InputImage, own_image
from explorer.ui.services.offered_networks import OfferedNetworks
from scripts import render_scenes

NAMES = ("scene-ship", "scene-airplane", "scene-automobile", "scene-truck", "scene-bird", "photo-hopper")
TWINS = tuple(f"cifar10jpeg-{kind}-{depth}" for depth in (8, 20, 56) for kind in ("plain", "resnet"))


def test_the_names_in_links_stay() -> None:
    assert tuple(PHOTOS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_photo_says_what_it_is_and_where_it_comes_from(name: str) -> None:
    image = own_image(AppState.from_query({"picture": name}))
    assert image and image.digest == name and image.title == PHOTOS[name].title and PHOTOS[name].source in image.notes
    assert min(image.pixels.shape[:2]) >= 240 and max(image.pixels.shape[:2]) >= 320
    assert image.mask is None and not image.sample
    if name.startswith("scene-"):
        assert RENDERED in image.notes and image.label == name.removeprefix("scene-")
        assert PHOTOS[name].file.stat().st_size <= render_scenes.LARGEST
        assert image.label in load_pretrained("cifar10jpeg-resnet-8").class_names
    else:
        assert "public domain" in image.notes[0] and image.label is None


@pytest.mark.parametrize("label", render_scenes.SCENES)
def test_the_files_are_what_the_command_draws(label: str) -> None:
    """At a smaller size and with fewer rays, so up to noise: another scene or another light is farther away."""
    drawn = render_scenes.picture(label, 48, 2)
    size = drawn.shape[1], drawn.shape[0]
    shipped = np.asarray(Image.fromarray(decoded(f"scene-{label}").pixels).resize(size, Image.Resampling.BOX))
    small = [
        np.asarray(Image.fromarray(each).resize((16, 12), Image.Resampling.BOX), float) for each in (drawn, shipped)
    ]
    assert np.abs(small[0] - small[1]).mean() < 4


def results(name: str, picture: str) -> tuple[InputImage, list[NetworkResult]]:
    state = AppState(first=name, second=None, picture=picture)
    subject = own_image(state)
    assert subject is not None
    return subject, [InferenceCache().run(ChosenNetwork(name, load_pretrained(name), "#000"), state, subject)]


@pytest.mark.parametrize("name", TWINS)
def test_the_networks_of_cifar_recognise_every_scene(name: str) -> None:
    """What the guide says of them."""
    for picture in NAMES[:-1]:
        subject, (network,) = results(name, picture)
        assert network.checkpoint.class_names[network.trace.prediction] == subject.label


def test_a_scene_is_shown_sharp_with_the_part_that_the_network_gets() -> None:
    subject, found = results("cifar10jpeg-resnet-8", "scene-ship")
    shown = pack_predictions(MessageWriter(), subject, found)
    original, got = shown["pictures"]
    assert (original["size"], got["size"], original["alt"]) == ("480×360", "32×32", "Ship at sea")
    assert original["words"] == "Ship at sea. Rendered scene, made by this program"
    assert shown["networks"][0]["part"] == (0.125, 0.0, 0.75, 1.0) and shown["networks"][0]["right"]


def test_a_network_of_shapes_offers_the_twins_of_photos() -> None:
    offered = OfferedNetworks({}, {}, "light", for_data={CIFAR_DATA: TWINS[:2], SHAPES_DATA: ["shapes-resnet-8"]})
    above = introduction(*results("shapes-resnet-8", "scene-ship"), offered)
    assert above["offer"]["networks"] == list(TWINS[:2]) and "photo" in above["offer"]["why"]
    assert introduction(*results("cifar10jpeg-resnet-8", "scene-ship"), offered)["offer"] is None


def test_a_terminal_knows_them_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["classify", "cifar10jpeg-resnet-8", "scene-ship", "photo-hopper"]) == 0
    said = capsys.readouterr().out
    assert RENDERED in said and "public domain" in said
