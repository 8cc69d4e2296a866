"""Scalarizers: weights on the channels from estimated returns. See `tradeoff.engine.scalarizers` for the protocol."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from tradeoff.engine.scalarizers import padded
from tradeoff.morl.criteria import SER, expect_ser
from tradeoff.morl.utilities import Parameter, parameter


class UtilityWarning(UserWarning):
    """Something about a utility that lets a run go on but deserves a look."""


class SERScalarizer:
    """Weights that climb f(E[G]): the gradient of the utility at the estimated returns.

    Costs get weight 0 (join limits by `safe`). A policy that has finished no episode yet climbs the utility's neutral
    weights.
    """

    def __init__(self, criterion: SER, objectives: int, *, floor: Parameter | None = None) -> None:
        """Make a rule.

        Args:
            criterion: SER(utility); an ESR is refused with an explanation.
            objectives: m; the first m channels are what the utility reads.
            floor: least returns [m], inside the utility's domain, to which lower estimates are projected (with one
                warning); None: an estimate outside of the domain stops the run with OutsideDomain.

        Raises: WrongCriterion.
        """
        self.utility, self.objectives = expect_ser(criterion), objectives
        self.floor = torch.full((objectives,), -torch.inf) if floor is None else parameter("floor", floor)
        self.warned = False

    def weights(self, returns: Tensor) -> Tensor:
        """See Scalarizer.weights. Raises OutsideDomain where the utility has no slope at the projected returns."""
        known = returns[:, : self.objectives]
        at = torch.maximum(known, self.floor.to(known))
        missing = known.isnan().any(-1, keepdim=True)
        slope = torch.where(missing, self.utility.neutral(known), self.utility.at(at).gradient)
        return padded(self.utility.checked("slope", slope, at), returns.shape[1])

    def value(self, returns: Tensor) -> Tensor:
        """f(J) [P] at the projected returns [P, m + k]. Raises OutsideDomain."""
        known = returns[:, : self.objectives]
        return self.utility.value(torch.maximum(known, self.floor.to(known)))

    def update(self, returns: Tensor) -> None:
        """Say once that returns were projected."""
        low = returns[:, : self.objectives] < self.floor.to(returns)
        if low.any() and not self.warned:
            self.warned = True
            policy, channel = low.nonzero()[0].tolist()
            warnings.warn(
                f"objective {channel} of policy {policy} was estimated at {returns[policy, channel]:.4g}, below the "
                f"floor of the utility {self.utility.name!r}, and taken for the floor",
                UtilityWarning,
                stacklevel=2,
            )

    def state_dict(self) -> dict[str, Any]:
        """See Scalarizer.state_dict."""
        return {"parameters": dict(self.utility.parameters), "floor": self.floor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Scalarizer.load_state_dict."""
        self.utility, self.floor = self.utility.with_parameters(**state["parameters"]), state["floor"]


class TrackedIdeal(SERScalarizer):
    """A scalarizer whose reference point is the best return of each objective that any policy has shown so far.

    For utilities with a parameter `reference` (Chebyshev and its kin), whose given value is the least it can be. It
    moves in `update` only, and by noisy estimates it flatters: `margin` [return] is put on top of what was seen.
    """

    def __init__(self, criterion: SER, objectives: int, *, margin: Parameter = 0.0) -> None:
        """Raises ValueError for a utility without a reference point."""
        super().__init__(criterion, objectives)
        if "reference" not in self.utility.parameters:
            raise ValueError(f"the utility {self.utility.name!r} has no reference point to track")
        self.margin = parameter("margin", margin, least=0)

    def update(self, returns: Tensor) -> None:
        """Raise the reference point to what was seen."""
        seen = returns[:, : self.objectives].nan_to_num(nan=-torch.inf).amax(0).double()
        reference = torch.maximum(self.utility.parameters["reference"], seen + self.margin)
        self.utility = self.utility.with_parameters(reference=reference)


class Lexicographic:
    """Objectives in the order of their importance: each is raised as far as those before it may fall by their slack.

    Stage k lasts for `turns` updates: it climbs objective order[k] and notes at its end the level that was reached,
    smoothed over about 1 / (1 - memory) turns. While an earlier objective lies below its level minus its slack, all
    weight is on the first such. The last stage goes on. With slack 0 nothing may be given up, and noise makes it hover.
    Source: Gabor, Kalmar and Szepesvari 1998, ICML (the order); Xu, Liang and Lan 2021, arXiv:2011.05869 (switching).
    """

    def __init__(self, order: list[int], slack: Parameter, turns: int, *, memory: float = 0.9) -> None:
        """order: the m objectives, most important first. slack: [m] or one, per objective, >= 0 [return].

        Raises: ValueError for an order that is none, turns below 1 and a memory outside of [0, 1).
        """
        if sorted(order) != list(range(len(order))):
            raise ValueError(f"order is {order}; name each objective from 0 to {len(order) - 1} once")
        if turns < 1 or not 0 <= memory < 1:
            raise ValueError(f"turns {turns} must be at least 1 and memory {memory} in [0, 1)")
        self.order, self.turns, self.memory = torch.tensor(order), turns, memory
        self.slack = parameter("slack", slack, least=0).expand(len(order))
        self.turn = 0
        self.level = self.target = torch.empty(0)

    def weights(self, returns: Tensor) -> Tensor:
        """See Scalarizer.weights: one-hot."""
        known = returns[:, : len(self.order)]
        target = self.target.to(known) if self.target.numel() else torch.full_like(known, -torch.inf)
        climbed = most_important_unmet(known, self.order, target - self.slack.to(known), self._stage)
        return padded(torch.nn.functional.one_hot(climbed, len(self.order)).to(returns), returns.shape[1])

    @property
    def _stage(self) -> int:
        return min(self.turn // self.turns, len(self.order) - 1)

    def update(self, returns: Tensor) -> None:
        """Smooth the levels; at the end of a stage, fix the target of its objective."""
        known = returns[:, : len(self.order)]
        if not self.level.numel():
            self.level, self.target = known.clone(), torch.full_like(known, -torch.inf)
        self.level = torch.where(self.level.isnan(), known, torch.lerp(known, self.level, self.memory))
        stage = self._stage
        self.turn += 1
        if self._stage > stage:
            climbed = int(self.order[stage])
            self.target[:, climbed] = self.level[:, climbed].nan_to_num(nan=-torch.inf)

    def state_dict(self) -> dict[str, Any]:
        """See Scalarizer.state_dict."""
        return {"turn": self.turn, "level": self.level, "target": self.target.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Scalarizer.load_state_dict."""
        self.turn, self.level, self.target = state["turn"], state["level"], state["target"].clone()


def most_important_unmet(returns: Tensor, order: Tensor, thresholds: Tensor, last: int) -> Tensor:
    """Which objective [P] a thresholded lexicographic order climbs.

    The first of order[0], ..., order[last - 1] whose return [P, m] lies below its threshold [P, m], else order[last].
    """
    unmet = (returns < thresholds)[:, order[:last]]
    position = torch.cat([unmet, unmet.new_ones(len(returns), 1)], 1).int().argmax(1)
    return order.to(returns.device)[position]
