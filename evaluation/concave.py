"""The best policy of a finite problem for a concave utility, and how far from it another policy is, with proof.

The utility is a function of returns [m] and occupancy [S, A] (discounted visits; summed over the steps of a horizon;
share of time for the average), written with cvxpy's functions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tradeoff.evaluation.checks import Array
from tradeoff.evaluation.exact import channel_sums, occupancy
from tradeoff.evaluation.finite import FiniteProblem, NoConvergence
from tradeoff.evaluation.flows import Flows, flows, least_cost

Utility = Callable[[Any, Any], Any]

MOST_CUTS = 100  # planes that bound a utility from above; one suffices where it is smooth


class NotConcave(ValueError):
    """A utility that cvxpy's rules do not prove concave, or that is not a number."""


@dataclass(frozen=True)
class ConcaveOptimum:
    """A best policy for a utility, with a bound that no policy exceeds."""

    value: float  # utility of the policy below, exact
    bound: float  # no policy's utility is above: value <= optimum <= bound
    returns: Array  # [m]
    policy: Array  # [S, A], or [H, S, A] with a horizon
    occupancy: Array  # of the same shape
    space: Flows
    utility: Utility

    def gap(self, policy: ArrayLike) -> float:
        """Utility that a policy may at most lack to the optimum: bound - utility(policy), infinite outside its domain.

        Never less than the true distance, and more by at most bound - value. Raises InvalidPolicy.
        """
        space = self.space
        taken = occupancy(space.problem, policy, horizon=space.horizon, average=space.average)
        value = _Point(space, self.utility, taken).value
        return self.bound - value if np.isfinite(value) else float("inf")


def concave_optimum(
    problem: FiniteProblem,
    utility: Utility,
    *,
    horizon: int | None = None,
    average: bool = False,
    tolerance: float = 1e-6,
) -> ConcaveOptimum:
    """Maximise a concave utility over all policies, by a convex program over occupancies.

    utility: function of two cvxpy expressions, returns [m] and occupancy [S, A], that answers a concave scalar, such as
    `lambda returns, occupancy: cvxpy.sum(cvxpy.sqrt(returns + 1))`. horizon, average: as in `occupancy`.
    tolerance: the bound is tightened until it is this close to the value, relative to it or 1.

    The policy that the program finds is evaluated exactly, and the bound is proved apart from the solver: a concave
    utility lies below each of its tangent planes, and the largest occupancy below all of them is a linear program.

    Raises: NotConcave; NoConvergence if the utility has no bound or no policy lies in its domain; NoStationaryOptimum.
    Source: Zhang, Koppel, Bedi, Szepesvari, Wang 2020, NeurIPS 33 (concave utilities of occupancies); Kelley 1960,
    J. SIAM 8 (cutting planes).
    """
    space = flows(problem, horizon=horizon, average=average)
    policy, taken = space.exact_occupancy(_maximise(space, utility))
    best = _Point(space, utility, taken)
    bound = _upper_bound(space, utility, best, tolerance)
    return ConcaveOptimum(best.value, max(bound, best.value), best.returns, policy, taken, space, utility)


def _maximise(space: Flows, utility: Utility) -> Array:
    """A flow [n] that is best up to the solver's tolerance."""
    import cvxpy

    flow = cvxpy.Variable(space.balance.shape[1], nonneg=True)
    visits = cvxpy.reshape(space.visits @ flow, space.problem.reward.shape[:2], order="C")
    aim = _checked(utility(space.reward.T @ flow, visits))
    program = cvxpy.Problem(cvxpy.Maximize(aim), [space.balance @ flow == space.source])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")  # the bound says how accurate it is
        program.solve()
    if program.status not in ("optimal", "optimal_inaccurate"):
        raise NoConvergence(
            f"the concave program is {program.status}: the utility has no bound, or no policy lies in its domain; "
            "give a horizon or a discount below 1, or a utility that is defined for some policy"
        )
    return np.asarray(flow.value)


def _checked(aim: Any) -> Any:
    if not getattr(aim, "is_concave", None):
        raise NotConcave(f"utility answers {type(aim).__name__}; expected an expression of cvxpy's functions")
    if aim.size != 1:
        raise NotConcave(f"utility answers an array of shape {aim.shape}; expected one number")
    if not aim.is_concave():
        kind = "convex" if aim.is_convex() else "of unknown curvature to cvxpy's rules"
        raise NotConcave(
            f"utility {aim} is {kind}, so no program over occupancies finds its maximum; rewrite it with concave "
            "functions (cvxpy.sqrt, log, entr, min, ...) of affine ones, or climb it with a policy gradient"
        )
    return aim


class _Point:
    """A utility at one occupancy, and a plane above it."""

    def __init__(self, space: Flows, utility: Utility, taken: Array) -> None:
        import cvxpy

        self.taken = taken
        self.visits = taken if space.horizon is None else taken.sum(axis=0)
        self.returns = channel_sums(space.problem, taken)
        self._at = cvxpy.Variable(self.returns.shape), cvxpy.Variable(self.visits.shape)
        self._aim = _checked(utility(*self._at))
        self.value = self._moved(0.0)

    def _moved(self, shift: float) -> float:
        """Utility with every visit raised by `shift`; NaN outside its domain."""
        self._at[0].value, self._at[1].value = self.returns, self.visits + shift
        with np.errstate(all="ignore"):
            value = self._aim.value
        return float("nan") if value is None else float(np.squeeze(value))

    def plane(self, space: Flows) -> tuple[Array, float] | None:
        """Slope [n] and height at 0 of a plane over flows that the utility nowhere exceeds; None outside its domain.

        Where the slope is infinite, as the entropy's is at 0, the plane touches the utility a little beside the point.
        """
        for shift in (0.0, 1e-14, 1e-12, 1e-10, 1e-8):
            value = self._moved(shift)
            with np.errstate(all="ignore"):
                slopes = [_dense(self._aim.grad.get(at, 0.0), at.shape) for at in self._at]
            on_returns, on_visits = slopes
            if np.isfinite(value) and np.isfinite(on_returns).all() and np.isfinite(on_visits).all():
                height = value - on_returns @ self.returns - (on_visits * (self.visits + shift)).sum()
                return space.reward @ on_returns + space.visits.T @ on_visits.ravel(), float(height)
        return None


def _dense(slope: Any, shape: tuple[int, ...]) -> Array:
    """cvxpy's gradient as an array of the variable's shape, NaN outside the domain; cvxpy lists columns first."""
    if slope is None:
        return np.full(shape, np.nan)
    dense = slope.toarray() if hasattr(slope, "toarray") else np.asarray(slope, dtype=np.float64)
    return np.broadcast_to(dense.ravel(), (int(np.prod(shape)),)).reshape(shape, order="F")


def _upper_bound(space: Flows, utility: Utility, best: _Point, tolerance: float) -> float:
    """Least bound that planes above the utility give; each new plane touches where the last bound was attained."""
    planes, point, bound = [], best, float("inf")
    for _ in range(MOST_CUTS):
        plane = point.plane(space)
        if plane is None:
            break
        planes.append(plane)
        bound, taken = _highest(space, planes)
        if bound - best.value <= tolerance * max(1.0, abs(best.value)):
            break
        point = _inside(space, utility, best.taken, taken)
    return bound


def _highest(space: Flows, planes: list[tuple[Array, float]]) -> tuple[float, Array]:
    """Largest height below all planes over the occupancies, and where."""
    rows = np.array([np.append(-slope, 1.0) for slope, _ in planes])
    cost = np.append(np.zeros(len(rows[0]) - 1), -1.0)
    result = least_cost(space, cost, rows, np.array([height for _, height in planes]))
    return -float(result.fun), space.occupancy(result.x[:-1])


def _inside(space: Flows, utility: Utility, best: Array, taken: Array) -> _Point:
    """The new occupancy, or where that lies outside the utility's domain a point on the way to it from the best one."""
    for share in (1.0, 0.5, 0.1, 0.01):
        point = _Point(space, utility, best + share * (taken - best))
        if point.plane(space) is not None:
            break
    return point
