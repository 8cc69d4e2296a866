"""How one copy of an environment is built, and what is known of those that have no faster version here."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import gymnasium as gym
from gymnasium import spaces

from tradeoff.envs.entry_points import built
from tradeoff.envs.errors import BadValue, MissingExtra, TradeoffError, UserCodeFailed
from tradeoff.envs.gymnasium_costs import find_module

EXTRAS = {"mujoco": "mujoco", "imageio": "mujoco", "Box2D": "box2d", "highway_env": "highway"}
OLD_NUMPY = ("gym_super_mario_bros", "nes_py")  # packages that no extra can bring: they want a numpy below 2


class Known(NamedTuple):
    """What the literature says of an environment that has no faster version here."""

    objectives: tuple[str, ...]
    reference_point: tuple[float, ...] | None = None
    discount: float = 0.99


MINECART = ("ore_1", "ore_2", "fuel")
LANDER = ("landing", "shaping", "main_engine", "side_engines")
KNOWN = {
    "mo-lunar-lander-v3": Known(LANDER, (-101.0, -1001.0, -101.0, -101.0)),
    "mo-lunar-lander-continuous-v3": Known(LANDER, (-110.0, -400.0, -100.0, -100.0)),
    "minecart-rgb-v0": Known(MINECART, (-1.0, -1.0, -200.0), 0.98),
    "mo-highway-v0": Known(("speed", "right_lane", "collision")),
    "mo-highway-fast-v0": Known(("speed", "right_lane", "collision")),
    "mo-supermario-v0": Known(("progress", "time", "death", "coin", "enemy")),
}


def gymnasium_ids(mo_only: bool = False) -> frozenset[str]:
    """Ids that gymnasium knows now, mo-gymnasium's among them."""
    importlib.import_module("mo_gymnasium")  # registers its environments
    return frozenset(id for id, spec in gym.registry.items() if not mo_only or "mo_gymnasium" in str(spec.entry_point))


def build(id: str, horizon: int | None, options: dict[str, Any]) -> Any:
    """One copy: of a registered id, or of what `package.module:name` stands for, a class, a function or an id."""
    home, _, name = id.rpartition(":")
    limit = {} if horizon is None else {"max_episode_steps": horizon}
    if not home:
        importlib.import_module("mo_gymnasium")  # registers its environments, in every process anew
    try:
        module = find_module(home, id) if home else gym
        if home and hasattr(module, name):
            return built(getattr(module, name), id, options)
        own = getattr(module, "make", gym.make)  # a package's own knows the wrappers that its steps need
        maker = own if own.__module__.split(".")[0] == home.split(".")[0] else gym.make
        return maker(name, disable_env_checker=True, **limit, **options)
    except UserCodeFailed as failed:
        if not isinstance(failed.__cause__, ImportError):
            raise
        raise _not_started(id, failed.__cause__) from None
    except (ImportError, gym.error.Error) as error:
        raise _not_started(id, error) from None
    except TypeError as error:
        unknown = next((name for name in options if f"unexpected keyword argument {name!r}" in str(error)), None)
        if unknown is None:
            raise
        raise BadValue(f"{id} takes no option {unknown!r}: its constructor does not know it") from None


def _not_started(id: str, error: Exception) -> TradeoffError:
    """What to say of an environment that a package is missing for, or that gymnasium does not make."""
    names = (getattr(error, "name", None) or "").split(".")[0], str(error)
    missing = next((m for m in (*EXTRAS, *OLD_NUMPY) if m == names[0] or m.lower() in names[1].lower()), None)
    if missing in OLD_NUMPY:
        return TradeoffError(
            f"{id} needs the package {missing.replace('_', '-')}, which cannot be "
            "installed beside numpy 2, and numpy 2 is needed here: step it in a Python of its own, with an older numpy"
        )
    if missing is not None:
        return MissingExtra(id, missing, EXTRAS[missing])
    known = isinstance(error, gym.error.Error) and not isinstance(error, gym.error.DependencyNotInstalled)
    way_out = "`tradeoff envs` lists what is known" if known else "install what it asks for"
    return TradeoffError(f"{id} does not start here: {error}; {way_out}")


def single(env: Any, name: str) -> Any:
    """An environment that is one. Raises: TradeoffError for anything else."""
    if isinstance(env, gym.vector.VectorEnv) or (hasattr(env, "num_envs") and not isinstance(env, gym.Env)):
        raise TradeoffError(
            f"{name} steps several environments at once; give a function that builds one, or `tradeoff.envs.register` "
            "what follows tradeoff.envs.VectorEnv"
        )
    wrong = [x for x in ("observation_space", "action_space") if not isinstance(getattr(env, x, None), spaces.Space)]
    if wrong:
        raise TradeoffError(
            f"{name} is {type(env).__name__} without {wrong[0]} of gymnasium's kind; give an environment of "
            "gymnasium's, or wrap one of the older gym in tradeoff.envs.old_steps.OldSteps"
        )
    return env
