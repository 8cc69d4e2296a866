"""Constrained optima as mixtures of single policies: over a horizon, and for averages that need exact arithmetic.

Written out, the program of a horizon has a variable for every step, state and action and is so degenerate that a
simplex solver needs minutes for 100 states and 60 steps. Its solutions are mixtures of deterministic policies: backward
induction (for averages, policy iteration) proposes the policies, a program of a few variables mixes them, and its
prices say which policy to propose next (Dantzig and Wolfe 1960, Operations Research 8). It ends with the optimum of the
whole program, and with its duals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tradeoff.evaluation.checks import Array
from tradeoff.evaluation.exact import BestPolicy
from tradeoff.evaluation.finite import NoConvergence
from tradeoff.evaluation.flows import PRECISE

MOST_POLICIES = 2_000
Oracle = Callable[[Array], BestPolicy]
Taken = Callable[[Array], Array]


class Mixture(NamedTuple):
    """An optimum as a mixture of policies."""

    occupancy: Array  # as the policies': [S, A], or [H, S, A] with a horizon
    prices: Array  # [k] of the limits
    parts: list[tuple[float, Array]]  # share and policy


class _Master(NamedTuple):
    shares: Array  # [n] of the policies
    excess: float  # by which every limit is widened
    prices: Array  # [k]
    height: float  # priced gain that a new policy has to beat


def best_mixture(best: Oracle, taken: Taken, gain: Array, rows: Array, bounds: Array) -> Mixture | None:
    """Most gain . returns over mixtures of policies with rows . returns <= bounds; None if there are none.

    best: the best policy for weights [m] of the channels, of any sign. taken: a policy's occupancy.
    gain: [m], rows: [k, m], bounds: [k].
    """
    policies = [best(gain)]
    widest = _complete(best, policies, np.zeros_like(gain), rows, bounds, elastic=True)
    if widest.excess > 1e-9 * max(1.0, float(np.abs(bounds).max(initial=0.0))):
        return None
    found = _complete(best, policies, gain, rows, bounds + widest.excess, elastic=False)
    used = [(share, policy) for share, policy in zip(found.shares, policies, strict=True) if share > 1e-12]
    total = sum(share for share, _ in used)
    parts = [(share / total, policy.policy) for share, policy in used]
    return Mixture(np.asarray(sum(share * taken(policy) for share, policy in parts)), found.prices, parts)


def _complete(
    best: Oracle, policies: list[BestPolicy], gain: Array, rows: Array, bounds: Array, elastic: bool
) -> _Master:
    """Best mixture after every policy that could improve it has been added to the list."""
    for _ in range(MOST_POLICIES):
        returns = np.array([policy.returns for policy in policies])
        master = _mix(returns, gain, rows, bounds, elastic)
        if elastic and master.excess <= 0.0:
            return master
        fresh = best(gain - master.prices @ rows)
        known = np.abs(returns - fresh.returns).max(axis=1).min() <= 1e-12 * max(1.0, float(np.abs(returns).max()))
        if known or fresh.value <= master.height + 1e-11 * max(1.0, abs(master.height)):
            return master
        policies.append(fresh)
    raise NoConvergence(f"mixtures of {MOST_POLICIES} policies still improve; give fewer limits or a shorter horizon")


def _mix(returns: Array, gain: Array, rows: Array, bounds: Array, elastic: bool) -> _Master:
    """Shares of n policies with returns [n, m] that gain most; if elastic, whose common excess is least instead."""
    from scipy.optimize import linprog

    spare = float(elastic)
    result = linprog(
        np.append(-returns @ gain, spare),
        A_ub=np.column_stack([rows @ returns.T, np.full(len(rows), -1.0)]),
        b_ub=bounds,
        A_eq=np.append(np.ones(len(returns)), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0.0, None)] * len(returns) + [(0.0, None if elastic else 0.0)],
        method="highs",
        options=PRECISE,
    )
    if result.status != 0:
        raise NoConvergence(f"the program that mixes policies was not solved: {result.message}")
    prices = np.maximum(-result.ineqlin.marginals, 0.0)
    return _Master(result.x[:-1], float(result.x[-1]), prices, -float(result.fun) - float(prices @ bounds))
