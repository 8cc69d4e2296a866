"""Water reservoir: release water to meet demands without floods upstream or downstream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.envs.batched import BatchedEnv, Outcome, State
from tradeoff.envs.protocol import EnvSpec
from tradeoff.envs.seeding import normal

FLOOD, DEMAND, POWER, DOWNSTREAM = 50.0, 50.0, 4.36, 30.0  # thresholds: level, release, hydroelectric, release
MOST_HELD = 100.0  # what lies above must be released
INFLOW, INFLOW_SPREAD = 40.0, 10.0
GRAVITY_DENSITY, JOULES = 9.81 * 1000.0, 3.6e6  # power is their quotient per level and release
FIRST = (96.855361, 58.046026, 116.15767, 20.164311, 79.191, 140.13098, 131.01816, 44.351321, 13.185943, 73.508622)
WORST = (-15000.0, -5000.0, -500.0, -15000.0)  # none is published; these lie below what actions in bounds return
OBJECTIVES = ("flood", "demand", "hydroelectric", "downstream_flood")


class WaterReservoir(BatchedEnv):
    """All objectives are deficits or excesses, at most 0.

    Source: Castelletti, Pianosi and Restelli 2012, IJCNN. State: the level [N].
    """

    start_draws, step_draws = 1, 1

    def __init__(
        self,
        num_envs: int,
        device: Any = "cpu",
        nO: int = 2,
        penalize: bool = False,
        normalized_action: bool = False,
        initial_state: float | Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        """nO: number of objectives, 2 to 4. penalize: charge what is asked beyond its bounds, and start anywhere.

        normalized_action: actions are shares of what may be released. initial_state: the level to start at, always.
        options: seed, max_episode_steps. What an action asks beyond its bounds is never released.
        """
        if nO not in (2, 3, 4):
            raise ValueError(f"nO, the number of objectives, must be 2, 3 or 4, got {nO}")
        self.penalty, self.normalised = float(penalize and not normalized_action), normalized_action
        self.first = torch.tensor(FIRST if initial_state is None else initial_state, device=device).flatten()
        self.anywhere = penalize and initial_state is None
        spec = EnvSpec(
            id="water-reservoir-v0", observation_space=spaces.Box(0.0, np.inf, (1,), np.float32),
            action_space=spaces.Box(0.0, 1.0 if normalized_action else np.inf, (1,), np.float32),
            objectives=OBJECTIVES[:nO], horizon=100, discount=0.99, reference_point=WORST[:nO],
        )  # fmt: skip
        super().__init__(spec, num_envs, device, **options)

    def start(self, uniform: Tensor) -> State:
        """One of ten levels, or the one asked for; with the penalty any whole number below 160."""
        u = uniform[:, 0]
        return ((u * 160).floor().float() if self.anywhere else self.first[(u * len(self.first)).long()],)

    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """See BatchedEnv.transition."""
        level, asked = state[0], action[:, 0].float()
        least = (level - MOST_HELD).clamp_min(0.0)
        if self.normalised:
            asked = asked * (level - least) + least
        release = torch.minimum(torch.maximum(asked, least), level)
        inflow = INFLOW + INFLOW_SPREAD * normal(uniform[:, 0])
        after = (level + inflow - release).clamp_min(0.0).float()
        power = GRAVITY_DENSITY * after * release / JOULES
        parts = (after - FLOOD, DEMAND - release, POWER - power, release - DOWNSTREAM)
        penalty = self.penalty * (release - asked).abs()
        reward = torch.stack([-part.clamp_min(0.0) - penalty for part in parts[: len(self.spec.objectives)]], 1)
        return Outcome((after,), reward.float(), torch.zeros_like(level, dtype=torch.bool))

    def observe(self, state: State) -> Tensor:
        """The level."""
        return state[0].unsqueeze(1)


ENVIRONMENTS = {"water-reservoir-v0": WaterReservoir}
