"""Critics that know how much a cost may vary, so that a limit can bind its worst share: WCSAC."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, pi, sqrt
from statistics import NormalDist
from typing import Any, ClassVar

import torch
from torch import Tensor

from tradeoff.engine.numbers import Positive
from tradeoff.engine.soft import SoftLearner
from tradeoff.engine.soft_critics import Critics, Pull, Seen
from tradeoff.safe.constraints import Constraints
from tradeoff.safe.duals import PID, Gain
from tradeoff.safe.foresight import ForeseenReturns, per_unit
from tradeoff.safe.soft_solvers import SoftParts

LARGEST = 10.0  # a sample's variance counts at most so many times what is expected


def worst_mean(share: float) -> float:
    """How many standard deviations the mean of the worst share of a normal lies above its mean: phi(Phi^-1(a)) / a.

    0 for a share of 1. Raises ValueError outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"risk must be the share of worst cases, in (0, 1], got {share}")
    return 0.0 if share == 1 else exp(-(NormalDist().inv_cdf(share) ** 2) / 2) / sqrt(2 * pi) / share


@dataclass(frozen=True)
class RiskCritics(Critics):
    """Beside every cost the logarithm of its variance; costs are read as the mean of their worst share.

    The variance of what is still to come obeys Var(s, a) = E[d^2 + gamma^2 Var(s', a')] with the error d = c +
    gamma Q(s', a') - Q(s, a) of the cost's own value. Its logarithm l is fitted to samples v of it by the slope
    1 - v exp(-l), which is zero where exp(l) is their mean, whatever their unit. Source: Yang et al. 2021, WCSAC,
    whose targets c^2 + 2 gamma c Q' + gamma^2 (Q'^2 + V') - Q^2 have the same mean but fall below zero.
    """

    risk: float = 1.0  # share of worst cases whose mean is bounded, in (0, 1]

    def __post_init__(self) -> None:
        super().__post_init__()
        worst_mean(self.risk)

    @property
    def outputs(self) -> int:
        """See Critics.outputs."""
        return self.columns + self.costs

    def read(self, values: Tensor) -> tuple[Tensor, Pull]:
        """See Critics.read."""
        value, base = super().read(values)
        apart, factor = (values[..., self.columns :] / 2).exp(), worst_mean(self.risk)
        value[..., self.gains :] += factor * apart.mean(1)

        def pull(slope: Tensor) -> Tensor:
            found = base(slope)
            found[..., self.columns :] = apart * (slope[..., self.gains :] * (factor / (2 * self.members))).unsqueeze(1)
            return found

        return value, pull

    def average(self, values: Tensor, chance: Tensor) -> Tensor:
        """See Critics.average; the variance of a choice is the mean of its options', plus that of their means."""
        mean, share = super().average(values, chance), chance[:, None, ..., None]
        apart = (values[..., self.gains : self.columns] - mean[..., self.gains : self.columns].unsqueeze(3)).square()
        mean[..., self.columns :] = ((values[..., self.columns :].exp() + apart) * share).sum(3).log()
        return mean

    def target(self, paid: Tensor, go_on: Tensor, future: Tensor, log_prob: Tensor) -> Tensor:
        """See Critics.target; for variances what the successors add."""
        ahead = future[..., self.columns :].exp() * go_on.square()[:, None, :, None]
        return torch.cat([super().target(paid, go_on, future, log_prob), ahead], -1)

    def gradient(self, seen: Seen, target: Tensor) -> tuple[Tensor, Tensor]:
        """See Critics.gradient."""
        gap = target - seen.values
        found = gap[..., self.gains : self.columns].square() + target[..., self.columns :]
        n, error = gap.shape[2], gap[..., : self.columns].square().mean((1, 2, 3))
        gap[..., : self.columns] *= 2.0
        gap[..., self.columns :] = (found * (-seen.values[..., self.columns :]).exp()).clamp_(max=LARGEST) - 1
        return self.push(seen, gap / n), error

    def rescale(self, theta: Tensor, ratio: Tensor) -> None:
        """See Critics.rescale; a factor of a variance is a sum on its logarithm."""
        factors = torch.cat([ratio[:, : self.columns], torch.ones_like(ratio[:, self.columns :])], 1)
        super().rescale(theta, factors)
        shift = ratio[:, self.columns :].log().repeat_interleave(self.members, 0)[:, None, None]
        biases = self.network.layers(theta.flatten(0, 1)).biases[-1].unflatten(-1, (-1, self.outputs))
        biases[..., self.columns :].add_(shift)

    def scales(self, steps: Tensor) -> Tensor:
        """See Critics.scales; variances are in squared units of their costs."""
        return torch.cat([super().scales(steps), steps[:, self.objectives :].square()], 1)


@dataclass(frozen=True, kw_only=True)
class WCSAC:
    """Soft actor-critic that keeps the mean of the worst share of costs within the limit, not the mean of all."""

    name: ClassVar[str] = "wcsac"
    by_critics: ClassVar[bool] = True
    risk: float = 0.5  # share of worst cases whose mean is bounded, in (0, 1]; 1 bounds the mean of all
    rate: Gain = 5e-4  # of dual ascent, per iteration [price / violation]
    bound: Positive = 1e3  # ceiling of the multipliers

    def __post_init__(self) -> None:
        worst_mean(self.risk)

    def measured(self, constraints: Constraints, gamma: float, patience: int) -> ForeseenReturns:
        """See SoftSolver.measured."""
        return ForeseenReturns(constraints, gamma, patience)

    def critics(self, shape: dict[str, Any]) -> Critics:
        """See SoftSolver.critics."""
        return RiskCritics(**shape, risk=self.risk)

    def learner(self, parts: SoftParts) -> SoftLearner:
        """See SoftSolver.learner."""
        rate = per_unit(self.rate, parts.units)
        return parts.learner(parts.lagrangian(PID(ki=rate, bound=self.bound)))
