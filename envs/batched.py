"""The common part of batched environments: clocks, resets, truncation, seeds, saved state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.envs.arguments import check_counts
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.protocol import EnvSpec, Step
from tradeoff.envs.seeding import Counters, seeded

State = tuple[Tensor, ...]  # each [N, ...]


class Outcome(NamedTuple):
    """What one transition of N environments leads to."""

    state: State
    reward: Tensor  # [N, m]
    terminated: Tensor  # [N] bool
    cost: Tensor | None = None  # [N, k]; None where there is none


class BatchedEnv(ABC):
    """A VectorEnv whose dynamics are pure functions of tensors. A subclass says how episodes begin, go on and look."""

    start_draws = 0  # uniform numbers that a start consumes
    step_draws = 0  # uniform numbers that a step consumes
    exact_state = True

    def __init__(
        self,
        spec: EnvSpec,
        num_envs: int,
        device: torch.device | str = "cpu",
        seed: int = 0,
        max_episode_steps: int | None = None,
    ) -> None:
        """max_episode_steps: replaces the usual horizon."""
        check_counts(num_envs, max_episode_steps)
        self.spec = spec if max_episode_steps is None else replace(spec, horizon=max_episode_steps)
        self.num_envs, self.device = num_envs, torch.device(device)
        self.no_cost = torch.zeros(num_envs, len(spec.costs), device=self.device)
        self.no_draws = torch.zeros(num_envs, 0, device=self.device)
        self.reset(seed)

    @abstractmethod
    def start(self, uniform: Tensor) -> State:
        """First states of N episodes from uniform numbers [N, start_draws]."""

    @abstractmethod
    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """One step of every environment; uniform [N, step_draws]."""

    @abstractmethod
    def observe(self, state: State) -> Tensor:
        """Observations [N, d]: fresh tensors."""

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        """See VectorEnv.reset."""
        if seed is not None:
            self.random = seeded(seed, self.num_envs, self.device)
        self.state = self.start(self.random.uniform(self.start_draws) if self.start_draws else self.no_draws)
        self.clock = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        return self.observe(self.state)

    def step(self, action: Tensor) -> Step:
        """See VectorEnv.step."""
        self._check(action)
        uniform = self.random.uniform(self.step_draws) if self.step_draws else self.no_draws
        self.state, reward, terminated, cost = self.transition(self.state, action, uniform)
        self.clock = self.clock + 1
        truncated = torch.zeros_like(terminated)
        if self.spec.horizon is not None:
            truncated = (self.clock >= self.spec.horizon) & ~terminated
        final = self.observe(self.state)
        observation = self._begin_anew(terminated | truncated, final)
        return Step(observation, reward, self.no_cost if cost is None else cost, terminated, truncated, final)

    def restart(self, which: Tensor) -> Tensor:
        """Break off the episodes of the environments `which` [N] bool, begin new ones there; observations [N, d]."""
        return self._begin_anew(which, self.observe(self.state))

    def _begin_anew(self, ended: Tensor, final: Tensor) -> Tensor:
        if not ended.any():
            return final
        begun = self.start(self.random.uniform(self.start_draws, ended) if self.start_draws else self.no_draws)
        self.state = tuple(
            torch.where(ended.view(-1, *[1] * (old.ndim - 1)), new, old)
            for new, old in zip(begun, self.state, strict=True)
        )
        self.clock = torch.where(ended, 0, self.clock)
        return self.observe(self.state)

    def _check(self, action: Tensor) -> None:
        space = self.spec.action_space
        wanted = (self.num_envs, *(space.shape or ()))
        if action.shape != wanted:
            raise TradeoffError(f"{self.spec.id} takes actions of shape {wanted}, got {tuple(action.shape)}")
        if isinstance(space, spaces.Discrete):
            if action.dtype != torch.int64:
                raise TradeoffError(f"{self.spec.id} takes int64 actions, got {action.dtype}; use action.long()")
            low, high = torch.stack(torch.aminmax(action)).tolist()
            if low < 0 or high >= space.n:
                raise TradeoffError(f"action {low if low < 0 else high} of {self.spec.id}: it takes 0 to {space.n - 1}")

    def state_dict(self) -> dict[str, Any]:
        """See VectorEnv.state_dict."""
        return {"state": self.state, "clock": self.clock, "key": self.random.key, "count": self.random.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See VectorEnv.load_state_dict. Raises TradeoffError for a state of other shapes than this environment's."""
        put = lambda x: x.to(self.device)  # noqa: E731
        saved, clock = tuple(put(x) for x in state["state"]), put(state["clock"])
        shapes, wanted = ([tuple(x.shape) for x in xs] for xs in ((*saved, clock), (*self.state, self.clock)))
        if shapes != wanted:
            raise TradeoffError(
                f"state {shapes} does not fit {self.spec.id}, which has {wanted}; use the same num_envs"
            )
        self.state, self.clock = saved, clock
        self.random = Counters(put(state["key"]), put(state["count"]))

    def close(self) -> None:  # noqa: B027
        """Nothing to give back."""
