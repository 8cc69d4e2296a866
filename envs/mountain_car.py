"""Mountain car with its costs apart: time, moves in either direction, speed, fuel."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from envs.batched import BatchedEnv, Outcome, State
from envs.protocol import EnvSpec

LEFT_END, RIGHT_END, TOP_SPEED = -1.2, 0.6, 0.07
FORCE, GRAVITY, GOAL = 0.001, 0.0025, 0.5
POWER, CONTINUOUS_GOAL = 0.0015, 0.45
OBSERVATION = spaces.Box(
    np.array([LEFT_END, -TOP_SPEED], np.float32), np.array([RIGHT_END, TOP_SPEED], np.float32), dtype=np.float32
)
VARIANTS = {
    "mo-mountaincar-v0": ("time", "reverse", "forward"),
    "mo-mountaincar-3d-v0": ("time", "move", "speed"),
    "mo-mountaincar-timemove-v0": ("time", "move"),
    "mo-mountaincar-timespeed-v0": ("time", "speed"),
}


def _roll(position: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
    """Move with a velocity that was already accelerated; the left end stops the car."""
    velocity = velocity.clamp(-TOP_SPEED, TOP_SPEED)
    position = (position + velocity).clamp(LEFT_END, RIGHT_END)
    return position, torch.where((position == position.new_tensor(LEFT_END)) & (velocity < 0), 0.0, velocity)


class MountainCar(BatchedEnv):
    """Time costs 1 per step until the goal, moves cost 1 each, speed pays 15 |v|. State: position and velocity."""

    start_draws = 1

    def __init__(self, id: str, num_envs: int, device: Any = "cpu", **options: Any) -> None:
        """id: which objectives there are. options: seed, max_episode_steps."""
        bounds = {"time": -200.0, "reverse": -200.0, "forward": -200.0, "move": -200.0, "speed": 0.0}
        spec = EnvSpec(
            id=id, observation_space=OBSERVATION, action_space=spaces.Discrete(3), objectives=VARIANTS[id],
            horizon=200, discount=0.99, reference_point=tuple(bounds[name] for name in VARIANTS[id]),
        )  # fmt: skip
        super().__init__(spec, num_envs, device, **options)

    def start(self, uniform: Tensor) -> State:
        """Uniform between -0.6 and -0.4, at rest."""
        position = -0.6 + 0.2 * uniform[:, 0]
        return position, torch.zeros_like(position)

    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """See BatchedEnv.transition."""
        position, velocity = state
        velocity = velocity + (action - 1).double() * FORCE - GRAVITY * torch.cos(3 * position)
        position, velocity = _roll(position, velocity)
        over = (position >= GOAL) & (velocity >= 0)
        paid = {
            "time": over.float() - 1,
            "reverse": -(action == 0).float(),
            "forward": -(action == 2).float(),
            "move": -(action != 1).float(),
            "speed": (15 * velocity.abs()).float(),
        }
        return Outcome((position, velocity), torch.stack([paid[name] for name in self.spec.objectives], 1), over)

    def observe(self, state: State) -> Tensor:
        """Position and velocity."""
        return torch.stack(state, 1).float()


class ContinuousMountainCar(BatchedEnv):
    """Time costs 1 per step until the goal, fuel the square of the action. The state is kept in float32, as there."""

    start_draws = 1

    def __init__(self, num_envs: int, device: Any = "cpu", **options: Any) -> None:
        """options: seed, max_episode_steps."""
        spec = EnvSpec(
            id="mo-mountaincarcontinuous-v0", observation_space=OBSERVATION,
            action_space=spaces.Box(-1.0, 1.0, (1,), np.float32), objectives=("time", "fuel"), horizon=999,
            discount=0.99, reference_point=(-110.0, -110.0),
        )  # fmt: skip
        super().__init__(spec, num_envs, device, **options)

    def start(self, uniform: Tensor) -> State:
        """Uniform between -0.6 and -0.4, at rest."""
        position = (-0.6 + 0.2 * uniform[:, 0]).float()
        return position, torch.zeros_like(position)

    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """See BatchedEnv.transition."""
        position, velocity = state
        asked = action[:, 0].float()
        pull = (GRAVITY * torch.cos((3 * position).double())).float()
        position, velocity = _roll(position, velocity + (asked.clamp(-1.0, 1.0) * POWER - pull))
        over = (position >= position.new_tensor(CONTINUOUS_GOAL)) & (velocity >= 0)
        return Outcome((position, velocity), torch.stack([over.float() - 1, -asked.square()], 1), over)

    def observe(self, state: State) -> Tensor:
        """Position and velocity."""
        return torch.stack(state, 1)


ENVIRONMENTS = {
    **{id: partial(MountainCar, id) for id in VARIANTS},
    "mo-mountaincarcontinuous-v0": ContinuousMountainCar,
}
