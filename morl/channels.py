"""Further channels and criteria of a record: entropy and divergence as rewards, averages per step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tradeoff.engine.episodes import Channels
from tradeoff.engine.rollout import EpisodeReturns
from tradeoff.engine.trajectories import Trajectories


def regularised(reference: Callable[[Tensor, Tensor], Tensor] | None = None) -> Channels:
    """The record's channels and one more: log reference(a|s) - log pi(a|s), or -log pi(a|s) without a reference.

    Its return is minus the discounted divergence of the policy from the reference, or the policy's discounted entropy,
    so that its weight is the temperature of entropy-regularised learning. The channel depends on the policy, but the
    mean of that dependence's slope is zero for samples of the policy itself: right for plain gradients, not for
    importance-weighted or transported ones.

    reference: (observation [T, P, B, d], action [T, P, B, c]) -> log-probability [T, P, B].
    """

    def channels(data: Trajectories) -> Tensor:
        known = 0.0 if reference is None else reference(data.observation, data.action)
        return torch.cat([data.channels, (known - data.log_prob).unsqueeze(-1)], -1)

    return channels


class AverageReturns(EpisodeReturns):
    """Mean reward per step [P, m + k] of the last rollout, for tasks that never end; put it in `learner.episodes`.

    Critics still need a discount: in a finite problem every optimum for a discount close enough to 1 has the best
    average too. Source: Blackwell 1962, Annals of Mathematical Statistics 33(2).
    """

    def __init__(self) -> None:
        super().__init__(1.0)

    def update(self, data: Trajectories, counted: bool = True) -> Tensor:
        """See EpisodeReturns.update."""
        if counted or not self.carry:
            self.carry = {"mean": data.channels.mean((0, 2))}
        return self.carry["mean"]
