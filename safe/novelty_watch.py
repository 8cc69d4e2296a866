"""An environment that pays the distance of whoever acts from given policies, and may end episodes that lack it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.normalisers import Moments, Standard, standard
from tradeoff.engine.population import Population
from tradeoff.engine.rollout import Rollout
from tradeoff.engine.trajectories import Trajectories
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.protocol import Step, VectorEnv
from tradeoff.safe.novelty import action_distance, novelty

CHANNEL = "novelty"


class Acting(NamedTuple):
    """R policies of one shape, ready to say how they would act."""

    model: ActorCritic
    theta: Tensor  # [R, 2, D]
    by: Standard  # of observations, each policy by its own moments

    def outputs(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """What the head reads at observations [N, d]: out [R, N, outputs] and extra [R, 1, extras]."""
        seen = observation.expand(len(self.theta), *observation.shape)
        inputs = self.model.inputs(seen, self.by, seen.new_zeros(*seen.shape[:2], 0))
        return self.model.outputs(self.model.actor(self.theta), inputs)


def acting(model: ActorCritic, people: Population) -> Acting:
    """All policies of a population."""
    return Acting(model, people.theta, standard(people.observations))


def stacked(policies: Iterable[Acting]) -> list[Acting]:
    """The same policies, those of one shape as one stack."""
    groups: dict[ActorCritic, list[Acting]] = {}
    for policy in policies:
        groups.setdefault(policy.model, []).append(policy)
    return [
        Acting(model, torch.cat([a.theta for a in same]), _joined([a.by for a in same]))
        for model, same in groups.items()
    ]


def _joined(by: list[Standard]) -> Standard:
    return Standard(*(torch.cat(x) for x in zip(*by, strict=True)))


class NoveltyWatch:
    """A VectorEnv whose last cost, "novelty", is the distance to the nearest reference where the actor stands.

    The actor is whom `follow` named last; without references nothing is paid. With a `grace`, an episode is over as
    soon as more than so many of its steps were novel by less than `distance` on average: no value lies beyond.
    Source: Sun et al. 2020, arXiv:2005.10696, section 4.3 (interior policy differentiation).
    """

    def __init__(self, env: VectorEnv, references: Sequence[Acting], distance: float, grace: int | None) -> None:
        """grace: steps that an episode may go on without novelty; None: it never ends for lack of it."""
        if grace is not None and references and not hasattr(env, "restart"):
            raise TradeoffError(f"{env.spec.id} cannot break off single episodes; use the method 'ctnb' instead")
        self.env, self.references, self.distance, self.grace = env, stacked(references), distance, grace
        self.num_envs, self.device, self.exact_state = env.num_envs, env.device, env.exact_state
        self.spec = replace(env.spec, costs=(*env.spec.costs, CHANNEL))
        self.actor: Acting | None = None
        self.seen = torch.empty(0)
        self._clear()
        self.follow(None)

    def _clear(self) -> None:
        self.total, self.clock = torch.zeros(2, self.num_envs, device=self.device)  # of the running episodes

    def follow(self, actor: Acting | None) -> None:
        """Say who acts from now on, a stack of one."""
        self.actor = actor
        self.sum, self.steps = 0.0, 0

    @property
    def mean(self) -> float:
        """Novelty per step since the last `follow`."""
        return self.sum / max(self.steps, 1)

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        """See VectorEnv.reset."""
        self._clear()
        self.seen = self.env.reset(seed)
        return self.seen

    def step(self, action: Tensor) -> Step:
        """See VectorEnv.step."""
        paid = self._novelty()
        self.sum, self.steps = self.sum + float(paid.mean()), self.steps + 1
        step = self.env.step(action)
        step = step._replace(cost=torch.cat([step.cost.to(paid.dtype), paid.unsqueeze(-1)], -1))
        self.total, self.clock = self.total + paid, self.clock + 1
        if self.grace is not None and self.references:
            step = self._end(step, (self.clock > self.grace) & (self.total < self.distance * self.clock))
        ended = step.terminated | step.truncated
        self.total, self.clock = (torch.where(ended, 0.0, x) for x in (self.total, self.clock))
        self.seen = step.observation
        return step

    @torch.no_grad()
    def _novelty(self) -> Tensor:
        if not self.references:
            return torch.zeros(self.num_envs, device=self.device)
        assert self.actor is not None, "follow a policy before stepping"
        own, head = self.actor.outputs(self.seen), self.actor.model.head
        return novelty(torch.cat([action_distance(head, *own, *other.outputs(self.seen)) for other in self.references]))

    def _end(self, step: Step, dull: Tensor) -> Step:
        going_on = dull & ~step.terminated & ~step.truncated
        seen = self.env.restart(going_on) if going_on.any() else step.observation  # type: ignore[attr-defined]
        return step._replace(observation=seen, terminated=step.terminated | dull, truncated=step.truncated & ~dull)

    def state_dict(self) -> dict[str, Any]:
        """See VectorEnv.state_dict."""
        return {"env": self.env.state_dict(), "total": self.total, "clock": self.clock, "seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See VectorEnv.load_state_dict."""
        self.env.load_state_dict(state["env"])
        self.total, self.clock, self.seen = (state[name].to(self.device) for name in ("total", "clock", "seen"))

    def close(self) -> None:
        """See VectorEnv.close."""
        self.env.close()


class FollowedRollout(Rollout):
    """A rollout of one policy that tells its NoveltyWatch who acts."""

    env: NoveltyWatch

    def collect(self, model: ActorCritic, theta: Tensor, moments: Moments, generator: Generator) -> Trajectories:
        """See Source.collect."""
        self.env.follow(Acting(model, theta, standard(moments)))
        return super().collect(model, theta, moments, generator)
