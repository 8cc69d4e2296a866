"""Plain policy-gradient methods for one fixed weighted sum of the objectives; costs are reported, not limited."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.features import make_features
from tradeoff.engine.heads import make_head
from tradeoff.engine.learner import Learner, LearnerConfig, fresh_population
from tradeoff.engine.loop import Loop
from tradeoff.engine.rollout import Rollout
from tradeoff.engine.scalarizers import weighing
from tradeoff.engine.training import Training, TrainingConfig
from tradeoff.envs.protocol import EnvSpec


@dataclass(frozen=True, kw_only=True)
class ScalarConfig(TrainingConfig):
    """What every method for a weighted return needs to know; a method says in `make_learner` how its policy moves."""

    weights: tuple[float, ...] = ()  # of the objectives, not negative; none: equal ones that sum to 1
    learner: LearnerConfig = field(default_factory=LearnerConfig)

    def __post_init__(self) -> None:
        TrainingConfig.__post_init__(self)
        if self.weights and not (all(isfinite(w) and w >= 0 for w in self.weights) and any(self.weights)):
            raise ValueError(f"weights must be finite, not negative and not all zero, got {self.weights}")

    def weights_on(self, spec: EnvSpec) -> tuple[float, ...]:
        """One weight per objective. Raises ValueError where their number is wrong."""
        names = spec.objectives
        if self.weights and len(self.weights) != len(names):
            raise ValueError(
                f"weights has {len(self.weights)} numbers; give {len(names)}, one for each of {', '.join(names)}"
            )
        return self.weights or (1 / len(names),) * len(names)

    def build(self, run: Training) -> Loop:
        """See TrainingConfig.build."""
        config, spec = self.learner, run.spec
        weights = torch.tensor(self.weights_on(spec), device=self.device).expand(self.policies, -1)
        env = run.make_env(self.policies * config.environments, run.draw_seed())
        channels = len(spec.objectives) + len(spec.costs)
        head = make_head(spec.action_space, config.squash)
        model = ActorCritic(make_features(spec.observation_space, spec.near), head, channels, config.hidden)
        people = fresh_population(model, self.policies, run.generator, config.spread)
        scalarizer = weighing(weights, len(spec.objectives), channels, self.policies, weights.device)
        source = Rollout(env, self.policies, config.rollout_steps)
        return self.make_learner(model, source, people, scalarizer, config, run.generator, discount=run.discount)

    def make_learner(self, *parts: Any, discount: float) -> Learner:
        """The learner. parts: the leading arguments of Learner; discount: of the returns that are reported."""
        raise NotImplementedError

    def value(self, returns: Tensor, spec: EnvSpec) -> Tensor:
        """The weighted sum of the objectives' mean returns."""
        return returns[:, : len(spec.objectives)] @ returns.new_tensor(self.weights_on(spec))

    def rate(self, share: float) -> float:
        """See TrainingConfig.rate."""
        return 1.0 - share if self.learner.anneal else 1.0


@dataclass(frozen=True, kw_only=True)
class PPO(ScalarConfig):
    """Proximal policy optimisation of one weighted sum of the objectives.

    Source: Schulman et al. 2017, arXiv:1707.06347.
    """

    name: ClassVar[str] = "ppo"

    def make_learner(self, *parts: Any, discount: float) -> Learner:
        """See ScalarConfig.make_learner."""
        return Learner(*parts, discount=discount)


METHODS: dict[str, type[ScalarConfig]] = {kind.name: kind for kind in (PPO,)}
