"""Learning from whole episodes: fresh resets, as many as the estimator asks for, no critic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.baselines import LearnedBaseline
from tradeoff.engine.compositions import Composition
from tradeoff.engine.episodes import Channels, Episodes, alive_steps, discounted
from tradeoff.engine.estimators import Request, TrajectoryEstimator
from tradeoff.engine.evaluate import PATIENCE, not_ended
from tradeoff.engine.features import make_features
from tradeoff.engine.guards import reset
from tradeoff.engine.heads import Head, make_head
from tradeoff.engine.loop import Loop
from tradeoff.engine.normalisers import Moments, standard, unit_moments, update_moments
from tradeoff.engine.population import Population, fresh_population
from tradeoff.engine.recursion import GRADIENT
from tradeoff.engine.rollout import play
from tradeoff.engine.scalarizers import Scalarizer
from tradeoff.engine.trajectories import Trajectories, fold
from tradeoff.engine.updates import Adam, Update, norms
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.protocol import Step, VectorEnv

WARM_UP = 16  # episodes per policy that fix the normaliser of the observations
CRITIC_RATE, CRITIC_PASSES = 3e-3, 4  # learning rate and steps per turn of a learned baseline

Precondition = Callable[[ActorCritic, Tensor, Episodes, Tensor], Tensor]
"""(model, theta, samples, direction [P, 2, D]) -> direction [P, 2, D]; see `tradeoff.engine.natural`."""


class EpisodeSource:
    """Plays a number of whole episodes per policy, each from a fresh reset, and counts what it took."""

    def __init__(self, make_env: Callable[[int, int], VectorEnv], policies: int) -> None:
        """make_env: (num_envs, seed) -> environment; called once per batch size, environments are kept."""
        self.make_env, self.policies = make_env, policies
        self.pool: dict[int, VectorEnv] = {}
        self.counts = {"episodes": 0, "steps": 0, "idle": 0}  # idle: steps made while the longest episode went on

    @torch.no_grad()
    def collect(
        self, model: ActorCritic, theta: Tensor, moments: Moments, generator: Generator, episodes: int
    ) -> Trajectories:
        """Episodes of the policies theta [P, 2, D], as long as the longest; what follows an end belongs to no episode.

        The resets' seeds come from the generator. Raises NumericalTrouble for numbers that are not finite,
        TradeoffError for an episode that does not end.
        """
        env, size = self._env(episodes), (self.policies, episodes)
        steps: list[Step] = []
        seed = int(torch.randint(2**31 - 1, (), generator=generator, device=generator.device))
        observation = reset(env, seed, size)
        start = torch.ones(size, dtype=torch.bool, device=observation.device)
        noises = _until_all_ended(model.head, steps, start.clone(), generator, env.spec.id)
        data, _ = play(env, model, theta, standard(moments), observation, start, noises, steps, before=self.taken)
        useful = int(alive_steps(data.ended).sum())
        self.counts["episodes"] += self.policies * episodes
        self.counts["steps"] += useful * env.spec.repeat
        self.counts["idle"] += (data.ended.numel() - useful) * env.spec.repeat
        return data

    @property
    def taken(self) -> int:
        """Real environment steps so far, idle ones included."""
        return self.counts["steps"] + self.counts["idle"]

    def _env(self, episodes: int) -> VectorEnv:
        if episodes not in self.pool:
            self.pool[episodes] = self.make_env(self.policies * episodes, 0)
        return self.pool[episodes]

    def close(self) -> None:
        """Give the environments back."""
        for env in self.pool.values():
            env.close()
        self.pool = {}

    def state_dict(self) -> dict[str, Any]:
        """The counts: every batch begins anew, so that no environment needs saving, whether it could be or not."""
        return {"counts": dict(self.counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Source.load_state_dict."""
        self.counts = dict(state["counts"])


def _until_all_ended(head: Head, steps: list[Step], alive: Tensor, generator: Generator, name: str) -> Iterator[Tensor]:
    """Noise for one step after another, until every first episode has ended."""
    while alive.any():
        yield head.noise(tuple(alive.shape), generator)
        alive &= ~(steps[-1].terminated | steps[-1].truncated).view(alive.shape)
        if len(steps) > PATIENCE:
            raise TradeoffError(not_ended(name, PATIENCE))


class EpisodicLearner(Loop):
    """Trains a population on whole episodes: one step per turn. Observations are normalised by fixed moments."""

    source: EpisodeSource
    estimator: TrajectoryEstimator

    def __init__(
        self,
        model: ActorCritic,
        source: EpisodeSource,
        population: Population,
        scalarizer: Scalarizer,
        generator: Generator,
        *,
        estimator: TrajectoryEstimator,
        update: Update,
        discount: float,
        channels: Channels = lambda data: data.channels,
        precondition: Precondition = lambda model, theta, episodes, direction: direction,
        baseline: LearnedBaseline | None = None,
    ) -> None:
        """discount: of the returns, which are also what is climbed. channels: what returns are made of."""
        super().__init__(model, source, population, scalarizer, generator, [update])
        self.estimator, self.discount = estimator, discount
        self.channels, self.precondition, self.baseline = channels, precondition, baseline
        self.length = torch.zeros(len(population))

    def _sample(self) -> dict[str, Episodes]:
        """Roles that are played by the same parameters are played together, then parted."""
        asked = self.estimator.plan(self.population.theta)
        found: dict[str, Episodes] = {}
        for group in _by_parameters(asked):
            counts = [asked[role].episodes for role in group]
            data = self._collect(asked[group[0]].theta, sum(counts))
            parts = zip(*(x.split(counts, 2) for x in data), strict=True)
            found |= {role: self.prepare(Trajectories(*part)) for role, part in zip(group, parts, strict=True)}
        return {role: found[role] for role in asked}

    def _collect(self, theta: Tensor, episodes: int) -> Trajectories:
        return self.source.collect(self.model, theta, self.population.observations, self.generator, episodes)

    def most_steps(self, longest: int | None) -> int:
        """See Loop.most_steps; where no longest episode is known, one step of each."""
        episodes = sum(request.episodes for request in self.estimator.plan(self.population.theta).values())
        return episodes * len(self.population) * (longest or 1)

    @torch.no_grad()
    def prepare(self, data: Trajectories) -> Episodes:
        """What the estimator sees of a record."""
        inputs = fold(self.model.inputs(data.observation, standard(self.population.observations), data.context))
        alive = alive_steps(data.ended)
        paid = discounted(self.channels(data), alive, self.discount)
        expected = None
        if self.baseline is not None:
            expected = self.baseline.expected(self.population, inputs, alive, self.discount)
        return Episodes(inputs, fold(data.action), data.log_prob, paid, alive, expected)

    def _estimate(self, data: dict[str, Episodes]) -> Tensor:
        self.returns = self.estimator.returns(self.model, self.population.theta, data)
        return self.returns

    def _improve(self, data: dict[str, Episodes], weights: Tensor, rate: float) -> Tensor:
        theta = self.population.theta
        direction = self.estimator.direction(self.model, theta, data, weights)
        self.length = norms(direction).flatten()
        value = getattr(self.scalarizer, "value", None)  # f(J) where the weights are the slope of an f
        objective = (weights * self.returns).sum(-1) if value is None else value(self.returns)
        if "value" in self.update_states[0]:
            self.update_states[0]["value"] = objective
        self._step(self.precondition(self.model, theta, data[GRADIENT], direction), rate)
        return objective

    def _remember(self, data: dict[str, Episodes]) -> None:
        """The learned baseline, for the next turn. Never the moments of the observations: with others, the same
        parameters would be another policy, and old estimates void."""
        if self.baseline is not None:
            self.baseline.fit(self.population, data[GRADIENT], self.discount)

    def _report(self) -> dict[str, Tensor]:
        return {"gradient_norm": self.length} | self.estimator.diagnostics

    def state_dict(self) -> dict[str, Any]:
        """See Loop.state_dict."""
        own = {} if self.baseline is None else {"baseline": self.baseline.state_dict()}
        return super().state_dict() | own

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Loop.load_state_dict."""
        super().load_state_dict(state)
        if self.baseline is not None:
            self.baseline.load_state_dict(state["baseline"])

    def warm_up(self, episodes: int = WARM_UP) -> None:
        """Fix the moments of the observations by those of the untrained policies."""
        data = self._collect(self.population.theta, episodes)
        self.population.observations = update_moments(
            self.population.observations, self.model.features.numbered(data.observation)
        )


def _by_parameters(asked: dict[str, Request]) -> list[list[str]]:
    """Roles in groups that share their parameters."""
    groups: dict[int, list[str]] = {}
    for role, request in asked.items():
        groups.setdefault(id(request.theta), []).append(role)
    return list(groups.values())


def episodic_learner(
    make_env: Callable[[int, int], VectorEnv],
    scalarizer: Scalarizer,
    composition: Composition,
    generator: Generator,
    *,
    policies: int = 1,
    hidden: tuple[int, ...] = (64, 64),
    normalise: bool = True,
    squash: bool = False,
    discount: float | None = None,
    **parts: Any,
) -> EpisodicLearner:
    """Everything that a method on whole episodes needs, from an environment, prices and a composition.

    Args:
        make_env: (num_envs, seed) -> environment.
        composition: estimator and update, from `tradeoff.engine.compositions`.
        generator: the run's only source of chance.
        normalise: play WARM_UP episodes first and scale observations by their moments from then on.
        discount: None takes the environment's usual one.
        parts: `channels` and `precondition` of EpisodicLearner.
    """
    probe = make_env(1, 0)
    spec = probe.spec
    probe.close()
    head, width = make_head(spec.action_space, squash), len(spec.objectives) + len(spec.costs)
    model = ActorCritic(make_features(spec.observation_space, spec.near), head, width, hidden)
    people, learned = fresh_population(model, policies, generator), composition.estimator.settings.baseline == "learned"
    learner = EpisodicLearner(
        model, EpisodeSource(make_env, policies), people, scalarizer, generator,
        estimator=composition.estimator, update=composition.update,
        discount=spec.discount if discount is None else discount,
        baseline=LearnedBaseline(model, people, Adam(CRITIC_RATE), CRITIC_PASSES) if learned else None, **parts,
    )  # fmt: skip
    if not normalise:
        people.observations = unit_moments(people.observations)
    elif not model.features.one_hot:
        learner.warm_up()
    return learner
