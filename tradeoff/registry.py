"""Every method of the program by its name, and the settings that are recommended for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tradeoff import morl
from tradeoff.engine.run import RunConfig
from tradeoff.envs import make
from tradeoff.envs.errors import UnknownName
from tradeoff.envs.protocol import EnvSpec
from tradeoff.morl import estimator_methods, gradient_methods, proximal_utility, scalar_methods, utility_methods
from tradeoff.safe import budget_methods, conditioned_methods, methods, novelty_methods, soft_methods
from tradeoff.safe.methods import ConstrainedConfig, unread_defaults
from tradeoff.safe.presets import gains_for, limits_for, rounds_for

METHODS: dict[str, type[RunConfig]] = {
    **morl.METHODS, **scalar_methods.METHODS, **utility_methods.METHODS, **proximal_utility.METHODS,
    **estimator_methods.METHODS, **gradient_methods.METHODS, **methods.METHODS,
    **novelty_methods.METHODS,
    **soft_methods.METHODS,
    **conditioned_methods.METHODS,
    **budget_methods.METHODS,
}  # fmt: skip


def recommended(method: str, env: str, **changes: Any) -> RunConfig:
    """A method's config with the settings recommended for an environment, then `changes`. Raises UnknownName."""
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    if method in morl.METHODS:
        return morl.recommended(method, env, **changes)
    if method in utility_methods.METHODS:
        kind = utility_methods.METHODS[method]
        settings = morl.utility_settings(env, changes.get("utility")) | kind.rate_of(changes.get("step"))
        return kind(**{"env": env, **settings, **changes})
    if method in proximal_utility.METHODS:
        return METHODS[method](**{"env": env, **morl.proximal_settings(env, changes.get("utility")), **changes})
    if method in estimator_methods.METHODS:
        return METHODS[method](**{"env": env, **changes})
    if method in gradient_methods.METHODS and not gradient_methods.takes_learner(method):
        return METHODS[method](**{"env": env, **changes})
    if issubclass(METHODS[method], ConstrainedConfig):
        return _within_limits(method, {"env": env, **changes})
    settings = morl.learner_settings(env)
    if method in scalar_methods.METHODS:
        settings["learner"] = scalar_methods.fitted(method, settings["learner"])
    return METHODS[method](**{"env": env, **settings, **changes})


def _within_limits(method: str, wanted: dict[str, Any]) -> RunConfig:
    """Limits as the environment means them, and gains that fit their scale."""
    kind, spec = METHODS[method], spec_of(wanted["env"])
    settings = limits_for(spec)
    if method not in soft_methods.METHODS:
        asked = {name: wanted[name] for name in ("scale", "discount", "repeat") if name in wanted}
        settings |= morl.learner_settings(wanted["env"]) | rounds_for(spec, **asked)
    if method in conditioned_methods.METHODS:
        settings.pop("limit", None)  # wants ranges, which nobody can guess
        settings["learner"] = conditioned_methods.fitted(settings["learner"])
    if "learner" in settings:
        plain: Any = kind(**{name: wanted[name] for name in ("solver",) if name in wanted})
        settings["learner"] = replace(settings["learner"], **unread_defaults(plain))
    config: Any = kind(**settings | wanted)
    return kind(
        **{**settings, "solver": gains_for(config.solver, spec, config.scale, config.discount_on(spec)), **wanted}
    )


def spec_of(env: str) -> EnvSpec:
    """What is known about an environment."""
    probe = make(env)
    probe.close()
    return probe.spec
