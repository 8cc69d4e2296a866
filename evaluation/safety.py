"""Numbers for runs within limits: how much was earned, how often and how far the limits were broken, and until when.

A run is a curve of T evaluations: `steps` [T] real training steps, `returns` [T] mean returns, `excess` [T] by how much
the worst limit was exceeded on average (not positive: all limits held).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tradeoff.evaluation.checks import Array, InvalidPoints

TAIL = 0.2  # share of a run's evaluations, the last ones, that say where it ended up


class Curve(NamedTuple):
    """What a curve of evaluations says of a run."""

    strong_violation: float  # mean over evaluations of max(excess, 0): what is saved at one time pays for nothing else
    oscillation: float  # standard deviation of the excess over the last fifth [cost]
    first_feasible: float  # steps at the first evaluation within the limits; infinite: never
    lasting_feasible: float  # steps from which on all evaluations are within the limits; infinite: never
    feasible_share: float  # share of the evaluations within the limits
    average_return: float  # of the mixture of the last fifth's policies
    average_excess: float  # of the same mixture


def curve(steps: ArrayLike, returns: ArrayLike, excess: ArrayLike) -> Curve:
    """Read a curve.

    The average iterate is the mixture that draws one of the last fifth's policies for each episode: its return and cost
    are the means of theirs. Raises InvalidPoints for curves of unequal length, without points, or with NaN.
    Source: strong violation: Efroni et al. 2020, arXiv:2003.02189, section 2.
    """
    at, earned, over = (np.asarray(x, dtype=np.float64) for x in (steps, returns, excess))
    if at.ndim != 1 or not len(at) or not at.shape == earned.shape == over.shape:
        raise InvalidPoints(f"curves have shapes {at.shape}, {earned.shape}, {over.shape}; expected one length [T]")
    if not all(np.isfinite(x).all() for x in (at, earned, over)):
        raise InvalidPoints("a curve holds NaN or infinity; leave out evaluations that measured nothing")
    kept = over <= 0
    tail = slice(-max(1, round(TAIL * len(at))), None)
    lasting = np.flatnonzero(np.logical_and.accumulate(kept[::-1])[::-1])
    return Curve(
        strong_violation=float(np.maximum(over, 0).mean()),
        oscillation=float(over[tail].std()),
        first_feasible=float(at[np.argmax(kept)]) if kept.any() else float("inf"),
        lasting_feasible=float(at[lasting[0]]) if len(lasting) else float("inf"),
        feasible_share=float(kept.mean()),
        average_return=float(earned[tail].mean()),
        average_excess=float(over[tail].mean()),
    )


def cost_rate(costs: ArrayLike, lengths: ArrayLike) -> float:
    """Cost per step over a run's evaluations, costs [T] and lengths [T] being means per episode.

    Source: Ray, Achiam and Amodei 2019, Benchmarking Safe Exploration in Deep RL, section 5.
    """
    paid, length = np.asarray(costs, dtype=np.float64), np.asarray(lengths, dtype=np.float64)
    if paid.shape != length.shape or not paid.size or not (length > 0).all():
        raise InvalidPoints(f"costs {paid.shape} and lengths {length.shape} must match, with lengths above 0")
    return float(paid.sum() / length.sum())


def feasible_only(returns: Array, excess: Array) -> Array:
    """Returns [n] of runs that keep their limits, NaN for those that do not; excess [n] or [n, j]."""
    over = np.asarray(excess, dtype=np.float64)
    worst = over if over.ndim == 1 else over.max(1)
    return np.where(worst <= 0, np.asarray(returns, dtype=np.float64), np.nan)
