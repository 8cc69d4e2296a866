"""What belongs to each policy of a population."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.normalisers import Moments, fresh_moments


@dataclass
class Population:
    """What belongs to each of P policies, and travels with it into archives and files."""

    theta: Tensor  # [P, 2, D] actors and critics
    observations: Moments  # of the observations [P, d]
    returns: Moments  # of the critics' targets [P, m + k]

    def __getitem__(self, index: Tensor | list[int]) -> Population:
        """A copy of the chosen rows, in the order of the index (rows may repeat)."""
        rows = (Moments(*(x[index].clone() for x in moments)) for moments in (self.observations, self.returns))
        return Population(self.theta[index].clone(), *rows)

    def __len__(self) -> int:
        return len(self.theta)

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors."""
        return {"theta": self.theta, "observations": tuple(self.observations), "returns": tuple(self.returns)}

    @staticmethod
    def from_state(state: dict[str, Any]) -> Population:
        """The inverse of `state_dict`."""
        return Population(state["theta"], Moments(*state["observations"]), Moments(*state["returns"]))


def fresh_population(model: ActorCritic, policies: int, generator: Generator, spread: float = 1.0) -> Population:
    """P policies that have seen nothing. spread: see ActorCritic.init."""
    moments = (fresh_moments(policies, n, generator.device) for n in (model.features.normalised, model.channels))
    return Population(model.init(policies, generator, spread).to(generator.device), *moments)
