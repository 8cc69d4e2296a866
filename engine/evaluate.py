"""Scores of a population: whole episodes from fresh seeds, all policies at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.guards import FiniteWatch, Place, reset
from tradeoff.engine.learner import Population
from tradeoff.engine.normalisers import standard
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.protocol import VectorEnv

AT_ONCE = 1024  # environments stepped together; beyond this, memory grows and speed does not
PATIENCE = 100_000  # steps after which an episode is taken to never end


class Endless(TradeoffError):
    """An episode of an evaluation that does not end."""


def not_ended(env: str, steps: int) -> str:
    """What to say of an episode of an environment that goes on after so many steps."""
    return f"an episode of {env} has not ended in {steps} steps; set a horizon: --horizon 1000 cuts episodes after 1000"


class Scores(NamedTuple):
    """What an evaluation found."""

    returns: Tensor  # [P, E, m + k] discounted return of each episode, float64
    lengths: Tensor  # [P, E] steps of each episode
    steps: int  # real environment steps that it took
    sums: Tensor | None = None  # [P, E, m + k] the returns without discount; None: they have none

    @property
    def mean(self) -> Tensor:
        """[P, m + k]."""
        return self.returns.mean(1)

    @property
    def totals(self) -> Tensor:
        """Undiscounted sums [P, E, m + k]."""
        return self.returns if self.sums is None else self.sums

    @property
    def error(self) -> Tensor:
        """Standard error of the mean [P, m + k]; zero for a single episode, where it is unknown."""
        episodes = self.returns.shape[1]
        return self.returns.std(1) / episodes**0.5 if episodes > 1 else torch.zeros_like(self.mean)


def evaluate(
    make_env: Callable[[int, int], VectorEnv],
    model: ActorCritic,
    population: Population,
    *,
    episodes: int,
    discount: float,
    seed: int,
    deterministic: bool = True,
    context: Tensor | None = None,
    cut: int | None = None,
) -> Scores:
    """Play `episodes` episodes with each policy.

    Args:
        make_env: (num_envs, seed) -> environment; closed after use.
        discount: of the returns [1].
        seed: of environments and of sampled actions; episode e of every policy starts from the same seed.
        deterministic: play each distribution's mode instead of sampling.
        context: [E, q] what policies see in each episode besides observations, for those that take it.
        cut: steps after which an episode is taken as it is; None waits for its end.

    Raises: Endless for an episode that does not end; NumericalTrouble for numbers that are not finite; UserCodeFailed
    when the environment raises.
    """
    chunk = max(1, AT_ONCE // episodes)
    parts = [population[list(range(i, min(i + chunk, len(population))))] for i in range(0, len(population), chunk)]
    scores = []
    for part in parts:
        env = make_env(len(part) * episodes, seed)
        try:
            scores.append(_play(env, model, part, episodes, discount, seed, deterministic, context, cut))
        finally:
            env.close()
    return Scores(
        torch.cat([s.returns for s in scores]), torch.cat([s.lengths for s in scores]), sum(s.steps for s in scores),
        None if discount == 1.0 else torch.cat([s.totals for s in scores]),
    )  # fmt: skip


@torch.no_grad()
def _play(
    env: VectorEnv,
    model: ActorCritic,
    people: Population,
    episodes: int,
    discount: float,
    seed: int,
    deterministic: bool,
    context: Tensor | None,
    cut: int | None,
) -> Scores:
    size = (len(people), episodes)
    observation = reset(env, [seed + e for _ in range(len(people)) for e in range(episodes)], size).flatten(0, 1)
    generator = Generator(env.device).manual_seed(seed)
    head, actor, by = model.head, model.actor(people.theta), standard(people.observations)
    shown = (observation.new_zeros(episodes, 0) if context is None else context).expand(*size, -1)
    channels = len(env.spec.objectives) + len(env.spec.costs)
    returns = torch.zeros(*size, channels, dtype=torch.float64, device=env.device)
    sums = None if discount == 1.0 else torch.zeros_like(returns)
    alive = torch.ones(size, dtype=torch.bool, device=env.device)
    lengths = torch.zeros(size, dtype=torch.int64, device=env.device)
    place = Place(env.spec, "an evaluation")
    watch = FiniteWatch(place, size)
    factor, steps = 1.0, 0
    while alive.any() and steps != cut:
        inputs = model.inputs(observation.unflatten(0, size), by, shown)
        out, extra = model.outputs(actor, inputs)
        action = head.mode(out, extra) if deterministic else head.sample(out, extra, head.noise(size, generator))
        try:
            following, reward, cost, terminated, truncated, _ = env.step(head.to_env(action.flatten(0, 1)))
        except (Exception, SystemExit) as error:
            watch.check()
            raise place.failed(error, steps) from error
        paid = torch.cat([reward, cost], -1).double()
        watch(observation, paid, alive)
        observation, paid = following, paid.unflatten(0, size)
        returns += torch.where(alive.unsqueeze(-1), factor * paid, 0.0)
        if sums is not None:
            sums += torch.where(alive.unsqueeze(-1), paid, 0.0)
        lengths += alive
        alive = alive & ~(terminated | truncated).unflatten(0, size)
        factor, steps = factor * discount, steps + 1
        if steps > PATIENCE:
            raise Endless(not_ended(env.spec.id, PATIENCE))
    watch.check()
    repeat = env.spec.repeat
    return Scores(returns, lengths * repeat, steps * env.num_envs * repeat, sums)
