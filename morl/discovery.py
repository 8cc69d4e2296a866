"""Runs a front method: train, evaluate, archive, extend; at last re-evaluate on fresh seeds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.checkpoint import load_newest
from tradeoff.engine.features import make_features
from tradeoff.engine.heads import make_head
from tradeoff.engine.learner import Learner, fresh_population
from tradeoff.engine.population import Population
from tradeoff.engine.rollout import Rollout
from tradeoff.engine.run import Log, Run, complete
from tradeoff.engine.scalarizers import Linear, Scalarizer
from tradeoff.envs.errors import TradeoffError
from tradeoff.evaluation import expected_utility, hypervolume
from tradeoff.morl.archive import Archive
from tradeoff.morl.barrier import Barrier
from tradeoff.morl.front import Front
from tradeoff.morl.methods import FrontConfig, Plan
from tradeoff.morl.reference import EPISODES, fixed_reference
from tradeoff.morl.report import final_front, utility_weights


class ScalarReward(TradeoffError, ValueError):
    """A front method was given an environment with one objective."""


class FrontWarning(UserWarning):
    """Something about a front run that lets it go on but deserves a look."""


class Discovery(Run):
    """A run that looks for a front."""

    def __init__(self, config: FrontConfig) -> None:
        """Build environment, model and the first population."""
        super().__init__(config)
        self._check()
        self.model = build_model(config, self.spec)
        self._warn()
        self.reference = config.reference_point or self.spec.reference_point or self._fixed_reference()
        self.archive = Archive(config.capacity)
        self.used: set[int] = set()
        self.learner: Learner | None = None
        self._enter(config.begin(self.spec))

    def _check(self) -> None:
        m = len(self.spec.objectives)
        if m < 2:
            raise ScalarReward(
                f"{self.config.env} pays one reward ({self.spec.objectives[0]}), a front needs two or more; "
                "choose an environment from `tradeoff envs`"
            )
        reference = self.config.reference_point
        if reference is not None and (len(reference) != m or not np.isfinite(reference).all()):
            names = ", ".join(self.spec.objectives)
            raise ValueError(f"reference_point is {reference}; give {m} finite numbers, one for each of {names}")

    def _warn(self) -> None:
        """Say what a front of this environment will not show."""
        if self.spec.costs:
            warnings.warn(
                f"{self.config.name} neither limits nor climbs the costs of {self.config.env} "
                f"({', '.join(self.spec.costs)}); front.csv reports them. Methods with --limit keep them",
                FrontWarning, stacklevel=2,
            )  # fmt: skip

    def _fixed_reference(self) -> tuple[float, ...]:
        """See `fixed_reference`; warns, because other programs will count from another point."""
        found, steps = fixed_reference(self)
        self.steps["evaluation"] += steps
        warnings.warn(
            f"no reference point is known for {self.config.env}: hypervolumes count from "
            f"({', '.join(f'{x:.6g}' for x in found)}), a tenth of the range below the worst of {EPISODES} episodes of "
            "random actions; --reference-point, or the environment's registration, gives another one",
            FrontWarning, stacklevel=2,
        )  # fmt: skip
        return found

    def _enter(self, plan: Plan) -> None:
        """Start training a new population."""
        policies = len(plan.preferences)
        population = (
            fresh_population(self.model, policies, self.generator, self.config.learner.spread)
            if plan.parents is None
            else plan.parents
        )
        self._build(population, plan.scalarizer, self.draw_seed())
        self.preferences, self.share, self.left = plan.preferences, plan.share, plan.iterations

    def _build(self, population: Population, scalarizer: Scalarizer, seed: int) -> None:
        if self.learner is not None:
            self.learner.source.env.close()  # type: ignore[attr-defined]
        self.spent = self.steps["training"]  # by the populations before
        learning = self.config.learner
        env = self.make_env(len(population) * learning.environments, seed)
        source = Rollout(env, len(population), learning.rollout_steps)
        self.learner = Learner(
            self.model, source, population, scalarizer, learning, self.generator, discount=self.discount
        )

    def advance(self) -> dict[str, Any]:
        """One iteration of the learner, and what falls due after it. Returns numbers for a logger."""
        assert self.learner is not None
        rate = 1.0 - self.total / self.config.steps if self.config.learner.anneal else 1.0
        record = self.learner.iterate(rate)
        self.steps["training"] = self.spent + self.learner.source.taken
        self.iteration += 1
        self.left = None if self.left is None else self.left - 1
        over = self.done or self.total >= self.share * self.config.steps or self.left == 0
        due = over or self.iteration % self.config.evaluate_every == 0
        row: dict[str, Any] = {"steps": self.total, "iteration": self.iteration, "policies": len(self.preferences)}
        row["objective"] = float(record["objective"].mean())
        if due:
            row |= self._offer()
        if over and not self.done:
            plan = self.config.extend(self.archive, self.used, self.spec, self.generator)
            if plan is not None:
                self._enter(plan)
        self.at_rest = due
        return row

    def _offer(self) -> dict[str, Any]:
        """Evaluate the population and offer it to the archive."""
        assert self.learner is not None
        scores = self.score(self.learner.population, self.config.episodes)
        self.evaluated(scores)
        points = scores.mean[:, : len(self.spec.objectives)].cpu().numpy()
        self.archive.offer(points, self.preferences, self.learner.population)
        row: dict[str, Any] = {"steps": self.total, **indicators(self.archive.points, self.reference)}
        self.history.append(row)
        return row

    @property
    def columns(self) -> tuple[str, ...]:
        """See Run.columns."""
        return "hypervolume", "expected_utility", "cardinality"

    @property
    def score_line(self) -> str:
        """See Run.score_line."""
        last = self.history[-1] if self.history else None
        return f"{last['cardinality']:.0f} points, hypervolume {last['hypervolume']:.5g}" if last else ""

    def restart(self, seed: int) -> None:
        """See Run.restart."""
        assert self.learner is not None
        self.learner.source.restart(seed)  # type: ignore[attr-defined]

    def result(self) -> Front:
        """The archive, evaluated anew."""
        return final_front(self)

    def state_dict(self) -> dict[str, Any]:
        """See Run.state_dict."""
        assert self.learner is not None
        return super().state_dict() | {
            "learner": self.learner.state_dict(),
            "scalarizer": type(self.learner.scalarizer).__name__,
            "archive": self.archive.state_dict(),
            "preferences": torch.from_numpy(self.preferences),
            "plan": {"share": self.share, "left": self.left, "spent": self.spent},
            "used": sorted(self.used),
            "reference": list(self.reference),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Run.load_state_dict."""
        population = Population.from_state(state["learner"]["population"])
        self._build(population, blank_scalarizer(state["scalarizer"], state["learner"]["scalarizer"]), 0)
        assert self.learner is not None
        if state["rested"] is not None:
            self.restart(state["rested"])
        self.learner.load_state_dict(state["learner"])
        super().load_state_dict(state)  # the generator last: building draws from it
        self.archive.load_state_dict(state["archive"])
        self.preferences, self.used = state["preferences"].numpy(), set(state["used"])
        self.share, self.left, self.spent = (state["plan"][name] for name in ("share", "left", "spent"))
        self.reference = tuple(state["reference"] or self.reference)


def build_model(config: FrontConfig, spec: Any) -> ActorCritic:
    """Networks for an environment."""
    channels = len(spec.objectives) + len(spec.costs)
    head = make_head(spec.action_space, config.learner.squash)
    return ActorCritic(make_features(spec.observation_space, spec.near), head, channels, config.learner.hidden)


def blank_scalarizer(name: str, state: dict[str, Any]) -> Scalarizer:
    """A scalarizer of the kind that a checkpoint names, to be filled by its `load_state_dict`."""
    if name == "Linear":
        return Linear(state["weights"])
    return Barrier(state["objectives"], state["scales"], state["share"], state["sharpness"])


def indicators(points: NDArray[np.float64], reference: tuple[float, ...]) -> dict[str, float]:
    """Cheap scores of an archive during training."""
    return {
        "hypervolume": float(hypervolume(points, np.array(reference)).value),
        "expected_utility": float(expected_utility(points, utility_weights(points.shape[1]))),
        "cardinality": float(len(points)),
    }


def discover(
    config: FrontConfig,
    out: Path | str | None = None,
    *,
    resume: bool = False,
    progress: bool = False,
    log: Log | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Front:
    """Run a method to its budget and return the front, re-evaluated on fresh seeds.

    Args:
        config: the method.
        out: folder for checkpoints; None keeps none.
        resume: go on from the newest whole checkpoint in `out`.
        progress: show a progress bar.
        log: called with numbers after every iteration.
        stop: asked between iterations; true saves and raises Interrupted.
    """
    run = config.start()
    if resume and out is not None:
        run.load_state_dict(load_newest(out))
    front: Front = complete(run, out, progress=progress, log=log, stop=stop)
    return front
