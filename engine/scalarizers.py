"""The protocol that almost every method fills: from estimated returns to weights on the channels."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Scalarizer(Protocol):
    """A rule for the weights. Channels are m objectives (weights >= 0), then k costs (weights <= 0, minus prices)."""

    def weights(self, returns: Tensor) -> Tensor:
        """Weights [P, m + k] for estimated returns [P, m + k] (NaN where no episode has ended yet). Changes nothing."""
        ...

    def update(self, returns: Tensor) -> None:
        """Move what the rule remembers (multipliers, anchors) once per iteration, after the weights were used."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on exactly."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s answer."""
        ...


class Linear:
    """Constant weights: the gradient of a linear utility, whatever the returns."""

    def __init__(self, weights: Tensor) -> None:
        """weights: [P, m + k]."""
        self.constant = weights

    def weights(self, returns: Tensor) -> Tensor:
        """See Scalarizer.weights."""
        return self.constant

    def update(self, returns: Tensor) -> None:
        """Nothing to remember."""

    def state_dict(self) -> dict[str, Any]:
        """See Scalarizer.state_dict."""
        return {"weights": self.constant}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Scalarizer.load_state_dict."""
        self.constant = state["weights"]


def padded(weights: Tensor, channels: int) -> Tensor:
    """Weights [P, m] on objectives with zeros for the costs: [P, channels]."""
    return torch.nn.functional.pad(weights, (0, channels - weights.shape[-1]))


def weighing(
    base: Scalarizer | Tensor | None, objectives: int, channels: int, policies: int, device: torch.device
) -> Scalarizer:
    """How objectives are weighed: a scalarizer as it is, constant weights [P, m], or equal ones for None."""
    if base is None:
        base = torch.full((policies, objectives), 1 / objectives, device=device)
    return Linear(padded(base, channels)) if isinstance(base, Tensor) else base
