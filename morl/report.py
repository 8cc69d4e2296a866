"""From a finished run to the front that is reported: fresh seeds, intervals, and the distance to the known truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tradeoff.engine.policy import speaking
from tradeoff.evaluation import (
    additive_epsilon,
    expected_utility,
    front_interval,
    hypervolume,
    igd_plus,
    maximum_utility_loss,
    nondominated,
    simplex_energy,
    sparsity,
)
from tradeoff.morl.front import Front
from tradeoff.morl.truth import known_front

if TYPE_CHECKING:
    from tradeoff.morl.discovery import Discovery

Points = NDArray[np.float64]
CONFIDENCE = 0.95


def final_front(run: Discovery) -> Front:
    """Evaluate the archive anew and keep what is still non-dominated."""
    archive, m = run.archive, len(run.spec.objectives)
    assert archive.population is not None
    scores = run.score(archive.population, run.config.final_episodes)
    returns = scores.returns[..., :m].cpu().numpy()
    points = returns.mean(1)
    keep = np.flatnonzero(nondominated(points))
    steps = {**run.steps, "final_evaluation": scores.steps}
    front = Front(
        env=run.config.env, objectives=run.spec.objectives, points=points[keep],
        errors=scores.error[:, :m].cpu().numpy()[keep], preferences=archive.preferences[keep],
        members=archive.members[keep], episode_returns=returns[keep], indicators={}, history=run.history,
        model=speaking(run.model, run.spec), population=archive.population[keep.tolist()],
        costs=run.spec.costs, episode_costs=scores.totals[..., m:].double().cpu().numpy()[keep],
    )  # fmt: skip
    context = {
        "env": run.config.env, "method": run.config.name, "seed": run.config.seed,
        "backend": run.spec.backend, "reference_point": list(run.reference), "discount": run.discount,
        "real_environment_steps": {**steps, "total": sum(steps.values())},
        "episodes_per_policy": run.config.final_episodes, "confidence": CONFIDENCE,
    }  # fmt: skip
    front.indicators = score_front(returns[keep], np.array(run.reference)) | context
    if front.costs:
        front.indicators["costs"] = dict(zip(front.costs, front.episode_costs.mean(1).T.tolist(), strict=True))
    truth = known_front(run.config.env, run.discount, run.config.horizon)
    if truth is not None:
        front.indicators["known_front"] = compare(front.points, truth.points, np.array(run.reference), truth.kind)
    return front


def utility_weights(m: int) -> Points:
    """The weights over which utilities are averaged: evenly spread, and the same in every run."""
    return simplex_energy(m, 50)


def score_front(episode_returns: Points, reference: Points) -> dict[str, Any]:
    """Indicators of a front from its evaluation episodes [K, E, m], with bootstrap intervals over the episodes."""
    points, weights = episode_returns.mean(1), utility_weights(episode_returns.shape[-1])

    def volume(p: Points) -> float:
        return float(hypervolume(p, reference).value)

    def utility(p: Points) -> float:
        return float(expected_utility(p, weights))

    return {
        "hypervolume": _interval(episode_returns, volume, least=0.0)
        | {"method": hypervolume(points, reference).method},
        "expected_utility": _interval(episode_returns, utility),
        "sparsity": float(sparsity(points)),
        "cardinality": len(points),
    }


def _interval(episode_returns: Points, indicator: Any, least: float = -np.inf) -> dict[str, Any]:
    estimate = front_interval(episode_returns, indicator, confidence=CONFIDENCE, seed=0, least=least)
    return {"value": float(estimate.value), "low": float(estimate.low), "high": float(estimate.high)}


def compare(points: Points, truth: Points, reference: Points, kind: str) -> dict[str, Any]:
    """How far a front is from a known one."""
    weights = utility_weights(points.shape[1])
    return {
        "kind": kind,
        "points": len(truth),
        "hypervolume": float(hypervolume(truth, reference).value),
        "expected_utility": float(expected_utility(truth, weights)),
        "points_found": int((np.abs(points[:, None] - truth[None]).max(-1).min(0) <= 1e-3).sum()),
        "igd_plus": float(igd_plus(points, truth)),
        "additive_epsilon": float(additive_epsilon(points, truth)),
        "maximum_utility_loss": float(maximum_utility_loss(points, truth, weights)),
    }
