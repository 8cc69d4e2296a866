"""Layouts of arenas so full that most attempts at one fail: many attempts side by side, spare ones kept for later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tradeoff.envs.navigation.layout import MOST, TRIES, Spot, least_square, no_room

Array = NDArray[Any]

ATTEMPTS = 512  # side by side: of a hundred, two or three succeed
STAGES = (4, 16, TRIES - 20)  # places looked at at once: most things find one soon, the last ones never


class Stock:
    """Layouts ahead, per arena: each arena draws its own, so that none depends on its neighbours."""

    def __init__(self, wanted: Sequence[Spot], arenas: int) -> None:
        self.wanted = wanted
        self.layouts = [np.empty((0, len(wanted), 2)) for _ in range(arenas)]

    def take(self, i: int, numbers: np.random.Generator) -> Array:
        """A layout [spots, 2] for arena i. Raises TradeoffError when 10,000 attempts fail."""
        for _ in range(-(-MOST // ATTEMPTS)):
            if len(self.layouts[i]):
                break
            self.layouts[i] = draw_layouts(self.wanted, numbers, ATTEMPTS)
        else:
            raise no_room(len(self.wanted))
        found, self.layouts[i] = self.layouts[i][0], self.layouts[i][1:]
        return found

    def clear(self) -> None:
        """Forget the layouts."""
        self.layouts = [layouts[:0] for layouts in self.layouts]

    def state(self) -> list[Tensor]:
        """The layouts [n, spots, 2] of each arena."""
        return [torch.from_numpy(layouts.copy()) for layouts in self.layouts]

    def load(self, state: Sequence[Tensor]) -> None:
        """The inverse of `state`."""
        self.layouts = [layouts.cpu().numpy().copy() for layouts in state]


def draw_layouts(wanted: Sequence[Spot], numbers: np.random.Generator, attempts: int) -> Array:
    """Layouts [n, spots, 2] of the attempts in which everything found a place: those of `draw_layout` in distribution.

    The numbers are other ones: `draw_layout` begins an attempt where the one before gave up.
    """
    placed = np.empty((0, 2, attempts))
    for i, spot in enumerate(wanted):
        apart = [least_square(other.keepout + spot.keepout) for other in wanted[:i]]
        found = _first_free(spot, placed, apart, numbers)
        placed = np.concatenate([placed, found[None]])[..., ~np.isnan(found[0])]
    return np.asarray(placed.transpose(2, 0, 1))


def _first_free(spot: Spot, placed: Array, apart: Sequence[float], numbers: np.random.Generator) -> Array:
    """Per attempt the first of TRIES places that is free [2, attempts], NaN where none is; placed [i, 2, attempts]."""
    found = np.full(placed.shape[1:], np.nan)
    for tries in STAGES:
        todo = np.flatnonzero(np.isnan(found[0]))
        x, y = numbers.random((2, len(todo), tries))
        x, y = spot.x + spot.width * x, spot.y + spot.height * y
        free = np.ones(x.shape, bool)
        for (a, b), least in zip(placed[..., todo, None], apart, strict=True):
            free &= (x - a) ** 2 + (y - b) ** 2 >= least
        rows, first = np.arange(len(todo)), free.argmax(1)
        found[:, todo] = np.where(free.any(1), (x[rows, first], y[rows, first]), np.nan)
    return found
