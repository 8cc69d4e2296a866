"""After how many steps an environment of gymnasium cuts its episodes."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

from tradeoff.envs.action_repeat import ActionRepeat

OWN = ("mo_gymnasium.", "highway_env.")  # packages whose environments are known to carry a clock of their own


def clock_of(env: Any) -> int | None:
    """The shortest of the TimeLimits anywhere among its wrappers and of a known clock of its own; None: never."""
    found, times = [], 1
    for layer in _layers(env):
        found += [-(-steps // times) for steps in (_limit(layer), _own(layer)) if steps is not None]
        times *= layer.times if isinstance(layer, ActionRepeat) else 1
    return min(found, default=None)


def _layers(env: Any) -> Iterator[Any]:
    """The environment, and what it wraps, from outside in."""
    while env is not None:
        yield env
        env = vars(env).get("env") if hasattr(env, "__dict__") else None


def _limit(layer: Any) -> int | None:
    """Of a TimeLimit, gymnasium's or another package's."""
    steps = vars(layer).get("_max_episode_steps")
    return steps if isinstance(steps, int) else None


def _own(layer: Any) -> int | None:
    kind = type(layer)
    if not any(parent.__module__.startswith(OWN) for parent in kind.__mro__):
        return None
    for name in ("time_limit", "MAX_TS"):  # the water reservoir, fishwood
        if isinstance(getattr(layer, name, None), int):
            return int(getattr(layer, name))
    config = getattr(layer, "config", None)  # highway: seconds, and decisions a second
    if isinstance(config, dict) and {"duration", "policy_frequency"} <= config.keys():
        return ceil(config["duration"] * config["policy_frequency"])
    return None
