"""Small environments with limits: what was a penalty, a hazard or time is a cost per episode."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from tradeoff.envs import deep_sea_treasure, resource_gathering
from tradeoff.envs.as_cost import AsCost, cost_spec, cost_tables, find_sources
from tradeoff.envs.finite import FiniteEnv, FiniteModel, Tables
from tradeoff.envs.four_room import FourRoom
from tradeoff.envs.minecart import SPREAD, Minecart
from tradeoff.envs.protocol import EnvSpec, VectorEnv


class Limited(NamedTuple):
    """What becomes a cost, and how much of it an episode may have on average."""

    costs: tuple[str, ...]  # see tradeoff.envs.as_cost
    limits: tuple[float, ...]
    ceilings: tuple[float, ...] = ()  # largest cost of a step


class Finite(NamedTuple):
    """A finite environment without limits."""

    spec: EnvSpec
    tables: Callable[[], Tables]
    limited: Limited


TIME = Limited(("-time",), (10.0,), (1.0,))
FINITE = {
    **{f"safe-{id}": Finite(deep_sea_treasure.spec(id), build, TIME) for id, build in deep_sea_treasure.MAPS.items()},
    "safe-resource-gathering-v0": Finite(
        resource_gathering.SPEC, resource_gathering.tables,
        Limited(("-death", "time=step"), (0.1, 10.0), (1.0, 1.0)),
    ),
}  # fmt: skip


def _finite(id: str) -> tuple[EnvSpec, Tables]:
    spec, build, (costs, limits, ceilings) = FINITE[id]
    sources = find_sources(spec, costs)
    return cost_spec(spec, sources, id=id, limits=limits, ceilings=ceilings), cost_tables(build(), spec, sources)


def _make_finite(id: str, num_envs: int, **options: Any) -> FiniteEnv:
    return FiniteEnv(*_finite(id), num_envs, **options)


def _model(id: str) -> FiniteModel:
    spec, tables = _finite(id)
    return tables.model(len(spec.costs), spec.horizon)


SPEND = Limited(("-fuel",), (0.8,), (0.22,))
WRAPPED: dict[str, tuple[Callable[..., VectorEnv], Limited]] = {
    "safe-four-room-v0": (FourRoom, Limited(("blue", "time=step"), (1.5, 40.0), (1.0, 1.0))),
    "safe-minecart-v0": (partial(Minecart, "minecart-v0", SPREAD), SPEND),
    "safe-minecart-deterministic-v0": (partial(Minecart, "minecart-deterministic-v0", 0.0), SPEND),
}


def _limited(env: VectorEnv, id: str, limited: Limited) -> AsCost:
    return AsCost(env, limited.costs, id=id, limits=limited.limits, ceilings=limited.ceilings)


def _make_wrapped(id: str, num_envs: int, **options: Any) -> AsCost:
    build, limited = WRAPPED[id]
    return _limited(build(num_envs, **options), id, limited)


LANDER = Limited(("-main_engine", "-side_engines"), (60.0, 20.0), (1.0, 1.0))


def _make_lander(id: str, num_envs: int, **options: Any) -> VectorEnv:
    """Through the adapter: needs Box2D. Further options are those of tradeoff.envs.gymnasium_adapter."""
    from tradeoff.envs.gymnasium_adapter import GymnasiumEnv

    return _limited(GymnasiumEnv(id.removeprefix("safe-"), num_envs, **options), id, LANDER)


ADAPTED = {id: partial(_make_lander, id) for id in ("safe-mo-lunar-lander-v3", "safe-mo-lunar-lander-continuous-v3")}
"""Those that step the original: slower, and checkpoints fall on resets."""

ENVIRONMENTS: dict[str, Callable[..., VectorEnv]] = {
    **{id: partial(_make_finite, id) for id in FINITE},
    **{id: partial(_make_wrapped, id) for id in WRAPPED},
    **ADAPTED,
}
MODELS = {id: partial(_model, id) for id in FINITE}
