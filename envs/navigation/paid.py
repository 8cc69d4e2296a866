"""What is paid, as functions of where things are: arrays of N arenas in, arrays of N arenas out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeoff.envs.navigation.tasks import RADIUS, WALL

Array = NDArray[Any]

MOVING = 1e-4  # speed from which a vase counts as moved [m/s]


def lengths(vectors: Array) -> Array:
    """Euclidean norms [...] of vectors [..., d]."""
    return np.asarray(np.sqrt(np.square(vectors).sum(-1)))


def speed_along_circle(position: Array, velocity: Array) -> Array:
    """A tenth of the speed around the middle, less the further from the circle [N]; both [N, 2].

    Source: Achiam et al. 2017, arXiv:1705.10528, appendix 10.3.
    """
    (x, y), (u, v) = position.T, velocity.T
    radius = np.sqrt(x * x + y * y)
    return np.asarray((v * x - u * y) / radius / (1 + np.abs(radius - RADIUS)) * 0.1)


def inside(position: Array, hazards: Array, radius: Array) -> Array:
    """Whether the agent [N, 2] stands in a hazard [N, h, 2] of radius [h]: [N] bool."""
    return np.asarray((lengths(hazards - position[:, None]) < radius).any(1))


def moved(velocity: Array) -> Array:
    """Whether one of the vases moves; velocity [N, v, 3]: [N] bool."""
    return np.asarray((lengths(velocity) >= MOVING).any(1))


def outside(position: Array, walls: int) -> Array:
    """Whether the agent [N, 2] is beyond two walls (along x), or four: [N] bool."""
    return np.asarray((np.abs(position[:, : walls // 2]) > WALL).any(1))


def wrong(pressed: Array, right: Array, timer: Array) -> Array:
    """Whether a button [N, b] but the right one [N] is pressed while they are alive (timer [N] at 0): [N] bool."""
    others = np.arange(pressed.shape[1]) != right[:, None]
    return np.asarray((pressed & others).any(1) & (timer == 0))
