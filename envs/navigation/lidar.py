"""Lidar of N environments at once: who is near, in sixteen directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BINS = 16
BIN = 2 * np.pi / BINS


def egocentric(places: Array, position: Array, rotation: Array) -> Array:
    """Places [N, K, 2] on the ground as the agent at `position` [N, 3], turned by `rotation` [N, 3, 3], has them."""
    away = np.concatenate([places, np.zeros((*places.shape[:-1], 1))], -1) - position[:, None]
    return np.asarray((away @ rotation)[..., :2])


def lidar(away: Array, starts: Sequence[int], reach: float) -> Array:
    """Closeness [N, G * 16] of the nearest of each of G groups of things in each direction.

    away: [N, K, 2] places in the agent's frame. starts: the first of each group among the K things. reach: distance at
    which nothing is seen; closeness falls from 1 to 0 over it. A thing shows in its own bin, and in both neighbours by
    how near its direction is to them. Source: Ray, Achiam and Amodei 2019, Benchmarking Safe Exploration.
    """
    distance = np.hypot(away[..., 0], away[..., 1])
    angle = np.arctan2(away[..., 1], away[..., 0]) % (2 * np.pi) / BIN
    bin = np.minimum(angle.astype(np.int64), BINS - 1)
    above, close = angle - bin, np.maximum(reach - distance, 0.0) / reach
    spread = np.zeros((*distance.shape, BINS))
    where = np.stack([bin, bin + 1, bin - 1], -1) % BINS
    np.put_along_axis(spread, where, np.stack([close, above * close, (1 - above) * close], -1), -1)
    return np.maximum.reduceat(spread, starts, axis=1).reshape(len(away), -1)
