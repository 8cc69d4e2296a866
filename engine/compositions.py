"""Published variance-reduced policy gradients as settings of one recursion and one update, and nothing more.

Every function takes further fields of `Recursion` by keyword (baseline, lag, separate, box, ...). Schedules count the
turns t from 0; the first turn always takes eta = 1. For a linear utility J is not needed to price the gradient, so
`separate=False` spends no trajectories on it.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from tradeoff.engine.recursion import Recursion, Recursive
from tradeoff.engine.updates import SGD, Normalised, Scheduled, Truncated, Update


class Composition(NamedTuple):
    """A method: what estimates the gradient, and how parameters move along it."""

    estimator: Recursive
    update: Update


def constant(eta: float) -> Callable[[int], float]:
    """The same eta at every step."""
    return lambda t: eta


def every(period: int) -> Callable[[int], float]:
    """1 at every period-th step (a checkpoint), 0 between. Raises ValueError for a period below 1."""
    if period < 1:
        raise ValueError(f"period must be at least 1, got {period}")
    return lambda t: float(t % period == 0)


def coin(probability: float, seed: int) -> Callable[[int], float]:
    """1 with this probability, else 0; step t has a draw of its own, the same for the whole population."""
    if not 0 < probability <= 1:
        raise ValueError(f"probability must lie in (0, 1], got {probability}")
    return lambda t: float(Random(f"{seed} {t}").random() < probability)


def decaying(first: float, power: float) -> Callable[[int], float]:
    """min(1, first * (2 / (t + 2))^power)."""
    return lambda t: min(1.0, first * (2 / (t + 2)) ** power)


def reinforce(learning_rate: float, batch: int, **fields: Any) -> Composition:
    """The whole return times the sum of scores. Source: Williams 1992."""
    settings = Recursion(eta=constant(1.0), batch=batch, causal=False, **fields)
    return Composition(Recursive(settings), SGD(learning_rate))


def gpomdp(learning_rate: float, batch: int, **fields: Any) -> Composition:
    """Discounted reward-to-go times score; two separate batches per step make it MO-PG.

    Source: Baxter and Bartlett 2001; MO-PG: Guidobene et al. 2025, arXiv:2508.10608.
    """
    return Composition(Recursive(Recursion(eta=constant(1.0), batch=batch, **fields)), SGD(learning_rate))


def momentum(learning_rate: float, batch: int, eta: float, **fields: Any) -> Composition:
    """Exponential average of gradients, normalised steps. Source: Cutkosky and Mehta 2020, arXiv:2002.03305."""
    settings = Recursion(eta=constant(eta), batch=batch, **fields)
    return Composition(Recursive(settings), Normalised(learning_rate))


def svrpg(learning_rate: float, checkpoint: int, batch: int, period: int, **fields: Any) -> Composition:
    """Corrections of a checkpoint's gradient by weights back to the checkpoint.

    Source: Papini et al. 2018, arXiv:1806.05618.
    """
    settings = Recursion(
        eta=every(period), transport="importance", anchor=True, checkpoint=checkpoint, batch=batch, **fields
    )
    return Composition(Recursive(settings), SGD(learning_rate))


def srvr_pg(learning_rate: float, checkpoint: int, batch: int, period: int, **fields: Any) -> Composition:
    """Corrections of the last gradient by weights back to the last step. Source: Xu et al. 2020, arXiv:1909.08610."""
    settings = Recursion(eta=every(period), transport="importance", checkpoint=checkpoint, batch=batch, **fields)
    return Composition(Recursive(settings), SGD(learning_rate))


def page_pg(learning_rate: float, checkpoint: int, batch: int, probability: float, **fields: Any) -> Composition:
    """SRVR-PG with checkpoints at random, as `seed` decides. Source: Gargiani et al. 2022, arXiv:2202.00308."""
    eta = coin(probability, fields.get("seed", 0))
    settings = Recursion(eta=eta, transport="importance", checkpoint=checkpoint, batch=batch, **fields)
    return Composition(Recursive(settings), SGD(learning_rate))


def storm_pg(learning_rate: float, batch: int, eta: float, **fields: Any) -> Composition:
    """A blend of fresh and corrected gradients at every step. Source: Yuan et al. 2020, arXiv:2003.04302."""
    settings = Recursion(eta=constant(eta), transport="importance", batch=batch, **fields)
    return Composition(Recursive(settings), SGD(learning_rate))


def tsivr(learning_rate: float, radius: float, checkpoint: int, batch: int, period: int, **fields: Any) -> Composition:
    """J and gradient both recursed, steps no longer than `radius`, which is what bounds the weights.

    Source: Zhang et al. 2021, arXiv:2102.08607 (TSIVR-PG); for vectors of returns Guidobene et al. 2025,
    arXiv:2508.10608 (MO-TSIVR-PG), whose analysis takes lag=True: weights of the step before, within an epoch.
    """
    estimator, _ = srvr_pg(learning_rate, checkpoint, batch, period, **fields)
    return Composition(estimator, Truncated(learning_rate, radius))


def n_vr_pg(learning_rate: float, batch: int = 1, **fields: Any) -> Composition:
    """Normalised steps need no radius; prices of the step before let one batch serve J (or occupancy) and gradient.

    eta = step = (2 / (t + 2))^(2/3). Source: Barakat et al. 2023, arXiv:2306.01854.
    """
    defaults = {"lag": True, "separate": False} | fields
    settings = Recursion(eta=decaying(1.0, 2 / 3), transport="importance", batch=batch, **defaults)
    return Composition(Recursive(settings), Scheduled(Normalised(learning_rate), 2 / 3))


def n_pg_igt(learning_rate: float, batch: int, eta: float = 1.0, **fields: Any) -> Composition:
    """Implicit gradient transport: samples ahead of theta, so that old gradients need no correction.

    eta_t = eta (2 / (t + 2))^(4/5), step 2 / (t + 2). Source: Fatkhullin et al. 2023, arXiv:2302.01734.
    """
    settings = Recursion(eta=decaying(eta, 0.8), transport="extrapolation", batch=batch, **fields)
    return Composition(Recursive(settings), Scheduled(Normalised(learning_rate), 1.0))


def harpg(learning_rate: float, batch: int, eta: float = 1.0, **fields: Any) -> Composition:
    """Old gradients brought over by Hessian-vector products at random interpolates.

    eta_t = eta * 2 / (t + 2), step (2 / (t + 2))^(1/2). Source: Fatkhullin et al. 2023, arXiv:2302.01734.
    """
    settings = Recursion(eta=decaying(eta, 1.0), transport="hessian", batch=batch, **fields)
    return Composition(Recursive(settings), Scheduled(SGD(learning_rate), 0.5))


def n_harpg(learning_rate: float, batch: int, eta: float = 1.0, **fields: Any) -> Composition:
    """HARPG with normalised steps of length 2 / (t + 2). Source: Fatkhullin et al. 2023, arXiv:2302.01734."""
    estimator, _ = harpg(learning_rate, batch, eta, **fields)
    return Composition(estimator, Scheduled(Normalised(learning_rate), 1.0))
