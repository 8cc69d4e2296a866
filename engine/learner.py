"""Proximal policy optimisation and its kin: rollouts, vector critics, minibatches. See `engine.loop` for the loop."""

from __future__ import annotations

from math import log
from typing import Any

import torch
from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.estimators import RETURNS, Estimator, Plain
from tradeoff.engine.learner_config import LearnerConfig as LearnerConfig
from tradeoff.engine.loop import Loop
from tradeoff.engine.normalisers import ROUNDING, per_scale, standard, unit_moments, unseen, update_moments
from tradeoff.engine.population import Population
from tradeoff.engine.population import fresh_population as fresh_population
from tradeoff.engine.returns import gae
from tradeoff.engine.rollout import EpisodeReturns, Source
from tradeoff.engine.scalarizers import Scalarizer
from tradeoff.engine.surrogates import Surrogate, ppo_clip, with_divergence
from tradeoff.engine.trajectories import Batch, Trajectories, fold, minibatches
from tradeoff.engine.updates import Adam, Update, clip_norm


class Learner(Loop):
    """Trains a population on rollouts, with critics: many small steps on minibatches of samples per turn."""

    source: Source

    def __init__(
        self,
        model: ActorCritic,
        source: Source,
        population: Population,
        scalarizer: Scalarizer,
        config: LearnerConfig,
        generator: Generator,
        *,
        discount: float,
        surrogate: Surrogate | None = None,
        estimator: Estimator | None = None,
        update: Update | None = None,
        critic_update: Update | None = None,
    ) -> None:
        """discount: of the returns that the scalarizer reads. Without `critic_update`, `update` moves both networks."""
        updates = [update or Adam(config.learning_rate)] + ([critic_update] if critic_update else [])
        super().__init__(model, source, population, scalarizer, generator, updates)
        self.config = config
        self.surrogate = surrogate or with_divergence(ppo_clip(config.clip), config.divergence)
        self.estimator: Estimator = estimator or Plain()
        self.episodes = EpisodeReturns(discount)
        self.counted = False  # whether the observations of this iteration are in the moments already
        if not config.normalise:
            population.observations = unit_moments(population.observations)

    def _sample(self) -> dict[str, Trajectories]:
        """The first data of all are collected without observations, whose unit is not known, and fix it at once."""
        data = {role: self._collect(theta) for role, theta in self.estimator.plan(self.population.theta).items()}
        self.counted = unseen(self.population.observations)
        if self.counted:
            self._count(data)
        return data

    def most_steps(self, longest: int | None) -> int:
        """See Loop.most_steps."""
        return len(self.estimator.plan(self.population.theta)) * super().most_steps(longest)

    def _collect(self, theta: Tensor) -> Trajectories:
        return self.source.collect(self.model, theta, self.population.observations, self.generator)

    def _estimate(self, data: dict[str, Trajectories]) -> Tensor:
        counted = {RETURNS} if RETURNS in data else set(data)
        return [self.episodes.update(batch, role in counted) for role, batch in data.items()][-1]

    def _improve(self, data: dict[str, Trajectories], weights: Tensor, rate: float) -> Tensor:
        batches = self._normalised({role: self.prepare(batch, weights) for role, batch in data.items()})
        objective = self._climb(batches, rate)
        self._hold_noise(rate)
        return objective

    def _hold_noise(self, rate: float) -> None:
        """Noise that is left at the end costs return, and pays for limits that a calmer policy would not break."""
        calm = self.config.calm
        if calm < 1:
            self.model.actor(self.population.theta).extra.clamp_(
                max=log(self.config.spread * (calm + (1 - calm) * rate))
            )

    @torch.no_grad()
    def prepare(self, data: Trajectories, weights: Tensor) -> Batch:
        """Advantages per channel and weighted, and critics' targets, still in the channels' own units.

        Weights act in the channels' own units; only their weighted sum is normalised, per policy, so that step sizes
        mean the same everywhere. weights: [P, m + k], or [P, n, m + k] with rows for the samples as `fold` has them.
        """
        people, model = self.population, self.model
        by = standard(people.observations)
        inputs, successors = (
            fold(model.inputs(seen, by, data.context)) for seen in (data.observation, data.next_observation)
        )
        values = model.values(people.theta, torch.cat([inputs, successors], 1), people.returns)
        value, next_value = (v.unflatten(1, (len(data.reward), -1)).movedim(1, 0) for v in values.chunk(2, 1))
        ends = data.terminated, data.truncated
        advantages = gae(data.channels, value, next_value, *ends, self.config.gamma, self.config.gae_lambda)
        target, advantages = fold(advantages + value), fold(advantages)
        parts = advantages * (weights if weights.ndim == 3 else weights.unsqueeze(1))
        return Batch(inputs, fold(data.action), fold(data.log_prob), advantages, standardised(parts), target)

    @torch.no_grad()
    def _normalised(self, batches: dict[str, Batch]) -> dict[str, Batch]:
        """Move the return normaliser, once for all roles, and bring the targets into its unit."""
        people, old = self.population, self.population.returns
        climbed = [batch.target for role, batch in batches.items() if role != RETURNS]
        targets = torch.cat(climbed or [batch.target for batch in batches.values()], 1)
        people.returns = new = update_moments(old, targets.movedim(1, 0))
        self.model.keep_values(people.theta, old, new)
        centre, inverse = new.mean.float().unsqueeze(1), per_scale(new).float().unsqueeze(1)
        return {role: batch._replace(target=(batch.target - centre) * inverse) for role, batch in batches.items()}

    def _climb(self, batches: dict[str, Batch], rate: float) -> Tensor:
        config, theta = self.config, self.population.theta
        objectives: list[Tensor] = []
        oracle = self._oracle(objectives)
        parts = {r: minibatches(b, config.epochs, config.minibatches, self.generator) for r, b in batches.items()}
        for step in zip(*parts.values(), strict=True):
            gradient = self.estimator.gradient(theta, dict(zip(parts, step, strict=True)), oracle)
            self._step(clip_norm(gradient, config.max_norm), rate)
        return torch.stack(objectives).mean(0)

    def _oracle(self, objectives: list[Tensor]) -> Any:
        config = self.config

        def oracle(theta: Tensor, batch: Batch) -> Tensor:
            gradient, value = self.model.gradient(theta, batch, self.surrogate, config.entropy, config.critic)
            objectives.append(value)
            return gradient

        return oracle

    def _remember(self, data: dict[str, Trajectories]) -> None:
        if not self.counted:
            self._count(data)

    def _count(self, data: dict[str, Trajectories]) -> None:
        """Merge observations into their moments."""
        if self.config.normalise and not self.model.features.one_hot:
            for batch in data.values():
                seen = self.model.features.numbered(batch.observation)
                self.population.observations = update_moments(self.population.observations, seen)

    def _report(self) -> dict[str, Tensor]:
        return dict(getattr(self.estimator, "diagnostics", {}))

    def state_dict(self) -> dict[str, Any]:
        """See Loop.state_dict."""
        return super().state_dict() | {"episodes": self.episodes.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Loop.load_state_dict."""
        super().load_state_dict(state)
        self.episodes.load_state_dict(state["episodes"])


def standardised(parts: Tensor) -> Tensor:
    """Sums [P, n] of parts [P, n, c] with mean 0 and variance 1 per policy; 0 where they differ by rounding only."""
    total = parts.sum(-1)
    spread, centre = torch.std_mean(total, 1, keepdim=True)
    rounding = ROUNDING * parts.abs().sum(-1).mean(1, keepdim=True)
    return torch.where(spread > rounding, (total - centre) / torch.where(spread > rounding, spread, 1.0), 0.0)
