"""Two tiny environments whose every number is known, and the parts that most tests assemble from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Generator, Tensor

from tradeoff.engine import (
    ActorCritic,
    Learner,
    LearnerConfig,
    Linear,
    Rollout,
    fresh_population,
    make_features,
    make_head,
)
from tradeoff.engine.soft import Sample, SoftLearner
from tradeoff.envs.protocol import EnvSpec, Step


class Clockwork:
    """Deaf to actions. Step number c (from 1) of an episode pays c and -2 and costs 10 c; episodes have a given length.

    Environment i ends its episodes after lengths[i] steps: terminated where `terminates[i]`, else truncated.
    Observations are (environment, clock), the clock counting the steps made in the episode.
    """

    exact_state = True

    def __init__(self, lengths: Sequence[int], terminates: Sequence[bool] = (), horizon: int | None = None) -> None:
        self.num_envs, self.device = len(lengths), torch.device("cpu")
        self.lengths = torch.tensor(lengths)
        self.terminates = torch.tensor(terminates or [False] * len(lengths))
        box = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        names = {"objectives": ("up", "down"), "costs": ("wear",)}
        self.spec = EnvSpec(
            id="clockwork", observation_space=box, action_space=spaces.Discrete(2), horizon=horizon, **names
        )
        self.clock = torch.zeros(self.num_envs, dtype=torch.int64)
        self.poison: dict[tuple[int, int], float] = {}  # (call of step, environment) -> first reward
        self.calls, self.closed, self.seeds = 0, False, None

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        self.seeds = seed
        self.clock = torch.zeros_like(self.clock)
        return self._see()

    def _see(self) -> Tensor:
        return torch.stack([torch.arange(self.num_envs), self.clock], -1).float()

    def step(self, action: Tensor) -> Step:
        assert action.shape == (self.num_envs,)
        self.clock = self.clock + 1
        ended = self.clock == self.lengths
        reward = torch.stack([self.clock, torch.full_like(self.clock, -2)], -1).float()
        for (call, environment), value in self.poison.items():
            if call == self.calls:
                reward[environment, 0] = value
        cost, final, self.calls = 10.0 * self.clock.unsqueeze(-1), self._see(), self.calls + 1
        self.clock = torch.where(ended, 0, self.clock)
        return Step(self._see(), reward, cost, ended & self.terminates, ended & ~self.terminates, final)

    def state_dict(self) -> dict[str, Any]:
        return {"clock": self.clock}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.clock = state["clock"]

    def close(self) -> None:
        self.closed = True


class Corridor:
    """Cells 0 to 4, start in cell 2, moves left and right. Walking into 4 pays (1, 0), into 0 pays (0, 1): both end.

    Every step costs 1. After 20 steps the clock runs out.
    """

    exact_state = True

    def __init__(self, num_envs: int) -> None:
        self.num_envs, self.device = num_envs, torch.device("cpu")
        self.spec = EnvSpec(
            id="corridor",
            observation_space=spaces.Box(0, 4, (1,), np.int64),
            action_space=spaces.Discrete(2),
            objectives=("right", "left"),
            costs=("steps",),
            horizon=20,
        )
        self.reset()

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        self.cell = torch.full((self.num_envs,), 2)
        self.clock = torch.zeros(self.num_envs, dtype=torch.int64)
        return self.cell.unsqueeze(-1)

    def step(self, action: Tensor) -> Step:
        cell, clock = self.cell + 2 * action - 1, self.clock + 1
        reward = torch.stack([cell == 4, cell == 0], -1).float()
        terminated = (cell == 4) | (cell == 0)
        truncated = (clock == 20) & ~terminated
        ended = terminated | truncated
        self.cell, self.clock = torch.where(ended, 2, cell), torch.where(ended, 0, clock)
        cost = torch.ones(self.num_envs, 1)
        return Step(self.cell.unsqueeze(-1), reward, cost, terminated, truncated, cell.unsqueeze(-1))

    def state_dict(self) -> dict[str, Any]:
        return {"cell": self.cell, "clock": self.clock}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.cell, self.clock = state["cell"], state["clock"]

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only lose by more, and the bits then depend on nothing but the seed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def clockwork() -> type[Clockwork]:
    return Clockwork


@pytest.fixture
def corridor() -> type[Corridor]:
    return Corridor


@pytest.fixture
def model_for() -> Callable[..., ActorCritic]:
    """The actor-critic for an environment."""

    def build(env: Any, hidden: tuple[int, ...] = (8,), squash: bool = False) -> ActorCritic:
        spec = env.spec
        channels = len(spec.objectives) + len(spec.costs)
        head = make_head(spec.action_space, squash)
        return ActorCritic(make_features(spec.observation_space), head, channels, hidden)

    return build


@pytest.fixture
def generator() -> Generator:
    return Generator().manual_seed(0)


@pytest.fixture
def learner_for(model_for: Callable[..., ActorCritic]) -> Callable[..., Learner]:
    """A learner with linear weights [P, m + k] whose every random number comes from one seed."""

    def build(
        env: Any, weights: Sequence[Sequence[float]], config: LearnerConfig, seed: int = 0, **parts: Any
    ) -> Learner:
        generator = Generator().manual_seed(seed)
        model = model_for(env, config.hidden, config.squash)
        people = fresh_population(model, len(weights), generator, config.spread)
        source = parts.pop("source", None) or Rollout(env, len(weights), config.rollout_steps)
        parts = {"discount": 1.0, "scalarizer": Linear(torch.tensor(weights))} | parts
        return Learner(model, source, people, config=config, generator=generator, **parts)

    return build


def learner_values(learner: SoftLearner, sample: Sample) -> list[Tensor]:
    """Values of a sample in the channels' own units, by the critics of two policies and by their target networks."""
    scale = learner.scale.view(2, 1, 1, -1)
    return [learner.critics.forward(x, sample.pairs).values * scale for x in (learner.theta, learner.late)]
