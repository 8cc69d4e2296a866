"""What is the best that limits leave: exact, by a linear program, where an environment's finite model is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from envs import finite_model
from envs.errors import UnknownName
from envs.finite import FiniteModel
from envs.protocol import EnvSpec
from envs.registry import normal_form
from evaluation import ConstrainedOptimum, FiniteProblem, InfeasibleLimits, constrained_optimum, finite_problem
from evaluation.constrained import Limit
from evaluation.finite import NoConvergence
from safe.constraints import BadLimit, Constraint, Scale


def exact_optimum(
    given: Sequence[Constraint], spec: EnvSpec, discount: float, weights: Sequence[float] = ()
) -> ConstrainedOptimum | None:
    """The largest value of any policy within limits; the policy may look at the clock and at random numbers.

    weights: [m] of the objectives in the value; none: equal ones, the value is their mean.
    None where no model is known, and where the linear program would measure something else than the run: limits of
    another discount than the objectives, averages over steps, limits that differ by policy.
    Raises: BadLimit when no policy keeps the limits, naming the nearest that can be reached.
    """
    problem = _problem(spec, discount)
    if problem is None or not all(_same_units(c, discount) for c in given):
        return None
    m, channels = len(spec.objectives), (*spec.objectives, *spec.costs)
    limits = [Limit(channels.index(c.cost), c.limits[0] / _unit(c.scale, discount), c.sense) for c in given]
    wanted = np.zeros(len(channels))
    wanted[:m] = weights or 1 / m
    try:
        return constrained_optimum(problem, wanted, limits, horizon=spec.horizon)
    except InfeasibleLimits as error:
        raise BadLimit(_refusal(given, spec.id, error.attainable, discount)) from None
    except NoConvergence:  # some policies never end an episode
        return None


def beside(best: ConstrainedOptimum, value: Sequence[float], given: Sequence[Constraint]) -> dict[str, Any]:
    """What indicators say of an exact optimum, for policies that reached `value` [P].

    A gap is negative where a policy breaks a limit and gains by it, or was lucky in its episodes.
    """
    return {
        "value": best.value, "returns": best.returns.tolist(), "stochastic": best.stochastic,
        "prices": dict(zip([f"{c.cost} {c.sense}" for c in given], best.multipliers.tolist(), strict=True)),
        "gap": [best.value - x for x in value],
    }  # fmt: skip


def _problem(spec: EnvSpec, discount: float) -> FiniteProblem | None:
    if spec.backend != "torch":  # the original may differ from our tables
        return None
    model = _model(spec, discount)
    if model is None:
        return None
    paid = np.concatenate([model.reward, model.cost], -1)
    return finite_problem(model.transition, paid, start=model.start, discount=discount, terminal=model.terminal)


def _model(spec: EnvSpec, discount: float) -> FiniteModel | None:
    try:
        return finite_model(spec.id)
    except UnknownName:
        return normal_form(spec.id, spec.horizon) if discount == 1 else None


def _same_units(c: Constraint, discount: float) -> bool:
    return len(c.limits) == 1 and (c.scale in ("discounted", "per-step") or (c.scale == "episodic" and discount == 1))


def _unit(scale: Scale, discount: float) -> float:
    """What a discounted sum is multiplied by to be measured at a scale."""
    return 1 - discount if scale == "per-step" else 1.0


def _refusal(given: Sequence[Constraint], env: str, attainable: Any, discount: float) -> str:
    reach = ", ".join(
        f"{c.cost} {c.sense} {c.limits[0]:g} (the {'least' if c.sense == '<=' else 'most'} that any policy reaches is "
        f"{x * _unit(c.scale, discount):.6g})"
        for c, x in zip(given, attainable, strict=True)
    )
    return f"no policy of {env} keeps {reach}{' at once' if len(given) > 1 else ''}; relax the limit"
