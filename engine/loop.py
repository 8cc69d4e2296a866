"""The one loop: collect, estimate, weigh, climb, remember. Every method is a choice of its parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ACTOR, ActorCritic
from tradeoff.engine.guards import check_parameters, check_returns, check_weights
from tradeoff.engine.population import Population
from tradeoff.engine.scalarizers import Scalarizer
from tradeoff.engine.updates import Update

Data = dict[str, Any]  # role -> Trajectories or Episodes


class Loop(ABC):
    """Trains a population. One call of `iterate` is one turn of the loop.

    A subclass says how trajectories become returns and steps: `engine.learner` from samples with the help of critics,
    `tradeoff.engine.episodic` from whole trajectories without.
    """

    source: Any  # a Source, or what yields whole episodes
    estimator: Any  # an Estimator or a TrajectoryEstimator

    def __init__(
        self,
        model: ActorCritic,
        source: Any,
        population: Population,
        scalarizer: Scalarizer,
        generator: Generator,
        updates: list[Update],
    ) -> None:
        """updates: one for theta whole, or one for the actors and one for the critics."""
        self.model, self.source, self.population, self.scalarizer = model, source, population, scalarizer
        self.generator, self.updates = generator, updates
        self.update_states = [u.init(part) for u, part in zip(updates, self._parts(population.theta), strict=True)]

    def iterate(self, rate: float = 1.0) -> dict[str, Tensor]:
        """One turn. rate: multiplies the learning rates. Returns what a logger may want, per policy."""
        data = self._sample()
        returns = self._estimate(data)
        check_returns(returns)
        weights = self.scalarizer.weights(returns)
        check_weights(weights)
        objective = self._improve(data, weights, rate)
        self.scalarizer.update(returns)
        self._remember(data)
        check_parameters(self.population.theta)
        return {"returns": returns, "weights": weights, "objective": objective} | self._report()

    @abstractmethod
    def _sample(self) -> Data:
        """A batch for every role that the estimator asks for."""

    @abstractmethod
    def _estimate(self, data: Data) -> Tensor:
        """The returns [P, c] that the scalarizer reads."""

    @abstractmethod
    def _improve(self, data: Data, weights: Tensor, rate: float) -> Tensor:
        """Move theta; answer the objective [P] that was climbed."""

    @abstractmethod
    def _remember(self, data: Data) -> None:
        """What the next turn should know."""

    def most_steps(self, longest: int | None) -> int:
        """Real environment steps that the next turn takes at most; longest: of an episode, None where nobody knows."""
        return self.source.most_steps

    def _report(self) -> dict[str, Tensor]:
        """What else a logger may want, per policy."""
        return {}

    def _step(self, gradient: Tensor, rate: float) -> None:
        """One step of every update along its part of the gradient [P, G, D]."""
        parts = zip(self._parts(self.population.theta), self._parts(gradient), strict=True)
        for i, (part, slope) in enumerate(parts):
            self.updates[i].step(part, slope, self.update_states[i], rate)

    def _parts(self, theta: Tensor) -> list[Tensor]:
        """theta whole, or actors and critics apart where they move by different rules."""
        return [theta] if len(self.updates) == 1 else [theta[:, : ACTOR + 1], theta[:, ACTOR + 1 :]]

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next `iterate` depends on, the generator aside (the run owns it)."""
        return {
            "population": self.population.state_dict(),
            "updates": self.update_states,
            "source": self.source.state_dict(),
            "scalarizer": self.scalarizer.state_dict(),
            "estimator": self.estimator.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from `state_dict`'s answer."""
        self.population = Population.from_state(state["population"])
        self.update_states = state["updates"]
        self.source.load_state_dict(state["source"])
        self.scalarizer.load_state_dict(state["scalarizer"])
        self.estimator.load_state_dict(state["estimator"])
