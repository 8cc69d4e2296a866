"""Where trajectories come from: rollouts of a population, and the returns of the episodes that end in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.guards import Place, check_seen, check_steps, reset
from tradeoff.engine.normalisers import Moments, Standard, standard
from tradeoff.engine.returns import accrued
from tradeoff.engine.trajectories import Trajectories, fold
from tradeoff.envs.protocol import Step, VectorEnv


class Source(Protocol):
    """Whatever yields trajectories: rollouts, replay, recorded data."""

    taken: int  # real environment steps so far

    def collect(self, model: ActorCritic, theta: Tensor, moments: Moments, generator: Generator) -> Trajectories:
        """Trajectories of the policies theta [P, 2, D]."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on exactly."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s answer."""
        ...


class Conditions(Protocol):
    """Who says what policies see besides observations: limits, say, that are drawn anew for every episode."""

    now: Tensor  # [P, B, q] of the episodes that are going on

    def renew(self, ended: Tensor) -> Tensor:
        """`now` after episodes ended [P, B] bool, as a new tensor."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on exactly."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s answer."""
        ...


def play(
    env: VectorEnv,
    model: ActorCritic,
    theta: Tensor,
    by: Standard,
    observation: Tensor,
    start: Tensor,
    noises: Iterable[Tensor],
    steps: list[Step],
    conditions: Conditions | None = None,
    before: int | None = None,
) -> tuple[Trajectories, Tensor]:
    """Act with the policies theta [P, 2, D] from observation [P, B, d] on, once per noise; answer the record and what
    is seen next.

    start: [P, B] bool, whether an episode begins here. steps: empty, filled meanwhile, so that `noises` can look at it.
    before: real environment steps of the training so far, for complaints.
    Raises NumericalTrouble when an observation, an action, a reward or a cost is not finite; UserCodeFailed when the
    environment raises.
    """
    head, actor, size = model.head, model.actor(theta), tuple(observation.shape[:2])
    contexts = [observation.new_zeros(*size, 0) if conditions is None else conditions.now]
    place = Place(env.spec, before=before, stride=env.num_envs * env.spec.repeat)
    watched, acted = [observation], []
    try:
        for noise in noises:
            out, extra = model.outputs(actor, model.inputs(watched[-1], by, contexts[-1]))
            acted.append(head.sample(out, extra, noise))
            steps.append(env.step(head.to_env(acted[-1].flatten(0, 1))))
            watched.append(steps[-1].observation.unflatten(0, size))
            if conditions is not None:
                contexts.append(conditions.renew((steps[-1].terminated | steps[-1].truncated).unflatten(0, size)))
    except (Exception, SystemExit) as error:
        check_seen(watched, place)  # what an environment raised may be what it made of its own bad numbers
        raise place.failed(error, len(steps)) from error
    *columns, final = (torch.stack(x).unflatten(1, size) for x in zip(*(step[1:] for step in steps), strict=True))
    reward, cost, terminated, truncated = columns
    start = torch.cat([start.unsqueeze(0), (terminated | truncated)[:-1]])
    everything, action = torch.stack(watched), torch.stack(acted)
    check_steps(place, everything, action, reward, cost, final)
    seen = everything[:-1]
    context = contexts[0].expand(len(steps), *contexts[0].shape) if conditions is None else torch.stack(contexts[:-1])
    inputs = fold(model.inputs(seen, by, context))
    log_prob = model.log_prob(theta, inputs, fold(action))
    log_prob = log_prob.unflatten(1, (len(steps), -1)).movedim(1, 0)
    data = Trajectories(
        seen, action, log_prob, reward.float(), cost.float(), terminated, truncated, final, start, context
    )
    return data, watched[-1]


class Rollout:
    """Steps a population in its environments, `steps` at a time; episodes go on from one call to the next."""

    def __init__(self, env: VectorEnv, policies: int, steps: int, conditions: Conditions | None = None) -> None:
        """env: N = policies * B environments, environment p * B + b belongs to policy p."""
        self.env, self.policies, self.steps, self.taken, self.conditions = env, policies, steps, 0, conditions
        self.restart(None)

    def restart(self, seed: int | None) -> None:
        """Begin new episodes everywhere."""
        self.observation = reset(self.env, seed, (self.policies, self.env.num_envs // self.policies))
        self.start = torch.ones(self.observation.shape[:2], dtype=torch.bool, device=self.observation.device)

    @property
    def most_steps(self) -> int:
        """Real environment steps of one call of `collect`."""
        return self.steps * self.env.num_envs * self.env.spec.repeat

    @torch.no_grad()
    def collect(self, model: ActorCritic, theta: Tensor, moments: Moments, generator: Generator) -> Trajectories:
        """See Source.collect. Raises: as `play`; no episode then goes on, and nothing was counted."""
        by, size = standard(moments), tuple(self.observation.shape[:2])
        noises = model.head.noise((self.steps, *size), generator).unbind(0)
        here = self.env, model, theta, by, self.observation, self.start
        data, self.observation = play(*here, noises, [], self.conditions, self.taken)
        self.start = data.ended[-1]
        self.taken += self.most_steps
        return data

    def state_dict(self) -> dict[str, Any]:
        """See Source.state_dict."""
        here = {"observation": self.observation, "start": self.start, "taken": self.taken}
        shown = {} if self.conditions is None else {"conditions": self.conditions.state_dict()}
        return {"env": self.env.state_dict(), **here, **shown}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Source.load_state_dict."""
        self.env.load_state_dict(state["env"])
        self.observation, self.start, self.taken = state["observation"], state["start"], state["taken"]
        if self.conditions is not None:
            self.conditions.load_state_dict(state["conditions"])


class EpisodeReturns:
    """Discounted returns of finished episodes, stitched over rollouts."""

    def __init__(self, discount: float | Tensor) -> None:
        """discount: of the returns that are reported and scalarized, or one per channel [m + k]."""
        self.discount = discount
        self.carry: dict[str, Tensor] = {}

    def update(self, data: Trajectories, counted: bool = True) -> Tensor:
        """Mean return [P, m + k] of the episodes that ended in `data`; where none did, the last known mean, or NaN.

        counted: False only follows the episodes on; the last known mean stays.
        """
        total, ended = self.follow(data), data.ended.unsqueeze(-1)
        count = ended.sum((0, 2)) * counted
        mean = torch.where(ended, total, 0.0).sum((0, 2)) / count
        self.carry["mean"] = torch.where(count > 0, mean, self.carry["mean"])
        return self.carry["mean"]

    def follow(self, data: Trajectories) -> Tensor:
        """The return [T, P, B, m + k] so far of the episode that every step belongs to."""
        x = data.channels
        carry = self.carry or {
            "sum": torch.zeros_like(x[0]),
            "clock": torch.zeros_like(x[0, ..., :1]),
            "mean": torch.full_like(x[0, :, 0], torch.nan),
        }
        clock = accrued(torch.ones_like(x[..., :1]), data.start, carry["clock"])
        total = accrued(x * self.discount ** (clock - 1), data.start, carry["sum"])
        self.carry = {"sum": total[-1], "clock": clock[-1], "mean": carry["mean"]}
        return total

    def state_dict(self) -> dict[str, Any]:
        """What the next update depends on."""
        return self.carry

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s answer."""
        self.carry = state
