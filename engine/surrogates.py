"""Surrogates: what a policy step climbs, as a function of the log-ratio and the advantage of each sample.

A surrogate is one pure function `(log_ratio, advantage) -> (objective, slope)`, all [P, B]: log_ratio = log pi(a|s) -
log pi_behaviour(a|s) in nats, objective to be maximised, slope its derivative with respect to log_ratio. The policy
gradient of any of them is the mean of slope times score. `by_autograd` derives the slope where writing it is no gain.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Surrogate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def score_function(log_ratio: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
    """Likelihood-ratio gradient, unweighted: right only where the sampling policy is the current one.

    Source: Williams 1992, REINFORCE.
    """
    return log_ratio * advantage, advantage


def importance_weighted(log_ratio: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
    """Ratio times advantage: unbiased for samples of another policy. Source: Kakade and Langford 2002."""
    objective = log_ratio.exp() * advantage
    return objective, objective


def ppo_clip(clip: float) -> Surrogate:
    """The clipped surrogate min(r A, clip(r, 1 - clip, 1 + clip) A).

    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 7.
    """
    if not 0.0 < clip < 1.0:
        raise ValueError(f"clip must lie in (0, 1), got {clip}")

    def surrogate(log_ratio: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
        ratio = log_ratio.exp()
        plain = ratio * advantage
        objective = torch.minimum(plain, ratio.clamp(1 - clip, 1 + clip) * advantage)
        return objective, plain.masked_fill(plain > objective, 0.0)

    return surrogate


def with_divergence(surrogate: Surrogate, weight: float) -> Surrogate:
    """Subtract weight * KL(behaviour || policy), estimated from the same samples by r - 1 - log r.

    Its mean over the behaviour's samples is the divergence, and no sample is negative. weight: [return / nat].
    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 8, with a fixed weight.
    """
    if weight < 0:
        raise ValueError(f"the divergence's weight must not be negative, got {weight}")
    if weight == 0:
        return surrogate  # the inner loop counts operations

    def penalised(log_ratio: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
        objective, slope = surrogate(log_ratio, advantage)
        excess = log_ratio.exp() - 1
        return objective - weight * (excess - log_ratio), slope - weight * excess

    return penalised


def by_autograd(objective: Callable[[Tensor, Tensor], Tensor]) -> Surrogate:
    """Make a surrogate of any differentiable objective(log_ratio, advantage) -> [P, B]."""

    def surrogate(log_ratio: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = log_ratio.detach().requires_grad_()
            value = objective(leaf, advantage)
            (slope,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), slope

    return surrogate
