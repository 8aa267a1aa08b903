"""The colours of figures and networks, as people with a common colour blindness see them.

Dichromacy is simulated with the matrices that Machado, Oliveira and Fernandes publish for severity 1.0 ("A
Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE Transactions on Visualization and Computer
Graphics 15(6), 2009). They take and give linear RGB.
"""

import itertools
from typing import Literal

import numpy as np
import pytest

from explorer import figures
from explorer.figures import DIVERGING, SEQUENTIAL, ColourScale
from explorer.figures.charts import GREY
from explorer.figures.gradients import ZERO

SIGHTS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
# Distances are Euclidean in CIELAB (CIE 1976). About 2.3 is just noticeable where two fields touch (Mahy et al. 1994).
# Lines of a chart do not touch, and thumbnails are small: ten times that.
APART = 23.0
BACKGROUNDS = {"light": (255, 255, 255), "dark": (13, 17, 19)}

Theme = Literal["light", "dark"]
sights = pytest.mark.parametrize("sight", SIGHTS)
themes = pytest.mark.parametrize("theme", BACKGROUNDS)


def linear(colours: np.ndarray) -> np.ndarray:
    """Linear RGB 0..1 of sRGB 0..255 (IEC 61966-2-1)."""
    share = np.asarray(colours, dtype=np.float64) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(colours: np.ndarray, sight: str) -> np.ndarray:
    """CIELAB (..., 3) of sRGB colours 0..255 (..., 3) as that sight sees them, for the white D65."""
    seen = np.clip(linear(colours) @ SIGHTS[sight].T, 0, 1)
    xyz = seen @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    share = xyz / np.array([0.4124 + 0.3576 + 0.1805, 1.0, 0.0193 + 0.1192 + 0.9505])
    root = np.where(share > (6 / 29) ** 3, np.cbrt(share), share / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def distance(one: np.ndarray, other: np.ndarray, sight: str) -> np.ndarray:
    return np.linalg.norm(lab(one, sight) - lab(other, sight), axis=-1)


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """1..21, as WCAG 2.2 defines it."""
    brighter, darker = sorted((linear(colour) @ (0.2126, 0.7152, 0.0722) for colour in (one, other)), reverse=True)
    return float((brighter + 0.05) / (darker + 0.05))


def test_the_measures_are_those_of_the_literature() -> None:
    # Sharma, Wu and Dalal 2005 and every textbook: the Lab of sRGB's red, and of its white.
    np.testing.assert_allclose(lab(np.array([255, 0, 0]), "normal"), [53.24, 80.09, 67.20], atol=0.05)
    np.testing.assert_allclose(lab(np.array([255, 255, 255]), "normal"), [100, 0, 0], atol=0.05)
    assert contrast(np.zeros(3), np.full(3, 255)) == pytest.approx(21)
    for sight, matrix in SIGHTS.items():
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=2e-6, err_msg=f"{sight}: grey stays grey")
    # What they are known for: red and green of one lightness are alike without one of the two long cones.
    red, green = np.array([190, 60, 60]), np.array([95, 115, 50])
    assert distance(red, green, "normal") > 60
    assert distance(red, green, "deuteranopia") < APART < distance(red, green, "tritanopia")


@sights
def test_a_larger_size_is_never_drawn_darker(sight: str) -> None:
    lightness = lab(ColourScale.sizes(1.0).paint(np.linspace(0, 1, 256)), sight)[:, 0]
    assert lightness[0] < 2 and lightness[-1] > 90
    # A table of whole numbers from 0 to 255 may stand still for a step; going back is seen from one unit on.
    assert np.diff(lightness).min() > -0.5, f"{SEQUENTIAL} gets darker at {np.diff(lightness).argmin()} of 255"
    assert (np.diff(lightness[::16]) > 2).all(), "every sixteenth of the scale is visibly lighter"


@sights
def test_below_and_above_zero_are_told_apart(sight: str) -> None:
    scale, sizes = ColourScale.signed(1.0), np.linspace(0, 1, 128)
    below, above = scale.paint(-sizes), scale.paint(sizes)
    apart = distance(below, above, sight)
    assert apart[sizes >= 0.5].min() > APART, f"{DIVERGING}: both halves of the scale look alike"
    for name, arm in (("below", below), ("above", above)):
        lightness = lab(arm, sight)[::8, 0]
        assert np.diff(lightness).max() < -1, f"{name} zero, a larger size is not darker"
        assert lightness[0] > 95 and lightness[0] - lightness[-1] > 50


@sights
@themes
def test_networks_are_told_apart_and_seen_against_the_background(theme: Theme, sight: str) -> None:
    colours = {name: rgb(colour) for name, colour in figures.NETWORK_COLOURS[theme].items()}
    for one, other in itertools.combinations(colours, 2):
        apart = float(distance(colours[one], colours[other], sight))
        assert apart > APART, f"{one} and {other} are {apart:.1f} apart"
    for name, colour in colours.items():
        for grey in (rgb(GREY), np.array(ZERO)):
            assert distance(colour, grey, sight) > APART / 2, f"{name} looks like the grey of no network"


@themes
def test_text_in_a_networks_colour_is_legible(theme: Theme) -> None:
    for name, colour in [*figures.NETWORK_COLOURS[theme].items(), ("text", figures.TEXT_COLOURS[theme])]:
        ratio = contrast(rgb(colour), np.array(BACKGROUNDS[theme]))
        assert ratio >= 4.5, f"{name} has {ratio:.2f}:1 on the {theme} background"


@sights
def test_the_grey_of_zero_is_no_colour_of_sizes(sight: str) -> None:
    scale = ColourScale.sizes(1.0).paint(np.linspace(0, 1, 256))
    nearest = float(distance(scale, np.array(ZERO), sight).min())
    assert nearest > APART / 2, f"the nearest colour of {SEQUENTIAL} is {nearest:.1f} away"
