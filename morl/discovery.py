"""Runs a front method: train, evaluate, archive, extend, checkpoint; at last re-evaluate on fresh seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from engine.actor_critic import ActorCritic
from engine.checkpoint import load_newest, save_numbered
from engine.evaluate import Scores, evaluate
from engine.features import make_features
from engine.heads import make_head
from engine.learner import Learner, Population, fresh_population
from engine.rollout import Rollout
from engine.scalarizers import Linear, Scalarizer
from envs import VectorEnv, make
from envs.errors import TradeoffError
from evaluation import expected_utility, hypervolume
from morl.archive import Archive
from morl.barrier import Barrier
from morl.front import Front
from morl.methods import FrontConfig, Plan
from morl.report import final_front, utility_weights

Log = Callable[[dict[str, Any]], None]


class ScalarReward(TradeoffError, ValueError):
    """A front method was given an environment with one objective."""


class Interrupted(TradeoffError):
    """The run was asked to stop and can be resumed."""


class Discovery:
    """The state of a run between two iterations. Everything that matters is in `state_dict`."""

    def __init__(self, config: FrontConfig) -> None:
        """Build environment, model and the first population."""
        self.config = config
        self.generator = Generator(config.device).manual_seed(config.seed)
        probe = self.make_env(1, config.seed)
        self.spec, self.exact_state = probe.spec, probe.exact_state
        probe.close()
        self._check()
        self.model = build_model(config, self.spec)
        self.discount = self.spec.discount if config.discount is None else config.discount
        self.reference = config.reference_point or self.spec.reference_point
        self.archive = Archive(config.capacity)
        self.steps = {"training": 0, "evaluation": 0}
        self.used: set[int] = set()
        self.history: list[dict[str, Any]] = []
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

    def make_env(self, num_envs: int, seed: int) -> VectorEnv:
        """Environments of this run's kind."""
        config = self.config
        return make(config.env, num_envs, device=config.device, seed=seed, max_episode_steps=config.horizon)

    def draw_seed(self) -> int:
        """A fresh seed from the run's own generator."""
        device = self.generator.device
        return int(torch.randint(2**31 - 1, (), generator=self.generator, device=device))

    @property
    def total(self) -> int:
        """Real environment steps so far."""
        return sum(self.steps.values())

    @property
    def done(self) -> bool:
        """Whether the budget is spent."""
        return self.total >= self.config.steps

    def _enter(self, plan: Plan) -> None:
        """Start training a new population."""
        policies = len(plan.preferences)
        population = fresh_population(self.model, policies, self.generator) if plan.parents is None else plan.parents
        self._build(population, plan.scalarizer, self.draw_seed())
        self.preferences, self.share, self.left = plan.preferences, plan.share, plan.iterations

    def _build(self, population: Population, scalarizer: Scalarizer, seed: int) -> None:
        if self.learner is not None:
            self.learner.source.env.close()  # type: ignore[attr-defined]
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
        learning = self.config.learner
        self.steps["training"] += learning.rollout_steps * learning.environments * len(self.preferences)
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

    iteration = 0
    at_rest = True  # whether the run stands at a point where checkpoints fall
    rested: int | None = None  # seed of the last `rest`

    def _offer(self) -> dict[str, Any]:
        """Evaluate the population and offer it to the archive."""
        assert self.learner is not None
        scores = self.score(self.learner.population, self.config.episodes)
        self.steps["evaluation"] += scores.steps
        points = scores.mean[:, : len(self.spec.objectives)].cpu().numpy()
        if self.reference is None:  # what untrained policies return, and a margin: fixed once, before any progress
            self.reference = tuple((points.min(0) - 0.1 * np.maximum(np.ptp(points, axis=0), 1.0)).tolist())
        self.archive.offer(points, self.preferences, self.learner.population)
        row: dict[str, Any] = {"steps": self.total, **indicators(self.archive.points, self.reference)}
        self.history.append(row)
        return row

    def score(self, population: Population, episodes: int) -> Scores:
        """Evaluate policies on fresh seeds."""
        return evaluate(
            self.make_env, self.model, population,
            episodes=episodes, discount=self.discount, seed=self.draw_seed(),
        )  # fmt: skip

    def rest(self) -> None:
        """Where checkpoints fall, saved or not: environments whose state cannot be read begin anew."""
        assert self.learner is not None
        if not self.exact_state:
            self.rested = self.draw_seed()
            self.learner.source.restart(self.rested)  # type: ignore[attr-defined]

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        assert self.learner is not None
        return {
            "learner": self.learner.state_dict(),
            "scalarizer": type(self.learner.scalarizer).__name__,
            "generator": self.generator.get_state(),
            "archive": self.archive.state_dict(),
            "preferences": torch.from_numpy(self.preferences),
            "plan": {"share": self.share, "left": self.left, "iteration": self.iteration},
            "rested": self.rested,
            "steps": dict(self.steps),
            "used": sorted(self.used),
            "history": self.history,
            "reference": list(self.reference) if self.reference is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from `state_dict`'s answer."""
        population = Population.from_state(state["learner"]["population"])
        self._build(population, blank_scalarizer(state["scalarizer"], state["learner"]["scalarizer"]), 0)
        assert self.learner is not None
        if state["rested"] is not None:
            self.learner.source.restart(state["rested"])  # type: ignore[attr-defined]
        self.learner.load_state_dict(state["learner"])
        self.generator.set_state(state["generator"])
        self.archive.load_state_dict(state["archive"])
        self.preferences, plan = state["preferences"].numpy(), state["plan"]
        self.share, self.left, self.iteration = plan["share"], plan["left"], plan["iteration"]
        self.rested = state["rested"]
        self.steps, self.used = dict(state["steps"]), set(state["used"])
        # One object per key, as in a run that was never saved: files tell shared strings from equal ones.
        self.history = [{intern(key): value for key, value in row.items()} for row in state["history"]]
        self.reference = tuple(state["reference"]) if state["reference"] is not None else None


def build_model(config: FrontConfig, spec: Any) -> ActorCritic:
    """Networks for an environment."""
    channels = len(spec.objectives) + len(spec.costs)
    head = make_head(spec.action_space, config.learner.squash)
    return ActorCritic(make_features(spec.observation_space), head, channels, config.learner.hidden)


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
    run = Discovery(config)
    if resume and out is not None:
        run.load_state_dict(load_newest(out))
    return complete(run, out, progress=progress, log=log, stop=stop)


def complete(
    run: Discovery,
    out: Path | str | None = None,
    *,
    progress: bool = False,
    log: Log | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Front:
    """Bring a run, fresh or loaded, to the end of its budget; see `discover`."""
    from morl.progress import bar

    with bar(run.config, run.total, progress) as show:
        while not run.done:
            row = run.advance()
            if log is not None:  # before the checkpoint: what a resumed run does not repeat has been logged
                log(row)
            if run.at_rest:
                run.rest()
            if out is not None and run.at_rest:
                save_numbered(out, run.total, run.state_dict())
            show(run.total, run.history)
            if stop() and not run.done:
                _interrupt(run, out)
    return final_front(run)


def _interrupt(run: Discovery, out: Path | str | None) -> None:
    if out is not None and run.exact_state and not run.at_rest:
        save_numbered(out, run.total, run.state_dict())
    where = f"saved at {run.total} steps; go on with `tradeoff resume {out}`" if out else "nothing was saved: no folder"
    if out is not None and not run.exact_state and not run.at_rest:
        where = f"this environment's state cannot be read, so `tradeoff resume {out}` goes on from the last checkpoint"
    raise Interrupted(f"stopped; {where}")
