"""Utilities of the occupancy measure, and estimates of it.

lambda(s, a) = sum_h discount^h Pr(s_h = s, a_h = a), flattened to [P, S * A] with the action running fastest. Seen as
returns of S * A channels (`engine.episodes.occupancy_channels`), every utility here is an ordinary one, and its
gradient the shadow reward that an ordinary policy gradient climbs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from tradeoff.morl.utilities import Parameter, Utility, Valued, parameter


def entropy(*, mass: float, actions: int = 1, smoothing: float = 0.0) -> Utility:
    """-sum_s d(s) log(d(s) + smoothing) of d = lambda / mass: how evenly a policy visits its states.

    Args:
        mass: sum of lambda over an episode, (1 - discount^H) / (1 - discount).
        actions: number of actions to sum over; 1 keeps every channel apart (entropy over pairs of state and action).
        smoothing: sigma >= 0, a share of time; without it the slope is infinite where nothing was visited.

    Source: Hazan et al. 2019, arXiv:1812.02690; the smoothing: Zhang et al. 2021, arXiv:2102.08607 (0.125).
    """
    return _relative("entropy", 0.0, mass, actions, smoothing)


def imitation(target: Parameter, *, mass: float, actions: int = 1, smoothing: float = 0.0) -> Utility:
    """-KL(d || target) = -sum d (log(d + smoothing) - log(target + smoothing)); arguments as in `entropy`.

    target: shares of time [S] (summed over `actions` > 1) or [S * A], or [P, ...] where policies have different ones.
    """
    goal = parameter("target", target, least=0) + smoothing
    if (goal == 0).any():
        raise ValueError("target is 0 somewhere, where its logarithm is infinite; give a positive smoothing")
    return _relative("imitation", goal.log(), mass, actions, smoothing)


def _relative(name: str, log_target: Parameter, mass: float, actions: int, smoothing: float) -> Utility:
    given = {
        "log_target": parameter("log_target", log_target),
        "mass": parameter("mass", mass, above=0),
        "smoothing": parameter("smoothing", smoothing, least=0),
    }
    if actions < 1:
        raise ValueError(f"actions must be at least 1, got {actions}")
    return Utility(name, partial(_negative_divergence, actions=actions), given, "visits > -smoothing * mass everywhere")


def _negative_divergence(
    returns: Tensor, log_target: Tensor, mass: Tensor, smoothing: Tensor, actions: int = 1
) -> Valued:
    d = returns.unflatten(-1, (-1, actions)).sum(-1) / mass
    above = d + smoothing
    slope = -(above.log() + d / above - log_target) / mass
    value = (d * log_target - torch.xlogy(d, above)).sum(-1)
    return Valued(value, slope.repeat_interleave(actions, -1))


def shadow_reward(utility: Utility, occupancy: Tensor) -> Tensor:
    """dF / dlambda(s, a) at an occupancy [P, S * A]: what each visit is worth to first order. Raises OutsideDomain."""
    return utility.gradient(occupancy)


def occupancy_by_counts(
    state: Tensor, action: Tensor, alive: Tensor, *, states: int, actions: int, discount: float
) -> Tensor:
    """Mean over trajectories of sum_h discount^h 1{(s_h, a_h) = (s, a)}: [P, S * A], unbiased.

    state, action: [T, P, B] whole numbers; alive: [T, P, B] bool, false after the end.
    """
    clock = discount ** torch.arange(len(state), dtype=torch.float64, device=state.device)
    weight = clock.view(-1, 1, 1) * alive / state.shape[2]
    pair = (state.long() * actions + action.long()).movedim(1, 0).flatten(1)
    counts = torch.zeros(len(pair), states * actions, dtype=torch.float64, device=state.device)
    return counts.scatter_add_(1, pair, weight.movedim(1, 0).flatten(1))


def occupancy_by_regression(features: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
    """lambda at queries [P, q] by least squares on features: <phi, argmin_w sum_i (label_i - <phi_i, w>)^2>.

    Args:
        features: [P, n, d] of sampled pairs; where they do not tell d directions apart, the shortest w is taken.
        labels: [P, n] discounted visits to the sampled pair in one trajectory, drawn for that pair alone.
        queries: [P, q, d] features of the pairs that are asked for.

    With one-hot features and every pair sampled it is the mean label of each pair, so the counts.
    Source: Barakat, Fatkhullin and He 2023, arXiv:2306.01854, section 5.
    """
    if labels.shape != features.shape[:2]:
        raise ValueError(f"labels are {tuple(labels.shape)}; features {tuple(features.shape)} ask for [P, n]")
    w = torch.linalg.pinv(features.double()) @ labels.double().unsqueeze(-1)
    return (queries.double() @ w).squeeze(-1)


def occupancy_by_likelihood(
    features: Tensor, counts: Tensor, policy: Tensor, *, mass: float, penalty: float = 1e-6, sweeps: int = 100
) -> Tensor:
    """mass * p_w(s) pi(a|s) [P, S * A] with p_w(s) ~ exp(<phi(s), w>) fitted by maximum likelihood.

    Args:
        features: [S, d] of the states.
        counts: [P, S] (discounted) visits that were seen.
        policy: [P, S, A].
        mass: sum of lambda over an episode.
        penalty: of |w|^2 / 2 against the mean log-likelihood, > 0, so that the fit exists and is unique.
        sweeps: Newton steps at most; the likelihood is concave in w and each step is halved until it gains.

    Source: the estimator of Barakat et al. 2024, arXiv:2410.04108 (maximum likelihood for the state occupancy).
    """
    share = (counts / counts.sum(-1, keepdim=True)).double()
    phi = features.double()
    w = phi.new_zeros(len(share), phi.shape[1])

    def gain(w: Tensor) -> Tensor:
        return (share * (w @ phi.T).log_softmax(-1)).sum(-1) - penalty / 2 * w.square().sum(-1)

    for _ in range(sweeps):
        p = (w @ phi.T).softmax(-1)
        slope = (share - p) @ phi - penalty * w
        spread = torch.einsum("ps,sd,se->pde", p, phi, phi) - torch.einsum("pd,pe->pde", p @ phi, p @ phi)
        step = torch.linalg.solve(spread + penalty * torch.eye(phi.shape[1]).to(phi), slope)
        w, moved = _uphill(gain, w, step)
        if moved < 1e-12:
            break
    return (mass * (w @ phi.T).softmax(-1).unsqueeze(-1) * policy.double()).flatten(1)


def _uphill(gain: Callable[[Tensor], Tensor], w: Tensor, step: Tensor) -> tuple[Tensor, float]:
    """w plus the longest of step, step / 2, ... that does not lose, row by row; and the farthest move."""
    before, scale = gain(w), torch.ones_like(w[:, :1])
    for _ in range(40):
        worse = (gain(w + scale * step) < before - 1e-15).unsqueeze(-1)
        if not worse.any():
            break
        scale = torch.where(worse, scale / 2, scale)
    return w + scale * step, float((scale * step).abs().max())
