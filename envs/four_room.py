"""Four rooms: collect shapes of three kinds on the way to the goal."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from tradeoff.envs.batched import BatchedEnv, Outcome, State
from tradeoff.envs.protocol import EnvSpec

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
        cells, shapes = SIZE * SIZE, len(SHAPES)
        after = np.zeros((cells, 4), dtype=np.int64)
        for r, c in np.ndindex(SIZE, SIZE):
            for action, (down, right) in enumerate(MOVES):
                to = (r + down, c + right)
                free = min(to) >= 0 and max(to) < SIZE and MAZE[to[0]][to[1]] != "X"
                after[r * SIZE + c, action] = to[0] * SIZE + to[1] if free else r * SIZE + c
        bit = np.zeros(cells, dtype=np.int64)
        pay = np.zeros((cells, 2, 3), dtype=np.float32)  # second axis: 1 where the cell still has its shape
        for i, (r, c) in enumerate(SHAPES):
            bit[r * SIZE + c] = 1 << i
            pay[r * SIZE + c, 1, int(MAZE[r][c]) - 1] = 1.0
        self.goal = next(r * SIZE + c for r in range(SIZE) for c in range(SIZE) if MAZE[r][c] == "G")
        pay[self.goal] = 1.0
        place = np.stack(np.divmod(np.arange(cells), SIZE), 1).astype(np.float32)
        flags = (np.arange(1 << shapes)[:, None] >> np.arange(shapes) & 1).astype(np.float32)
        put = lambda x: torch.as_tensor(x, device=device)  # noqa: E731
        self.after, self.bit, self.pay = put(after.ravel()), put(bit), put(pay.reshape(-1, 3))
        self.place, self.flags = put(place), put(flags)
        super().__init__(SPEC, num_envs, device, **options)

    def start(self, uniform: Tensor) -> State:
        """The cell, and the collected shapes as bits of one number."""
        cell = torch.full((self.num_envs,), START[0] * SIZE + START[1], device=self.device)
        return cell, torch.zeros_like(cell)

    def transition(self, state: State, action: Tensor, uniform: Tensor) -> Outcome:
        """See BatchedEnv.transition."""
        cell = self.after.index_select(0, torch.add(action, state[0], alpha=4))
        collected = state[1] | self.bit.index_select(0, cell)
        fresh = collected != state[1]
        reward = self.pay.index_select(0, torch.add(fresh, cell, alpha=2))
        return Outcome((cell, collected), reward, cell == self.goal)

    def observe(self, state: State) -> Tensor:
        """Row, column, and which shapes were collected."""
        return torch.cat([self.place.index_select(0, state[0]), self.flags.index_select(0, state[1])], 1)


ENVIRONMENTS = {SPEC.id: FourRoom}
