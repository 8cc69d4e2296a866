"""The occupancies of a finite problem as one system of linear equations: what the exact programs optimise over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradeoff.evaluation.checks import Array, Mask
from tradeoff.evaluation.exact import occupancy, policy_from_occupancy
from tradeoff.evaluation.finite import FiniteProblem, InvalidProblem, NoConvergence, check_horizon, reachable_states

if TYPE_CHECKING:
    from scipy import sparse
    from scipy.optimize import OptimizeResult

PRECISE = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
ATTEMPTS: tuple[dict[str, Any], ...] = (PRECISE, {**PRECISE, "presolve": False}, {}, {"presolve": False})
ACCURATE = 1e-7  # relative distance to the optimum that is taken as rounding
PASSES = 8  # of scaling rows and columns in turn


class NoStationaryOptimum(ValueError):
    """The best long-run average is approached, but no stationary policy attains it."""


@dataclass(frozen=True)
class Flows:
    """Every x >= 0 with `balance x = source` is an occupancy, and every policy's occupancy is such an x.

    n unknowns: one per step (with a horizon), reachable state that is not terminal, and action; for the average
    reward as many again, which only carry the start to where the time is spent.
    """

    problem: FiniteProblem
    balance: sparse.csr_matrix  # [e, n]
    source: Array  # [e]
    reward: Array  # [n, m] what a unit of flow pays
    visits: sparse.csr_matrix  # [S * A, n] to occupancies, summed over the steps
    horizon: int | None
    average: bool

    def occupancy(self, flow: Array) -> Array:
        """The flow [n] as an occupancy [S, A], or [H, S, A] with a horizon; never negative."""
        live, blocks = _live(self.problem), self.horizon or 1
        states, actions, _ = self.problem.reward.shape
        taken = np.zeros((blocks, states, actions))
        taken[:, live] = np.maximum(flow[: blocks * live.sum() * actions], 0.0).reshape(blocks, -1, actions)
        return taken if self.horizon is not None else taken[0]

    def exact_occupancy(self, flow: Array) -> tuple[Array, Array]:
        """Policy and its exact occupancy: what the solver's tolerance left of the flow is gone.

        Raises NoStationaryOptimum if the policy's occupancy is another one.
        """
        taken = self.occupancy(flow)
        if self.average:
            carry = self.occupancy(flow[len(flow) // 2 :])
            return self.attained(np.where(taken.sum(axis=1, keepdims=True) > 1e-7, taken, 0.0), carry)
        policy = policy_from_occupancy(taken)
        return policy, occupancy(self.problem, policy, horizon=self.horizon)

    def attained(self, taken: Array, carry: Array) -> tuple[Array, Array]:
        """Stationary policy and occupancy of a share of time [S, A] and, elsewhere, of the way there [S, A].

        Raises NoStationaryOptimum if the policy's occupancy is another one.
        """
        policy = policy_from_occupancy(np.where(taken.sum(axis=1, keepdims=True) > 0.0, taken, carry))
        attained = occupancy(self.problem, policy, average=True)
        if np.abs(taken - attained).max() > 1e-5:
            raise NoStationaryOptimum(
                "the best average is a mixture of policies that never meet again after their first steps and no "
                "stationary policy attains it; draw one of the policies at the start, or use a discount below 1"
            )
        return policy, attained


def flows(problem: FiniteProblem, *, horizon: int | None = None, average: bool = False) -> Flows:
    """The equations of one criterion: discounted, with a horizon (time-indexed), or average.

    Source: Puterman 1994, Markov Decision Processes, sections 6.9 and 9.3; Altman 1999, Constrained Markov Decision
    Processes, chapters 3 and 4. Raises ValueError if both a horizon and `average` are given; InvalidProblem for a
    horizon below 1 and where every episode is over before its first step.
    """
    from scipy import sparse

    check_horizon(horizon)
    if average and horizon is not None:
        raise ValueError(f"average=True and horizon={horizon} exclude each other: leave one out")
    live, actions = _live(problem), problem.reward.shape[1]
    if not live.any():
        raise InvalidProblem("every start state is terminal, so no policy acts; give a start that is not terminal")
    rows = np.repeat(live, actions)
    after, start = problem.transition[rows][:, live].T, problem.start[live]
    leave = sparse.kron(sparse.eye_array(len(start)), np.ones((1, actions)))
    pay = problem.reward.reshape(-1, problem.reward.shape[2])[rows]
    place = _csr(_csr(sparse.eye_array(len(rows)))[:, rows])
    if average:
        stay = leave - after
        balance = sparse.block_array([[stay, None], [leave, stay]])
        source = np.concatenate([np.zeros(len(start)), start])
        visits = _csr(sparse.hstack([place, 0.0 * place]))
        return Flows(problem, _csr(balance), source, np.concatenate([pay, np.zeros_like(pay)]), visits, None, True)
    if horizon is None:
        return Flows(problem, _csr(leave - problem.discount * after), start, pay, place, None, False)
    balance = sparse.kron(sparse.eye_array(horizon), leave)
    balance = balance - sparse.kron(sparse.eye_array(horizon, k=-1), problem.discount * after)
    source = np.concatenate([start, np.zeros(len(start) * (horizon - 1))])
    visits = _csr(sparse.hstack([place] * horizon))
    return Flows(problem, _csr(balance), source, np.tile(pay, (horizon, 1)), visits, horizon, False)


def least_cost(space: Flows, cost: Array, rows: Array, bounds: Array) -> OptimizeResult:
    """Linear program: least cost . x with rows x <= bounds [k] over the flows; status 0, or 2 if there are none.

    cost: [n + f], rows: [k, n + f]: the last f unknowns are no flow and may have any sign.
    The solver sees rows, columns and cost scaled to numbers about 1, for its tolerances are absolute; what it finds is
    held against the unscaled program, primal and dual. Raises NoConvergence if the cost has no bound, the solver gives
    up or its answer is not optimal.
    """
    from scipy import sparse

    flow = space.balance.shape[1]
    free = len(cost) - flow
    balance = _csr(sparse.hstack([space.balance, sparse.csr_matrix((len(space.source), free))]))
    program = _Program(cost, _csr(sparse.vstack([balance, _csr(rows)])), np.append(space.source, bounds), flow)
    for options in ATTEMPTS:
        result = program.solve(len(space.source), options)
        if result.status in (2, 3) or (result.status == 0 and program.shortfall(result) <= ACCURATE):
            break
    if space.average and (result.status == 3 or (result.status == 2 and not len(bounds))):
        raise NoConvergence(
            f"the linear program lost transitions that are too rare for it (down to "
            f"{space.problem.transition.data.min(initial=1.0):.2g}); drop those that do not matter, or use a discount"
        )
    if result.status == 3:
        raise NoConvergence("the value has no bound: episodes may last forever; give a horizon or a discount below 1")
    if result.status not in (0, 2):
        raise NoConvergence(f"the linear program was not solved: {result.message}")
    if result.status == 0 and program.shortfall(result) > ACCURATE:
        raise NoConvergence(
            f"the linear program's answer misses its bound by {program.shortfall(result):.2g} of its size: numbers of "
            "too many sizes; drop probabilities that do not matter, or give a horizon or a smaller discount"
        )
    return result


class _Program(NamedTuple):
    """Least cost . x where the first rows equal their right side and the others stay at or below it."""

    cost: Array  # [c]
    matrix: sparse.csr_matrix  # [r, c]
    right: Array  # [r]
    flow: int  # the first so many unknowns are not negative

    def solve(self, equations: int, options: dict[str, Any]) -> OptimizeResult:
        """The solver's answer in the program's own units, with `duals` [r] in place of its marginals."""
        from scipy import sparse
        from scipy.optimize import linprog

        by_row, by_column = _equilibration(self.matrix)
        scaled = _csr(sparse.diags_array(by_row) @ self.matrix @ sparse.diags_array(by_column))
        cost, right = self.cost * by_column, self.right * by_row
        unit = power_of_two(np.abs(cost).max(initial=0.0))
        result = linprog(
            cost / unit,
            A_eq=scaled[:equations],
            b_eq=right[:equations],
            A_ub=scaled[equations:],
            b_ub=right[equations:],
            bounds=[(0.0, None)] * self.flow + [(None, None)] * (len(cost) - self.flow),
            method="highs",
            options=options,
        )
        if result.status == 0:
            result.x = result.x * by_column
            result.duals = np.append(result.eqlin.marginals, result.ineqlin.marginals) * by_row * unit
            result.fun = float(self.cost @ result.x)
        return result

    def shortfall(self, result: OptimizeResult) -> float:
        """By how much the answer may miss the optimum, over the size of its terms."""
        size = float(np.abs(self.cost) @ np.abs(result.x)) + float(np.abs(self.right) @ np.abs(result.duals))
        reduced = self.cost - self.matrix.T @ result.duals
        below = np.minimum(reduced, 0.0)[: self.flow] @ np.abs(result.x[: self.flow])
        gap = abs(result.fun - float(self.right @ result.duals)) - float(below)
        return gap / size if size > 0 else 0.0


def _equilibration(matrix: sparse.csr_matrix) -> tuple[Array, Array]:
    """Powers of two by row and column that bring the largest entry of each near 1: no digit is lost in scaling."""
    from scipy import sparse

    sizes = abs(matrix)
    by_row, by_column = np.ones(matrix.shape[0]), np.ones(matrix.shape[1])
    for _ in range(PASSES):
        scaled = _csr(sparse.diags_array(by_row) @ sizes @ sparse.diags_array(by_column))
        by_row = by_row / np.sqrt(_largest(scaled, axis=1))
        by_column = by_column / np.sqrt(_largest(scaled, axis=0))
    return power_of_two(by_row), power_of_two(by_column)


def _largest(matrix: sparse.csr_matrix, axis: int) -> Array:
    """Largest entry of each row (axis 1) or column (axis 0), 1 where all are 0."""
    most = np.asarray(matrix.max(axis=axis).toarray()).ravel()
    return np.where(most > 0, most, 1.0)


def power_of_two(sizes: Any) -> Any:
    """The power of two nearest below each size; 1 for 0."""
    return np.exp2(np.floor(np.log2(np.where(np.asarray(sizes) > 0, sizes, 1.0))))


def _live(problem: FiniteProblem) -> Mask:
    return reachable_states(problem) & ~problem.terminal


def _csr(matrix: Any) -> sparse.csr_matrix:
    from scipy import sparse

    return sparse.csr_matrix(matrix)
