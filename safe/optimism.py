"""Optimism for the policy: step along a guess of the next gradient, so that the last iterate settles.

In the game of a policy against its prices, plain ascent and descent go round the solution. `Optimistic` extrapolates
whole gradients and suits exact or large-batch ones. `OptimisticWeights` extrapolates the weights only, on the samples
at hand: in the space of occupancies the gradient depends on nothing but the weights, so no older batch adds
its noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tradeoff.engine.scalarizers import Scalarizer
from tradeoff.engine.updates import State, Update


@dataclass(frozen=True)
class Optimistic:
    """Any update, given 2 g_t - g_{t-1} in place of g_t (the first step takes g_0 for the past).

    Source: Daskalakis et al. 2018, arXiv:1711.00141; Moskovitz et al. 2023, arXiv:2302.01275.
    """

    inner: Update

    def init(self, theta: Tensor) -> State:
        """See Update.init."""
        return self.inner.init(theta) | {"optimism_past": torch.full_like(theta, torch.nan)}

    def step(self, theta: Tensor, gradient: Tensor, state: State, rate: float = 1.0) -> None:
        """See Update.step."""
        past = torch.where(state["optimism_past"].isnan(), gradient, state["optimism_past"])
        state["optimism_past"] = gradient.clone()
        self.inner.step(theta, 2 * gradient - past, state, rate)


@dataclass
class OptimisticWeights:
    """Any scalarizer, its weights extrapolated: 2 w_t - w_{t-1}."""

    inner: Scalarizer
    past: Tensor = field(init=False, default_factory=lambda: torch.empty(0))

    def weights(self, returns: Tensor) -> Tensor:
        """See Scalarizer.weights."""
        now = self.inner.weights(returns)
        return 2 * now - self.past if self.past.numel() else now

    def update(self, returns: Tensor) -> None:
        """See Scalarizer.update."""
        self.past = self.inner.weights(returns)
        self.inner.update(returns)

    def state_dict(self) -> dict[str, Any]:
        """See Scalarizer.state_dict."""
        return {"inner": self.inner.state_dict(), "past": self.past}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Scalarizer.load_state_dict."""
        self.inner.load_state_dict(state["inner"])
        self.past = state["past"]
