"""`make`: the fastest faithful version of an environment, by its id."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from inspect import signature
from math import isfinite
from typing import Any, NamedTuple

import torch

from tradeoff.envs.errors import BadValue, TradeoffError, UnknownName, user_code
from tradeoff.envs.finite import FiniteModel
from tradeoff.envs.gymnasium_costs import Costs, split_channels
from tradeoff.envs.protocol import VectorEnv

Constructor = Callable[..., VectorEnv]  # (num_envs, device=..., seed=..., max_episode_steps=..., **options)

BATCHED = (
    "deep_sea_treasure", "resource_gathering", "breakable_bottles", "four_room", "fruit_tree", "fishwood", "queues",
    "minecart", "water_reservoir", "mountain_car", "classic_control", "mujoco_bodies", "velocity", "navigation",
    "constrained", "constrained_queues", "constrained_rooms", "constrained_tabular",
)  # fmt: skip
"""Modules of this package with dictionaries by id: ENVIRONMENTS, and perhaps exact models, MODELS or NORMAL_FORMS, and
those that step the original, ADAPTED."""

BACKENDS = ("torch", "mujoco-threads", "gymnasium-sync", "gymnasium-async")

_own: dict[str, Constructor] = {}


class Listed(NamedTuple):
    """An entry of `list_environments`."""

    id: str
    backend: str  # what `make` would use
    exact: bool  # whether `finite_model` or `normal_form` knows it


def _collected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module in BATCHED:
        found |= getattr(import_module(f"tradeoff.envs.{module}"), name, {})
    return found


def register(id: str, constructor: Constructor) -> None:
    """Make `make(id, ...)` call constructor(num_envs, device=..., seed=..., max_episode_steps=..., **options)."""
    _own[id] = constructor


def registered(id: str) -> bool:
    """Whether the id was registered here, so that making it calls what the program was given, not what a text names."""
    return id in _own


def register_gymnasium(
    id: str,
    factory: Callable[[], Any],
    objectives: Sequence[str] = (),
    costs: Costs | None = None,
    limits: Sequence[float] = (),
    reference_point: Sequence[float] = (),
) -> None:
    """Make any gymnasium environment known under an id; `factory` builds one copy.

    objectives: names of the reward's columns. costs: keys of the step's info, parts of the reward or functions of a
    step (see `envs.gymnasium_costs.find_costs`); None looks for "cost" in the info. limits: of the costs, per episode.
    reference_point: one number per objective, from which hypervolumes are counted.
    `make` takes the option `workers`, a number of processes, and these three in place of what is given here.
    """
    from tradeoff.envs.gymnasium_adapter import GymnasiumEnv

    given = {"objectives": objectives, "costs": costs, "limits": limits}

    def constructor(num_envs: int, **options: Any) -> VectorEnv:
        env = GymnasiumEnv(factory, num_envs, id=id, **{**given, **options})
        if reference_point:
            env.spec = replace(env.spec, reference_point=_as_reference(reference_point, env.spec.objectives))
        return env

    register(id, constructor)


def _as_reference(given: Sequence[float], objectives: Sequence[str]) -> tuple[float, ...]:
    """Raises TradeoffError unless there is one finite number per objective."""
    point = tuple(float(x) for x in given)
    if len(point) != len(objectives) or not all(map(isfinite, point)):
        raise TradeoffError(
            f"reference_point is {point}; give {len(objectives)} finite numbers, one for each of "
            f"{', '.join(objectives)}"
        )
    return point


def make(
    id: str,
    num_envs: int = 1,
    *,
    device: torch.device | str = "cpu",
    seed: int = 0,
    max_episode_steps: int | None = None,
    backend: str | None = None,
    **options: Any,
) -> VectorEnv:
    """N copies of an environment that step at once.

    Args:
        id: a gymnasium or mo-gymnasium id, one that was registered here, or `package.module:name` of an id or a class;
            `id?cost=-energy&cost=...` names costs as `costs` does, `id?objectives=a,b` the reward's columns.
        max_episode_steps: cut episodes after so many steps instead of the usual number.
        backend: None picks the fastest faithful one (tensors, then MuJoCo threads, then gymnasium itself) and
            `spec.backend` says which; "gymnasium-sync" or "gymnasium-async" insist on the original.
        options: for the environment's constructor, or for `gymnasium.make`; the originals also take `workers`,
            `objectives`, `costs` and `limits` (see tradeoff.envs.gymnasium_adapter); to name costs insists on them.

    Raises: UnknownName with near matches; MissingExtra when a package is not installed; TradeoffError for a backend
    that the environment does not have; UserCodeFailed where a constructor that was registered raises.
    """
    if backend is not None and backend not in BACKENDS:
        raise UnknownName("backend", backend, BACKENDS)
    common: dict[str, Any] = {"device": device, "seed": seed, "max_episode_steps": max_episode_steps}
    if "?" in id:
        plain, costs, objectives = split_channels(id)
        given = {"costs": costs} | ({"objectives": objectives} if objectives else {}) if costs else {}
        env = make(plain, num_envs, backend=backend, **common, **{**options, **given})
        env.spec = replace(env.spec, id=id, objectives=_named(env, objectives) if objectives else env.spec.objectives)
        return env
    if id in _own:
        with user_code(id, "while it was built"):
            return _checked(_constructed(id, _own[id], num_envs, common, options), backend)
    fastest = _collected("ENVIRONMENTS").get(id)
    original = backend is not None and backend.startswith("gymnasium") and id not in _collected("ADAPTED")
    original = original or "costs" in options
    if fastest is None or original:
        return _checked(_original(id, num_envs, fastest, backend, **common, **options), backend)
    return _checked(_constructed(id, fastest, num_envs, common, options), backend)


def _named(env: VectorEnv, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names for all objectives. Raises: TradeoffError for another number of them, or a name that a cost has."""
    own, costs = env.spec.objectives, env.spec.costs
    if len(names) != len(own) or {*names} & {*costs}:
        env.close()
        raise TradeoffError(
            f"objectives names {', '.join(names)}; {env.spec.id} pays {len(own)}: {', '.join(own)}"
            f"{f', besides the costs {chr(44).join(costs)}' if costs else ''}; give each a name of its own"
        )
    return names


def _constructed(
    id: str, constructor: Constructor, num_envs: int, common: dict[str, Any], options: dict[str, Any]
) -> VectorEnv:
    """Raises: BadValue for an option that the constructor does not take, with those that it does."""
    try:
        return constructor(num_envs, **common, **options)
    except TypeError as error:
        unknown = next((name for name in options if f"unexpected keyword argument {name!r}" in str(error)), None)
        if unknown is None:
            raise
    own = [name for name in signature(constructor).parameters if name not in ("num_envs", "id", "options", *common)]
    way_out = "leave it out"
    if id in _gymnasium_ids():
        way_out = "backend='gymnasium-sync' steps the original, which takes those of its own constructor"
    raise BadValue(f"{id} takes no option {unknown!r} here, only {', '.join([*own, *common])}; {way_out}")


def _gymnasium_ids() -> frozenset[str]:
    from tradeoff.envs.gymnasium_build import gymnasium_ids

    return gymnasium_ids()


def _checked(env: VectorEnv, backend: str | None) -> VectorEnv:
    if backend in (None, env.spec.backend):
        return env
    env.close()
    raise TradeoffError(f"{env.spec.id} has no backend {backend} here; it runs on {env.spec.backend}: leave it out")


def _original(id: str, num_envs: int, twin: Constructor | None, backend: str | None, **options: Any) -> VectorEnv:
    """Gymnasium's own, with what is known of its faster twin."""
    from tradeoff.envs.gymnasium_adapter import GymnasiumEnv

    ids = _gymnasium_ids()
    if twin is not None and id not in ids:
        raise TradeoffError(f"{id} has no original to step or to take other costs from: leave backend and costs out")
    if id not in ids and ":" not in id:  # "module:id" imports a module first
        raise UnknownName("environment", id, {*ids, *_own, *_collected("ENVIRONMENTS")}, "`tradeoff envs` lists them")
    if backend == "gymnasium-async":
        options.setdefault("workers", min(os.cpu_count() or 1, num_envs))
    if twin is not None and "costs" in options:
        options.setdefault("objectives", twin(1).spec.objectives)
    env = GymnasiumEnv(id, num_envs, **options)
    if twin is not None and not options.get("objectives"):
        known = twin(1).spec
        if len(known.objectives) == len(env.spec.objectives):
            env.spec = replace(
                env.spec, objectives=known.objectives, reference_point=known.reference_point, discount=known.discount
            )
    return env


def finite_model(id: str, **options: Any) -> FiniteModel:
    """Exact arrays of a finite environment. Raises UnknownName when there are none."""
    models = _collected("MODELS")
    if id not in models:
        raise UnknownName("finite model", id, models)
    model: FiniteModel = models[id](**options)
    return model


def normal_form(id: str, horizon: int | None) -> FiniteModel | None:
    """A one-step problem with the same expected undiscounted sums: its actions are whole episodes of the environment.

    For environments without chance whose tables of moves are too large. None where nothing of the kind is known.
    """
    build = _collected("NORMAL_FORMS").get(id)
    if build is None or horizon is None:
        return None
    found: FiniteModel = build(horizon)
    return found


def list_environments() -> list[Listed]:
    """Every id that `make` knows: ours, and mo-gymnasium's through the adapter."""
    from tradeoff.envs.gymnasium_build import gymnasium_ids

    ours, models = _collected("ENVIRONMENTS"), {**_collected("MODELS"), **_collected("NORMAL_FORMS")}
    physical = ("mujoco_bodies", "velocity", "navigation")
    bodies = {id for name in physical for id in import_module(f"tradeoff.envs.{name}").ENVIRONMENTS}
    backends = {id: "mujoco-threads" if id in bodies else "torch" for id in ours}
    backends |= dict.fromkeys(_collected("ADAPTED"), "gymnasium-sync")
    others = {id: "gymnasium-sync" for id in gymnasium_ids(mo_only=True) if id not in ours}
    own = dict.fromkeys(_own, "registered")
    return [Listed(id, backend, id in models) for id, backend in sorted({**others, **backends, **own}.items())]
