"""Replay: a ring of past steps for each policy, drawn from with equal chances."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from tradeoff.engine.trajectories import Trajectories, fold


class Steps(NamedTuple):
    """n remembered steps of each of P policies, in no order of time."""

    observation: Tensor  # [P, n, d] float32
    action: Tensor  # [P, n, c]
    channels: Tensor  # [P, n, m + k] rewards, then costs
    terminated: Tensor  # [P, n] 1.0 where the task ended: no value beyond
    truncated: Tensor  # [P, n] 1.0 where the clock ran out: the successor has a value
    next_observation: Tensor  # [P, n, d] true successor
    context: Tensor  # [P, n, q]


class Replay:
    """The latest `capacity` steps of each policy, one row per step, so that drawing is one gather.

    Memory is reserved at once, and taken as it fills: 4 bytes times capacity, policies and numbers per step.
    """

    def __init__(
        self, policies: int, capacity: int, *, numbers: int, actions: int, channels: int, context: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:  # fmt: skip
        """numbers, actions, channels, context: d, c, m + k and q. Raises ValueError for a capacity below 1."""
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1 step, got {capacity}")
        self.widths = (numbers, actions, channels, 1, 1, numbers, context)
        self.rows = torch.empty(policies, capacity, sum(self.widths), device=device)
        self.size = self.next = 0

    def __len__(self) -> int:
        """Steps remembered per policy."""
        return self.size

    @property
    def capacity(self) -> int:
        """Steps remembered at most, per policy."""
        return self.rows.shape[1]

    def add(self, data: Trajectories, action: Tensor) -> None:
        """Remember a rollout's steps, the oldest first; they replace the oldest ones once the ring is full.

        action: [T, P, B, c] what to store in place of the record's own. Raises ValueError for more steps than fit.
        """
        steps = Steps(
            data.observation, action, data.channels, data.terminated, data.truncated, data.next_observation,
            data.context,
        )  # fmt: skip
        flags = {name: getattr(steps, name).unsqueeze(-1) for name in ("terminated", "truncated")}
        rows = torch.cat([fold(x).float() for x in steps._replace(**flags)], -1)
        count = rows.shape[1]
        if count > self.capacity:
            raise ValueError(f"{count} steps per policy at once do not fit a replay of {self.capacity}")
        first = min(count, self.capacity - self.next)
        self.rows[:, self.next : self.next + first] = rows[:, :first]
        self.rows[:, : count - first] = rows[:, first:]
        self.next = (self.next + count) % self.capacity
        self.size = min(self.size + count, self.capacity)

    def sample(self, count: int, generator: Generator) -> Steps:
        """Draw steps with replacement, each policy from its own. Raises ValueError while the replay is empty."""
        if not self.size:
            raise ValueError("the replay is empty: add a rollout before drawing from it")
        policies, capacity, width = self.rows.shape
        place = torch.randint(self.size, (policies, count), generator=generator, device=self.rows.device)
        place += torch.arange(policies, device=place.device).unsqueeze(1) * capacity
        drawn = self.rows.view(-1, width).index_select(0, place.flatten()).view(policies, count, width)
        return self._cut(drawn)

    def _cut(self, rows: Tensor) -> Steps:
        ends = list(accumulate(self.widths))
        parts = [rows[..., end - width : end] for end, width in zip(ends, self.widths, strict=True)]
        steps = Steps(*parts)
        return steps._replace(terminated=steps.terminated.squeeze(-1), truncated=steps.truncated.squeeze(-1))

    def state_dict(self) -> dict[str, Any]:
        """What is filled, and where the next step goes."""
        return {"rows": self.rows[:, : self.size].clone(), "next": self.next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from `state_dict`'s answer. Raises ValueError for a replay of another shape."""
        rows = state["rows"]
        if rows.shape[0] != self.rows.shape[0] or rows.shape[2] != self.rows.shape[2] or rows.shape[1] > self.capacity:
            raise ValueError(f"a replay of {tuple(rows.shape)} does not fit one of {tuple(self.rows.shape)}")
        self.size, self.next = rows.shape[1], state["next"]
        self.rows[:, : self.size] = rows
