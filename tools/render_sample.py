"""Renderer of the web page's sample photo: a pear on a table, by ray marching (sphere tracing, Hart 1996).

python -m tools.render_sample app/http/page/assets/sample.jpg
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]

WIDTH, HEIGHT, OVERSAMPLING = 800, 600, 2
STEPS, REACH, NEAR = 110, 14.0, 0.0015
LIGHT = np.array([-0.55, 0.72, 0.42]) / np.linalg.norm([-0.55, 0.72, 0.42])
TABLE, FRUIT, STEM, LEAF = range(4)
EYE, TARGET = np.array([0.0, 1.35, 4.6]), np.array([0.0, 0.78, 0.0])


def _length(points: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("...i,...i->...", points, points)))


def _smooth_min(first: Array, second: Array, width: float) -> Array:
    share = np.clip(0.5 + 0.5 * (second - first) / width, 0, 1)
    return second * (1 - share) + first * share - width * share * (1 - share)


def _capsule(points: Array, start: tuple[float, float, float], end: tuple[float, float, float], radius: float) -> Array:
    way = np.subtract(end, start)
    share = np.clip((points - start) @ way / (way @ way), 0, 1)
    return _length(points - start - share[..., None] * way) - radius


def _fruit(points: Array) -> Array:
    belly = _length((points - (0, 0.62, 0)) * (1, 1.04, 1)) - 0.64
    neck = _length((points - (0.05, 1.26, 0)) * (1, 0.82, 1)) - 0.33
    dent = _length(points - (0.07, 1.68, 0)) - 0.06
    pear = _smooth_min(belly, neck, 0.42)
    bumps = 0.006 * np.sin(9 * points[..., 0] + 1) * np.sin(8 * points[..., 1]) * np.sin(9 * points[..., 2])
    return np.asarray(-_smooth_min(-pear, dent, 0.08) + bumps)


def _leaf(points: Array) -> Array:
    local = points - (0.36, 1.86, 0.04)
    turned = np.stack(
        [
            0.86 * local[..., 0] + 0.5 * local[..., 1],
            -0.5 * local[..., 0] + 0.86 * local[..., 1] + 0.5 * local[..., 0] ** 2,
            local[..., 2] + 0.5 * local[..., 1],
        ],
        axis=-1,
    )
    return (_length(turned / (0.3, 0.035, 0.13)) - 1) * 0.03


def _distances(points: Array) -> Array:
    """Return the distances to table, fruit, stem and leaf, shape (4, …)."""
    stem = _smooth_min(
        _capsule(points, (0.06, 1.55, 0), (0.1, 1.75, 0), 0.032),
        _capsule(points, (0.1, 1.75, 0), (0.2, 1.95, 0.02), 0.026),
        0.03,
    )
    return np.stack([points[..., 1], _fruit(points), stem, _leaf(points)])


def _march(origins: Array, directions: Array) -> Array:
    """Return the way to the nearest surface; REACH or more without one."""
    way = np.full(directions.shape[:-1], 0.01)
    for _ in range(STEPS):
        step = _distances(origins + way[..., None] * directions).min(axis=0)
        way = np.where((np.abs(step) < NEAR) | (way > REACH), way, way + 0.85 * step)
    return way


def _normals(points: Array) -> Array:
    steps = np.eye(3) * 0.002
    slopes = [_distances(points + step).min(axis=0) - _distances(points - step).min(axis=0) for step in steps]
    normals = np.stack(slopes, axis=-1)
    return normals / np.maximum(_length(normals)[..., None], 1e-9)


def _shadow(points: Array) -> Array:
    """Return the share of light, 0 to 1, with a soft border."""
    light, way = np.ones(points.shape[:-1]), 0.03
    for _ in range(40):
        near = _distances(points + way * LIGHT)[FRUIT:].min(axis=0)
        light = np.minimum(light, np.clip(0.5 + 7 * near / way, 0, 1))
        way += 0.07
    return light * light * (3 - 2 * light)


def _occlusion(points: Array, normals: Array) -> Array:
    blocked = np.zeros(points.shape[:-1])
    for reach in (0.05, 0.12, 0.25, 0.45):
        blocked += (reach - _distances(points + reach * normals).min(axis=0)) * 0.55
    return np.clip(1 - blocked, 0.15, 1)


def _colours(points: Array, materials: NDArray[np.intp]) -> Array:
    height = np.clip(points[..., 1:2] / 1.7, 0, 1)
    blush = np.clip(0.9 * points[..., 0:1] + 0.5 * points[..., 2:3] - 0.1, 0, 1) * (1 - height)
    waves = points @ np.array([[31.0, 9.0, -14.0], [-11.0, 27.0, 17.0], [15.0, -19.0, 29.0]])
    speckle = np.clip(6 * (np.sin(waves).prod(axis=-1, keepdims=True) - 0.72), 0, 1)
    pear = (
        (1 - blush) * np.array([0.5, 0.52, 0.1])
        + blush * np.array([0.62, 0.16, 0.06])
        + height * np.array([-0.06, 0.03, 0.0])
    )
    pear = pear * (1 - 0.3 * speckle)
    grain = 0.5 + 0.5 * np.sin(
        5 * points[..., 2:3] + 0.6 * np.sin(1.3 * points[..., 0:1]) + 2 * np.sin(0.7 * points[..., 2:3])
    )
    table = np.array([0.62, 0.47, 0.34]) * (0.86 + 0.14 * grain)
    stem, leaf = np.array([0.27, 0.18, 0.09]), np.array([0.2, 0.42, 0.12])
    options = [table, pear, np.broadcast_to(stem, pear.shape), np.broadcast_to(leaf, pear.shape)]
    return np.choose(materials[..., None], [np.broadcast_to(option, pear.shape) for option in options])


def _wall(directions: Array) -> Array:
    glow = np.exp(-((directions[..., 0:1] + 0.35) ** 2 + (directions[..., 1:2] - 0.1) ** 2) * 5)
    return np.asarray(np.array([0.42, 0.5, 0.53]) + glow * np.array([0.27, 0.23, 0.17]))


def _rays(width: int, height: int) -> Array:
    forward = (TARGET - EYE) / np.linalg.norm(TARGET - EYE)
    right = np.cross(forward, (0, 1, 0))
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    x, y = np.meshgrid((np.arange(width) + 0.5) / width - 0.5, 0.5 - (np.arange(height) + 0.5) / height)
    rays = forward + 0.82 * (x[..., None] * right + y[..., None] * up * height / width)
    return np.asarray(rays / _length(rays)[..., None])


def render(width: int, height: int) -> NDArray[np.uint8]:
    """Return the picture, uint8, shape (height, width, 3)."""
    rays = _rays(width, height)
    way = _march(np.broadcast_to(EYE, rays.shape), rays)
    hit = way < REACH
    points = EYE + np.minimum(way, REACH)[..., None] * rays
    materials = _distances(points).argmin(axis=0)
    normals, colours = _normals(points), _colours(points, materials)
    sun = np.clip(normals @ LIGHT, 0, 1) * _shadow(points + 0.01 * normals)
    half = (LIGHT - rays) / np.maximum(_length(LIGHT - rays)[..., None], 1e-9)
    gloss = (
        np.clip(np.einsum("...i,...i->...", normals, half), 0, 1) ** 60
        * np.where(materials == FRUIT, 0.35, 0.03)
        * (sun > 0)
    )
    sky = (0.5 + 0.5 * normals[..., 1]) * _occlusion(points, normals)
    lit = (
        colours
        * (1.55 * sun[..., None] * np.array([1.0, 0.93, 0.82]) + 0.55 * sky[..., None] * np.array([0.85, 0.95, 1.1]))
        + gloss[..., None]
    )
    haze = np.clip((way - 5) / (REACH - 5), 0, 1)[..., None] ** 0.7
    linear = np.where(hit[..., None], lit * (1 - haze) + _wall(rays) * haze, _wall(rays))
    noise = np.random.default_rng(1).normal(0, 0.006, linear.shape)
    return np.asarray(np.clip(linear / (linear * 0.25 + 0.9) + noise, 0, 1) ** (1 / 2.2) * 255, np.uint8)


def main(path: str) -> None:
    """Write the picture as JPEG."""
    large = Image.fromarray(render(WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING))
    large.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(path, quality=78, optimize=True, progressive=True)


if __name__ == "__main__":
    main(sys.argv[1])
