"""The occupancies of a finite problem as one system of linear equations: what the exact programs optimise over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tradeoff.evaluation.checks import Array, Mask
from tradeoff.evaluation.exact import occupancy, policy_from_occupancy
from tradeoff.evaluation.finite import FiniteProblem, NoConvergence, reachable_states

if TYPE_CHECKING:
    from scipy import sparse
    from scipy.optimize import OptimizeResult

PRECISE = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


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

    def policy(self, flow: Array) -> Array:
        """The policy behind a flow; uniform where it never comes."""
        taken = self.occupancy(flow)
        if self.average:
            carry = self.occupancy(flow[len(flow) // 2 :])
            taken = np.where(taken.sum(axis=1, keepdims=True) > 1e-7, taken, carry)
        return policy_from_occupancy(taken)

    def exact_occupancy(self, flow: Array) -> tuple[Array, Array]:
        """Policy and its exact occupancy: what the solver's tolerance left of the flow is gone.

        Raises NoStationaryOptimum if the policy's occupancy is another one.
        """
        policy = self.policy(flow)
        taken = occupancy(self.problem, policy, horizon=self.horizon, average=self.average)
        if self.average and np.abs(taken - self.occupancy(flow)).max() > 1e-5:
            raise NoStationaryOptimum(
                "the best average is a mixture of policies that never meet again after their first steps and no "
                "stationary policy attains it; draw one of the policies at the start, or use a discount below 1"
            )
        return policy, taken


def flows(problem: FiniteProblem, *, horizon: int | None = None, average: bool = False) -> Flows:
    """The equations of one criterion: discounted, with a horizon (time-indexed), or average.

    Source: Puterman 1994, Markov Decision Processes, sections 6.9 and 9.3; Altman 1999, Constrained Markov Decision
    Processes, chapters 3 and 4. Raises ValueError if both a horizon and `average` are given.
    """
    from scipy import sparse

    if average and horizon is not None:
        raise ValueError(f"average=True and horizon={horizon} exclude each other: leave one out")
    live, actions = _live(problem), problem.reward.shape[1]
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
    Raises NoConvergence if the cost has no bound or the solver gives up.
    """
    from scipy import sparse
    from scipy.optimize import linprog

    flow = space.balance.shape[1]
    free = len(cost) - flow
    balance = _csr(sparse.hstack([space.balance, sparse.csr_matrix((len(space.source), free))]))
    signs = [(0.0, None)] * flow + [(None, None)] * free
    arguments = {"A_eq": balance, "b_eq": space.source, "A_ub": _csr(rows), "b_ub": bounds, "bounds": signs}
    result = linprog(cost, **arguments, method="highs", options=PRECISE)
    if result.status == 4:  # presolve cannot tell infeasible from unbounded
        result = linprog(cost, **arguments, method="highs", options={**PRECISE, "presolve": False})
    if result.status == 3:
        raise NoConvergence("the value has no bound: episodes may last forever; give a horizon or a discount below 1")
    if result.status not in (0, 2):
        raise NoConvergence(f"the linear program was not solved: {result.message}")
    return result


def _live(problem: FiniteProblem) -> Mask:
    return reachable_states(problem) & ~problem.terminal


def _csr(matrix: Any) -> sparse.csr_matrix:
    from scipy import sparse

    return sparse.csr_matrix(matrix)
