"""Fronts that are known: exact ones by dynamic programming, published ones where only those exist."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradeoff.evaluation import pareto_front

EXACT = (
    "deep-sea-treasure-v0", "deep-sea-treasure-concave-v0", "deep-sea-treasure-mirrored-v0",
    "resource-gathering-v0", "fruit-tree-v0",
)  # fmt: skip
PUBLISHED = ("minecart-v0", "minecart-deterministic-v0")


class KnownFront(NamedTuple):
    """A front to draw beside ours."""

    points: NDArray[np.float64]  # [n, m] discounted returns
    kind: str  # exact or published


@lru_cache(maxsize=8)
def known_front(env: str, discount: float, horizon: int | None = None) -> KnownFront | None:
    """The known front of an environment at a discount; None where there is none, or the horizon was changed."""
    if horizon is not None:
        return None
    if env in EXACT:
        from tradeoff.envs import finite_model

        model = finite_model(env)
        points = pareto_front(
            model.transition,
            model.reward,
            start=model.start,
            discount=discount,
            terminal=model.terminal,
            horizon=model.horizon,
        )
        return KnownFront(points, "exact")
    if env in PUBLISHED:
        from tradeoff.envs.minecart import published_front

        return KnownFront(published_front(env, discount), "published")
    return None
