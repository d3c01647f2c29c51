"""Street trees and hedges; their paint is the leaves' color."""

from functools import lru_cache

import numpy as np

from maskpencil.scenes.facets import ROUND, TREE, Model, Sketch, crosswise, rgb, upright

BARK = rgb("6b5240")
SEASONS = (
    (rgb("8fb84a"), rgb("7fae52"), rgb("a3bf5a")),  # spring
    (rgb("4f8a3c"), rgb("5c9440"), rgb("457f45")),  # summer
    (rgb("6f8f3a"), rgb("5f8a3f"), rgb("86953f")),  # late summer
    (rgb("c9922e"), rgb("b8742c"), rgb("9a9a3a")),  # autumn
)
TREES = 24

_ANGLES = np.linspace(0, 2 * np.pi, 13)[:-1]
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)  # (12, 2)


@lru_cache(maxsize=TREES)
def tree_model(design: int) -> Model:
    """Build one of `TREES` trees: a trunk, a fork and a crown of leafy clumps, dark below and light towards the sky."""
    rng = np.random.default_rng([2, design])
    sketch = Sketch(TREE)
    scale = rng.uniform(0.85, 1.2)
    fork, middle, radius = 2.3 * scale, 4.4 * scale, 1.95 * scale
    wood = [
        [(-0.17, 0), (-0.11, fork), (0.11, fork), (0.17, 0)],
        [(-0.11, fork - 0.2), (-0.8, middle), (-0.65, middle + 0.1), (0.06, fork)],
        [(-0.05, fork), (0.75, middle), (0.9, middle - 0.1), (0.11, fork - 0.2)],
    ]
    sketch.paint(upright(wood), BARK, light=ROUND)
    sketch.paint(upright([[(0.03, 0), (0.03, fork), (0.11, fork), (0.17, 0)]]), BARK * 0.8, light=ROUND)

    # The clumps fill an egg around a dark core, roughly from the bottom to the top.
    count = 26
    angle, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0.05, 1, count))
    x, y = radius * 0.74 * reach * np.cos(angle), radius * 0.78 * reach * np.sin(angle)
    order = np.argsort(y + rng.normal(0, 0.35, count))
    middles = np.stack([np.append(0, x[order]), np.append(0, y[order]) + middle], axis=-1)
    sizes = np.append(radius * 0.9, radius * rng.uniform(0.22, 0.4, count))
    reaches = sizes[:, np.newaxis] * (1 + 0.15 * rng.uniform(-1, 1, (count + 1, len(_ANGLES))))
    clumps = middles[:, np.newaxis] + reaches[..., np.newaxis] * _CIRCLE
    shades = 0.82 + 0.3 * np.append(-0.55, y[order] / radius) + np.append(0, rng.uniform(-0.08, 0.08, count))
    for clump, shade in zip(clumps, shades, strict=True):
        sketch.paint(upright([clump]), light=ROUND, takes=float(shade))

    for height, part in ((middle, 0.85), (middle + 0.6 * radius, 0.75)):
        ring = part * radius * _CIRCLE
        sketch.cast(np.stack([ring[:, 0], np.full(len(ring), height), ring[:, 1]], axis=-1))
    sketch.cast(crosswise(-0.15, 0.15, 0, middle, 0))
    return sketch.model()


@lru_cache(maxsize=8)
def hedge_model(design: int) -> Model:
    """Build six meters of hedge along the pavement, taller than the camera."""
    rng = np.random.default_rng([3, design])
    sketch = Sketch(TREE)
    edges = np.linspace(0, 6, 9)
    tops = np.append(1.9 + rng.uniform(-0.14, 0.14, 8), 1.9)
    tops[0] = 1.9
    for i in range(8):
        near, far = edges[i], edges[i + 1]
        face = [(0, 0, near), (0, tops[i], near), (0, tops[i + 1], far), (0, 0, far)]
        shade = rng.uniform(0.68, 0.82)
        sketch.paint(face, light=ROUND, takes=shade, depth=far)
        sketch.paint([(0, 0, near), (0, 0.5, near), (0, 0.5, far), (0, 0, far)], light=ROUND, takes=0.55, depth=far)
        sketch.cast(face)
    return sketch.model()
