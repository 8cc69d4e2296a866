"""A batched environment from given arrays."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from tradeoff.envs.finite import FiniteEnv, FiniteModel, Tables
from tradeoff.envs.protocol import EnvSpec


def tabular_tables(model: FiniteModel) -> Tables:
    """A branch for every successor that some action can reach."""
    states = len(model.transition)
    most = int((model.transition > 0).sum(-1).max())
    order = np.argsort(-model.transition, axis=-1, kind="stable")[..., :most]
    probability = np.take_along_axis(model.transition, order, -1)
    channels = np.concatenate([model.reward, model.cost], -1)[:, :, None].repeat(most, 2)
    return Tables(probability, order, channels, model.terminal, np.arange(states)[:, None].astype(float), model.start)


ROUNDING = 1e-6  # by how much the sum of a distribution may miss 1: what is left by numbers of 32 bits
EXACT = 1e-12  # by how much sums of 64 bits miss it, which nobody notices


def finite_arrays(
    transition: ArrayLike,
    reward: ArrayLike,
    *,
    cost: ArrayLike | None = None,
    start: ArrayLike | int = 0,
    terminal: ArrayLike | None = None,
    horizon: int | None = None,
) -> FiniteModel:
    """Check arrays and bring them into the form of a FiniteModel.

    Args:
        transition: [S, A, S] probabilities, each row summing to 1 within ROUNDING; it is divided by its sum, and so is
            `start`.
        reward: [S, A, m] or, per successor, [S, A, S, m].
        cost: [S, A, k] or [S, A, S, k].
        start: a state, or a distribution [S].
        terminal: [S] states in which an episode is over.

    Raises: ValueError naming the array and the row that does not fit.
    """
    p = np.asarray(transition, dtype=np.float64)
    if p.ndim != 3 or p.shape[0] != p.shape[2]:
        raise ValueError(f"transition must be [S, A, S], got {p.shape}")
    bad = np.argwhere(~_distribution(p))
    if len(bad):
        row = p[tuple(bad[0])]
        raise ValueError(f"transition[{bad[0][0]}, {bad[0][1]}] is no distribution: least {row.min()}, sum {row.sum()}")
    states, p = len(p), _normalised(p)
    over = np.zeros(states, bool) if terminal is None else np.asarray(terminal, bool)
    if over.shape != (states,):
        raise ValueError(f"terminal must be [S] with transition {p.shape}, got {over.shape}")
    paid = _expected("reward", reward, p)
    costs = np.zeros((*p.shape[:2], 0)) if cost is None else _expected("cost", cost, p)
    live = ~over[:, None, None]
    return FiniteModel(p, paid * live, costs * live, _first(start, over), over, horizon)


def _distribution(p: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray((np.abs(p.sum(-1) - 1) <= ROUNDING) & (p >= 0).all(-1))  # NaN is none


def _normalised(p: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Distributions [..., n] with a sum of 1; those that miss it by rounding of 64 bits alone stay as they are."""
    total = p.sum(-1, keepdims=True)
    return np.asarray(np.where(np.abs(total - 1) > EXACT, p / total, p))


def _first(start: ArrayLike | int, over: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    states = len(over)
    if isinstance(start, Integral):
        if not 0 <= int(start) < states:
            raise ValueError(f"start must be a state from 0 to {states - 1}, got {start}")
        start = np.arange(states) == int(start)
    first = np.asarray(start, dtype=np.float64)
    if first.shape != (states,) or not _distribution(first):
        raise ValueError(f"start must be a state or a distribution over {states} states, got {start}")
    if first[over].any():
        raise ValueError(f"start gives probability {first[over].sum()} to terminal states, where no episode can begin")
    return _normalised(first)


def _expected(name: str, given: ArrayLike, p: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    x = np.asarray(given, dtype=np.float64)
    if not np.isfinite(x).all():
        raise ValueError(f"{name}{np.argwhere(~np.isfinite(x))[0].tolist()} is not a finite number")
    if x.shape[:3] == p.shape and x.ndim == 4:
        return np.asarray((p[..., None] * x).sum(2))
    if x.shape[:2] != p.shape[:2] or x.ndim != 3:
        raise ValueError(f"{name} must be [S, A, m] or [S, A, S, m] with transition {p.shape}, got {x.shape}")
    return x


def make_tabular(
    model: FiniteModel,
    num_envs: int,
    *,
    id: str = "tabular",
    objectives: Sequence[str] | None = None,
    costs: Sequence[str] | None = None,
    limits: Sequence[float] = (),
    ceilings: Sequence[float] = (),
    discount: float = 0.99,
    reference_point: Sequence[float] | None = None,
    **options: Any,
) -> FiniteEnv:
    """N copies of a finite problem; the observation is the number of the state. Rewards are paid in expectation.

    Raises: ValueError when the names do not match the model's channels.
    """
    states, actions, m = model.reward.shape
    for kind, names, count in (("objectives", objectives, m), ("costs", costs, model.cost.shape[-1])):
        if names is not None and len(names) != count:
            raise ValueError(f"{kind} names {len(names)} channels, the model has {count}")
    spec = EnvSpec(
        id=id, observation_space=spaces.MultiDiscrete([states]), action_space=spaces.Discrete(actions),
        objectives=tuple(objectives or (f"objective_{i}" for i in range(m))),
        costs=tuple(costs or (f"cost_{i}" for i in range(model.cost.shape[-1]))), limits=tuple(limits),
        ceilings=tuple(ceilings), horizon=model.horizon, discount=discount,
        reference_point=None if reference_point is None else tuple(reference_point),
    )  # fmt: skip
    return FiniteEnv(spec, tabular_tables(model), num_envs, **options)
