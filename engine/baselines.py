"""A learned baseline for whole episodes: what a state promises in every channel, beyond what its step does anyway."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import CRITIC, ActorCritic
from tradeoff.engine.episodes import Episodes, discounted, unfold
from tradeoff.engine.normalisers import per_scale, update_moments
from tradeoff.engine.population import Population
from tradeoff.engine.trajectories import fold
from tradeoff.engine.updates import Adam


class LearnedBaseline:
    """The population's critics, fitted to deviations of what follows a step from the batch's mean at that step.

    What it answers for a batch was learned from earlier batches alone, so that a gradient stays unbiased.
    """

    def __init__(self, model: ActorCritic, population: Population, update: Adam, passes: int) -> None:
        """passes: full-batch gradient steps per turn."""
        self.model, self.update, self.passes = model, update, passes
        self.state = update.init(population.theta[:, CRITIC:])

    @torch.no_grad()
    def expected(self, people: Population, inputs: Tensor, alive: Tensor, discount: float) -> Tensor:
        """[T, P, B, c] in units of the first step, zero after the end; inputs [P, T * B, i], alive [T, P, B]."""
        values = unfold(self.model.values(people.theta, inputs, people.returns), len(alive))
        return discounted(values, alive, discount)

    @torch.no_grad()
    def fit(self, people: Population, episodes: Episodes, discount: float) -> None:
        """Move the critics and their return normaliser, in place."""
        target, mass = fold(deviations(episodes, discount)), fold(episodes.alive).unsqueeze(-1)
        old = people.returns
        people.returns = new = update_moments(old, target.movedim(1, 0))
        self.model.keep_values(people.theta, old, new)
        target = (target - new.mean.float().unsqueeze(1)) * per_scale(new).float().unsqueeze(1)
        for _ in range(self.passes):
            slope = self.model.critic_gradient(people.theta, episodes.inputs, target, mass)
            self.update.step(people.theta[:, CRITIC:], slope.unsqueeze(1), self.state, 1.0)

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's moments; critics and normaliser belong to the population."""
        return dict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s answer."""
        self.state = {name: state[name] for name in self.state}


def deviations(episodes: Episodes, discount: float) -> Tensor:
    """What is paid from a step on, in that step's own unit, less the mean over the batch's other living episodes.

    [T, P, B, c], zero after the end and where no other episode lives.
    """
    alive = episodes.alive.unsqueeze(-1).to(episodes.paid.dtype)
    clock = discount ** torch.arange(len(alive), dtype=alive.dtype, device=alive.device).view(-1, 1, 1, 1)
    ahead = episodes.paid.flip(0).cumsum(0).flip(0) / clock * alive
    others = alive.sum(2, keepdim=True) - 1
    mean = (ahead.sum(2, keepdim=True) - ahead) / others.clamp(min=1.0)
    return torch.where(others > 0, ahead - mean, 0.0) * alive
