"""Server queues that must stay stable while the server rests as much as it can."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.envs.batched import Outcome, State
from tradeoff.envs.queues import CAP, ServerQueues

LIMIT = 5.0  # customers that wait, on average over an episode
FULL_REST = 100.0  # what resting through a whole episode pays


class RestingServer(ServerQueues):
    """Action i < M serves queue i, action M rests. Reward: percent of the episode rested. Cost: mean number waiting.

    Serving an empty queue is wasted time, not rest. Resting more than the load leaves free makes the queues grow
    without bound, so the limit asks for stability. Arrivals and observations are those of the server queues.
    """

    def __init__(self, num_envs: int, device: Any = "cpu", id: str = "safe-server-queues-v0", **options: Any) -> None:
        """options: queues, seed, max_episode_steps."""
        super().__init__(num_envs, device, id=id, **options)
        horizon = self.spec.horizon or 1
        self.spec = replace(
            self.spec, action_space=spaces.Discrete(self.queues + 1), objectives=("rest",), costs=("waiting",),
            limits=(LIMIT,), ceilings=(CAP * self.queues / horizon,), discount=1.0, reference_point=None,
        )  # fmt: skip
        self.share = 1.0 / horizon

    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """See BatchedEnv.transition."""
        rests = action == self.queues
        served = super().transition(state, action.clamp(max=self.queues - 1), uniform)
        waiting = torch.where(rests.unsqueeze(-1), served.state[0] + served.reward, served.state[0])
        reward = FULL_REST * self.share * rests.float().unsqueeze(-1)
        return Outcome((waiting,), reward, served.terminated, self.share * waiting.sum(-1, keepdim=True))


ENVIRONMENTS = {"safe-server-queues-v0": RestingServer}
