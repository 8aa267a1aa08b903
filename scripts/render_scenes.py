"""The rendered scenes of the gallery: `make scenes` draws them into explorer/images/scenes/, which takes some minutes.

They are modelled by hand and lit like the open air. None of their numbers was chosen by what a network says of them.
One file: each scene is a section of its own, and they share light, road and materials.
"""

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.ray_tracing import (
    Camera,
    Part,
    Surface,
    Vectors,
    World,
    box,
    clouded,
    cone,
    ellipsoid,
    extruded,
    joined,
    mix,
    noise,
    polygon,
    render,
    step,
    unit,
    vector,
    wheel,
)

FOLDER = Path(__file__).parents[1] / "explorer" / "images" / "scenes"
HEIGHT, WIDTH, SAMPLES = 360, 480, 12
QUALITY, LARGEST = 88, 60_000  # of JPEG; bytes of a file

WHITE, BLACK = vector(0.8, 0.8, 0.78), vector(0.012, 0.012, 0.014)
GLASS: tuple[Vectors, float, float] = (vector(0.015, 0.02, 0.025), 0.12, 300.0)
RUBBER: tuple[Vectors, float, float] = (vector(0.022, 0.022, 0.023), 0.01, 8.0)
CHROME: tuple[Vectors, float, float] = (vector(0.3, 0.3, 0.31), 0.35, 120.0)
SUN = unit(vector(0.5, 0.75, 0.55))
SUNLIGHT, SKYLIGHT = vector(1.9, 1.72, 1.45), vector(0.26, 0.33, 0.44)


def plain(albedo: Vectors, mirror: float = 0.03, gloss: float = 60.0) -> Callable[[Vectors, Vectors], Surface]:
    return lambda p, normal: (albedo * np.ones_like(p), mirror, gloss)


def fixed(surface: tuple[Vectors, float, float]) -> Callable[[Vectors, Vectors], Surface]:
    return plain(*surface)


def painted(p: Vectors, albedo: Vectors, *layers: tuple[np.ndarray, Vectors]) -> Vectors:
    """The albedo with others where their masks say."""
    found = albedo * np.ones_like(p)
    for mask, colour in layers:
        found = np.where(mask, colour, found)
    return found


def day_sky(direction: Vectors, cover: float = 0.5, shift: float = 0.0) -> Vectors:
    """Blue, paler at the horizon, with fair-weather clouds over a share of it."""
    up = np.clip(direction[1], 0, 1)
    colour = mix(vector(0.42, 0.52, 0.62), vector(0.05, 0.16, 0.42), up**0.5)
    x, z = direction[0] / (up + 0.12), direction[2] / (up + 0.12)
    puffs = step(1 - cover, 1.35 - cover, clouded(1.3 * x + shift, 1.3 * z + 4) + 0.25 * clouded(5 * x, 5 * z) - 0.1)
    return mix(colour, vector(0.8, 0.8, 0.82), puffs * step(0.0, 0.12, up) * 0.85)


# --- at sea -----------------------------------------------------------------------------------------------------------

_WAVES = [
    (0.55 * 1.55**k, 0.035 * 0.93**k, 0.7 + 0.55 * np.sin(2.4 * k), k * 1.7) for k in range(9)
]  # number, steepness, direction, phase


def sea(p: Vectors, t: np.ndarray) -> tuple[Surface, Vectors]:
    slope_x, slope_z, crest = np.zeros_like(t), np.zeros_like(t), np.zeros_like(t)
    bend = 3 * clouded(p[0] / 23, p[2] / 23, octaves=2)
    for number, steep, angle, phase in _WAVES:
        number *= 0.45
        wave = number * (p[0] * np.cos(angle) + p[2] * np.sin(angle)) + phase + bend
        fade = np.exp(-t * number / 140)
        slope_x += steep * np.cos(angle) * np.cos(wave) * 1.6 * fade
        slope_z += steep * np.sin(angle) * np.cos(wave) * 1.6 * fade
        crest += steep * np.sin(wave) * fade
    slope_x += 0.16 * (clouded(p[0] * 1.1, p[2] * 1.1, octaves=4) - 0.5) * np.exp(-t / 160)
    normal = unit(np.stack([-slope_x, np.ones_like(t), -slope_z]))
    along = np.abs(p[2]) - 4.6 * (1 - step(8, 31, p[0]))
    wake = step(3.2, 0.2, along) * step(31, 27, p[0]) * step(-75, -32, p[0])
    foam = step(0.6, 0.8, clouded(p[0] * 0.9, p[2] * 1.5) + 0.3 * wake - 0.12 + 0.6 * crest)
    albedo = mix(vector(0.008, 0.05, 0.07), vector(0.02, 0.09, 0.11), step(-0.05, 0.12, crest))
    return (mix(albedo, vector(0.75, 0.8, 0.82), foam), 0.03 * (1 - foam), 180.0), normal


HULL = [(-29.0, 5.2), (-28.0, -2.0), (26.5, -2.0), (31.5, 7.4), (24.0, 6.2), (14.0, 4.4), (-20.0, 4.2)]


def ship_parts(p: Vectors) -> list[Part]:
    x, y, z = p
    beam = 4.7 * (1 - np.clip((x - 12) / 21, 0, 1) ** 2) * (1 - 0.25 * np.clip((-18 - x) / 12, 0, 1) ** 2)
    hull = extruded(polygon(x, y, HULL), z, np.maximum(beam * (0.9 + 0.02 * y), 0.05), 0.05) * 0.7
    stacks = [
        box(p, (-9.0 + 6.3 * k, 5.0 + 0.5 * h, s), (2.9, 0.5 * h + 0.9, 1.9), 0.06)
        for k, h in enumerate((3.2, 4.4, 2.0, 3.2))
        for s in (-2.0, 2.0)
    ]
    house = np.minimum(box(p, (-21, 7.5, 0), (4.6, 3.6, 3.9), 0.15), box(p, (-20.4, 12.6, 0), (3.4, 1.7, 3.6), 0.2))
    house = np.minimum(house, box(p, (-20, 14.8, 0), (2.6, 0.7, 4.7), 0.1))
    masts = np.minimum(
        cone(p, (-19.5, 15, 0), (-19.5, 20, 0), 0.22, 0.1), cone(p, (25, 5, 0), (25, 13.5, 0), 0.3, 0.12)
    )
    masts = np.minimum(masts, cone(p, (-19.5, 18, -1.6), (-19.5, 18, 1.6), 0.1, 0.1))
    funnel = cone(p, (-24.4, 10, 0), (-24.8, 16.2, 0), 1.25, 1.1)
    return [(hull, "hull"), (np.minimum.reduce(stacks), "boxes"), (house, "house"), (masts, "mast"), (funnel, "funnel")]


def _hull(p: Vectors, normal: Vectors) -> Surface:
    rust = clouded(p[0] * 0.8, p[1] * 0.25, p[2] * 0.3)
    paint = painted(
        p,
        vector(0.02, 0.05, 0.13),
        (p[1] < 0.9, vector(0.35, 0.04, 0.025)),
        ((p[1] > 0.9) & (p[1] < 1.15), WHITE),
        (normal[1] > 0.7, vector(0.16, 0.08, 0.05)),
    )
    return mix(paint, vector(0.2, 0.09, 0.04), step(0.62, 0.85, rust) * 0.7), 0.03, 50.0


def _boxes(p: Vectors, normal: Vectors) -> Surface:
    column, row = np.floor((p[0] + 12.15) / 6.3), np.floor((p[1] - 4.1) / 1.45)
    pick = noise(column * 7.3 + 0.5, row * 3.7 + 0.5, np.sign(p[2]) * 5 + 0.5)
    colours = [(0.5, 0.12, 0.04), (0.05, 0.16, 0.36), (0.45, 0.42, 0.38), (0.08, 0.25, 0.12), (0.55, 0.33, 0.05)]
    albedo = np.zeros_like(p)
    for place, colour in enumerate(colours):
        albedo = np.where(np.floor(np.clip((pick - 0.2) / 0.6, 0, 0.999) * 5) == place, vector(*colour), albedo)
    ribs = 0.8 + 0.2 * np.sin(p[0] * 12) * (np.abs(normal[2]) > 0.6)
    gap = np.abs((p[1] - 4.1) / 1.45 % 1 - 0.5) > 0.46
    return albedo * ribs * np.where(gap, 0.3, 1), 0.02, 20.0


def _house(p: Vectors, normal: Vectors) -> Surface:
    level = (p[1] - 4.4) / 2.4 % 1
    panes = (level > 0.45) & (level < 0.75) & (np.abs((p[0] + p[2]) / 1.5 % 1 - 0.5) < 0.25) & (p[1] < 11)
    bridge = (p[1] > 12.5) & (p[1] < 13.7) & (np.abs((p[0] + p[2]) / 1.3 % 1 - 0.5) < 0.42)
    return painted(p, WHITE, ((panes | bridge) & (np.abs(normal[1]) < 0.3), vector(0.02, 0.03, 0.04))), 0.03, 40.0


def ship() -> World:
    return World(
        Camera((34, 7.5, 70), (2.4, 5.5, 0), 45, focus=78),
        unit(vector(0.35, 0.6, 0.75)),
        SUNLIGHT,
        SKYLIGHT,
        lambda d: day_sky(d, 0.52, 1.0),
        ship_parts,
        {
            "hull": _hull,
            "boxes": _boxes,
            "house": _house,
            "mast": plain(vector(0.5, 0.35, 0.12)),
            "funnel": lambda p, n: (
                painted(p, vector(0.02, 0.05, 0.13), (np.abs(p[1] - 13.6) < 0.9, vector(0.6, 0.35, 0.03))),
                0.03,
                40.0,
            ),
        },
        vector(-30, -3, -6),
        vector(32, 21, 6),
        sea,
        haze=1500,
    )


# --- on the road ------------------------------------------------------------------------------------------------------


def country(direction: Vectors, shift: float = 0.0) -> Vectors:
    """A day's sky above wooded hills."""
    turn = np.arctan2(direction[2], direction[0])
    hills = 0.035 + 0.05 * clouded(4 * turn + shift, octaves=3) - 0.02
    trees = hills + 0.018 * clouded(60 * turn, octaves=4)
    leaves = clouded(90 * turn, 90 * direction[1])
    green = mix(vector(0.015, 0.03, 0.012), vector(0.08, 0.1, 0.04), leaves)
    green = mix(green, vector(0.25, 0.32, 0.38), 0.25)
    return mix(day_sky(direction, 0.45, shift), green, step(0.002, -0.002, direction[1] - trees))


def road(p: Vectors, t: np.ndarray) -> tuple[Surface, Vectors]:
    """Asphalt along the x axis with a line in its middle, between verges of grass."""
    fine, coarse = noise(p[0] * 45, p[2] * 45), clouded(p[0] * 0.7, p[2] * 1.3)
    asphalt = vector(0.085, 0.085, 0.09) * (0.7 + 0.35 * fine * np.exp(-t / 30) + 0.45 * coarse)
    line = (np.abs(p[2] + 2.9) < 0.07) & (p[0] / 6 % 1 < 0.55) | (np.abs(p[2] - 2.6) < 0.07)
    asphalt = np.where(line, vector(0.55, 0.55, 0.52) * (0.75 + 0.3 * coarse), asphalt)
    blades = clouded(p[0] * 3, p[2] * 3, octaves=5)
    grass = mix(vector(0.03, 0.045, 0.014), vector(0.15, 0.165, 0.06), blades)
    edge = step(-0.15, 0.15, np.maximum(-7.2 - p[2], p[2] - 3.4) + 0.6 * (coarse - 0.5))
    tilt = (noise(p[0] * 30, p[2] * 30 + 9) - 0.5) * 0.12 * np.exp(-t / 20)
    return (mix(asphalt, grass, edge), 0.0, 10.0), unit(np.stack([tilt, np.ones_like(t), -tilt]))


BODY = [
    (2.12, 0.3),
    (2.2, 0.46),
    (2.14, 0.66),
    (1.95, 0.75),
    (1.0, 0.9),
    (-1.7, 0.98),
    (-2.12, 0.94),
    (-2.2, 0.62),
    (-2.14, 0.32),
]
CABIN = [(1.02, 0.8), (0.12, 1.37), (-0.25, 1.43), (-0.95, 1.41), (-1.8, 0.86)]
PANES = [(0.72, 0.97), (0.1, 1.32), (-0.25, 1.36), (-0.92, 1.34), (-1.42, 1.0)]


def car_parts(p: Vectors) -> list[Part]:
    x, y, z = p
    side = 0.87 - 0.1 * (x / 2.2) ** 4 - 0.1 * np.clip(0.5 - y, 0, 1)
    body = extruded(polygon(x, y, BODY), z, side, 0.11)
    cabin = extruded(polygon(x, y, CABIN), z, 0.83 - 0.42 * np.clip(y - 0.85, 0, 1), 0.08)
    shell = joined(body, cabin, 0.05)
    wells = np.minimum.reduce([wheel(p, (at, 0.33, s), 0.4, 0.3) for at in (1.36, -1.36) for s in (-0.85, 0.85)])
    shell = np.maximum(shell, -wells)
    tyres = np.minimum.reduce(
        [wheel(p, (at, 0.33, s), 0.335, 0.11, 0.05) for at in (1.36, -1.36) for s in (-0.77, 0.77)]
    )
    rims = np.minimum.reduce(
        [wheel(p, (at, 0.33, s), 0.215, 0.115, 0.02) for at in (1.36, -1.36) for s in (-0.78, 0.78)]
    )
    mirrors = np.minimum(
        ellipsoid(p, (0.62, 1.0, 0.93), (0.09, 0.07, 0.11)), ellipsoid(p, (0.62, 1.0, -0.93), (0.09, 0.07, 0.11))
    )
    floor = box(p, (0, 0.36, 0), (1.9, 0.12, 0.7))
    return [(shell, "paint"), (tyres, "tyre"), (rims, "rim"), (mirrors, "mirror"), (floor, "tyre")]


RED = vector(0.42, 0.015, 0.012)


def _paint(p: Vectors, normal: Vectors) -> Surface:
    x, y, z = p
    across = np.abs(normal[2]) > 0.5
    side = across & (polygon(x, y, PANES) < 0) & (np.abs(x + 0.38) > 0.035)
    front = ~across & (y > 0.95) & (y < 1.35) & (np.abs(z) < 0.68 - 0.3 * (y - 0.95)) & (np.abs(normal[0]) > 0.25)
    glass = side | front
    seams = across & (y > 0.42) & (y < 0.97) & (np.min([np.abs(x - at) for at in (0.78, -0.38, -1.2)], axis=0) < 0.008)
    handles = across & (np.abs(y - 0.84) < 0.018) & (np.min([np.abs(x - at) for at in (-0.22, -1.02)], axis=0) < 0.09)
    lamps = (x > 1.8) & (np.abs(y - 0.64) < 0.075) & (np.abs(z) > 0.42)
    grille = (x > 2.05) & (np.abs(y - 0.47) < 0.09) & (np.abs(z) < 0.5)
    plate = (x > 2.05) & (np.abs(y - 0.5) < 0.05) & (np.abs(z) < 0.24)
    tail = (x < -2.0) & (np.abs(y - 0.82) < 0.08) & (np.abs(z) > 0.4)
    albedo = painted(
        p,
        RED,
        (y < 0.4, vector(0.03, 0.03, 0.03)),
        (seams, BLACK),
        (handles, vector(0.3, 0.3, 0.3)),
        (grille, BLACK),
        (plate, WHITE),
        (tail, vector(0.5, 0.02, 0.02)),
        (lamps, vector(0.75, 0.78, 0.8)),
        (glass, GLASS[0]),
    )
    return albedo, np.where(glass, 0.12, np.where(y < 0.4, 0.0, 0.06)), 160.0


def _rim(p: Vectors, normal: Vectors) -> Surface:
    middle = np.where(p[0] > 0, 1.36, -1.36)
    angle, radius = np.arctan2(p[1] - 0.33, p[0] - middle), np.hypot(p[0] - middle, p[1] - 0.33)
    gaps = (np.cos(5 * angle) < 0.2) & (radius > 0.06) & (radius < 0.185)
    return painted(p, CHROME[0] * 1.3, (gaps, BLACK)), np.where(gaps, 0.0, 0.2), 60.0


def automobile() -> World:
    return World(
        Camera((4.6, 1.55, 6.4), (0.05, 0.62, 0), 34, focus=7.6, aperture=0.02),
        SUN,
        SUNLIGHT,
        SKYLIGHT,
        lambda d: country(d, 2.0),
        car_parts,
        {"paint": _paint, "tyre": fixed(RUBBER), "rim": _rim, "mirror": plain(RED, 0.06, 160)},
        vector(-2.3, 0, -1.1),
        vector(2.3, 1.5, 1.1),
        road,
        haze=2500,
    )


CAB = [(3.5, 0.55), (3.56, 1.2), (3.48, 1.6), (3.22, 2.55), (3.0, 2.72), (1.9, 2.75), (1.8, 0.6)]


def truck_parts(p: Vectors) -> list[Part]:
    x, y, z = p
    load = box(p, (-1.1, 2.25, 0), (2.75, 1.3, 1.24), 0.04)
    cab = extruded(polygon(x, y, CAB), z, 1.12 - 0.06 * np.clip(y - 1.5, 0, 2), 0.12)
    cab = np.maximum(cab, -np.minimum(wheel(p, (2.75, 0.5, 1.1), 0.6, 0.35), wheel(p, (2.75, 0.5, -1.1), 0.6, 0.35)))
    at = [(2.75, s) for s in (-1.0, 1.0)] + [(-2.3, s) for s in (-1.0, 1.0)]
    tyres = np.minimum.reduce([wheel(p, (a, 0.49, s), 0.49, 0.17, 0.06) for a, s in at])
    rims = np.minimum.reduce([wheel(p, (a, 0.49, s * 1.02), 0.27, 0.175, 0.03) for a, s in at])
    frame = np.minimum(box(p, (-0.4, 0.82, 0), (3.3, 0.12, 0.6)), box(p, (-3.7, 0.62, 0), (0.06, 0.1, 1.1)))
    tank = np.minimum(
        box(p, (0.5, 0.62, 0.95), (0.55, 0.24, 0.24), 0.1), box(p, (-0.9, 0.62, 0.95), (0.6, 0.2, 0.05), 0.03)
    )
    bumper = box(p, (3.5, 0.55, 0), (0.12, 0.16, 1.13), 0.05)
    mirrors = np.minimum(
        box(p, (3.28, 2.0, 1.32), (0.06, 0.24, 0.09), 0.03), box(p, (3.28, 2.0, -1.32), (0.06, 0.24, 0.09), 0.03)
    )
    return [
        (load, "load"),
        (cab, "cab"),
        (tyres, "tyre"),
        (rims, "rim"),
        (frame, "tyre"),
        (tank, "rim"),
        (bumper, "bumper"),
        (mirrors, "tyre"),
    ]


BLUE = vector(0.03, 0.12, 0.36)


def _load(p: Vectors, normal: Vectors) -> Surface:
    x, y, _ = p
    dirt = clouded(x * 1.5, y * 0.6) * step(2.4, 1.0, y)
    band = (np.abs(normal[2]) > 0.5) & (np.abs(y - 1.9 - 0.16 * (x + 1)) < 0.2)
    frame = (np.abs(y - 1.0) < 0.06) | (np.abs(y - 3.5) < 0.06) | (np.abs(np.abs(x + 1.1) - 2.7) < 0.06)
    panels = 1 - 0.12 * (np.abs(x * 1.6 % 1 - 0.5) > 0.47) * (np.abs(normal[2]) > 0.5)
    albedo = painted(p, WHITE, (band, BLUE), (frame, vector(0.45, 0.46, 0.48))) * panels
    return mix(albedo, vector(0.25, 0.22, 0.18), np.clip(0.6 * dirt, 0, 1)), 0.02, 30.0


def _cab(p: Vectors, normal: Vectors) -> Surface:
    x, y, z = p
    across = np.abs(normal[2]) > 0.5
    shield = ~across & (x > 3.0) & (y > 1.65) & (y < 2.45) & (np.abs(z) < 0.98)
    window = across & (y > 1.6) & (y < 2.4) & (x > 2.25) & (x < 3.42 - 0.27 * (y - 1.6))
    seams = across & (y > 0.9) & (y < 2.5) & (np.minimum(np.abs(x - 2.15), np.abs(x - 3.3)) < 0.012)
    grille = (x > 3.3) & (np.abs(z) < 0.75) & (y > 0.85) & (y < 1.4)
    bars = np.abs(y * 9 % 1 - 0.5) < 0.22
    lamps = (x > 3.3) & (np.abs(z) > 0.75) & (np.abs(y - 0.95) < 0.12)
    glass = shield | window
    albedo = painted(
        p,
        BLUE,
        (seams, BLACK),
        (grille, vector(0.05, 0.05, 0.055)),
        (grille & bars, vector(0.35, 0.35, 0.36)),
        (lamps, vector(0.8, 0.82, 0.8)),
        (glass, GLASS[0]),
    )
    return albedo, np.where(glass, 0.12, 0.05), 120.0


def truck() -> World:
    return World(
        Camera((8.6, 2.1, 8.6), (0.05, 1.6, 0), 37, focus=11.5, aperture=0.02),
        SUN,
        SUNLIGHT,
        SKYLIGHT,
        lambda d: country(d, 7.0),
        truck_parts,
        {
            "load": _load,
            "cab": _cab,
            "tyre": fixed(RUBBER),
            "rim": plain(vector(0.35, 0.35, 0.36), 0.1, 60),
            "bumper": plain(vector(0.12, 0.12, 0.13)),
        },
        vector(-3.9, 0, -1.5),
        vector(3.7, 3.6, 1.5),
        road,
        haze=2500,
    )


# --- in the air -------------------------------------------------------------------------------------------------------

WING = [(5.0, 0.0), (1.2, 6.0), (-4.4, 17.0), (-6.0, 17.0), (-3.4, 6.5), (-3.2, 0.0)]
STABILISER = [(-14.6, 0.0), (-18.6, 6.4), (-20.2, 6.4), (-18.6, 0.0)]
FIN = [(-12.6, 1.2), (-17.6, 7.6), (-20.2, 7.6), (-19.0, 0.8)]
ALOFT = 400.0


def plane_parts(p: Vectors) -> list[Part]:
    p = p - vector(0, ALOFT, 0)
    x, y, z = p
    side = np.abs(z)
    mirrored = np.stack([x, y, side])
    fuselage = joined(cone(p, (-9, 0, 0), (14.6, 0, 0), 2.0, 2.0), cone(p, (-9, 0, 0), (-20, 1.3, 0), 2.0, 0.45), 0.3)
    fuselage = joined(fuselage, ellipsoid(p, (15.4, -0.2, 0), (4.0, 1.8, 1.85)), 0.6)
    thick = np.clip(0.55 - 0.026 * side, 0.08, 1)
    wings = extruded(polygon(x, side, WING), y + 1.1 - 0.1 * side, thick, 0.07)
    tail = extruded(polygon(x, side, STABILISER), y - 0.9 - 0.08 * side, 0.16, 0.06)
    fin = extruded(polygon(x, y, FIN), z, 0.2, 0.08)
    engines = cone(mirrored, (4.6, -2.2, 6.0), (1.2, -2.1, 6.0), 1.08, 0.85)
    engines = np.minimum(engines, box(mirrored, (1.0, -1.2, 6.0), (1.8, 0.5, 0.14), 0.05))
    fans = ellipsoid(mirrored, (5.2, -2.2, 6.0), (0.56, 0.95, 0.95))
    return [(fuselage, "fuselage"), (wings, "wing"), (tail, "wing"), (fin, "fin"), (engines, "engine"), (fans, "fan")]


def _fuselage(p: Vectors, normal: Vectors) -> Surface:
    x, y = p[0], p[1] - ALOFT
    panes = (np.abs(y - 0.45) < 0.2) & (x > -13) & (x < 13.5) & (np.abs(x * 1.1 % 1 - 0.5) < 0.24)
    cockpit = (x > 16.6) & (x < 18.4) & (y > 0.35) & (y < 0.95)
    doors = np.abs(np.abs(x - 1.5) - 11.6) < 0.05
    albedo = painted(
        p,
        WHITE,
        (y < -0.75, vector(0.45, 0.47, 0.5)),
        ((y < -0.55) & (y > -0.8), vector(0.03, 0.1, 0.4)),
        (doors & (np.abs(y - 0.3) < 0.9), vector(0.4, 0.4, 0.42)),
        (panes | cockpit, vector(0.03, 0.035, 0.05)),
    )
    return albedo, 0.04, 80.0


def above_clouds(direction: Vectors) -> Vectors:
    up = direction[1]
    return mix(vector(0.36, 0.5, 0.68), vector(0.04, 0.15, 0.42), np.clip(up * 1.7, 0, 1) ** 0.7)


def cloud_tops(p: Vectors) -> np.ndarray:
    """The density of a layer of clouds, below the plane."""
    shape = clouded(p[0] / 170 + 3, p[1] / 90, p[2] / 170 + 8, octaves=5)
    height = p[1] / 150
    return np.clip(shape - 0.44 - 0.3 * step(0.1, 1.0, height), 0, 1) * 0.4


def airplane() -> World:
    return World(
        Camera((29, ALOFT - 8, 43), (-1.2, ALOFT + 2.2, 0), 44, focus=52, roll=0.12),
        unit(vector(0.25, 0.65, 0.7)),
        SUNLIGHT,
        vector(0.5, 0.6, 0.75),
        above_clouds,
        plane_parts,
        {
            "fuselage": _fuselage,
            "wing": plain(vector(0.5, 0.52, 0.55), 0.05, 60),
            "fin": plain(vector(0.03, 0.1, 0.4), 0.05, 80),
            "engine": plain(vector(0.55, 0.56, 0.6), 0.06, 80),
            "fan": plain(vector(0.03, 0.03, 0.035), 0.02, 20),
        },
        vector(-21, ALOFT - 4, -18),
        vector(20, ALOFT + 8, 18),
        haze=16000,
        clouds=cloud_tops,
    )


# --- on a branch ------------------------------------------------------------------------------------------------------


def turned(p: Vectors, centre: tuple[float, float, float], degrees: float) -> Vectors:
    """The points as a shape sees them that is turned about the z axis through its centre."""
    q, angle = p - vector(*centre), np.radians(degrees)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return np.stack([q[0] * cosine + q[1] * sine, q[1] * cosine - q[0] * sine, q[2]])


ORIGIN = (0.0, 0.0, 0.0)


def bird_parts(p: Vectors) -> list[Part]:
    mirrored = np.stack([p[0], p[1], np.abs(p[2])])
    body = ellipsoid(turned(p, (0, 1.0, 0), 38), ORIGIN, (0.72, 0.5, 0.47))
    body = joined(body, ellipsoid(p, (0.42, 1.63, 0), (0.36, 0.34, 0.32)), 0.28)
    body = joined(body, ellipsoid(turned(p, (-0.95, 0.42, 0), 33), ORIGIN, (0.62, 0.07, 0.17)), 0.18)
    body += 0.006 * (noise(p[0] * 16, p[1] * 16, p[2] * 16) - 0.5)
    wings = ellipsoid(turned(mirrored, (-0.3, 0.93, 0.36), 33), ORIGIN, (0.68, 0.27, 0.15))
    beak = cone(p, (0.74, 1.62, 0), (0.99, 1.57, 0), 0.075, 0.008)
    eyes = ellipsoid(mirrored, (0.575, 1.71, 0.265), (0.06, 0.06, 0.045))
    legs = np.minimum(
        cone(mirrored, (0.12, 0.6, 0.14), (0.16, 0.17, 0.14), 0.04, 0.03),
        cone(mirrored, (0.1, 0.19, 0.14), (0.34, 0.16, 0.17), 0.03, 0.022),
    )
    branch = cone(p, (-4, -0.22, 0.5), (4, 0.22, -0.5), 0.21, 0.15)
    branch = joined(branch, cone(p, (1.1, 0.1, -0.1), (2.6, 1.2, -1.0), 0.08, 0.04), 0.1)
    branch = branch + 0.05 * (clouded(p[0] * 3, p[1] * 9, p[2] * 9, octaves=3) - 0.5)
    return [(body, "feathers"), (wings, "wing"), (beak, "beak"), (eyes, "eye"), (legs, "beak"), (branch * 0.8, "bark")]


def _feathers(p: Vectors, normal: Vectors) -> Surface:
    x, y, z = p
    q = turned(p, (0, 1.0, 0), 38)
    down = clouded(q[0] * 7, q[1] * 22, q[2] * 22, octaves=4)
    brown = mix(vector(0.13, 0.085, 0.045), vector(0.25, 0.17, 0.09), down)
    cream = mix(vector(0.5, 0.45, 0.36), vector(0.72, 0.68, 0.58), down)
    orange = mix(vector(0.5, 0.13, 0.02), vector(0.72, 0.25, 0.05), down)
    wobble = 0.12 * (down - 0.5)
    belly = step(-0.08, 0.08, -(q[1] + 0.08) + 0.05 * q[0] + wobble)
    face = step(-0.06, 0.06, 0.42 - np.hypot(x - 0.72, (y - 1.42) * 0.75) + wobble)
    return mix(mix(brown, cream, belly), orange, face), 0.0, 8.0


def _wing(p: Vectors, normal: Vectors) -> Surface:
    q = turned(p, (-0.3, 0.93, 0.36), 33)
    rows = 0.5 + 0.5 * np.sin(q[1] * 42 + 3 * q[0])
    down = clouded(q[0] * 9, q[1] * 30, octaves=3)
    return mix(vector(0.07, 0.045, 0.025), vector(0.24, 0.16, 0.085), 0.55 * rows + 0.45 * down), 0.0, 10.0


def _bark(p: Vectors, normal: Vectors) -> Surface:
    grain = clouded(p[0] * 2.5, p[1] * 14, p[2] * 14, octaves=5)
    moss = step(0.5, 0.7, clouded(p[0] * 1.3 + 4, p[2] * 2) + 0.2 * normal[1])
    return (
        mix(mix(vector(0.06, 0.045, 0.03), vector(0.26, 0.21, 0.15), grain), vector(0.1, 0.14, 0.03), 0.7 * moss),
        0.0,
        8.0,
    )


def garden(direction: Vectors) -> Vectors:
    """Leaves and light far behind what is sharp."""
    x, y = direction[0] / -direction[2].clip(None, -0.05), direction[1] / -direction[2].clip(None, -0.05)
    deep = clouded(5 * x + 2, 5 * y + 1, octaves=3)
    colour = mix(vector(0.05, 0.1, 0.03), vector(0.22, 0.34, 0.1), step(0.3, 0.7, deep))
    spots = step(0.62, 0.85, clouded(9 * x, 9 * y, octaves=2))
    return mix(colour, vector(0.6, 0.68, 0.4), 0.7 * spots) * (1 + 0.4 * np.clip(y, -1, 1))


def bird() -> World:
    return World(
        Camera((1.6, 1.35, 6.2), (-0.08, 0.92, 0), 25, focus=6.1, aperture=0.06),
        unit(vector(0.45, 0.75, 0.6)),
        vector(2.2, 2.05, 1.75),
        vector(0.5, 0.55, 0.5),
        garden,
        bird_parts,
        {
            "feathers": _feathers,
            "wing": _wing,
            "beak": plain(vector(0.06, 0.045, 0.035), 0.03, 40),
            "eye": plain(vector(0.006, 0.005, 0.005), 0.08, 300),
            "bark": _bark,
        },
        vector(-4, -0.6, -1.2),
        vector(4, 2.1, 0.8),
    )


SCENES: dict[str, Callable[[], World]] = {
    "airplane": airplane,
    "automobile": automobile,
    "bird": bird,
    "ship": ship,
    "truck": truck,
}


def picture(name: str, height: int = HEIGHT, samples: int = SAMPLES) -> np.ndarray:
    """That scene, uint8 (height, 4/3 height, 3)."""
    return render(SCENES[name](), height, height * WIDTH // HEIGHT, samples)


def jpeg(pixels: np.ndarray) -> bytes:
    """A file of at most LARGEST bytes."""
    for quality in range(QUALITY, 40, -4):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= LARGEST:
            break
    return buffer.getvalue()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or SCENES:
        start = time.perf_counter()
        content = jpeg(picture(name))
        (FOLDER / f"{name}.jpg").write_bytes(content)
        print(f"{name}: {len(content):,} bytes, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
