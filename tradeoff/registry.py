"""Every method of the program by its name, and the settings that are recommended for it."""

from __future__ import annotations

from typing import Any

import morl
import morl.estimator_methods
import morl.gradient_methods
import morl.proximal_utility
import morl.utility_methods
import safe.budget_methods
import safe.conditioned_methods
import safe.methods
import safe.novelty_methods
import safe.soft_methods
from engine.run import RunConfig
from envs import make
from envs.errors import UnknownName
from envs.protocol import EnvSpec
from safe.presets import gains_for

METHODS: dict[str, type[RunConfig]] = {
    **morl.METHODS, **morl.utility_methods.METHODS, **morl.proximal_utility.METHODS,
    **morl.estimator_methods.METHODS, **morl.gradient_methods.METHODS, **safe.methods.METHODS,
    **safe.novelty_methods.METHODS,
    **safe.soft_methods.METHODS,
    **safe.conditioned_methods.METHODS,
    **safe.budget_methods.METHODS,
}  # fmt: skip


def recommended(method: str, env: str, **changes: Any) -> RunConfig:
    """A method's config with the settings recommended for an environment, then `changes`. Raises UnknownName."""
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    if method in morl.METHODS:
        return morl.recommended(method, env, **changes)
    if method in morl.utility_methods.METHODS:
        return METHODS[method](**{"env": env, **morl.utility_settings(env), **changes})
    if method in morl.proximal_utility.METHODS:
        return METHODS[method](**{"env": env, **morl.proximal_settings(env), **changes})
    if method in safe.soft_methods.METHODS:
        solver = safe.soft_methods.METHODS[method](env=env).solver
        fitted = solver if solver.by_critics else gains_for(solver, spec_of(env))  # critics discount, episodes do not
        return METHODS[method](**{"env": env, "solver": fitted, **changes})
    if method in morl.estimator_methods.METHODS:
        return METHODS[method](**{"env": env, **changes})
    if method in morl.gradient_methods.METHODS and not morl.gradient_methods.takes_learner(method):
        return METHODS[method](**{"env": env, **changes})
    settings = {"env": env, **morl.learner_settings(env)}
    if method in safe.methods.METHODS:
        settings["solver"] = gains_for(safe.methods.METHODS[method](env=env).solver, spec_of(env))
    if method in safe.conditioned_methods.METHODS:
        settings["learner"] = safe.conditioned_methods.fitted(settings["learner"])
        settings["solver"] = gains_for(safe.conditioned_methods.ConditionedRun(env=env).solver, spec_of(env))
    return METHODS[method](**{**settings, **changes})


def spec_of(env: str) -> EnvSpec:
    """What is known about an environment."""
    probe = make(env)
    probe.close()
    return probe.spec
