"""Exact derivatives of the returns of a finite problem, by autograd through the linear system that defines them.

torch is imported inside the functions. All numbers are float64, whatever the policy's own parameters are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tradeoff.evaluation.chains import recurrent_classes
from tradeoff.evaluation.checks import Array, as_vector
from tradeoff.evaluation.exact import check_policy, refuse_endless, state_chain
from tradeoff.evaluation.finite import FiniteProblem, NoConvergence, reachable_problem, reachable_states

if TYPE_CHECKING:
    from scipy import sparse
    from torch import Tensor

PolicyOf = Callable[["Tensor"], "Tensor"]
Objective = Callable[["Tensor", "Tensor"], "Tensor"]


def softmax(logits: Tensor) -> Tensor:
    """Policy of the same shape as its logits [..., S, A]."""
    return logits.softmax(-1)


def torch_occupancy(
    problem: FiniteProblem, policy: Tensor, *, horizon: int | None = None, average: bool = False
) -> Tensor:
    """The occupancy of `evaluation.exact.occupancy` as a function that autograd can differentiate any number of times.

    policy: float64 [S, A], or [H, S, A] with a horizon. The system is dense: memory and time of an S x S matrix.
    Raises: InvalidPolicy; NoConvergence where the occupancy has no derivative or no limit: `average` with several
    recurrent classes, discount 1 without a horizon for a policy that need not end.
    """
    import torch

    check_policy(problem, policy.detach().numpy(), horizon)
    small, index = reachable_problem(problem), torch.from_numpy(np.flatnonzero(reachable_states(problem)))
    part = policy.to(torch.float64).index_select(-2, index)
    live = torch.from_numpy(~small.terminal)
    taken = _by_step(small, part, live, horizon) if horizon is not None else _settled(small, part, live, average)
    whole = torch.zeros(*taken.shape[:-2], *policy.shape[-2:], dtype=torch.float64)
    return whole.index_copy(-2, index, taken)


def torch_returns(
    problem: FiniteProblem, policy: Tensor, *, horizon: int | None = None, average: bool = False
) -> Tensor:
    """Returns [m] of a policy as a differentiable function; arguments and errors as in `torch_occupancy`."""
    import torch

    taken = torch_occupancy(problem, policy, horizon=horizon, average=average)
    return torch.einsum("...sa,sam->m", taken, torch.from_numpy(problem.reward))


def exact_jacobian(
    problem: FiniteProblem,
    theta: ArrayLike,
    policy: PolicyOf = softmax,
    *,
    horizon: int | None = None,
    average: bool = False,
) -> Array:
    """Exact dJ / dtheta [m, *shape of theta].

    theta: parameters of any shape, made float64; policy: torch function of them that answers [S, A] or [H, S, A].
    Errors as in `torch_occupancy`.
    """
    import torch

    given = torch.tensor(np.asarray(theta, dtype=np.float64), requires_grad=True)
    returns = torch_returns(problem, policy(given), horizon=horizon, average=average)
    rows = [torch.autograd.grad(value, given, retain_graph=True)[0] for value in returns]
    return np.asarray(torch.stack(rows).numpy())


def exact_gradient(
    problem: FiniteProblem,
    theta: ArrayLike,
    objective: ArrayLike | Objective,
    policy: PolicyOf = softmax,
    *,
    horizon: int | None = None,
    average: bool = False,
) -> Array:
    """Exact gradient of an objective, of the shape of theta.

    objective: weights [m] on the returns, or a torch function of returns [m] and occupancy [S, A] (summed over the
    steps of a horizon) that answers a scalar. Other arguments and errors as in `exact_jacobian`.
    """
    _, slope = _slope(problem, theta, objective, policy, horizon, average)
    return np.asarray(slope.detach().numpy())


def exact_hessian_vector(
    problem: FiniteProblem,
    theta: ArrayLike,
    vector: ArrayLike,
    objective: ArrayLike | Objective,
    policy: PolicyOf = softmax,
    *,
    horizon: int | None = None,
    average: bool = False,
) -> Array:
    """Exact product of the Hessian in theta with a vector of theta's shape; arguments as in `exact_gradient`."""
    import torch

    given, slope = _slope(problem, theta, objective, policy, horizon, average)
    along = torch.tensor(np.asarray(vector, dtype=np.float64))
    return np.asarray(torch.autograd.grad((slope * along).sum(), given)[0].numpy())


def _slope(
    problem: FiniteProblem, theta: ArrayLike, objective: Any, policy: PolicyOf, horizon: int | None, average: bool
) -> tuple[Tensor, Tensor]:
    """theta as a leaf, and the gradient there with its own graph."""
    import torch

    given = torch.tensor(np.asarray(theta, dtype=np.float64), requires_grad=True)
    taken = torch_occupancy(problem, policy(given), horizon=horizon, average=average)
    returns = torch.einsum("...sa,sam->m", taken, torch.from_numpy(problem.reward))
    if callable(objective):
        value = objective(returns, taken if horizon is None else taken.sum(0))
    else:
        value = returns @ torch.from_numpy(as_vector(objective, len(returns), "objective"))
    return given, torch.autograd.grad(value, given, create_graph=True)[0]


def _settled(problem: FiniteProblem, policy: Tensor, live: Tensor, average: bool) -> Tensor:
    """Occupancy [S, A] by the linear system d (I - discount P) = start, or d (I - P + 1) = 1 for the average."""
    import torch

    eye, start = torch.eye(len(live), dtype=torch.float64), torch.from_numpy(problem.start)
    chain = torch.einsum("sa,sat->st", policy, _moves(problem))
    fixed = state_chain(problem, policy.detach().numpy())
    if average:
        _refuse_several_classes(fixed)
        closed = chain + torch.diag_embed((~live).to(torch.float64))  # a terminal state keeps what it has
        visits = torch.linalg.solve((eye - closed + 1.0).T, torch.ones_like(start))
    else:
        refuse_endless(problem, fixed)
        visits = torch.linalg.solve((eye - problem.discount * chain).T, start)
    return (visits * live)[:, None] * policy


def _by_step(problem: FiniteProblem, policy: Tensor, live: Tensor, horizon: int) -> Tensor:
    import torch

    taken, moves, states = [], _moves(problem), torch.from_numpy(problem.start)
    for now in policy.expand(horizon, *policy.shape[-2:]):
        taken.append((states * live)[:, None] * now)
        states = problem.discount * torch.einsum("sa,sat->t", taken[-1], moves)
    return torch.stack(taken)


def _moves(problem: FiniteProblem) -> Tensor:
    import torch

    states, actions, _ = problem.reward.shape
    return torch.from_numpy(problem.transition.toarray()).reshape(states, actions, states)


def _refuse_several_classes(chain: sparse.csr_matrix) -> None:
    classes = recurrent_classes(chain)
    if len(classes) > 1:
        names = ", ".join(str(members[0]) for members in classes[:5])
        raise NoConvergence(
            f"{len(classes)} recurrent classes (around states {names}): the average depends on where an episode ends "
            "up and its derivative is not supported; use a discount below 1"
        )
