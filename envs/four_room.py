"""Four rooms: collect shapes of three kinds on the way to the goal."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from envs.batched import BatchedEnv, Outcome, State
from envs.protocol import EnvSpec

MAZE = (
    "1    2X     G",
    "      X      ",
    "      1      ",
    "             ",
    "      X      ",
    "2    3X      ",
    "XX3 XXXXX 1XX",
    "      X2    3",
    "      X      ",
    "             ",
    "      2      ",
    "      X      ",
    "_     X3    1",
)
"""X wall, _ start, G goal, digits shapes. Source: Barreto et al. 2017, arXiv:1606.05312."""

SIZE = len(MAZE)
MOVES = ((0, -1), (-1, 0), (0, 1), (1, 0))  # left, up, right, down
SHAPES = [(r, c) for c in range(SIZE) for r in range(SIZE) if MAZE[r][c].isdigit()]  # numbered column by column
START = next((r, c) for r in range(SIZE) for c in range(SIZE) if MAZE[r][c] == "_")

SPEC = EnvSpec(
    id="four-room-v0",
    observation_space=spaces.Box(np.zeros(14, np.int32), np.array([12, 12] + [1] * 12, np.int32), dtype=np.int32),
    action_space=spaces.Discrete(4), objectives=("blue", "green", "red"), horizon=200, discount=0.99,
    reference_point=(0.0, 0.0, 0.0),
)  # fmt: skip


class FourRoom(BatchedEnv):
    """Reward: 1 in the kind of each shape, once per shape; the goal pays 1 in every kind and ends the episode."""

    def __init__(self, num_envs: int, device: Any = "cpu", **options: Any) -> None:
        """options: seed, max_episode_steps."""
        after = np.zeros((SIZE * SIZE, 4), dtype=np.int64)
        for r, c in np.ndindex(SIZE, SIZE):
            for action, (down, right) in enumerate(MOVES):
                to = (r + down, c + right)
                free = 0 <= min(to) and max(to) < SIZE and MAZE[to[0]][to[1]] != "X"
                after[r * SIZE + c, action] = to[0] * SIZE + to[1] if free else r * SIZE + c
        kind = np.zeros((SIZE * SIZE, 3), dtype=np.float32)
        flag = np.zeros((SIZE * SIZE, len(SHAPES)), dtype=np.float32)
        for i, (r, c) in enumerate(SHAPES):
            kind[r * SIZE + c, int(MAZE[r][c]) - 1] = 1.0
            flag[r * SIZE + c, i] = 1.0
        self.after, self.kind, self.flag = (torch.as_tensor(x, device=device) for x in (after.ravel(), kind, flag))
        self.goal = next(r * SIZE + c for r in range(SIZE) for c in range(SIZE) if MAZE[r][c] == "G")
        super().__init__(SPEC, num_envs, device, **options)

    def start(self, uniform: Tensor) -> State:
        """See BatchedEnv.start."""
        cell = torch.full((self.num_envs,), START[0] * SIZE + START[1], device=self.device)
        return cell, torch.zeros(self.num_envs, len(SHAPES), device=self.device)

    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """See BatchedEnv.transition."""
        cell, collected = state
        cell = self.after[cell * 4 + action]
        here = self.flag[cell]
        fresh = (here * (1 - collected)).sum(1, keepdim=True)
        at_goal = cell == self.goal
        reward = self.kind[cell] * fresh + at_goal.unsqueeze(1)
        return Outcome((cell, torch.maximum(collected, here)), reward, at_goal)

    def observe(self, state: State) -> Tensor:
        """Row, column, and which shapes were collected."""
        cell, collected = state
        return torch.cat([torch.stack([cell // SIZE, cell % SIZE], 1).float(), collected], 1)


ENVIRONMENTS = {SPEC.id: FourRoom}
