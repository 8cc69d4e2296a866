"""Gradients of single trajectories under each baseline, and what they look like from the parameters a step away."""

from __future__ import annotations

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.episodes import Baseline, Episodes, coefficients, importance_weights
from tradeoff.engine.scores import log_probs, squared_norms, trajectory_channel_gradients


def per_trajectory(
    model: ActorCritic,
    theta: Tensor,
    episodes: Episodes,
    baseline: Baseline,
    omega: Tensor | None = None,
    centre: bool = False,
) -> Tensor:
    """Policy gradients (GPOMDP) of every trajectory and channel [B, c, D], for episodes of one policy (P = 1).

    omega: [T, 1, B] importance weights where another policy than theta [1, 2, D] acted. The mean and optimal baselines
    are those of the other trajectories, so that gradients of one batch hang together a little, as 1 / B. centre: see
    `coefficients`.
    """
    squares = squared_norms(model, theta, episodes) if baseline == "optimal" else None
    told = None if baseline != "learned" else episodes.expected
    rows = [
        coefficients(
            paid, episodes.alive, omega, baseline=baseline, centre=centre, squares=squares,
            expected=None if told is None else told[..., i],
        )
        for i, paid in enumerate(episodes.paid.unbind(-1))
    ]  # fmt: skip
    return trajectory_channel_gradients(model, theta, episodes, torch.stack(rows, -1))[0]


def weights_at(model: ActorCritic, theta: Tensor, episodes: Episodes, whole: bool = False) -> Tensor:
    """Importance weights [T, P, B] of theta over the policy that acted; see `importance_weights`."""
    return importance_weights(log_probs(model, theta, episodes) - episodes.log_prob, episodes.alive, whole)


def effective_share(omega: Tensor, counts: Tensor) -> Tensor:
    """Effective sample size over the number of trajectories at every step [R, T]; the last column: whole trajectories.

    omega: [T, B] as of `weights_at`, of one policy. counts: [R, B], see `tradeoff.engine.diagnostics.resamples`.
    """
    weights, by = omega.double(), counts.double().mT
    return ((weights @ by).square() / (weights.square() @ by) / by.sum(0)).mT
