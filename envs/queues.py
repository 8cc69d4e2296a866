"""Server queues: one server, M queues; serve one of them at each step."""

from __future__ import annotations

from functools import partial
from itertools import count
from math import factorial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.envs.batched import BatchedEnv, Outcome, State
from tradeoff.envs.protocol import EnvSpec
from tradeoff.envs.seeding import poisson

LADDER = {6: (0.05, 0.033), 8: (0.0125, 0.025), 12: (0.0115, 0.01), 16: (0.005, 0.006), 32: (0.00175, 0.0015),
          64: (0.00053, 0.00038)}  # fmt: skip
"""Queues -> lowest arrival rate and its increase from queue to queue; 0.795 to 0.80 arrivals per step in all."""
LOAD, CAP, HORIZON = 0.8, 500, 500
RARE = 1e-10  # arrivals in one queue and step that are less likely than this are not drawn


def arrival_rates(queues: int) -> list[float]:
    """Poisson rates per step: the published ones where there are any, else a ladder 1 : 2 : ... : M of load 0.80."""
    low, rise = LADDER.get(queues, (0.0, 0.0))
    if queues in LADDER:
        return [low + i * rise for i in range(queues)]
    return [LOAD * (i + 1) / (queues * (queues + 1) / 2) for i in range(queues)]


def most_arrivals(rate: float) -> int:
    """The number that a Poisson number exceeds with a probability below RARE: P(X > n) <= rate^(n+1) / (n+1)!."""
    return next(n for n in count(1) if rate ** (n + 1) / factorial(n + 1) < RARE)


class ServerQueues(BatchedEnv):
    """Arrivals come first, then the chosen queue is served: it pays 1 in its own objective if it was not empty.

    Source: Guidobene, Benedetti and Arapovic 2025, arXiv:2508.10608.
    """

    def __init__(
        self, num_envs: int, device: Any = "cpu", queues: int = 6, id: str = "server-queues-v0", **options: Any
    ) -> None:
        """queues: M >= 2. id: what it calls itself. options: seed, max_episode_steps."""
        if queues < 2:
            raise ValueError(f"server queues need at least 2 queues, got {queues}")
        self.rates = torch.tensor(arrival_rates(queues), dtype=torch.float64, device=device)
        self.most = most_arrivals(float(self.rates.max()))
        self.queues = self.step_draws = queues
        spec = EnvSpec(
            id=id, observation_space=spaces.Box(0, CAP, (queues,), np.float32),
            action_space=spaces.Discrete(queues), objectives=tuple(f"queue_{i}" for i in range(queues)),
            horizon=HORIZON, discount=0.9999, reference_point=(0.0,) * queues,
        )  # fmt: skip
        super().__init__(spec, num_envs, device, **options)

    def start(self, uniform: Tensor) -> State:
        """All queues are empty."""
        return (torch.zeros(self.num_envs, self.queues, device=self.device),)

    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """See BatchedEnv.transition."""
        waiting = (state[0] + poisson(uniform, self.rates, self.most).float()).clamp_(max=CAP)
        chosen = torch.nn.functional.one_hot(action, self.queues)
        served = chosen * (waiting > 0)
        return Outcome((waiting - served,), served.float(), torch.zeros_like(action, dtype=torch.bool))

    def observe(self, state: State) -> Tensor:
        """Lengths of the queues."""
        return state[0].clone()


ENVIRONMENTS = {"server-queues-v0": ServerQueues} | {
    name: partial(ServerQueues, queues=queues, id=name)
    for name, queues in ((f"server-queues-{queues}-v0", queues) for queues in LADDER)
}
