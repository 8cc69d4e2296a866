"""The pole on a cart and the two links, batched: one reward, the classic ground for comparing gradient estimators."""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.envs.batched import BatchedEnv, Outcome, State
from tradeoff.envs.protocol import EnvSpec

TRACK, LEAN = 2.4, 12 * pi / 180  # how far cart and pole may go
CART, POLE, HALF_LENGTH, PUSH, GRAVITY, TICK = 1.0, 0.1, 0.5, 10.0, 9.8, 0.02
STRIDE, TOP_SPEEDS = 0.2, (4 * pi, 9 * pi)  # of the links


class CartPole(BatchedEnv):
    """Each step pays 1 until the cart leaves its track or the pole leans too far. State: [N, 4], float64.

    Source: Barto, Sutton and Anderson 1983, as gymnasium's CartPole-v1 has it.
    """

    start_draws = 4

    def __init__(self, num_envs: int, device: Any = "cpu", **options: Any) -> None:
        """options: seed, max_episode_steps."""
        high = np.array([2 * TRACK, np.inf, 2 * LEAN, np.inf], np.float32)
        spec = EnvSpec(
            id="CartPole-v1", observation_space=spaces.Box(-high, high), action_space=spaces.Discrete(2),
            objectives=("reward",), horizon=500,
        )  # fmt: skip
        super().__init__(spec, num_envs, device, **options)

    def start(self, uniform: Tensor) -> State:
        """Position, speed, angle and its speed, all within 0.05 of zero."""
        return (0.1 * uniform.double() - 0.05,)

    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """See BatchedEnv.transition: one step of Euler's."""
        x, speed, angle, spin = state[0].unbind(1)
        cos, sin, total, moment = torch.cos(angle), torch.sin(angle), CART + POLE, POLE * HALF_LENGTH
        pushed = ((2 * action - 1) * PUSH + moment * spin.square() * sin) / total
        bend = (GRAVITY * sin - cos * pushed) / (HALF_LENGTH * (4.0 / 3.0 - POLE * cos.square() / total))
        gain = pushed - moment * bend * cos / total
        moved = torch.stack([x + TICK * speed, speed + TICK * gain, angle + TICK * spin, spin + TICK * bend], 1)
        over = (moved[:, 0].abs() > TRACK) | (moved[:, 2].abs() > LEAN)
        return Outcome((moved,), torch.ones(len(x), 1, device=x.device), over)

    def observe(self, state: State) -> Tensor:
        """The state itself."""
        return state[0].float()


class Acrobot(BatchedEnv):
    """Each step pays -1 until the free end is a link's length above the hinge. State: [N, 4], float64.

    Source: Sutton and Barto 2018, as gymnasium's Acrobot-v1 has it; links of length and mass 1.
    """

    start_draws = 4

    def __init__(self, num_envs: int, device: Any = "cpu", **options: Any) -> None:
        """options: seed, max_episode_steps."""
        high = np.array([1.0, 1.0, 1.0, 1.0, *TOP_SPEEDS], np.float32)
        spec = EnvSpec(
            id="Acrobot-v1", observation_space=spaces.Box(-high, high), action_space=spaces.Discrete(3),
            objectives=("reward",), horizon=500,
        )  # fmt: skip
        super().__init__(spec, num_envs, device, **options)
        self.top = torch.tensor(TOP_SPEEDS, dtype=torch.float64, device=self.device)

    def start(self, uniform: Tensor) -> State:
        """Both angles and their speeds within 0.1 of hanging still, rounded as the original rounds them."""
        return ((0.2 * uniform.double() - 0.1).float().double(),)

    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """See BatchedEnv.transition: one step of Runge and Kutta's fourth order."""
        begin, torque = state[0], (action - 1).double()
        first = _swing(begin, torque)
        second = _swing(begin + STRIDE / 2 * first, torque)
        third = _swing(begin + STRIDE / 2 * second, torque)
        fourth = _swing(begin + STRIDE * third, torque)
        moved = begin + STRIDE / 6 * (first + 2 * second + 2 * third + fourth)
        angles = torch.remainder(moved[:, :2] + pi, 2 * pi) - pi
        speeds = torch.minimum(torch.maximum(moved[:, 2:], -self.top), self.top)
        over = -torch.cos(angles[:, 0]) - torch.cos(angles.sum(1)) > 1.0
        return Outcome((torch.cat([angles, speeds], 1),), over.float().unsqueeze(1) - 1, over)

    def observe(self, state: State) -> Tensor:
        """Cosine and sine of both angles, then their speeds."""
        one, two, spin, other = state[0].unbind(1)
        return torch.stack([one.cos(), one.sin(), two.cos(), two.sin(), spin, other], 1).float()


def _swing(state: Tensor, torque: Tensor) -> Tensor:
    """Speeds and accelerations [N, 4] of the links; each has its mass in the middle and moment of inertia 1."""
    one, two, spin, other = state.unbind(1)
    cos, sin = torch.cos(two), torch.sin(two)
    outer = 3.5 + cos
    inner = 1.25 + 0.5 * cos
    pull = 0.5 * GRAVITY * torch.sin(one + two)
    whole = 1.5 * GRAVITY * torch.sin(one) + pull - (0.5 * other + spin) * other * sin
    second = (torque + inner / outer * whole - 0.5 * spin.square() * sin - pull) / (1.25 - inner.square() / outer)
    return torch.stack([spin, other, -(inner * second + whole) / outer, second], 1)


ENVIRONMENTS = {"CartPole-v1": CartPole, "Acrobot-v1": Acrobot}
