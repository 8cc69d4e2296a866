"""Plain policy-gradient methods for one fixed weighted sum of the objectives; costs are reported, not limited."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.features import make_features
from tradeoff.engine.heads import make_head
from tradeoff.engine.learner import Learner, fresh_population
from tradeoff.engine.learner_config import ActorCriticConfig, LearnerConfig, MinibatchConfig, as_learner
from tradeoff.engine.loop import Loop
from tradeoff.engine.numbers import Positive, check_weights
from tradeoff.engine.rollout import Rollout
from tradeoff.engine.scalarizers import weighing
from tradeoff.engine.surrogates import score_function
from tradeoff.engine.training import Training, TrainingConfig
from tradeoff.engine.unread import refuse_unread, refuse_unread_on
from tradeoff.envs.protocol import EnvSpec
from tradeoff.morl.v_mpo import VMPO, Duals
from tradeoff.safe.quadratic_model import trpo_step
from tradeoff.safe.trust_region import Ball, TrustRegion


@dataclass(frozen=True, kw_only=True)
class ScalarConfig(TrainingConfig):
    """What every method for a weighted return needs to know; a method says in `make_learner` how its policy moves."""

    weights: tuple[float, ...] = ()  # of the objectives, not negative; none: equal ones that sum to 1
    learner: ActorCriticConfig = field(default_factory=LearnerConfig)

    def __post_init__(self) -> None:
        TrainingConfig.__post_init__(self)
        if self.weights:
            check_weights(self.weights)

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
        config, spec = as_learner(self.learner), run.spec
        weights = torch.tensor(self.weights_on(spec), device=self.device).expand(self.policies, -1)
        refuse_unread_on(spec, self.learner)
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

    learner: LearnerConfig = field(default_factory=LearnerConfig)

    def make_learner(self, *parts: Any, discount: float) -> Learner:
        """See ScalarConfig.make_learner."""
        return Learner(*parts, discount=discount)


@dataclass(frozen=True, kw_only=True)
class A2C(ScalarConfig):
    """Advantage actor-critic of one weighted sum of the objectives: one gradient step per rollout, nothing clipped.

    With gae_lambda 1 an advantage is the n-step return to the rollout's end minus the critic's value. Advantages are
    standardised per rollout and Adam takes the step, as everywhere in the engine.
    Source: Mnih et al. 2016, arXiv:1602.01783, one synchronous worker per environment.
    """

    name: ClassVar[str] = "a2c"

    learner: ActorCriticConfig = field(default_factory=ActorCriticConfig)

    def make_learner(self, *parts: Any, discount: float) -> Learner:
        """See ScalarConfig.make_learner."""
        return Learner(*parts, discount=discount, surrogate=score_function)


@dataclass(frozen=True, kw_only=True)
class VMPORun(ScalarConfig):
    """V-MPO of one weighted sum of the objectives: a fit to the better half of the samples within a divergence.

    Advantages are standardised per rollout, so bounds and temperatures mean the same in every unit of the rewards.
    Source: Song et al. 2019, arXiv:1909.12238.
    """

    name: ClassVar[str] = "v-mpo"

    learner: MinibatchConfig = field(default_factory=MinibatchConfig)
    eps_eta: Positive = 0.01  # bound of KL(sample weights || equal ones), which the temperature keeps [nat]
    eps_alpha: Positive = 0.01  # bound of a policy's KL per iteration: of means, or of the choices' probabilities [nat]
    eps_alpha_std: Positive | None = (
        None  # bound of that of standard deviations; None: 5e-5 for continuous actions [nat]
    )
    eta: Positive = 1.0  # first temperature [normalised advantage]
    alpha: Positive = 1.0  # first multipliers of the divergences [normalised advantage / nat]
    dual_learning_rate: Positive = 1e-2  # of temperature and multipliers

    def make_learner(self, *parts: Any, discount: float) -> Learner:
        """See ScalarConfig.make_learner. Raises ValueError for a bound that discrete actions do not have."""
        model = parts[0]
        if not model.head.extras:
            refuse_unread(self, ["eps_alpha_std"], f"the actions of {self.env} are choices, without standard deviation")
        duals = Duals(
            self.eps_eta, self.eps_alpha, self.eps_alpha_std or 5e-5, self.eta, self.alpha, self.dual_learning_rate
        )
        estimator = VMPO(model, self.policies, duals, torch.device(self.device))
        return Learner(*parts, discount=discount, estimator=estimator)


@dataclass(frozen=True, kw_only=True)
class TRPO(ScalarConfig):
    """Trust-region policy optimisation of one weighted sum of the objectives: natural steps within a KL divergence.

    The critics learn in minibatches, at the learning rate. Source: Schulman et al. 2015, arXiv:1502.05477.
    """

    name: ClassVar[str] = "trpo"

    learner: MinibatchConfig = field(default_factory=MinibatchConfig)
    ball: Ball = field(default_factory=Ball)

    def __post_init__(self) -> None:
        ScalarConfig.__post_init__(self)
        refuse_unread(self.learner, ["entropy"], "trpo climbs the return alone within its trust region")

    def make_learner(self, *parts: Any, discount: float) -> Learner:
        """See ScalarConfig.make_learner."""
        return TrustRegion(*parts, discount=discount, measured=None, rule=trpo_step, ball=self.ball)


METHODS: dict[str, type[ScalarConfig]] = {kind.name: kind for kind in (PPO, A2C, TRPO, VMPORun)}


def fitted(method: str, learner: LearnerConfig) -> ActorCriticConfig:
    """What a method takes of settings recommended for PPO. One step per rollout wants many short rollouts."""
    kind = type(METHODS[method]().learner)
    found = kind(**{f.name: getattr(learner, f.name) for f in fields(kind)})
    if method == TRPO.name:
        found = replace(found, entropy=0.0)
    if isinstance(found, MinibatchConfig):
        return found
    return replace(found, rollout_steps=min(32, max(4, learner.rollout_steps // 4)))
