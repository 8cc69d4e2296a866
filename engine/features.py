"""What a network sees of an observation.

Observations that are small whole numbers (a cell, a level, a flag) are coded one-hot, so that a network need not learn
that cell 7 is unlike cell 8; everything else goes in as numbers and is normalised. Numbers that say how near something
is go in a second time, sharpened: what matters happens in the last tenth of their range, where a network sees little.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.envs.errors import TradeoffError

SHARP = 10  # power of what is near: half as much for something 7 % of the range away
WIDEST = 512  # inputs; beyond this a one-hot code costs more than it helps


@dataclass(frozen=True)
class Features:
    """The coding of one observation space: one-hot where `choices` is given, plain numbers otherwise."""

    numbers: int  # d, length of an observation
    lowest: tuple[int, ...] = ()  # smallest value of each number, where one-hot
    choices: tuple[int, ...] = ()  # how many values each number has, where one-hot
    near: tuple[int, ...] = ()  # which of the numbers say how near something is: 0 far away, 1 where it is

    @property
    def one_hot(self) -> bool:
        """Whether the code is one-hot (and needs no normaliser)."""
        return bool(self.choices)

    @property
    def width(self) -> int:
        """Number of network inputs."""
        return sum(self.choices) if self.one_hot else self.normalised

    @property
    def normalised(self) -> int:
        """How many numbers `numbered` answers."""
        return self.numbers + len(self.near)

    def numbered(self, observation: Tensor) -> Tensor:
        """Numbers [..., normalised] that are normalised by their moments, of observations [..., d]."""
        if not self.near:
            return observation
        return torch.cat([observation, observation[..., self._columns] ** SHARP], -1)

    @cached_property
    def _columns(self) -> Tensor:
        return torch.tensor(self.near)  # made once: a rollout looks in every step

    @cached_property
    def _code(self) -> tuple[Tensor, Tensor, Tensor]:
        """Smallest value of each number, how many it has, and where its part of a code begins."""
        return torch.tensor(self.lowest), torch.tensor(self.choices), torch.tensor((0, *self.choices[:-1])).cumsum(0)

    def __call__(self, observation: Tensor) -> Tensor:
        """Code observations [..., d] as features [..., width], float32.

        Raises: TradeoffError for whole numbers outside of their space, on the CPU; elsewhere looking would cost a wait.
        """
        if not self.one_hot:
            return self.numbered(observation).float()
        lowest, choices, begin = (x.to(observation.device) for x in self._code)
        index = observation.long() - lowest
        if index.device.type == "cpu" and (wrong := (index < 0) | (index >= choices)).any():
            *_, i = at = tuple(wrong.nonzero()[0].tolist())
            low, high = self.lowest[i], self.lowest[i] + self.choices[i] - 1
            raise TradeoffError(
                f"observation[{i}] is {observation[at].item()}; its space holds whole numbers from {low} to {high}: "
                "widen the space, or repair the environment"
            )
        code = torch.zeros(*observation.shape[:-1], self.width, device=observation.device)
        return code.scatter_(-1, index + begin, 1.0)


def make_features(space: spaces.Space, near: tuple[int, ...] = ()) -> Features:
    """Pick the code for an observation space as an environment shows it (already flattened); near: see EnvSpec.

    Raises: TradeoffError for a MultiDiscrete that does not count from 0.
    """
    if isinstance(space, spaces.Discrete):
        return Features(1, (int(space.start),), (int(space.n),))
    if isinstance(space, spaces.MultiDiscrete):
        if np.any(space.start):
            raise TradeoffError(
                f"observations of {space} cannot be coded: tensors count several choices from 0; give "
                "MultiDiscrete(nvec) as observation_space, and the space with its start as native"
            )
        return Features(len(space.nvec), (0,) * len(space.nvec), tuple(int(n) for n in space.nvec))
    numbers = int(np.prod(space.shape or (1,)))
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.integer):
        low, high = space.low.astype(object).ravel(), space.high.astype(object).ravel()  # 64-bit widths overflow
        if (high - low + 1).sum() <= WIDEST:
            return Features(numbers, tuple(low.tolist()), tuple((high - low + 1).tolist()))
    return Features(numbers, near=near)
