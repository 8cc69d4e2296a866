"""The common part of environments that remember something about the episode and show it in the observation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.envs.protocol import Step, VectorEnv


class Augmented(ABC):
    """A VectorEnv around another one. A subclass says what is remembered at first, how it goes on, and how it looks.

    Observations that are whole numbers from a finite range (Discrete, MultiDiscrete) come one-hot. Seeds, costs and
    resets are those of the environment inside, whose `restart` subclasses may use.
    """

    def __init__(self, env: VectorEnv, objectives: Sequence[str], columns: int, discount: float) -> None:
        """objectives: names of what is paid; columns: numbers that are appended; discount: of the scores."""
        self.env, self.num_envs, self.device, self.exact_state = env, env.num_envs, env.device, env.exact_state
        space = env.spec.observation_space
        self.choices = finite_choices(space)
        width = sum(map(len, self.choices)) if self.choices else int(np.prod(space.shape or (1,)))
        self.spec = replace(
            env.spec, observation_space=spaces.Box(-np.inf, np.inf, (width + columns,), np.float32),
            objectives=tuple(objectives), reference_point=None, discount=discount,
        )  # fmt: skip
        self.memory = self.begin()
        self.seen = torch.empty(0)  # what the environment inside showed last

    @abstractmethod
    def begin(self) -> Tensor:
        """What is remembered when an episode begins [N, ...]."""

    @abstractmethod
    def advance(self, action: Tensor, step: Step) -> tuple[Tensor, Step]:
        """What is remembered after a step of the environment inside, and that step with other pay or other ends."""

    @abstractmethod
    def shown(self, memory: Tensor) -> Tensor:
        """The columns [N, columns] that are appended."""

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        """See VectorEnv.reset."""
        self.memory, self.seen = self.begin(), self.env.reset(seed)
        return self._with(self.seen, self.memory)

    def step(self, action: Tensor) -> Step:
        """See VectorEnv.step."""
        memory, step = self.advance(action, self.env.step(action))
        final = self._with(step.final_observation, memory)
        ended = step.terminated | step.truncated
        self.seen = step.observation
        self.memory = torch.where(ended.view(-1, *[1] * (memory.ndim - 1)), self.begin(), memory)
        observation = self._with(step.observation, self.memory) if ended.any() else final
        return step._replace(observation=observation, final_observation=final)

    def _with(self, observation: Tensor, memory: Tensor) -> Tensor:
        return torch.cat([coded(observation, self.choices), self.shown(memory).float()], -1)

    def state_dict(self) -> dict[str, Any]:
        """See VectorEnv.state_dict."""
        return {"env": self.env.state_dict(), "memory": self.memory, "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See VectorEnv.load_state_dict."""
        self.env.load_state_dict(state["env"])
        self.memory, self.seen = state["memory"].to(self.device), state["seen"].to(self.device)

    def close(self) -> None:
        """See VectorEnv.close."""
        self.env.close()


def finite_choices(space: spaces.Space[Any]) -> tuple[range, ...]:
    """The values of each observed number, where they are finite; else empty."""
    if isinstance(space, spaces.Discrete):
        return (range(int(space.start), int(space.start + space.n)),)
    if not isinstance(space, spaces.MultiDiscrete):
        return ()
    return tuple(range(int(low), int(low + n)) for low, n in zip(space.start.ravel(), space.nvec.ravel(), strict=True))


def coded(observation: Tensor, choices: tuple[range, ...]) -> Tensor:
    """Observations [N, d] as numbers: one-hot [N, number of choices] where choices are finite."""
    if not choices:
        return observation.float()
    columns = zip(observation.unbind(-1), choices, strict=True)
    return torch.cat([torch.nn.functional.one_hot(x.long() - c.start, len(c)) for x, c in columns], -1).float()


def break_off(env: VectorEnv, step: Step, over: Tensor) -> Step:
    """The step with episodes ended where over [N] bool says so, new ones begun there; env offers `restart`."""
    going_on = over & ~step.terminated & ~step.truncated
    fresh = env.restart(going_on) if going_on.any() else step.observation  # type: ignore[attr-defined]
    return step._replace(observation=fresh, terminated=step.terminated | over, truncated=step.truncated & ~over)
