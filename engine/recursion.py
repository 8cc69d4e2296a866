"""One recursion behind the variance-reduced policy gradients:

    x_t = eta X(theta_t) + (1 - eta) (x_{t-1} + transport)

x is the weighted gradient and, alike, the return vector J that prices it. X is a mean over fresh trajectories; the
transport brings what is remembered from the last parameters to the present ones. See `engine.compositions` for the
published methods that are settings of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.curvature import curvature, slopes
from tradeoff.engine.episodes import (
    Baseline,
    Episodes,
    centred,
    coefficients,
    effective_sample_size,
    importance_weights,
    mixed,
    returns,
)
from tradeoff.engine.estimators import RETURNS, Request
from tradeoff.engine.scores import linearise, log_probs, squared_norms

GRADIENT, CURVATURE, RETURNS_CURVATURE = "gradient", "curvature", "returns curvature"
Transport = Literal["none", "importance", "hessian", "extrapolation"]


@dataclass(frozen=True, kw_only=True)
class Recursion:
    """What distinguishes one member of the family from another."""

    eta: Callable[[int], float]  # weight of the fresh estimate at step t, in [0, 1]; the first step takes 1
    transport: Transport = "none"
    batch: int = 16  # B: trajectories of a step
    checkpoint: int | None = None  # N: trajectories where eta is 1; None: B
    curvature: int = 32  # trajectories of a Hessian-vector product
    anchor: bool = False  # bring values over from the last step with eta = 1, not from the last step
    lag: bool = False  # weigh the gradient by the weights of the step before; at a checkpoint, by its own
    separate: bool = True  # J from trajectories of its own, so that weights and gradient stay independent
    whole_weights: bool = False  # weigh every step by its whole trajectory
    causal: bool = True  # a score is paid from its step on; False: by the whole trajectory
    baseline: Baseline = "none"
    centre: bool = False  # take the others' pay at the same step off every reward, in gradients and in all transports
    box: tuple[tuple[float, ...], tuple[float, ...]] | None = None  # least and largest possible J, per channel
    seed: int = 0  # of the random interpolates

    def __post_init__(self) -> None:
        for name in ("batch", "checkpoint", "curvature"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not (self.causal or self.whole_weights or self.transport != "importance"):
            raise ValueError("a score that is paid by its past too needs whole_weights=True to stay unbiased")
        if self.box is not None and len(self.box[0]) != len(self.box[1]):
            raise ValueError(f"box has {len(self.box[0])} lower and {len(self.box[1])} upper bounds")


class Recursive:
    """An estimator over whole trajectories that remembers the last gradient, returns, weights and parameters."""

    def __init__(self, settings: Recursion) -> None:
        self.settings = settings
        self.turn = 0
        self.memory: dict[str, Tensor] = {}  # theta, gradient, returns, used: of the reference; weights: the last ones
        self.estimate: Tensor | None = None  # J of the turn under way
        self.diagnostics: dict[str, Tensor] = {}

    @property
    def eta(self) -> float:
        """Weight of the fresh estimate in this turn. Raises ValueError where the schedule leaves [0, 1]."""
        eta = float(self.settings.eta(self.turn)) if self.memory else 1.0
        transport = self.settings.transport
        if not 0 <= eta <= 1 or (eta == 0 and transport in ("none", "extrapolation")):
            raise ValueError(f"eta is {eta} at step {self.turn}, with transport {transport!r}; give 0 < eta <= 1")
        return eta

    @property
    def _lags(self) -> bool:
        """Whether this step takes the last weights: a checkpoint starts anew, with returns of its own."""
        restarts = self.settings.checkpoint is not None and self.eta == 1
        return self.settings.lag and bool(self.memory) and not restarts

    def plan(self, theta: Tensor) -> dict[str, Request]:
        """See TrajectoryEstimator.plan."""
        s, at = self.settings, self._fresh_point(theta)
        roles = {GRADIENT: Request(at, s.checkpoint or s.batch if self.eta == 1 else s.batch)}
        if s.separate:
            roles[RETURNS] = roles[GRADIENT]
        if s.transport == "hessian" and self.eta < 1:
            roles[CURVATURE] = Request(self._between(theta), s.curvature)
            if s.separate:
                roles[RETURNS_CURVATURE] = roles[CURVATURE]
        return roles

    def _fresh_point(self, theta: Tensor) -> Tensor:
        """Where X is sampled: ahead of theta by extrapolation, such that old and new estimates average to theta."""
        if self.settings.transport != "extrapolation" or self.eta == 1:
            return theta
        return theta + (1 / self.eta - 1) * (theta - self.memory["theta"])

    def _between(self, theta: Tensor) -> Tensor:
        return torch.lerp(self.memory["theta"], theta, self._share(theta))

    def _share(self, theta: Tensor) -> Tensor:
        """q [P, 1, 1], uniform, drawn anew every turn from the turn's own seed (nothing to save)."""
        draw = Generator().manual_seed(self.settings.seed * 1_000_003 + self.turn)
        return torch.rand(len(theta), 1, 1, generator=draw, dtype=theta.dtype).to(theta.device)

    def returns(self, model: ActorCritic, theta: Tensor, data: dict[str, Episodes]) -> Tensor:
        """See TrajectoryEstimator.returns."""
        episodes = data[RETURNS if self.settings.separate else GRADIENT]
        fresh = returns(episodes.paid).mean(1)
        shift = torch.zeros_like(fresh)
        if self.eta < 1 and self.settings.transport == "importance":
            log_ratio = log_probs(model, self.memory["theta"], episodes) - episodes.log_prob
            omega, paid = self._weights(log_ratio, episodes), self._paid(episodes)
            shift = (returns(paid) - returns(paid, omega)).mean(1)
        elif self.eta < 1 and self.settings.transport == "hessian":
            episodes = data[RETURNS_CURVATURE if self.settings.separate else CURVATURE]
            slope = slopes(model, self._between(theta), theta - self.memory["theta"], episodes)
            shift = returns(self._paid(episodes), slope.cumsum(0)).mean(1)
        self.estimate = self._boxed(self._blend("returns", fresh, shift))
        return self.estimate

    def direction(self, model: ActorCritic, theta: Tensor, data: dict[str, Episodes], weights: Tensor) -> Tensor:
        """See TrajectoryEstimator.direction."""
        assert self.estimate is not None, "returns comes first"
        used = self.memory["weights"] if self._lags else weights
        episodes = data[GRADIENT]
        fresh = self._gradient(model, self._fresh_point(theta), episodes, used)
        shift = torch.zeros_like(fresh)
        self.diagnostics = {"eta": torch.full((len(theta),), self.eta, device=theta.device)}
        if self.eta < 1 and self.settings.transport == "importance":
            shift = fresh - self._reweighted(model, episodes)
        elif self.eta < 1 and self.settings.transport == "hessian":
            shift = self._curved(model, theta, data[CURVATURE], used)
        gradient = self._blend("gradient", fresh, shift)
        self._remember(theta, gradient, used, weights)
        return gradient

    def _blend(self, name: str, fresh: Tensor, shift: Tensor) -> Tensor:
        """The recursion."""
        return fresh if self.eta == 1 else self.eta * fresh + (1 - self.eta) * (self.memory[name] + shift)

    def _gradient(self, model: ActorCritic, theta: Tensor, episodes: Episodes, by: Tensor) -> Tensor:
        _, pull = linearise(model, theta, episodes)
        return pull(self._coefficients(model, theta, episodes, by))

    def _reweighted(self, model: ActorCritic, episodes: Episodes) -> Tensor:
        """The fresh samples as an estimate of what is remembered: same parameters, same prices."""
        reference = self.memory["theta"]
        log_prob, pull = linearise(model, reference, episodes)
        omega = self._weights(log_prob - episodes.log_prob, episodes)
        self.diagnostics["weight_max"] = omega.amax((0, 2))
        self.diagnostics["effective_sample_size"] = effective_sample_size(omega[-1])
        return pull(self._coefficients(model, reference, episodes, self.memory["used"], omega))

    def _curved(self, model: ActorCritic, theta: Tensor, episodes: Episodes, used: Tensor) -> Tensor:
        """Unbiased for the change of the priced gradient from the remembered point to theta, parameters and prices.

        Along the segment, with the prices interpolated by the same share q: derivative = Hessian step + gradient of the
        change of the prices. The Hessian's product of gradient and score is taken per trajectory, then averaged.
        """
        between, step, q = self._between(theta), theta - self.memory["theta"], self._share(theta)[..., 0]
        paid, priced = self._paid(episodes), torch.lerp(self.memory["used"], used, q)
        ahead = coefficients(mixed(paid, priced), episodes.alive)
        change = coefficients(mixed(paid, used - self.memory["used"]), episodes.alive)
        return curvature(model, between, step, episodes, ahead, lambda slope: ahead * slope.sum(0) + change)

    def _coefficients(
        self, model: ActorCritic, theta: Tensor, episodes: Episodes, by: Tensor, omega: Tensor | None = None
    ) -> Tensor:
        s = self.settings
        squares = squared_norms(model, theta, episodes) if s.baseline == "optimal" else None
        reward = mixed(episodes.paid, by)
        told = episodes.expected if s.baseline == "learned" else None
        expected = None if told is None else mixed(told, by)
        return coefficients(
            reward, episodes.alive, omega, causal=s.causal, baseline=s.baseline, centre=s.centre,
            squares=squares, expected=expected,
        )  # fmt: skip

    def _paid(self, episodes: Episodes) -> Tensor:
        return centred(episodes.paid) if self.settings.centre else episodes.paid

    def _weights(self, log_ratio: Tensor, episodes: Episodes) -> Tensor:
        return importance_weights(log_ratio, episodes.alive, self.settings.whole_weights)

    def _boxed(self, estimate: Tensor) -> Tensor:
        if self.settings.box is None:
            return estimate
        low, high = (estimate.new_tensor(bound) for bound in self.settings.box)
        return estimate.clamp(low, high)

    def _remember(self, theta: Tensor, gradient: Tensor, used: Tensor, weights: Tensor) -> None:
        assert self.estimate is not None
        if self.eta == 1 or not self.settings.anchor:
            self.memory |= {"theta": theta.clone(), "gradient": gradient}
            self.memory |= {"returns": self.estimate, "used": used.clone()}
        self.memory["weights"] = weights.clone()
        self.estimate = None
        self.turn += 1

    def state_dict(self) -> dict[str, Any]:
        """See Estimator.state_dict."""
        return {"turn": self.turn, "memory": dict(self.memory)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Estimator.load_state_dict."""
        self.turn, self.memory = state["turn"], dict(state["memory"])
