"""Checks of what a caller hands to an environment that is not made of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from tradeoff.envs.errors import BadValue, TradeoffError
from tradeoff.envs.protocol import EnvSpec


def check_counts(num_envs: int, max_episode_steps: int | None) -> None:
    """Raises: BadValue where one of them is no whole number of at least 1."""
    for name, value in (("num_envs", num_envs), ("max_episode_steps", max_episode_steps)):
        if value is None and name == "max_episode_steps":
            continue
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise BadValue(f"{name} must be a whole number, got {value!r}")
        if value < 1:
            raise BadValue(f"{name} must be at least 1, got {value}")


def seed_each(seed: int | Sequence[int], count: int) -> list[int]:
    """One seed per environment: s gives s, s + 1, ...; a sequence is taken as it is.

    Raises: BadValue when a sequence has another length.
    """
    if isinstance(seed, (int, Integral)):  # NumPy's integers are Integral only
        return [int(seed) + i for i in range(count)]
    if len(seed) != count:
        raise BadValue(f"{len(seed)} seeds were given for {count} environments; give one each, or a single number")
    return [int(s) for s in seed]


def read_actions(spec: EnvSpec, num_envs: int, action: Tensor) -> NDArray[np.generic]:
    """Actions as an array: [N] or [N, c] whole numbers, or [N, a] in the precision of a space of fractions.

    Raises: TradeoffError for another shape, kind of numbers or choice than the action space has.
    """
    space, given = spec.action_space, action.detach().cpu().numpy()
    wanted = (num_envs, *(space.shape or ()))
    if given.shape != wanted:
        raise TradeoffError(f"{spec.id} takes actions of shape {wanted}, got {given.shape}")
    if isinstance(space, spaces.Box):
        return given.astype(space.dtype, copy=False) if space.dtype.kind == "f" else given
    choices = space.nvec if isinstance(space, spaces.MultiDiscrete) else space.n  # type: ignore[attr-defined]
    if given.dtype != np.int64:
        raise TradeoffError(f"{spec.id} takes int64 actions, got {action.dtype}; use action.long()")
    wrong = (given < 0) | (given >= choices)
    if wrong.any():
        raise TradeoffError(f"action {given[wrong][0]} of {spec.id} is outside of {space}")
    return given
