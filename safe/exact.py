"""What is the best that limits leave: exact, by a linear program, where an environment's finite model is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tradeoff.envs import finite_model
from tradeoff.envs.errors import UnknownName
from tradeoff.envs.finite import FiniteModel
from tradeoff.envs.protocol import EnvSpec
from tradeoff.envs.registry import normal_form
from tradeoff.evaluation import (
    ConstrainedOptimum,
    FiniteProblem,
    InfeasibleLimits,
    best_policy,
    constrained_optimum,
    finite_problem,
)
from tradeoff.evaluation.constrained import Limit
from tradeoff.evaluation.finite import NoConvergence
from tradeoff.evaluation.flows import NoStationaryOptimum
from tradeoff.safe.constraints import BadLimit, Constraint, Scale

ROUNDS, CLOSE = 50, 1e-12  # of Dinkelbach's iteration: at most so many, and until no average moves by more
MOST_REMEMBERED = 64
_remembered: dict[tuple[Any, ...], ConstrainedOptimum] = {}


def exact_optimum(
    given: Sequence[Constraint], spec: EnvSpec, discount: float, weights: Sequence[float] = ()
) -> ConstrainedOptimum | None:
    """The largest value of any policy within limits; the policy may look at the clock and at random numbers.

    weights: [m] of the objectives in the value; none: equal ones, the value is their mean.
    None where no model is known, where limits differ by policy, and where limits are on other sums than the value
    (undiscounted beside discounted): then they are only checked.
    Raises: BadLimit when no policy keeps the limits, naming the nearest that can be reached.
    """
    if any(len(c.limits) > 1 for c in given):
        return None
    whole = [c for c in given if c.scale in ("episodic", "average")]  # on sums without discount
    if discount == 1 or not whole:
        return _within(given, spec, discount, weights)
    _within(whole, spec, 1.0, weights)
    rest = [c for c in given if c not in whole]
    if rest:
        _within(rest, spec, discount, weights)
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


def _within(
    given: Sequence[Constraint], spec: EnvSpec, discount: float, weights: Sequence[float]
) -> ConstrainedOptimum | None:
    """See exact_optimum, for limits on sums of one discount."""
    table = _table(given, spec, discount)
    if table is None:
        return None
    wanted, m = np.zeros(table.problem.reward.shape[2]), len(spec.objectives)
    wanted[:m] = weights or 1 / m
    try:
        best = _solved(table, wanted, spec.horizon)
    except InfeasibleLimits as error:
        near = [
            _nearest_average(table.problem, c, spec, table.steps) if c.scale == "average" and not table.endless else x
            for c, x in zip(given, error.attainable, strict=True)
        ]
        raise BadLimit(_refusal(given, spec.id, near, discount)) from None
    except (NoConvergence, NoStationaryOptimum):  # some policies never end an episode
        return None
    return None if table.endless else best._replace(returns=best.returns[: table.steps])


def _solved(table: _Table, wanted: np.ndarray, horizon: int | None) -> ConstrainedOptimum:
    """The program's answer, remembered: a run asks the same when it begins and whenever it reports."""
    problem, rows = table.problem, table.problem.transition
    arrays = (rows.data, rows.indices, rows.indptr, problem.reward, problem.start, problem.terminal, wanted)
    key = (*(x.tobytes() for x in arrays), problem.discount, *table.limits, horizon, table.endless)
    if key not in _remembered:
        found = constrained_optimum(problem, wanted, table.limits, horizon=horizon, average=table.endless)
        if len(_remembered) >= MOST_REMEMBERED:
            _remembered.clear()
        _remembered[key] = found
    return _remembered[key]


class _Table(NamedTuple):
    """What the linear program is asked. Columns: channels, then 1 for every step, then channels less their average."""

    problem: FiniteProblem
    limits: list[Limit]
    steps: int  # column of the steps
    endless: bool  # no episode ends: all is measured per step


def _table(given: Sequence[Constraint], spec: EnvSpec, discount: float) -> _Table | None:
    """None where no model is known. A mean over steps stays below d where the sum of (cost - d) stays below 0."""
    by_step = any(c.scale == "average" for c in given)
    model = _model(spec, discount, by_step)
    if model is None:
        return None
    endless = spec.horizon is None and not model.terminal.any() and all(c.scale == "average" for c in given)
    channels = (*spec.objectives, *spec.costs)
    paid = [*np.moveaxis(np.concatenate([model.reward, model.cost], -1), -1, 0)]
    steps = np.ones_like(paid[0]) * ~model.terminal[:, None]
    columns, limits = [*paid, steps], []
    for c in given:
        channel, bound = channels.index(c.cost), c.limits[0] / _unit(c.scale, discount)
        if c.scale == "average" and not endless:
            columns.append(paid[channel] - bound * steps)
            channel, bound = len(columns) - 1, 0.0
        limits.append(Limit(channel, bound, c.sense))
    problem = finite_problem(
        model.transition, np.stack(columns, -1), start=model.start, discount=discount, terminal=model.terminal
    )
    return _Table(problem, limits, len(channels), endless)


def _model(spec: EnvSpec, discount: float, by_step: bool) -> FiniteModel | None:
    """by_step: single steps are asked for, not the sums of whole episodes."""
    if spec.backend != "torch" or spec.repeat > 1:  # the original may differ from our tables; repeated actions do
        return None
    try:
        return finite_model(spec.id)
    except UnknownName:
        return normal_form(spec.id, spec.horizon) if discount == 1 and not by_step else None


def _nearest_average(problem: FiniteProblem, c: Constraint, spec: EnvSpec, steps: int) -> float:
    """The mean over steps that comes nearest to a limit: a ratio of sums, by Dinkelbach's iteration."""
    sign, found = (1.0 if c.sense == "<=" else -1.0), c.limits[0]
    row, clock = np.eye(problem.reward.shape[2])[[(*spec.objectives, *spec.costs).index(c.cost), steps]]
    for _ in range(ROUNDS):
        sums = best_policy(problem, -sign * (row - found * clock), horizon=spec.horizon).returns
        before, found = found, float(row @ sums / (clock @ sums))
        if abs(found - before) < CLOSE:
            break
    return found


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
