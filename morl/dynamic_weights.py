"""Weights that move with the run: toward objectives whose gradients help all others, or by what a hypervolume gains.

A factor common to all weights is lost wherever advantages are divided by their spread, as the engine's proximal steps
and all group-normalised policy gradients do. So a common factor is a factor of the step here (`Stretched`), and only
what changes the direction is a weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tradeoff.engine.scalarizers import Scalarizer, padded
from tradeoff.engine.updates import State, Update
from tradeoff.evaluation import hypervolume, nondominated

Array = NDArray[np.float64]


def influence_step(weights: Tensor, k: Tensor, rate: float) -> Tensor:
    """The next weights [P, m]: w_i exp(rate I_i), on the simplex, with I_i = <g_i, sum_j g_j> from K [P, m, m].

    It is the w that maximises rate <w, I> - KL(w || weights). Source: Lu et al. 2025, arXiv:2509.11452.
    """
    return (weights.double().log() + rate * k.double().sum(2)).softmax(1)


def floored(weights: Tensor, least: float) -> Tensor:
    """Weights on the simplex [P, m] drawn toward even ones until none is below `least` < 1 / m."""
    return weights * (1 - least * weights.shape[1]) + least


def hypervolume_slope(front: Array, point: Array, reference: Array) -> Array:
    """Gradient [m] of the hypervolume of front [n, m] and one more point [m] with respect to that point.

    Along objective i: the volume, in the other objectives, that the point covers at its own height and no member of the
    front reaches. Zero where the point is not above the reference or is covered.
    """
    if not (point > reference).all():
        return np.zeros_like(point)
    return np.array([_face(front, point, reference, i) for i in range(len(point))])


def _face(front: Array, point: Array, reference: Array, i: int) -> float:
    others = np.arange(len(point)) != i
    beyond = front[front[:, i] > point[i]][:, others]
    own, low = point[others], reference[others]
    return _volume(own[None], low) - _volume(np.minimum(beyond, own), low)


def _volume(points: Array, reference: Array) -> float:
    if points.shape[1] == 1:
        return float(np.clip(points - reference, 0, None).max(initial=0.0))
    return float(hypervolume(points, reference).value) if len(points) else 0.0


class HypervolumeGuide:
    """Weights along the slope of the hypervolume that a policy's returns would add to what it has reached so far.

    A policy whose returns are covered gets the preference. What it adds in a turn also stretches its steps: by
    0.5 + 1.5 tanh(gain / unit), see `Stretched`. Source of the stretch: Lu et al. 2025, arXiv:2509.11452, where it is a
    factor of the reward.
    """

    def __init__(self, preference: Tensor, reference: Sequence[float], unit: float) -> None:
        """preference: [P, m] on the simplex. reference: [m] that returns are counted from. unit: hypervolume > 0."""
        if not unit > 0:
            raise ValueError(f"unit must be a positive hypervolume, got {unit}")
        if preference.shape[1] != len(reference):
            raise ValueError(f"the reference has {len(reference)} numbers for {preference.shape[1]} objectives")
        self.preference, self.unit = preference, unit
        self.reference = np.asarray(reference, dtype=np.float64)
        self.reached: list[Tensor] = [torch.empty(0, len(reference), dtype=torch.float64) for _ in preference]
        self.stretch = torch.ones(len(preference))

    def weights(self, returns: Tensor) -> Tensor:
        """See Scalarizer.weights; weights on the objectives sum to 1, costs get none."""
        m = len(self.reference)
        rows = [self._row(p, row) for p, row in enumerate(returns[:, :m].detach().cpu().double())]
        return padded(torch.stack(rows).to(returns), returns.shape[1])

    def _row(self, p: int, returns: Tensor) -> Tensor:
        if returns.isnan().any():
            return self.preference[p]
        slope = hypervolume_slope(self.reached[p].numpy(), returns.numpy(), self.reference)
        total = slope.sum()
        return torch.from_numpy(slope / total).to(self.preference) if total > 0 else self.preference[p]

    def update(self, returns: Tensor) -> None:
        """Keep the returns that add to what was reached, and set the stretch of the next step."""
        m = len(self.reference)
        for p, row in enumerate(returns[:, :m].detach().cpu().double()):
            if row.isnan().any():
                continue
            with_it = torch.cat([self.reached[p], row.unsqueeze(0)])
            gain = float(
                hypervolume(with_it.numpy(), self.reference).value - _reached_volume(self.reached[p], self.reference)
            )
            self.stretch[p] = 0.5 + 1.5 * float(np.tanh(gain / self.unit))
            if gain > 0:
                self.reached[p] = with_it[torch.from_numpy(nondominated(with_it.numpy()))]

    def state_dict(self) -> dict[str, Any]:
        """See Scalarizer.state_dict."""
        return {"reached": list(self.reached), "stretch": self.stretch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Scalarizer.load_state_dict."""
        self.reached, self.stretch = list(state["reached"]), state["stretch"].clone()


def _reached_volume(points: Tensor, reference: Array) -> float:
    return float(hypervolume(points.numpy(), reference).value) if len(points) else 0.0


@dataclass(frozen=True)
class Stretched:
    """An update whose steps are multiplied, per policy, by a number that somebody else keeps."""

    inner: Update
    factor: Callable[[], Tensor]  # [P]

    def init(self, theta: Tensor) -> State:
        """See Update.init."""
        return self.inner.init(theta)

    def step(self, theta: Tensor, gradient: Tensor, state: State, rate: float = 1.0) -> None:
        """See Update.step."""
        before = theta.clone()
        self.inner.step(theta, gradient, state, rate)
        theta.copy_(torch.lerp(before, theta, self.factor().to(theta).view(-1, 1, 1)))


def guided_parts(guide: HypervolumeGuide, update: Update) -> tuple[Scalarizer, Update]:
    """Scalarizer and update of a learner that a hypervolume guides: direction by weights, length by the stretch."""
    return guide, Stretched(update, lambda: guide.stretch)
