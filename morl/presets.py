"""Settings that work, by environment: the program's defaults, and what the results page was made with."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from gymnasium import spaces

from tradeoff.engine.learner import LearnerConfig
from tradeoff.envs import UnknownName, make
from tradeoff.morl.methods import EXTENDING, METHODS, FrontConfig

SMALL = LearnerConfig(
    rollout_steps=32, environments=16, epochs=4, minibatches=4, learning_rate=2e-3, gamma=0.99, entropy=0.05
)
"""Small discrete problems: short rollouts in many copies, and enough entropy to try everything."""

TREE = LearnerConfig(
    rollout_steps=12, environments=8, epochs=4, minibatches=2, learning_rate=2e-3, gamma=0.99, entropy=0.05
)
"""Episodes of a few steps and very many policies."""

CART = LearnerConfig(
    rollout_steps=64, environments=32, epochs=8, minibatches=8, learning_rate=1e-3, gamma=0.98, entropy=0.05
)
"""Long sparse episodes: with less entropy, or with 4 epochs, one population in a few never finds one of the ores."""

BODY = LearnerConfig(gamma=0.99, anneal=True)
"""Continuous control."""

SPREADS = {"HalfCheetah": 0.4, "Ant": 0.3, "Humanoid": 0.3, "Hopper": 0.6, "Walker2d": 1.0, "Swimmer": 1.0}
"""First noise of bodies under a limit on speed: with more, steps too fast are chance; with less, legs stand still."""
CALMS = {"Ant": 0.1, "Hopper": 0.1, "Walker2d": 0.1}
"""Bodies whose noise is held down: what is left of it at the end makes steps too fast, and falls."""

GOALS = LearnerConfig(
    rollout_steps=250, environments=16, epochs=6, minibatches=16, learning_rate=5e-4, gamma=0.97, entropy=0.01,
    anneal=True, hidden=(128, 128), spread=0.6,
)  # fmt: skip
"""Goals among hazards: without a bonus for entropy, whoever stops inside a hazard stays, and pays for it to the end."""

QUEUES = LearnerConfig(
    rollout_steps=125, environments=8, epochs=4, minibatches=8, learning_rate=1e-3, gamma=0.98, anneal=True,
    hidden=(128,),
)  # fmt: skip
"""Server queues of any size: what a service changes is seen within fifty steps, although episodes last 500."""

SEA: dict[str, Any] = {
    "learner": replace(SMALL, environments=4), "policies": 24, "extension": 0.3, "episodes": 1,
}  # fmt: skip
"""Many policies on few samples each: of 20 seeds, 19 found the whole front so, and one nine of its ten points; with 16
policies x 16 copies, one of six did. One episode says all about a deterministic policy in a deterministic sea.
"""


def walking(body: str) -> LearnerConfig:
    """A swimmer sees what a stroke brings only after it: with gamma .99 it stands almost still."""
    gamma = 0.999 if body == "Swimmer" else BODY.gamma
    return replace(BODY, spread=SPREADS[body], calm=CALMS.get(body, 1.0), gamma=gamma)


PRESETS: dict[str, dict[str, Any]] = {
    "deep-sea-treasure-v0": SEA,
    "deep-sea-treasure-concave-v0": SEA,
    "deep-sea-treasure-mirrored-v0": SEA,
    "resource-gathering-v0": {"learner": SMALL, "policies": 15},
    "breakable-bottles-v0": {"learner": SMALL, "policies": 15},
    "four-room-v0": {"learner": SMALL, "policies": 15},
    "fishwood-v0": {"learner": SMALL},
    "fruit-tree-v0": {
        "learner": TREE, "policies": 64, "select": 10, "extension": 0.7, "extension_iterations": 30, "keep_share": 0.6,
    },
    "minecart-v0": {"learner": CART, "policies": 15},
    "minecart-deterministic-v0": {"learner": CART, "policies": 15},
    **{f"Safety{body}Velocity-v{v}": {"learner": walking(body)} for body in SPREADS for v in (0, 1)},
    **{f"Safety{agent}Goal{level}-v0": {"learner": GOALS} for agent in ("Point", "Car") for level in (0, 1, 2)},
}  # fmt: skip
"""What differs from a method's own defaults; fields that a method does not have are passed over."""


def recommended(method: str, env: str, **changes: Any) -> FrontConfig:
    """A method's config with the settings recommended for an environment, then `changes`.

    An environment without a preset gets the settings for its kind of actions. Raises UnknownName.
    """
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    kind = METHODS[method]
    known = {f.name for f in fields(kind)} - {*(EXTENDING if changes.get("extension") == 0 else ())}
    preset = {name: value for name, value in (PRESETS.get(env) or _by_actions(env)).items() if name in known}
    return kind(**{"env": env, **preset, **changes})


def utility_settings(env: str, utility: str | None = None) -> dict[str, Any]:
    """A utility that makes sense for an environment: those of Guidobene et al. 2025 where it has one.

    utility: the one that was asked for; the published parameters go with the published one alone.
    """
    published = _published(env)
    if utility in (None, published["utility"]):
        return published
    return {"utility": utility} | {name: published[name] for name in ("discount",) if name in published}


def _published(env: str) -> dict[str, Any]:
    if env.startswith("deep-sea-treasure"):
        return {"utility": "square-root", "shift": (1.0, 101.0), "floor": (0.0, -100.0), "discount": 1.0}
    if env.startswith("server-queues"):
        return {"utility": "harmonic", "weights": (500.0,), "shift": (1.0,), "floor": (0.0,), "ceiling": (500.0,)}
    return {"utility": "linear"}


def learner_settings(env: str) -> dict[str, Any]:
    """The learner recommended for an environment, for methods that train policies with critics for one aim."""
    return {"learner": (PRESETS.get(env) or _by_actions(env))["learner"]}


def proximal_settings(env: str, utility: str | None = None) -> dict[str, Any]:
    """The utility and the learner recommended for an environment, for proximal steps along one utility."""
    if env.startswith("server-queues"):
        return utility_settings(env, utility) | {"learner": QUEUES}
    if env.startswith("deep-sea-treasure"):  # the treasures count in full, however far: with gamma .99 20.3 looks best
        return utility_settings(env, utility) | {"learner": replace(SMALL, gamma=1.0)}
    return utility_settings(env, utility) | learner_settings(env)


def _by_actions(env: str) -> dict[str, Any]:
    probe = make(env)
    continuous = isinstance(probe.spec.action_space, spaces.Box)
    probe.close()
    return {"learner": BODY, "policies": 6} if continuous else {"learner": SMALL}
