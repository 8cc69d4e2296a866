"""The interior-point scalarizer: push one objective, keep the others above what they were."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def thresholds(returns: Tensor, share: float) -> Tensor:
    """What each objective must keep: share * G for G >= 0, and as much below G for G < 0, never above G itself.

    A plain share * G would ask for more than G where returns are negative, which no policy near G can give.
    returns: [P, m]; share: beta in (0, 1]. Source: Liu et al. 2025, arXiv:2410.02236, eq. 8, mirrored for G < 0.
    """
    return returns - (1 - share) * returns.abs()


class Barrier:
    """Gradient of J_l / s_l + (1 / t) sum_{i != l} log((J_i - G_i) / s_i), policy by policy.

    The thresholds G_i are anchored at the first returns that each policy shows, before it has moved. Where the slack
    z = (J_i - G_i) / s_i falls under 1 / t^2 the logarithm goes on as its tangent (slope t), so that a violated
    constraint pulls back with a finite price. With scales s of 1 this is the method's own barrier.
    """

    def __init__(self, objectives: Tensor, scales: Tensor, share: float, sharpness: float) -> None:
        """objectives: [P] index l of the objective to push; scales: [m] > 0, in units of return; sharpness: t."""
        self.objectives, self.scales, self.share, self.sharpness = objectives, scales, share, sharpness
        self.anchor = torch.full((len(objectives), len(scales)), torch.nan)

    def weights(self, returns: Tensor) -> Tensor:
        """Weights [P, m + k]; 1 / s everywhere while no episode has ended, zero for costs."""
        m, t = len(self.scales), self.sharpness
        anchor = torch.where(self.anchor.isnan(), returns[:, :m], self.anchor)
        slack = (returns[:, :m] - thresholds(anchor, self.share)) / self.scales
        price = (1 / (t * slack.clamp(min=1 / t**2))).nan_to_num(nan=1.0)
        price.scatter_(1, self.objectives.unsqueeze(1), 1.0)
        return torch.nn.functional.pad(price / self.scales, (0, returns.shape[1] - m))

    def update(self, returns: Tensor) -> None:
        """Anchor the thresholds of policies that have finished their first episodes."""
        self.anchor = torch.where(self.anchor.isnan(), returns[:, : len(self.scales)], self.anchor)

    def state_dict(self) -> dict[str, Any]:
        """See Scalarizer.state_dict."""
        return {"objectives": self.objectives, "scales": self.scales, "anchor": self.anchor,
                "share": self.share, "sharpness": self.sharpness}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Scalarizer.load_state_dict."""
        self.objectives, self.scales, self.anchor = state["objectives"], state["scales"], state["anchor"]
        self.share, self.sharpness = state["share"], state["sharpness"]
