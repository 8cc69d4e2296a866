"""One utility f(E[G]) by proximal steps: vector critics as baselines, every sample used several times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.features import make_features
from tradeoff.engine.heads import make_head
from tradeoff.engine.learner import Learner, LearnerConfig, fresh_population
from tradeoff.engine.loop import Loop
from tradeoff.engine.rollout import Rollout
from tradeoff.engine.scalarizers import Scalarizer
from tradeoff.engine.training import Training
from tradeoff.engine.unread import refuse_unread, refuse_unread_on
from tradeoff.morl.utility_aims import UtilityAim


class Blended:
    """Weights from remembered returns: x_t = eta J_t + (1 - eta) x_{t-1}, J_t what was measured last.

    A utility's slope at the mean of a few episodes is biased by their variance, as 1 / episodes; memory divides the
    variance by 2 / eta - 1 and lags behind a moving policy by (1 - eta) / eta turns. It is the engine's recursion for
    the returns, without transport.
    """

    def __init__(self, inner: Scalarizer, eta: float) -> None:
        """inner: the rule from returns to weights. eta: in (0, 1]."""
        if not 0 < eta <= 1:
            raise ValueError(f"eta must lie in (0, 1], got {eta}")
        self.inner, self.eta = inner, eta
        self.memory = torch.empty(0)  # [P, m + k], NaN where no episode has ended yet

    def _blend(self, returns: Tensor) -> Tensor:
        if not self.memory.numel():
            return returns
        return torch.where(self.memory.isnan(), returns, torch.lerp(self.memory, returns, self.eta))

    def weights(self, returns: Tensor) -> Tensor:
        """See Scalarizer.weights."""
        return self.inner.weights(self._blend(returns))

    def update(self, returns: Tensor) -> None:
        """Remember the returns of a turn."""
        self.memory = self._blend(returns)
        self.inner.update(self.memory)

    def state_dict(self) -> dict[str, Any]:
        """See Scalarizer.state_dict."""
        return {"memory": self.memory, "inner": self.inner.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Scalarizer.load_state_dict."""
        self.memory = state["memory"]
        self.inner.load_state_dict(state["inner"])


@dataclass(frozen=True, kw_only=True)
class MOPPO(UtilityAim):
    """Proximal policy optimisation of a utility of returns: a learned baseline per objective, samples used anew.

    The weights are the utility's slope at remembered returns; the vector critics' advantages are weighed by them. A
    composition of Schulman et al. 2017, arXiv:1707.06347, with the plug-in slope of Guidobene et al. 2025,
    arXiv:2508.10608.
    """

    name: ClassVar[str] = "mo-ppo"

    eta: float = 0.2  # weight of a turn's returns among the remembered ones, in (0, 1]
    learner: LearnerConfig = field(default_factory=LearnerConfig)

    def __post_init__(self) -> None:
        UtilityAim.__post_init__(self)
        if self.utility == "linear":
            refuse_unread(self, ["eta"], "the slope of utility 'linear' is the same at all returns")
        if not 0 < self.eta <= 1:
            raise ValueError(f"eta must lie in (0, 1], got {self.eta}")

    def build(self, run: Training) -> Loop:
        """See TrainingConfig.build."""
        config, spec = self.learner, run.spec
        refuse_unread_on(spec, config)
        env = run.make_env(self.policies * config.environments, run.draw_seed())
        channels = len(spec.objectives) + len(spec.costs)
        head = make_head(spec.action_space, config.squash)
        model = ActorCritic(make_features(spec.observation_space, spec.near), head, channels, config.hidden)
        people = fresh_population(model, self.policies, run.generator, config.spread)
        source = Rollout(env, self.policies, config.rollout_steps)
        scalarizer = Blended(self.scalarizer(len(spec.objectives)), self.eta)
        return Learner(model, source, people, scalarizer, config, run.generator, discount=run.discount)

    def rate(self, share: float) -> float:
        """See TrainingConfig.rate."""
        return 1.0 - share if self.learner.anneal else 1.0


METHODS: dict[str, type[UtilityAim]] = {MOPPO.name: MOPPO}
