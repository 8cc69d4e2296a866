"""Every field of methods for one utility changes the run or is refused: no option does nothing."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tradeoff.engine.run import RunConfig
from tradeoff.envs import register_gymnasium
from tradeoff.morl import estimator_methods, gradient_methods, proximal_utility, scalar_methods, utility_methods

METHODS: dict[str, type[RunConfig]] = {
    **scalar_methods.METHODS, **utility_methods.METHODS, **proximal_utility.METHODS, **estimator_methods.METHODS,
    **gradient_methods.METHODS,
}  # fmt: skip
ENGINE = {f.name for f in fields(RunConfig)} | {"learner"}
"""Fields of every run and of its learner, which tests of the engine change: they are the same whatever the method. Of
them `device` says where numbers are computed, not which."""

OTHER: dict[str, Any] = {
    "weights": (3.0, 2.0, 1.0), "shift": (17.0,), "floor": (-0.1,), "ceiling": (-0.5,), "temperature": 3.0,
    "learning_rate": 0.3, "anneal": None, "step": ("own", "adam", "natural"), "centre": False, "hidden": (5,),
    "baseline": "optimal", "batch": 5, "checkpoint": 9, "period": 3, "radius": 1e-3, "lag": True, "eta": 0.55,
    "probability": 0.9, "curvature": 2, "unit": False, "reach": 0.9, "ray": (1.0, 5.0, 2.0),
    "reference": (-9.0, -20.0, -15.0),
    "balanced": 0.9, "rate": 0.9, "floor_of_rule": 0.5, "utility": "max-min", "eps_eta": 0.5, "eps_alpha": 0.5,
    "eps_alpha_std": 0.1, "alpha": 9.0, "dual_learning_rate": 0.5,
}  # fmt: skip
NEEDS: dict[str, dict[str, Any]] = {
    "shift": {"utility": "square-root", "shift": (15.0,)}, "temperature": {"utility": "soft-min"},
    "centre": {"baseline": "none"}, "radius": {"step": "own"}, "lag": {"utility": "square-root", "shift": (15.0,)},
}  # fmt: skip
"""Of which other fields a field depends; without them it may be refused."""


class Pull(gym.Env):
    """Two steps on a line: paid minus the squared distance, minus the squared push, and the place."""

    observation_space = spaces.Box(-9.0, 9.0, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    reward_space = spaces.Box(-99.0, 99.0, (3,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.x, self.clock = self.np_random.normal(0.5, 0.3), 0
        return np.array([self.x], np.float32), {}

    def step(self, action: Any) -> Any:
        self.x, self.clock = self.x + float(action[0]), self.clock + 1
        reward = np.array([-(self.x**2), -(action[0] ** 2), self.x], np.float32)
        return np.array([self.x], np.float32), reward, self.clock == 2, False, {}


@pytest.fixture(autouse=True)
def pull() -> None:
    register_gymnasium("pull", Pull, ("near", "idle", "far"), reference_point=(-20.0, -20.0, -20.0))


def base(name: str, **changes: Any) -> RunConfig:
    """Half a dozen steps of a small run."""
    kind = METHODS[name]
    known = {f.name for f in fields(kind)}
    own: dict[str, Any] = {"hidden": (4,), "batch": 4, "checkpoint": 8, "period": 2, "curvature": 3}
    if name in utility_methods.METHODS or name in proximal_utility.METHODS:
        own["utility"] = "soft-min"
    config = kind(env="pull", policies=1, steps=170, evaluate_every=3, episodes=1, final_episodes=2,
                  **{key: x for key, x in own.items() if key in known} | changes)  # fmt: skip
    if "learner" not in known:
        return config
    learner = config.learner  # type: ignore[attr-defined]
    small = {"rollout_steps": 4, "environments": 4, "hidden": (4,), "epochs": 1, "minibatches": 2}
    return replace(config, learner=replace(learner, **{k: x for k, x in small.items() if hasattr(learner, k)}))


def outcome(config: RunConfig) -> tuple[Any, ...]:
    found = config.run()
    return found.population.theta.shape, found.population.theta.numpy().tobytes(), found.table(), str(found.history)


def leaves(name: str) -> list[str]:
    """Fields of a method, those of its rule as rule.name."""
    config = METHODS[name]()
    own = [f.name for f in fields(config) if f.name not in ENGINE]
    rule = getattr(config, "rule", None)
    nested = [f"rule.{f.name}" for f in fields(rule)] if is_dataclass(rule) else []
    return [key for key in own if key != "rule"] + nested


def changed(config: Any, leaf: str, value: Any) -> Any:
    name, _, inner = leaf.partition(".")
    return replace(config, **{name: replace(getattr(config, name), **{inner: value}) if inner else value})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mo-tsivr-pg", "mo-ppo"])
def test_every_option_of_a_method_changes_the_run_or_is_refused(name: str) -> None:
    plain = base(name)
    before = outcome(plain)
    assert before == outcome(base(name)), "and nothing else does"
    for leaf in leaves(name):
        last = leaf.rpartition(".")[2]
        now = getattr(getattr(plain, "rule", plain) if "." in leaf else plain, last)
        value = OTHER["floor_of_rule" if leaf == "rule.floor" else last]
        if last == "anneal":
            value = not now
        if last == "step":
            value = next(x for x in value if x != now)
        if value == now:
            value = None
        needs = NEEDS.get(last, {})
        try:
            assert outcome(changed(plain, leaf, value)) != before, f"{leaf} changes nothing"
        except ValueError as refused:
            assert last in str(refused), f"the refusal of {leaf} names it"
            assert needs, f"{leaf} is refused by itself"
            rest = base(name, **{key: x for key, x in needs.items() if key in {f.name for f in fields(plain)}})
            assert outcome(changed(rest, leaf, value)) != outcome(rest), f"{leaf} changes nothing, with {needs}"
