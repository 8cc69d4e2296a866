"""Finite environments as tables: one description serves the batched simulation and the exact model alike.

The tables come from a plain function `dynamics(state, action) -> [(probability, next state, reward, terminated), ...]`
by exploring from the start, so that simulation and model cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tradeoff.envs.batched import BatchedEnv, Outcome, State
from tradeoff.envs.protocol import EnvSpec

Array = NDArray[np.float64]
Branch = tuple[float, Any, Sequence[float], bool]  # probability, next state, reward (then costs), terminated
Dynamics = Callable[[Any, int], Iterable[Branch]]


@dataclass(frozen=True)
class FiniteModel:
    """Exact arrays of a finite problem: S states, A actions, m objectives, k costs. Terminal states pay nothing."""

    transition: Array  # [S, A, S]
    reward: Array  # [S, A, m] expected, immediate
    cost: Array  # [S, A, k] expected, immediate
    start: Array  # [S] distribution of first states
    terminal: NDArray[np.bool_]  # [S]
    horizon: int | None  # steps after which an episode is truncated


@dataclass(frozen=True)
class Tables:
    """K branches per state and action."""

    probability: Array  # [S, A, K]
    successor: NDArray[np.int64]  # [S, A, K]
    channels: Array  # [S, A, K, m + k]
    terminal: NDArray[np.bool_]  # [S]
    observation: Array  # [S, d]
    start: Array  # [S]

    def model(self, costs: int, horizon: int | None) -> FiniteModel:
        """The exact arrays behind the tables."""
        states, actions, _ = self.probability.shape
        transition = np.zeros((states, actions, states))
        rows, columns = np.indices((states, actions))
        for k in range(self.probability.shape[2]):
            np.add.at(transition, (rows, columns, self.successor[..., k]), self.probability[..., k])
        expected = (self.probability[..., None] * self.channels).sum(2)
        m = expected.shape[-1] - costs
        return FiniteModel(transition, expected[..., :m], expected[..., m:], self.start, self.terminal, horizon)


def explore(first: Sequence[Hashable], actions: int, dynamics: Dynamics, observe: Callable[[Any], ArrayLike]) -> Tables:
    """Find every state that can be reached from the first ones (equally likely) and write the tables.

    A state in which an episode ended is kept apart from the same state in mid-episode: it is terminal.
    """
    index: dict[tuple[Hashable, bool], int] = {(state, False): i for i, state in enumerate(first)}
    queue, rows = list(index), []
    for state, over in queue:  # grows while it is read
        row = []
        for action in range(actions):
            branches = [] if over else list(dynamics(state, action))
            for _, after, _, ended in branches:
                if (after, ended) not in index:
                    index[after, ended] = len(queue)
                    queue.append((after, ended))
            row.append([(p, index[after, ended], reward) for p, after, reward, ended in branches])
        rows.append(row)
    return _tabulate(rows, queue, len(first), observe)


def _tabulate(rows: list[Any], queue: list[Any], starts: int, observe: Callable[[Any], ArrayLike]) -> Tables:
    states, actions = len(rows), len(rows[0])
    most = max(len(branches) for row in rows for branches in row)
    channels = len(next(reward for row in rows for branches in row for _, _, reward in branches))
    probability = np.zeros((states, actions, most))
    successor = np.tile(np.arange(states)[:, None, None], (1, actions, most))
    paid = np.zeros((states, actions, most, channels))
    for s, row in enumerate(rows):
        for a, branches in enumerate(row):
            for k, (p, after, reward) in enumerate(branches):
                probability[s, a, k], successor[s, a, k], paid[s, a, k] = p, after, reward
    terminal = np.array([over for _, over in queue])
    probability[terminal, :, 0] = 1.0
    start = (np.arange(states) < starts) / starts
    observation = np.array([np.asarray(observe(state), dtype=np.float64).ravel() for state, _ in queue])
    return Tables(probability, successor, paid, terminal, observation, start)


class FiniteEnv(BatchedEnv):
    """N copies of a finite environment: a step is a few look-ups."""

    def __init__(self, spec: EnvSpec, tables: Tables, num_envs: int, device: Any = "cpu", **options: Any) -> None:
        """options: seed, max_episode_steps."""
        states, actions, self.branches = tables.probability.shape
        self.actions, self.objectives = actions, len(spec.objectives)
        put = lambda x, kind: torch.as_tensor(x, dtype=kind, device=device)  # noqa: E731
        self.successor = put(tables.successor.reshape(-1), torch.int64)
        channels = put(tables.channels.reshape(states * actions * self.branches, -1), torch.float32)
        self.reward = channels[:, : self.objectives].contiguous()
        self.cost = channels[:, self.objectives :].contiguous()
        below = tables.probability.cumsum(-1)[..., :-1].reshape(states * actions, -1)
        self.below = put(np.where(below > 1 - 1e-12, np.inf, below), torch.float64)  # no rounding into empty branches
        self.terminal = put(tables.terminal, torch.bool)
        self.seen = put(tables.observation, torch.float32)
        first = np.flatnonzero(tables.start)
        self.first = put(first, torch.int64)
        self.first_below = put(tables.start[first].cumsum()[:-1], torch.float64)
        self.start_draws = 1 if len(first) > 1 else 0
        self.step_draws = 1 if self.branches > 1 else 0
        super().__init__(spec, num_envs, device, **options)

    def start(self, uniform: Tensor) -> State:
        """See BatchedEnv.start."""
        if not self.start_draws:
            return (self.first.expand(self.num_envs),)
        return (self.first[torch.searchsorted(self.first_below, uniform[:, 0].contiguous(), right=True)],)

    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """See BatchedEnv.transition."""
        row = torch.add(action, state[0], alpha=self.actions)
        if self.step_draws:
            row = row * self.branches + (uniform >= self.below.index_select(0, row)).sum(1)
        after = self.successor.index_select(0, row)
        cost = self.cost.index_select(0, row) if self.cost.shape[1] else None
        return Outcome((after,), self.reward.index_select(0, row), self.terminal.index_select(0, after), cost)

    def observe(self, state: State) -> Tensor:
        """See BatchedEnv.observe."""
        return self.seen.index_select(0, state[0])
