"""Where the costs of a gymnasium environment come from: its info, its reward, or a function of the user's."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradeoff.envs.entry_points import check_called
from tradeoff.envs.errors import TradeoffError, UserCodeFailed, user_code
from tradeoff.envs.native import as_array

Array = NDArray[Any]
Function = Callable[[Any, Any, Any, dict[str, Any]], Any]  # (observation, action, next observation, info) -> cost(s)
Costs = Mapping[str, str | Function] | Sequence[str | Function]

TEXT = re.compile(r"(?:(?P<name>[^-+=\[\]:][^=\[\]:]*)=)?(?P<sign>[-+]?)(?P<source>.+)", re.DOTALL)
LIKE_COSTS = re.compile(r"cost|penalt|violat|collision|collided|crash|unsafe|hazard|damage", re.IGNORECASE)
INDEXED = re.compile(r"(?P<where>reward|info)\[(?P<what>.+)\]")


class Transition(NamedTuple):
    """A step as the environment itself saw it, nothing flattened."""

    observation: Any  # before the step; None where no function asks for it
    action: Any
    next_observation: Any
    reward: Any
    info: dict[str, Any]


class Cost(NamedTuple):
    """One entry of every step that is kept low: a number or several."""

    name: str
    source: str | int | Function  # key of the info, column of the reward, or a function
    sign: float = 1.0  # -1 where the environment pays a penalty, a number below 0
    width: int = 1  # numbers that it holds

    @property
    def names(self) -> tuple[str, ...]:
        """Of its channels."""
        return (self.name,) if self.width == 1 else tuple(f"{self.name}_{i}" for i in range(self.width))

    def __str__(self) -> str:
        if isinstance(self.source, int):
            return f"reward[{self.source}]"
        return self.source if isinstance(self.source, str) else self.name

    def raw(self, step: Transition) -> Any:
        """What the environment or the function says, its sign as it comes. Raises: TradeoffError without that key."""
        if isinstance(self.source, int):
            return as_array(step.reward).reshape(-1)[self.source]
        if not isinstance(self.source, str):
            return self.source(step.observation, step.action, step.next_observation, step.info)
        if self.source not in step.info:
            raise TradeoffError(
                f"a step reports no cost {self.source!r}, and the first one did: let the environment report 0 where "
                f"nothing is paid, or give a function, lambda *step: step[-1].get({self.source!r}, 0.0)"
            )
        return step.info[self.source]

    def __call__(self, step: Transition) -> Array:
        """Costs [width] of a step. Raises: TradeoffError where there are none, or another number of them."""
        return self.sign * numbers(self.raw(step), self.width, str(self)) + 0.0  # no -0.0


def numbers(given: Any, count: int | None, name: str) -> Array:
    """Numbers [count] of something that a step reported. Raises: TradeoffError for no numbers, or another count."""
    try:
        array = as_array(given).astype(np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise TradeoffError(f"the step's {name} is {given!r}; expected a number or several") from None
    if count is not None and len(array) != count:
        raise TradeoffError(f"the step's {name} holds {len(array)} numbers; it held {count} in the first step")
    return array


def join_costs(id: str, costs: Sequence[str], objectives: Sequence[str] = ()) -> str:
    """The id that `make` reads as that environment with these channels: `id?objectives=a,b&cost=...&cost=...`.

    Raises: TradeoffError for names of objectives that are empty, twice there, or hold one of `,?&=`.
    """
    bad = [name for name in objectives if not name or set(name) & set(",?&=")]
    if bad or len({*objectives}) < len(objectives):
        raise TradeoffError(f"objectives are {', '.join(map(repr, objectives))}; give different names without , ? & =")
    parts = [f"objectives={','.join(objectives)}"] if objectives else []
    parts += [f"cost={cost}" for cost in costs]
    return f"{id}?{'&'.join(parts)}" if parts else id


def split_costs(id: str) -> tuple[str, tuple[str, ...]]:
    """The environment and the costs of what `join_costs` made. Raises: as `split_channels`."""
    return split_channels(id)[:2]


def split_channels(id: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The environment, the costs and the names of objectives of what `join_costs` made.

    Raises: TradeoffError for other things after "?".
    """
    plain, _, said = id.partition("?")
    named = [part.partition("=")[::2] for part in said.split("&")]
    if not all(key in ("cost", "objectives") and value for key, value in named):
        raise TradeoffError(f"environment {id!r}: expected cost=... or objectives=a,b after '?', and & between several")
    names = [name for key, value in named if key == "objectives" for name in value.split(",")]
    return plain, tuple(value for key, value in named if key == "cost"), tuple(names)


def find_costs(env: str, given: Costs | None, step: Transition, objectives: Sequence[str]) -> tuple[Cost, ...]:
    """Costs as they were given, looked up in a first step.

    Args:
        env: its id, for complaints.
        given: each a function, or a text: a key of the info, the name of an objective, `info[key]` or `reward[index]`,
            `package.module:function`; with a minus before it where its sign is to be turned, with `name=` before that
            where the channel has another name. None looks for "cost" in the info.
        objectives: names of the reward's columns.

    Raises: TradeoffError for what the step does not hold, for two costs of one name, and where no objective is left.
    """
    if given is None:
        given = [key for key in ("cost",) if key in step.info]
        alike = (key for key, value in step.info.items() if LIKE_COSTS.search(str(key)) and np.ndim(value) == 0)
        _hint(env, () if given else tuple(str(key) for key in alike if key not in objectives))
    named = list(given.items()) if isinstance(given, Mapping) else [(None, source) for source in given]
    costs = [_found(env, name, source, step, objectives) for name, source in named]
    names = [name for cost in costs for name in cost.names]
    left = [name for i, name in enumerate(objectives) if i not in {cost.source for cost in costs}]
    double = {name for name in names if names.count(name) > 1 or name in left}
    if double:
        raise TradeoffError(f"two channels of {env} would be called {min(double)!r}; write other_name=... before one")
    if not left:
        raise TradeoffError(f"every objective of {env} became a cost ({', '.join(objectives)}); leave one to maximise")
    return tuple(costs)


@lru_cache  # once per environment, however many copies are made
def _hint(env: str, keys: tuple[str, ...]) -> None:
    """Point to what may be meant as a cost."""
    if keys:
        warnings.warn(
            f"{env} reports {', '.join(keys)} in its info; `--cost {keys[0]}` (in Python costs=[{keys[0]!r}]) makes "
            "it a channel that can be limited",
            stacklevel=2,
        )


def _found(env: str, name: str | None, given: str | Function, step: Transition, objectives: Sequence[str]) -> Cost:
    sign: float = 1.0
    found: str | int | Function = given
    if isinstance(given, str):
        parts = TEXT.fullmatch(given.strip())
        if parts is None:
            raise TradeoffError(f"{given!r} is no cost; write a key of the info, reward[index], or -objective")
        name, sign = name or parts["name"], -1.0 if parts["sign"] == "-" else 1.0
        found, usual = _source(env, parts["source"].strip(), step, objectives)
        name = name or usual
    elif not callable(given):
        raise TradeoffError(f"{given!r} is no cost; give a text or a function of (observation, action, next, info)")
    called = getattr(given, "__name__", "cost")
    cost = Cost(name or ("cost" if called == "<lambda>" else called), found, sign)
    return cost._replace(width=len(numbers(cost.raw(step), None, str(cost))))


def _source(env: str, text: str, step: Transition, objectives: Sequence[str]) -> tuple[str | int | Function, str]:
    """What a text stands for, and its usual name."""
    found = INDEXED.fullmatch(text)
    if found and found["where"] == "reward":
        index = int(found["what"]) if found["what"].isdecimal() else len(objectives)
        if index >= len(objectives):
            raise TradeoffError(f"{text} is no part of {env}'s reward; expected reward[0] to [{len(objectives) - 1}]")
        return index, objectives[index]
    key = found["what"] if found else text
    if key in step.info and key in objectives and not found:
        index = objectives.index(key)
        raise TradeoffError(f"{key!r} is an objective and in the info of {env}; write reward[{index}] or info[{key}]")
    if key in step.info:
        return key, key
    if key in objectives and not found:
        return objectives.index(key), key
    if ":" in key and not found:
        return check_called(load(key), key, "a function of (observation, action, next, info)"), key.rpartition(":")[2]
    raise TradeoffError(
        f"{env} reports no cost {key!r} in its first step, only {', '.join(step.info) or 'nothing'}; "
        f"name one of these, an objective ({', '.join(objectives)}) or reward[index], "
        "or let the environment report 0 where there is none"
    )


def load(text: str) -> Any:
    """What `package.module:name` stands for. Raises: TradeoffError where there is no such module or name."""
    home, _, name = text.rpartition(":")
    module = find_module(home, text)
    if not hasattr(module, name):
        raise TradeoffError(f"{text}: the module {home} has no {name!r}")
    return getattr(module, name)


def find_module(home: str, asked: str) -> ModuleType:
    """A module by its name.

    Raises: TradeoffError that names what asked for it, where there is none; UserCodeFailed where it raises itself.
    """
    try:
        with user_code(asked, f"while {home} was imported"):
            return import_module(home)
    except UserCodeFailed as failed:
        if not isinstance(failed.__cause__, ModuleNotFoundError):
            raise
        missing = failed.__cause__
    raise TradeoffError(f"{asked}: {missing}; is its folder on PYTHONPATH, or the package installed?") from missing
