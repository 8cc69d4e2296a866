"""Policies whose step is decided by how the objectives' gradients lie to one another, as methods of the program.

Every rule comes twice: on whole episodes without critics (`mgda`), and with proximal steps and vector critics
(`mgda-ppo`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.compositions import Composition, constant
from tradeoff.engine.episodes import Baseline, Episodes
from tradeoff.engine.episodic import episodic_learner
from tradeoff.engine.estimators import RETURNS, Oracle, Plain
from tradeoff.engine.features import make_features
from tradeoff.engine.heads import make_head
from tradeoff.engine.learner import Learner, LearnerConfig, fresh_population, standardised
from tradeoff.engine.loop import Loop
from tradeoff.engine.method import method_class
from tradeoff.engine.numbers import Count, Layers, Positive
from tradeoff.engine.recursion import GRADIENT, Recursion, Recursive
from tradeoff.engine.rollout import Rollout
from tradeoff.engine.scalarizers import Linear, padded
from tradeoff.engine.scores import channel_gradients
from tradeoff.engine.training import Training, TrainingConfig
from tradeoff.engine.trajectories import Batch
from tradeoff.engine.unread import refuse_unread, refuse_unread_on
from tradeoff.engine.updates import Adam, Unitless
from tradeoff.envs.protocol import EnvSpec
from tradeoff.morl.gradient_rules import gram, mgda, with_unit_gradients
from tradeoff.morl.rules import EPO, RULES, GradientRule, Influence, Memory


class Chooser:
    """A rule with its memory: x_t = eta rule(K) + (1 - eta) x_{t-1}.

    A rule's answer to a noisy K is biased; a memory of its answers is what lets stochastic rules converge.
    Source: Zhou et al. 2022, NeurIPS (CR-MOGM).
    """

    def __init__(self, rule: GradientRule, eta: float) -> None:
        self.rule, self.eta, self.memory = rule, eta, Memory()

    def choose(self, gradients: Tensor, returns: Tensor) -> Tensor:
        """Weights [P, m] for gradients [P, m, D] and returns [P, m]."""
        found = self.rule.weights(gram(gradients), returns, self.memory).to(gradients)
        last = self.memory.get("chosen")
        self.memory["chosen"] = found if last is None else torch.lerp(last, found, self.eta)
        return self.memory["chosen"]


def stationarity(gradients: Tensor) -> Tensor:
    """Length [P] of the shortest convex sum of the gradients [P, m, D] brought to length 1: 0 on the front."""
    unit = torch.nn.functional.normalize(gradients, dim=-1)
    weights = with_unit_gradients(mgda)(gram(unit))
    return torch.einsum("pm,pmd->pd", weights.to(unit), unit).norm(dim=-1)


class Ruled(Recursive):
    """Whole-trajectory gradients whose weights a rule makes of the channels' gradients.

    With separate batches the rule reads the one that estimates the returns, so that weights and gradient stay
    independent. Takes the memory of a gradient per channel.
    """

    def __init__(self, settings: Recursion, chooser: Chooser, objectives: int) -> None:
        super().__init__(settings)
        self.chooser, self.objectives = chooser, objectives

    def direction(self, model: ActorCritic, theta: Tensor, data: dict[str, Episodes], weights: Tensor) -> Tensor:
        """See TrajectoryEstimator.direction. Objectives' weights are multiplied by what the rule answers."""
        assert self.estimate is not None, "returns comes first"
        rows = self._rows(model, theta, data[RETURNS if self.settings.separate else GRADIENT])
        chosen = self.chooser.choose(rows, self.estimate[:, : self.objectives])
        by = weights * torch.cat([chosen, torch.ones_like(weights[:, self.objectives :])], 1)
        gradient = super().direction(model, theta, data, by)
        self.diagnostics |= {"weights": by, "stationarity": stationarity(rows)}
        return gradient

    def _rows(self, model: ActorCritic, theta: Tensor, episodes: Episodes) -> Tensor:
        """Gradients of the objectives [P, m, D]."""
        each = torch.eye(episodes.paid.shape[-1]).to(episodes.paid)[: self.objectives]
        paid = [self._coefficients(model, theta, episodes, by.expand(len(theta), -1)) for by in each]
        rows = channel_gradients(model, theta, episodes, torch.stack(paid, -1))
        own = episodes.paid[..., : self.objectives]
        varies = (own != own[:, :, :1]).any(0).any(1)  # else what is left of a baseline is rounding alone
        return torch.where(varies.unsqueeze(-1), rows, 0.0)

    def state_dict(self) -> dict[str, Any]:
        """See Estimator.state_dict."""
        return super().state_dict() | {"rule": dict(self.chooser.memory)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Estimator.load_state_dict."""
        super().load_state_dict(state)
        self.chooser.memory = dict(state["rule"])


class LastReturns(Linear):
    """Even weights on the objectives, and the returns of the turn before for whoever needs them."""

    def __init__(self, policies: int, objectives: int, channels: int) -> None:
        super().__init__(padded(torch.ones(policies, objectives), channels))
        self.returns = torch.full((policies, channels), torch.nan)

    def update(self, returns: Tensor) -> None:
        """Remember them."""
        self.returns = returns.clone()

    def state_dict(self) -> dict[str, Any]:
        """See Scalarizer.state_dict."""
        return super().state_dict() | {"returns": self.returns}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Scalarizer.load_state_dict."""
        super().load_state_dict(state)
        self.returns = state["returns"]


class RuledSteps(Plain):
    """Proximal steps along a mixture of the channels' advantages that a rule makes anew on every minibatch."""

    def __init__(self, model: ActorCritic, chooser: Chooser, seen: LastReturns, objectives: int) -> None:
        self.model, self.chooser, self.seen, self.objectives = model, chooser, seen, objectives
        self.diagnostics: dict[str, Tensor] = {}

    def gradient(self, theta: Tensor, batches: dict[str, Batch], oracle: Oracle) -> Tensor:
        """See Estimator.gradient. The mixture is normalised per policy, as the learner normalises its own."""
        batch, m = batches["current"], self.objectives
        rows = self.model.channel_gradients(theta, batch)[:, :m]
        chosen = self.chooser.choose(rows, self.seen.returns[:, :m])
        self.diagnostics = {"weights": padded(chosen, self.model.channels), "stationarity": stationarity(rows)}
        mixed = standardised(batch.advantages[..., :m] * chosen.unsqueeze(1))
        return oracle(theta, batch._replace(advantage=mixed))

    def state_dict(self) -> dict[str, Any]:
        """See Estimator.state_dict."""
        return {"rule": dict(self.chooser.memory)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Estimator.load_state_dict."""
        self.chooser.memory = dict(state["rule"])


@dataclass(frozen=True, kw_only=True)
class GradientAim(TrainingConfig):
    """What every method by a rule on gradients needs to know."""

    eta: float = 0.3  # weight of a step's answer of the rule among the remembered ones, in (0, 1]
    rule: Any = None  # settings of its own

    def __post_init__(self) -> None:
        TrainingConfig.__post_init__(self)
        if not 0 < self.eta <= 1:
            raise ValueError(f"eta must lie in (0, 1], got {self.eta}")

    def chooser(self, spec: EnvSpec) -> Chooser:
        """The rule, its memory empty. Raises ValueError where rule and environment do not fit."""
        return Chooser(fitted(self.rule, spec), self.eta)

    def value(self, returns: Tensor, spec: EnvSpec) -> Tensor:
        """EPO: the least gain along the ray, largest where the ray meets the front. Else the mean objective."""
        rule, known = fitted(self.rule, spec), returns[:, : len(spec.objectives)]
        if isinstance(rule, EPO):
            return (rule.gains(known) / torch.tensor(rule.ray).to(known)).amin(1)
        return known.mean(1)


def fitted(rule: GradientRule, spec: EnvSpec) -> GradientRule:
    """The rule for the objectives of an environment. Raises ValueError for a single one, or numbers that do not fit."""
    m = len(spec.objectives)
    if m < 2:
        raise ValueError(f"{spec.id} pays one reward; a rule on gradients needs two or more objectives")
    if m == 2 and isinstance(rule, Influence):
        why = f"{spec.id} has two objectives, and two gradients of length 1 raise their sum alike: weights stay even"
        refuse_unread(rule, ["rate", "floor"], why)
    if not isinstance(rule, EPO):
        return rule
    reference = spec.reference_point if rule.reference is None else rule.reference
    if reference is None:
        raise ValueError(f"{spec.id} has no reference point; say with --reference what gains are counted from")
    for name, given in (("ray", rule.ray), ("reference", reference)):
        if len(given) not in (1, m):
            raise ValueError(f"{name} has {len(given)} numbers for {m} objectives; give 1 or {m}")
    return replace(rule, ray=rule.ray * (m // len(rule.ray)), reference=tuple(reference))


@dataclass(frozen=True, kw_only=True)
class WholeEpisodes(GradientAim):
    """A rule on gradients from whole episodes, without critics."""

    learning_rate: Positive = 1e-2  # of the policy
    anneal: bool = True  # let the learning rate fall to zero linearly over the run
    batch: Count = 24  # episodes per step, for the rule and again for the gradient
    baseline: Baseline = "mean"  # subtracted from what follows a step
    hidden: Layers = (64, 64)  # units per hidden layer

    def build(self, run: Training) -> Loop:
        """See TrainingConfig.build."""
        m, channels = len(run.spec.objectives), len(run.spec.objectives) + len(run.spec.costs)
        settings = Recursion(eta=constant(1.0), batch=self.batch, baseline=self.baseline, centre=True)
        parts = Composition(Ruled(settings, self.chooser(run.spec), m), Unitless(Adam(self.learning_rate)))
        return episodic_learner(
            run.make_env, LastReturns(self.policies, m, channels), parts, run.generator,
            policies=self.policies, hidden=self.hidden, discount=run.discount,
        )  # fmt: skip

    def rate(self, share: float) -> float:
        """See TrainingConfig.rate."""
        return 1.0 - share if self.anneal else 1.0


@dataclass(frozen=True, kw_only=True)
class ProximalSteps(GradientAim):
    """A rule on gradients from rollouts, with vector critics."""

    learner: LearnerConfig = field(default_factory=LearnerConfig)

    def build(self, run: Training) -> Loop:
        """See TrainingConfig.build."""
        config, spec, m = self.learner, run.spec, len(run.spec.objectives)
        chooser = self.chooser(spec)
        refuse_unread_on(spec, config)
        env = run.make_env(self.policies * config.environments, run.draw_seed())
        head = make_head(spec.action_space, config.squash)
        model = ActorCritic(make_features(spec.observation_space, spec.near), head, m + len(spec.costs), config.hidden)
        people = fresh_population(model, self.policies, run.generator, config.spread)
        seen = LastReturns(self.policies, m, model.channels)
        return Learner(
            model, Rollout(env, self.policies, config.rollout_steps), people, seen, config, run.generator,
            discount=run.discount, estimator=RuledSteps(model, chooser, seen, m),
        )  # fmt: skip

    def rate(self, share: float) -> float:
        """See TrainingConfig.rate."""
        return 1.0 - share if self.learner.anneal else 1.0


METHODS: dict[str, type[GradientAim]] = {
    rule.name + ending: method_class(base, rule.name + ending, "rule", rule)
    for base, ending in ((WholeEpisodes, ""), (ProximalSteps, "-ppo"))
    for rule in RULES
}


def takes_learner(method: str) -> bool:
    """Whether a method has the settings of a learner with critics."""
    return any(f.name == "learner" for f in fields(METHODS[method]))
