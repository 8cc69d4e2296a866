"""The archive: every policy worth keeping, as points and the parameters behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tradeoff.engine.learner import Population
from tradeoff.evaluation import crowding_distance, nondominated

Points = NDArray[np.float64]


class Archive:
    """At most `capacity` mutually non-dominated policies; the most crowded leave first."""

    def __init__(self, capacity: int) -> None:
        """capacity: number of policies kept, at least 2."""
        self.capacity = capacity
        self.points: Points = np.zeros((0, 0))  # [K, m]
        self.preferences: Points = np.zeros((0, 0))  # [K, m] what each was trained for
        self.members: NDArray[np.int64] = np.zeros(0, dtype=np.int64)  # [K] birth order over the whole run
        self.population: Population | None = None
        self.offered = 0

    def __len__(self) -> int:
        return len(self.points)

    def offer(self, points: Points, preferences: Points, population: Population) -> None:
        """Add P policies with evaluated returns [P, m], then drop what is dominated or too crowded."""
        members = self.offered + np.arange(len(points))
        self.offered += len(points)
        everyone = population[list(range(len(points)))]
        if self.population is not None:
            points = np.concatenate([self.points, points])
            preferences = np.concatenate([self.preferences, preferences])
            members = np.concatenate([self.members, members])
            everyone = _join(self.population, everyone)
        keep = thin(points, np.flatnonzero(nondominated(points)), self.capacity)
        self.points, self.preferences, self.members = points[keep], preferences[keep], members[keep]
        self.population = everyone[keep.tolist()]

    def select(self, count: int, used: set[int]) -> NDArray[np.int64]:
        """Up to `count` rows with the largest crowding distance, those whose member is in `used` left out."""
        spread = crowding_distance(self.points)
        free = [i for i in np.argsort(-spread, kind="stable") if int(self.members[i]) not in used]
        return np.array(free[:count], dtype=np.int64)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers."""
        return {
            "points": torch.from_numpy(self.points),
            "preferences": torch.from_numpy(self.preferences),
            "members": torch.from_numpy(self.members),
            "offered": self.offered,
            "population": self.population.state_dict() if self.population else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s answer."""
        self.points, self.preferences = state["points"].numpy(), state["preferences"].numpy()
        self.members, self.offered = state["members"].numpy(), state["offered"]
        self.population = Population.from_state(state["population"]) if state["population"] else None


def thin(points: Points, keep: NDArray[np.int64], capacity: int) -> NDArray[np.int64]:
    """Drop the most crowded of the rows `keep` one by one until `capacity` remain; extremes stay."""
    while len(keep) > capacity:
        keep = np.delete(keep, int(np.argmin(crowding_distance(points[keep]))))
    return keep


def _join(a: Population, b: Population) -> Population:
    moments = (
        type(x)(*(torch.cat(pair) for pair in zip(x, y, strict=True)))
        for x, y in ((a.observations, b.observations), (a.returns, b.returns))
    )
    return Population(torch.cat([a.theta, b.theta]), *moments)
