"""Constrained problems that are solved in closed form: arms, and linear systems with quadratic costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tradeoff.evaluation.checks import Array, as_vector
from tradeoff.evaluation.constrained import InfeasibleLimits
from tradeoff.evaluation.finite import InvalidProblem, NoConvergence


class BanditOptimum(NamedTuple):
    """Best chances of the arms within a limit on the mean cost."""

    value: float
    chances: Array  # [A]; at most two arms are drawn
    multiplier: float  # price of the limit: what the value gains per unit of relief


def constrained_bandit(reward: ArrayLike, cost: ArrayLike, limit: float) -> BanditOptimum:
    """Most mean reward [A] with mean cost [A] <= limit, from the upper hull of the arms (cost, reward).

    Raises InfeasibleLimits if every arm costs more than the limit.
    """
    costs = np.asarray(cost, dtype=np.float64).ravel()
    costs = as_vector(costs, len(costs), "cost")
    rewards = as_vector(reward, len(costs), "reward")
    if costs.min() > limit:
        raise InfeasibleLimits(
            f"no arm costs at most {limit:g}; the cheapest costs {costs.min():.6g}", costs.min()[None]
        )
    below, above = np.flatnonzero(costs <= limit), np.flatnonzero(costs > limit)
    share = (limit - costs[below, None]) / (costs[above] - costs[below, None])  # of the dear arm in each pair
    mixed = rewards[below, None] * (1.0 - share) + rewards[above] * share
    chances = np.zeros(len(costs))
    cheap = below[rewards[below].argmax()]
    value = rewards[cheap]
    chances[cheap] = 1.0
    if mixed.size and mixed.max() > value:
        row, column = np.unravel_index(mixed.argmax(), mixed.shape)
        value, chances[cheap] = mixed[row, column], 0.0
        chances[below[row]], chances[above[column]] = 1.0 - share[row, column], share[row, column]
    price = ((rewards[above] - value) / (costs[above] - limit)).max(initial=0.0)
    return BanditOptimum(float(value), chances, float(price))


class Quadratic(NamedTuple):
    """A cost x' state x + u' control u per step."""

    state: Array  # [x, x], positive semidefinite
    control: Array  # [u, u], positive semidefinite


@dataclass(frozen=True)
class LinearSystem:
    """x' = dynamics x + control u + noise of a given covariance; actions u = -gain x.

    discount 1: costs are averages per step and the start does not matter; below 1: discounted sums from the start.
    """

    dynamics: Array  # [x, x]
    control: Array  # [x, u]
    noise: Array  # [x, x] covariance
    start: Array | None = None  # [x, x] second moment of the first state
    discount: float = 1.0

    def __post_init__(self) -> None:
        states, actions = np.shape(self.control)
        shapes = {"dynamics": np.shape(self.dynamics), "noise": np.shape(self.noise)}
        if self.start is not None:
            shapes["start"] = np.shape(self.start)
        for name, shape in shapes.items():
            if shape != (states, states):
                raise InvalidProblem(
                    f"{name} has shape {shape}; control {(states, actions)} asks for {(states, states)}"
                )
        if not 0.0 < self.discount <= 1.0:
            raise InvalidProblem(f"discount is {self.discount}; expected a number in (0, 1]")
        if self.discount < 1.0 and self.start is None:
            raise InvalidProblem("a discounted sum needs start, the second moment [x, x] of the first state")


class LqrOptimum(NamedTuple):
    """The best linear feedback within a limit on a second cost; no other controller is better."""

    gain: Array  # [u, x]: u = -gain x
    cost: float  # the objective, minimised
    limited: float  # the cost with the limit
    multiplier: float  # price of the limit: what the objective saves per unit of relief


def lqr_gain(system: LinearSystem, cost: Quadratic) -> Array:
    """Gain [u, x] of the controller u = -gain x that minimises a quadratic cost, from the Riccati equation.

    Raises NoConvergence if there is none (cost.control is singular, or no controller stabilises what costs).
    """
    from scipy.linalg import LinAlgError, solve_discrete_are

    a, b = (np.sqrt(system.discount) * np.asarray(m, dtype=np.float64) for m in (system.dynamics, system.control))
    try:
        value = solve_discrete_are(a, b, np.asarray(cost.state), np.asarray(cost.control))
    except (LinAlgError, ValueError) as error:
        raise NoConvergence(
            f"the Riccati equation has no stabilising solution ({error}); every action must cost something and what "
            "costs must be controllable"
        ) from error
    return np.asarray(np.linalg.solve(np.asarray(cost.control) + b.T @ value @ b, b.T @ value @ a))


def lqr_cost(system: LinearSystem, gain: ArrayLike, cost: Quadratic) -> float:
    """Exact cost of u = -gain x: the average per step, or the discounted sum from the start.

    Raises NoConvergence if the gain does not stabilise the system.
    """
    from scipy.linalg import solve_discrete_lyapunov

    feedback = np.asarray(gain, dtype=np.float64)
    closed = np.sqrt(system.discount) * (np.asarray(system.dynamics) - np.asarray(system.control) @ feedback)
    radius = float(np.abs(np.linalg.eigvals(closed)).max())
    if radius >= 1.0:
        raise NoConvergence(f"gain {feedback.tolist()} grows the state by {radius:.6g} per step; its cost has no limit")
    source = np.asarray(system.noise, dtype=np.float64)
    if system.start is not None and system.discount < 1.0:
        source = np.asarray(system.start) + system.discount / (1.0 - system.discount) * source
    moment = solve_discrete_lyapunov(closed, source)
    return float(np.trace((np.asarray(cost.state) + feedback.T @ np.asarray(cost.control) @ feedback) @ moment))


def constrained_lqr(system: LinearSystem, objective: Quadratic, limited: Quadratic, limit: float) -> LqrOptimum:
    """Least objective with the limited cost <= limit: the price is searched until the priced Riccati solution fits.

    objective.control must be positive definite. Raises InfeasibleLimits, naming the least attainable value of the
    limited cost; NoConvergence as in `lqr_gain`.
    """

    units = [max(float(np.abs(part).max()) for part in cost) for cost in (objective, limited)]
    unit, other = (size if size > 0 else 1.0 for size in units)

    def gain_at(share: float) -> Array:
        parts = zip(objective, limited, strict=True)
        return lqr_gain(
            system,
            Quadratic(*((1 - share) * np.asarray(one) / unit + share * np.asarray(two) / other for one, two in parts)),
        )

    def used(share: float) -> float:
        return lqr_cost(system, gain_at(share), limited)

    share = 0.0 if used(0.0) <= limit else _fitting_share(used, limit)
    gain = gain_at(share)
    price = share / (1.0 - share) * unit / other
    return LqrOptimum(gain, lqr_cost(system, gain, objective), used(share), price)


def _fitting_share(used: Callable[[float], float], limit: float) -> float:
    """Weight in (0, 1) of the limited cost at which it equals the limit; its price is weight / (1 - weight)."""
    from scipy.optimize import brentq

    most = 1.0 - 1e-9
    if used(most) > limit:
        raise InfeasibleLimits(
            f"no controller keeps the cost at or below {limit:g}; the least attainable value is {used(most):.6g}",
            np.array([used(most)]),
        )
    return float(brentq(lambda share: used(share) - limit, 0.0, most, xtol=1e-15, rtol=1e-14))
