"""Mountain car with its costs apart: time, moves in either direction, speed, fuel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.envs.batched import BatchedEnv, Outcome, State
from tradeoff.envs.protocol import EnvSpec

LEFT_END, RIGHT_END, TOP_SPEED = -1.2, 0.6, 0.07
FORCE, GRAVITY, GOAL = 0.001, 0.0025, 0.5
POWER, NEAR_GOAL = 0.0015, 0.45  # of the continuous car
OBSERVATION = spaces.Box(
    np.array([LEFT_END, -TOP_SPEED], np.float32), np.array([RIGHT_END, TOP_SPEED], np.float32), dtype=np.float32
)
PRICES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {  # of action, velocity and whether the goal is reached
    "time": lambda action, velocity, over: over.float() - 1,
    "reverse": lambda action, velocity, over: -(action == 0).float(),
    "forward": lambda action, velocity, over: -(action == 2).float(),
    "move": lambda action, velocity, over: -(action != 1).float(),
    "speed": lambda action, velocity, over: (15 * velocity.abs()).float(),
}
VARIANTS = {
    "mo-mountaincar-v0": ("time", "reverse", "forward"),
    "mo-mountaincar-3d-v0": ("time", "move", "speed"),
    "mo-mountaincar-timemove-v0": ("time", "move"),
    "mo-mountaincar-timespeed-v0": ("time", "speed"),
}


def _roll(position: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
    """Move with a velocity that was already accelerated, in its precision; the left end stops the car."""
    velocity = velocity.clamp(-TOP_SPEED, TOP_SPEED)
    position = (position + velocity).to(velocity.dtype).clamp(LEFT_END, RIGHT_END)
    return position, torch.where((position == position.new_tensor(LEFT_END)) & (velocity < 0), 0.0, velocity)


def _valley(uniform: Tensor) -> State:
    """Where episodes begin."""
    position = -0.6 + (-0.4 - -0.6) * uniform[:, 0]
    return position, torch.zeros_like(position)


class MountainCar(BatchedEnv):
    """Time costs 1 per step until the goal, moves cost 1 each, speed pays 15 |v|. State: position and velocity."""

    start_draws = 1

    def __init__(self, id: str, num_envs: int, device: Any = "cpu", **options: Any) -> None:
        """id: which objectives there are. options: seed, max_episode_steps."""
        # Reference points are not published for these; the worst return of each objective is one.
        worst = tuple(0.0 if name == "speed" else -200.0 for name in VARIANTS[id])
        spec = EnvSpec(
            id=id, observation_space=OBSERVATION, action_space=spaces.Discrete(3), objectives=VARIANTS[id],
            horizon=200, discount=0.99, reference_point=worst,
        )  # fmt: skip
        super().__init__(spec, num_envs, device, **options)

    def start(self, uniform: Tensor) -> State:
        """Uniform between -0.6 and -0.4, at rest."""
        return _valley(uniform)

    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """See BatchedEnv.transition."""
        position, velocity = state
        velocity = velocity + ((action - 1).double() * FORCE - GRAVITY * torch.cos(3 * position))
        position, velocity = _roll(position, velocity)
        over = (position >= GOAL) & (velocity >= 0)
        reward = torch.stack([PRICES[name](action, velocity, over) for name in self.spec.objectives], 1)
        return Outcome((position, velocity), reward, over)

    def observe(self, state: State) -> Tensor:
        """Position and velocity."""
        return torch.stack(state, 1).float()


class ContinuousMountainCar(BatchedEnv):
    """Time costs 1 per step until the goal, fuel the square of the action, even where that exceeds its bounds.

    State: position and velocity, rounded to float32 after each step as the original's are; a start is not rounded.
    """

    start_draws = 1

    def __init__(self, num_envs: int, device: Any = "cpu", **options: Any) -> None:
        """options: seed, max_episode_steps."""
        # No reference point is published; at discount 0.99 no return within the bounds is below -100.
        spec = EnvSpec(
            id="mo-mountaincarcontinuous-v0", observation_space=OBSERVATION,
            action_space=spaces.Box(-1.0, 1.0, (1,), np.float32), objectives=("time", "fuel"), horizon=999,
            discount=0.99, reference_point=(-110.0, -110.0),
        )  # fmt: skip
        super().__init__(spec, num_envs, device, **options)

    def start(self, uniform: Tensor) -> State:
        """Uniform between -0.6 and -0.4, at rest."""
        position, velocity = _valley(uniform)
        return position, velocity.float()

    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """See BatchedEnv.transition. Every rounding to float32 is one of the original's."""
        position, velocity = state
        asked = action[:, 0].float()
        slope = torch.where(position == position.float(), (3 * position).float(), 3 * position)
        pull = GRAVITY * torch.cos(slope)
        within = asked * POWER - pull.float()
        beyond = (asked.sign().double() * POWER - pull).float()  # a bound is a Python number there, hence exact
        gain = torch.where(asked.abs() > 1, beyond, within)
        position, velocity = _roll(position, velocity + gain)
        over = (position >= position.new_tensor(NEAR_GOAL)) & (velocity >= 0)
        reward = torch.stack([over.float() - 1, -asked.square()], 1)
        return Outcome((position.double(), velocity), reward, over)

    def observe(self, state: State) -> Tensor:
        """Position and velocity."""
        return torch.stack([state[0].float(), state[1]], 1)


ENVIRONMENTS = {
    **{id: partial(MountainCar, id) for id in VARIANTS},
    "mo-mountaincarcontinuous-v0": ContinuousMountainCar,
}
