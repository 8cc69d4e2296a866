"""Constrained optima over a horizon: the time-indexed linear program, decomposed into single policies.

Written out, that program has a variable for every step, state and action and is so degenerate that a simplex solver
needs minutes for 100 states and 60 steps. Its solutions are mixtures of deterministic policies: backward induction
proposes the policies, a program of a few variables mixes them, and its prices say which policy to propose next (Dantzig
and Wolfe 1960, Operations Research 8). It ends with the optimum of the whole program, and with its duals.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tradeoff.evaluation.checks import Array
from tradeoff.evaluation.exact import BestPolicy, best_policy, occupancy
from tradeoff.evaluation.finite import FiniteProblem, NoConvergence
from tradeoff.evaluation.flows import PRECISE

MOST_POLICIES = 2_000


class Mixture(NamedTuple):
    """An optimum as a mixture of policies."""

    occupancy: Array  # [H, S, A]
    prices: Array  # [k] of the limits


class _Master(NamedTuple):
    shares: Array  # [n] of the policies
    excess: float  # by which every limit is widened
    prices: Array  # [k]
    height: float  # priced gain that a new policy has to beat


def best_mixture(problem: FiniteProblem, gain: Array, rows: Array, bounds: Array, horizon: int) -> Mixture | None:
    """Most gain . returns over mixtures of policies with rows . returns <= bounds; None if there are none.

    gain: [m], rows: [k, m], bounds: [k].
    """
    policies = [best_policy(problem, gain, horizon=horizon)]
    widest = _complete(problem, policies, np.zeros_like(gain), rows, bounds, elastic=True)
    if widest.excess > 1e-9 * max(1.0, float(np.abs(bounds).max(initial=0.0))):
        return None
    best = _complete(problem, policies, gain, rows, bounds + widest.excess, elastic=False)
    used = [(share, policy) for share, policy in zip(best.shares, policies, strict=True) if share > 1e-12]
    total = sum(share for share, _ in used)
    taken = sum(share / total * occupancy(problem, policy.policy, horizon=horizon) for share, policy in used)
    return Mixture(np.asarray(taken), best.prices)


def _complete(
    problem: FiniteProblem, policies: list[BestPolicy], gain: Array, rows: Array, bounds: Array, elastic: bool
) -> _Master:
    """Best mixture after every policy that could improve it has been added to the list."""
    for _ in range(MOST_POLICIES):
        returns = np.array([policy.returns for policy in policies])
        master = _mix(returns, gain, rows, bounds, elastic)
        if elastic and master.excess <= 0.0:
            return master
        fresh = best_policy(problem, gain - master.prices @ rows, horizon=len(policies[0].values))
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
