"""Gradient estimators: which parameters to sample at, and how batches become one ascent direction.

An estimator may sample anywhere (extrapolated or interpolated parameters), ask for several batches, each under a
role of its own, and remember earlier gradients. If it asks for a role named "returns", that batch alone estimates the
returns which the scalarizer reads (separate batches for weights and gradient keep the product unbiased).

Two kinds: an `Estimator` sees (mini)batches of samples with advantages; a `TrajectoryEstimator` sees whole
trajectories, needs no critic, says how many it wants, and supplies the returns itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.episodes import Episodes
from tradeoff.engine.trajectories import Batch

Oracle = Callable[[Tensor, Batch], Tensor]  # (theta [P, G, D], batch) -> surrogate gradient [P, G, D] at theta
RETURNS = "returns"


class Estimator(Protocol):
    """What a gradient estimator must offer."""

    def plan(self, theta: Tensor) -> dict[str, Tensor]:
        """Role -> parameters [P, G, D] to sample a batch at, in this order."""
        ...

    def gradient(self, theta: Tensor, batches: dict[str, Batch], oracle: Oracle) -> Tensor:
        """Ascent direction [P, G, D] at theta from the batches (or minibatches) of the roles."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on exactly."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s answer."""
        ...


class Request(NamedTuple):
    """A batch of whole trajectories that an estimator asks for."""

    theta: Tensor  # [P, G, D] to act with
    episodes: int  # per policy


class TrajectoryEstimator(Protocol):
    """What a gradient estimator over whole trajectories must offer; see `tradeoff.engine.episodic`."""

    diagnostics: dict[str, Tensor]  # numbers [P] of the last direction, for a logger

    def plan(self, theta: Tensor) -> dict[str, Request]:
        """Role -> batch to sample, in this order. Asked once per turn, before anything else."""
        ...

    def returns(self, model: ActorCritic, theta: Tensor, data: dict[str, Episodes]) -> Tensor:
        """Estimate of J(theta) [P, c], which the scalarizer turns into weights. Asked second."""
        ...

    def direction(self, model: ActorCritic, theta: Tensor, data: dict[str, Episodes], weights: Tensor) -> Tensor:
        """Ascent direction [P, G, D] at theta for weights [P, c] on the channels. Asked last."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on exactly."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s answer."""
        ...


class Plain:
    """One batch at the current parameters, no memory."""

    def plan(self, theta: Tensor) -> dict[str, Tensor]:
        """See Estimator.plan."""
        return {"current": theta}

    def gradient(self, theta: Tensor, batches: dict[str, Batch], oracle: Oracle) -> Tensor:
        """See Estimator.gradient."""
        return oracle(theta, batches["current"])

    def state_dict(self) -> dict[str, Any]:
        """No memory."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """No memory."""


class FromBehaviour(Plain):
    """One batch at the current parameters; they are kept, as the policy that divergence is measured from."""

    behaviour: Tensor = torch.empty(0)  # theta [P, G, D] that was sampled with last

    def plan(self, theta: Tensor) -> dict[str, Tensor]:
        """See Estimator.plan."""
        self.behaviour = theta.clone()
        return {"current": theta}
