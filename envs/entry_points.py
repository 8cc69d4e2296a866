"""What `package.module:name` may stand for: an environment, not whatever can be called."""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import isfunction
from typing import Any

import gymnasium as gym

from tradeoff.envs.errors import TradeoffError


def check_called(found: Any, text: str, what: str = "an environment's class, or a function that builds one") -> Any:
    """The class of an environment, or a function of a package that is not Python's own. Raises: TradeoffError."""
    if isinstance(found, type) and issubclass(found, gym.Env):
        return found
    home = str(getattr(found, "__module__", "")).partition(".")[0]
    if isfunction(found) and home not in sys.stdlib_module_names:
        return found
    raise TradeoffError(f"{text} is {type(found).__name__} {getattr(found, '__name__', '')!r}; expected {what}")


def built(maker: Callable[..., Any], text: str, options: dict[str, Any]) -> Any:
    """What a class or a function makes. Raises: TradeoffError where that is no environment."""
    env = check_called(maker, text)(**options)
    if isinstance(env, gym.Env) or all(callable(getattr(env, name, None)) for name in ("reset", "step")):
        return env
    raise TradeoffError(f"{text} returned {type(env).__name__}; expected an environment with reset and step")
