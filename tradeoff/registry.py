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
from safe.methods import ConstrainedConfig
from safe.presets import gains_for, limits_for, rounds_for

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
    if method in morl.estimator_methods.METHODS:
        return METHODS[method](**{"env": env, **changes})
    if method in morl.gradient_methods.METHODS and not morl.gradient_methods.takes_learner(method):
        return METHODS[method](**{"env": env, **changes})
    if issubclass(METHODS[method], ConstrainedConfig):
        return _within_limits(method, {"env": env, **changes})
    return METHODS[method](**{"env": env, **morl.learner_settings(env), **changes})


def _within_limits(method: str, wanted: dict[str, Any]) -> RunConfig:
    """Limits as the environment means them, and gains that fit their scale."""
    kind, spec = METHODS[method], spec_of(wanted["env"])
    settings = limits_for(spec)
    if method not in safe.soft_methods.METHODS:
        asked = {name: wanted[name] for name in ("scale", "discount", "repeat") if name in wanted}
        settings |= morl.learner_settings(wanted["env"]) | rounds_for(spec, **asked)
    if method in safe.conditioned_methods.METHODS:
        settings.pop("limit", None)  # wants ranges, which nobody can guess
        settings["learner"] = safe.conditioned_methods.fitted(settings["learner"])
    config: Any = kind(**settings | wanted)
    return kind(
        **{**settings, "solver": gains_for(config.solver, spec, config.scale, config.discount_on(spec)), **wanted}
    )


def spec_of(env: str) -> EnvSpec:
    """What is known about an environment."""
    probe = make(env)
    probe.close()
    return probe.spec
