"""A small ray tracer of signed distance fields (Hart 1996, "Sphere tracing"): enough for pictures like photos.

Points, directions and colours are float32 (3, n), lengths are metres, y points up. Colours are linear, 0 to about 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Vectors = np.ndarray
Part = tuple[np.ndarray, str]
"""The distance of each point to a surface, float32 (n,), and the name of its material."""
Surface = tuple[Vectors, float | np.ndarray, float | np.ndarray]
"""What a material is at some points: its albedo, how much it mirrors at right angles, 0..1, and how sharply."""

STEPS, SHADOW_STEPS = 90, 28
CLOSE = 6e-4  # of the distance from the camera: a hit
CLOUD_STEPS, CLOUD_TOP = 48, 150.0
LIFT = 4e-3  # above a surface, where the next ray starts


def vector(*values: float) -> Vectors:
    """(3, 1), to calculate with many."""
    return np.array(values, np.float32)[:, None]


def dot(a: Vectors, b: Vectors) -> np.ndarray:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def unit(a: Vectors) -> Vectors:
    return a / np.sqrt(dot(a, a))


def mix(a: Vectors, b: Vectors, share: np.ndarray | float) -> Vectors:
    return a + (b - a) * share


def step(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth in between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


# --- noise ------------------------------------------------------------------------------------------------------------


def _corner(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """A number 0..1 for each point of a grid of whole numbers, always the same."""
    h: np.ndarray = (
        x.astype(np.uint32) * 0x9E3779B1 ^ y.astype(np.uint32) * 0x85EBCA77 ^ z.astype(np.uint32) * 0xC2B2AE3D
    )
    h = (h ^ h >> 15) * 0x2C1B3C6D
    h = (h ^ h >> 12) * 0x297A2D39
    return ((h ^ h >> 15) >> 8).astype(np.float32) / 2**24


def noise(x: np.ndarray, y: np.ndarray | float = 0, z: np.ndarray | float = 0) -> np.ndarray:
    """Smooth noise 0..1 with one grain in each unit."""
    shape = np.shape(x)
    parts = [np.broadcast_to(np.asarray(each, np.float32), shape) for each in (x, y, z)]
    whole = [np.floor(each).astype(np.int32) for each in parts]
    a, b, c = (t * t * (3 - 2 * t) for t in (each - floor for each, floor in zip(parts, whole, strict=True)))
    found = np.zeros(shape, np.float32)
    is_flat = not np.any(z)
    for corner in range(4 if is_flat else 8):
        i, j, k = corner & 1, corner >> 1 & 1, corner >> 2
        weight = (a if i else 1 - a) * (b if j else 1 - b) * (1 if is_flat else c if k else 1 - c)
        found += weight * _corner(whole[0] + i, whole[1] + j, whole[2] + k)
    return found


def clouded(x: np.ndarray, y: np.ndarray | float = 0, z: np.ndarray | float = 0, octaves: int = 5) -> np.ndarray:
    """Fractal noise 0..1: grains of every size."""
    found, total = np.zeros(np.shape(x), np.float32), 0.0
    for octave in range(octaves):
        scale, weight = 2.03**octave, 0.5**octave
        found += weight * noise(x * scale + 17 * octave, np.asarray(y) * scale - 9 * octave, np.asarray(z) * scale)
        total += weight
    return found / total


# --- distances to shapes ----------------------------------------------------------------------------------------------


def ellipsoid(p: Vectors, centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    q, r = p - vector(*centre), vector(*radii)
    far, near = np.sqrt(dot(q / r, q / r)), np.sqrt(dot(q / r**2, q / r**2))
    return far * (far - 1) / np.maximum(near, 1e-6)


def box(p: Vectors, centre: Sequence[float], half: Sequence[float], rounded: float = 0.02) -> np.ndarray:
    q = np.abs(p - vector(*centre)) - vector(*half) + rounded
    outside = np.maximum(q, 0)
    return np.sqrt(dot(outside, outside)) + np.minimum(q.max(axis=0), 0) - rounded


def cone(p: Vectors, a: Sequence[float], b: Sequence[float], at_a: float, at_b: float) -> np.ndarray:
    """A rod with round ends from a to b, whose radius changes from `at_a` to `at_b`."""
    ab = vector(*b) - vector(*a)
    q = p - vector(*a)
    t = np.clip(dot(q, ab) / dot(ab, ab), 0, 1)
    rest = q - ab * t
    return np.sqrt(dot(rest, rest)) - (at_a + (at_b - at_a) * t)


def wheel(p: Vectors, centre: Sequence[float], radius: float, half: float, rounded: float = 0.03) -> np.ndarray:
    """A disc that turns about the z axis."""
    q = p - vector(*centre)
    a, b = np.hypot(q[0], q[1]) - radius + rounded, np.abs(q[2]) - half + rounded
    return np.hypot(np.maximum(a, 0), np.maximum(b, 0)) + np.minimum(np.maximum(a, b), 0) - rounded


def polygon(x: np.ndarray, y: np.ndarray, corners: Sequence[tuple[float, float]]) -> np.ndarray:
    """The signed distance in the plane to a closed line through the corners."""
    nearest = np.full(x.shape, np.inf, np.float32)
    sign = np.ones(x.shape, np.float32)
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        ex, ey, wx, wy = bx - ax, by - ay, x - ax, y - ay
        t = np.clip((wx * ex + wy * ey) / (ex * ex + ey * ey), 0, 1)
        nearest = np.minimum(nearest, (wx - ex * t) ** 2 + (wy - ey * t) ** 2)
        above, below, left = y >= ay, y < by, ex * wy > ey * wx
        sign = np.where((above & below & left) | ~(above | below | left), -sign, sign)
    return sign * np.sqrt(nearest)


def extruded(flat: np.ndarray, across: np.ndarray, half: float | np.ndarray, rounded: float = 0.03) -> np.ndarray:
    """A flat shape with a thickness."""
    a, b = flat + rounded, np.abs(across) - half + rounded
    return np.minimum(np.maximum(a, b), 0) + np.hypot(np.maximum(a, 0), np.maximum(b, 0)) - rounded


def joined(a: np.ndarray, b: np.ndarray, soft: float) -> np.ndarray:
    """The union of two shapes with a soft seam."""
    h = np.maximum(soft - np.abs(a - b), 0) / soft
    return np.minimum(a, b) - h * h * soft / 4


# --- pictures ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Camera:
    """`view` is the height of the picture in degrees. What lies at `focus` metres is sharp; `aperture` is the lens."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    view: float
    focus: float = 10.0
    aperture: float = 0.0
    roll: float = 0.0

    def rays(self, height: int, width: int, generator: np.random.Generator) -> tuple[Vectors, Vectors]:
        """One ray through a random point of each pixel, row by row."""
        eye = vector(*self.eye)
        forward = unit(vector(*self.target) - eye)
        right = unit(np.cross(forward, vector(np.sin(self.roll), np.cos(self.roll), 0), axis=0))
        up = np.cross(right, forward, axis=0)
        y, x = np.mgrid[:height, :width].reshape(2, -1) + generator.random((2, height * width))
        scale = 2 * np.tan(np.radians(self.view) / 2) / height
        x, y = (x - width / 2) * scale, (height / 2 - y) * scale
        angle, radius = generator.random((2, height * width)) * np.array([[2 * np.pi], [1.0]])
        lens = self.aperture * np.sqrt(radius) * (np.cos(angle) * right + np.sin(angle) * up)
        through = (forward + x * right + y * up) * self.focus - lens
        return (eye + lens).astype(np.float32), unit(through).astype(np.float32)


@dataclass(frozen=True, eq=False)
class World:
    """What is seen: `parts` within the box `low`..`high`, a `ground` at y = 0 with bumps, and the sky behind.

    `materials` say what a part is at points with these normals. `ground` gives surface and normals at points that far
    away; None for no ground. `haze` is the distance in which half of the light is lost.
    """

    camera: Camera
    sun: Vectors
    sunlight: Vectors
    skylight: Vectors
    sky: Callable[[Vectors], Vectors]
    parts: Callable[[Vectors], Sequence[Part]]
    materials: dict[str, Callable[[Vectors, Vectors], Surface]]
    low: Vectors
    high: Vectors
    ground: Callable[[Vectors, np.ndarray], tuple[Surface, Vectors]] | None = None
    haze: float = 4000.0
    exposure: float = 1.0
    grain: float = 0.008
    clouds: Callable[[Vectors], np.ndarray] | None = None

    def distance(self, p: Vectors) -> np.ndarray:
        return np.minimum.reduce([distance for distance, _ in self.parts(p)])

    def _entry(self, origin: Vectors, direction: Vectors) -> tuple[np.ndarray, np.ndarray]:
        """Where each ray enters and leaves the box of the parts."""
        safe = np.where(np.abs(direction) < 1e-7, np.float32(1e-7), direction)
        a, b = (self.low - origin) / safe, (self.high - origin) / safe
        return np.maximum(np.minimum(a, b).max(axis=0), 0), np.maximum(a, b).min(axis=0)

    def march(self, origin: Vectors, direction: Vectors) -> np.ndarray:
        """The distance to the first part along each ray, infinite where it meets none."""
        t, end = self._entry(origin, direction)
        found = np.full(t.shape, np.inf, np.float32)
        active = np.flatnonzero(t < end)
        for _ in range(STEPS):
            if not active.size:
                break
            gap = self.distance(origin[:, active] + direction[:, active] * t[active])
            hit = gap < CLOSE * np.maximum(t[active], 1)
            found[active[hit]] = t[active[hit]]
            t[active] += gap
            active = active[~hit & (t[active] < end[active])]
        return found

    def shadow(self, p: Vectors) -> np.ndarray:
        """The share of the sun's light that reaches these points."""
        direction = np.broadcast_to(self.sun, p.shape)
        start, end = self._entry(p, direction)
        t, light = np.maximum(start, 0.02), np.ones(p.shape[1], np.float32)
        active = np.flatnonzero(t < end)
        for _ in range(SHADOW_STEPS):
            if not active.size:
                break
            gap = self.distance(p[:, active] + self.sun * t[active])
            light[active] = np.minimum(light[active], np.clip(12 * gap / t[active], 0, 1))
            t[active] += np.clip(gap, 0.03, 2)
            active = active[(t[active] < end[active]) & (light[active] > 0.01)]
        return light

    def normals(self, p: Vectors, size: float = 2e-3) -> Vectors:
        total = np.zeros_like(p)
        for corner in (vector(1, -1, -1), vector(-1, -1, 1), vector(-1, 1, -1), vector(1, 1, 1)):
            total += corner * self.distance(p + corner * size)
        return unit(total)

    def open_to_sky(self, p: Vectors, normal: Vectors) -> np.ndarray:
        """How little the parts nearby hide of the sky, 0..1."""
        hidden = np.zeros(p.shape[1], np.float32)
        for place in range(1, 5):
            reach = 0.12 * place
            hidden += (reach - self.distance(p + normal * reach)).clip(0) / 1.7**place
        return np.clip(1 - 1.6 * hidden, 0.15, 1)

    def light(self, origin: Vectors, direction: Vectors, bounces: int = 1) -> Vectors:
        """The colour that comes back along each ray."""
        colour = self.sky(direction)
        if self.clouds and bounces:
            colour = self._clouded(colour, origin, direction)
        part = self.march(origin, direction)
        ground = np.full(part.shape, np.inf, np.float32)
        if self.ground:
            down = direction[1] < -1e-4
            ground[down] = -origin[1, down] / direction[1, down]
        for chosen, is_ground in ((part < ground, False), ((ground < part) & (ground < 3e4), True)):
            index = np.flatnonzero(chosen)
            if not index.size:
                continue
            t = (ground if is_ground else part)[index]
            ray = direction[:, index]
            p = origin[:, index] + ray * t
            seen = self._shaded(p, ray, t, is_ground, bounces)
            clear = np.exp2(-t / self.haze)
            level = unit(ray * vector(1, 0, 1) + vector(0, 0.02, 0))
            colour[:, index] = mix(self.sky(level), seen, clear)
        return colour

    def _clouded(self, colour: Vectors, origin: Vectors, direction: Vectors) -> Vectors:
        """The colours behind the layer of clouds: of each step the light of the sun that the cloud around it lets
        through, and of the sky."""
        if self.clouds is None:
            return colour
        index = np.flatnonzero(direction[1] < -0.015)
        ray, start = direction[:, index], origin[:, index]
        begin, end = (CLOUD_TOP - start[1]) / ray[1], -start[1] / ray[1]
        size = np.minimum(end - begin, 2500) / CLOUD_STEPS
        seen, clear = np.zeros_like(ray), np.ones_like(begin)
        shift = noise(ray[0] * 3e3, ray[1] * 3e3, ray[2] * 3e3)
        for place in range(CLOUD_STEPS):
            t = begin + (place + shift) * size
            p = start + ray * t
            density = self.clouds(p)
            sunny = np.exp(-28 * self.clouds(p + self.sun * 14) - 28 * self.clouds(p + self.sun * 40))
            part = 1 - np.exp(-density * size)
            own = self.sunlight * (0.03 + 0.36 * sunny) + self.skylight * (0.2 + 0.5 * p[1] / CLOUD_TOP)
            own = mix(self.sky(unit(ray * vector(1, 0, 1))), own, np.exp2(-t / self.haze))
            seen += own * (clear * part)
            clear *= 1 - part
        found = colour.copy()
        found[:, index] = seen + colour[:, index] * clear
        return found

    def _shaded(self, p: Vectors, ray: Vectors, t: np.ndarray, is_ground: bool, bounces: int) -> Vectors:
        if is_ground and self.ground:
            (albedo, share_of_mirror, gloss), normal = self.ground(p, t)
        else:
            normal = self.normals(p)
            albedo, share_of_mirror, gloss = self._surface(p, normal)
        mirror = np.broadcast_to(share_of_mirror, t.shape)
        lifted = p + normal * LIFT
        facing = np.clip(dot(normal, self.sun), 0, None)
        lit = facing * self.shadow(lifted)
        sky = (0.6 + 0.4 * normal[1]) * self.open_to_sky(lifted, normal)
        warm = self.sunlight * np.clip(0.25 - 0.25 * normal[1], 0, 1) * 0.35  # light from the ground
        colour = albedo * (self.sunlight * lit + self.skylight * sky + warm)
        half = unit(self.sun - ray)
        colour += self.sunlight * (lit * np.clip(dot(normal, half), 0, 1) ** gloss * np.minimum(mirror * 4, 1) * 1.5)
        if bounces and np.any(mirror > 0.01):
            index = np.flatnonzero(mirror > 0.01)
            cosine = np.clip(-dot(normal[:, index], ray[:, index]), 0, 1)
            share = mirror[index] + (1 - mirror[index]) * (1 - cosine) ** 5 * 0.9
            away = ray[:, index] + 2 * cosine * normal[:, index]
            away[1] = np.where(is_ground, np.abs(away[1]), away[1])
            colour[:, index] = mix(colour[:, index], self.light(lifted[:, index], unit(away), bounces - 1), share)
        return colour

    def _surface(self, p: Vectors, normal: Vectors) -> Surface:
        found = self.parts(p)
        nearest = np.argmin([distance for distance, _ in found], axis=0)
        albedo, mirror, gloss = np.zeros_like(p), np.zeros_like(p[0]), np.ones_like(p[0])
        for place, (_, material) in enumerate(found):
            index = np.flatnonzero(nearest == place)
            if index.size:
                own = self.materials[material](p[:, index], normal[:, index])
                albedo[:, index], mirror[index], gloss[index] = own
        return albedo, mirror, gloss


def render(world: World, height: int, width: int, samples: int) -> np.ndarray:
    """The picture, uint8 (height, width, 3), from that many rays through each pixel. The same values always give the
    same picture, but for the rounding of another processor."""
    generator = np.random.default_rng(1)
    total = np.zeros((3, height * width), np.float32)
    for _ in range(samples):
        total += np.minimum(world.light(*world.camera.rays(height, width, generator)), 6)
    x = total / samples * world.exposure
    x = x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)  # like film: Narkowicz 2015, "ACES filmic tone mapping"
    x = np.clip(x, 0, 1) ** (1 / 2.2) + generator.normal(0, world.grain, x.shape)
    return np.rint(x.clip(0, 1) * 255).astype(np.uint8).T.reshape(height, width, 3)
