"""V-MPO: fit the policy to its own better half of samples, reweighed by their advantages, within a divergence.

Source: Song et al. 2019, arXiv:1909.12238, section 3. P policies, n samples of a (mini)batch; the dual
variables are positive and follow the gradient of their dual functions.
"""

from __future__ import annotations

from math import log
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.estimators import FromBehaviour, Oracle
from tradeoff.engine.trajectories import Batch
from tradeoff.engine.updates import Adam
from tradeoff.safe.first_order import actor_gradient

LEAST = 1e-8  # of every dual variable, after each step


def target_weights(advantage: Tensor, temperature: Tensor) -> Tensor:
    """psi [P, n]: proportional to exp(advantage / temperature) on the n // 2 largest advantages (at least one), else 0.

    advantage: [P, n]; temperature: eta [P, 1], in the advantage's unit.
    """
    best, at = advantage.topk(max(advantage.shape[1] // 2, 1), 1)
    return torch.zeros_like(advantage).scatter(1, at, (best / temperature).softmax(1))


def divergence_from_uniform(weights: Tensor) -> Tensor:
    """KL [P] of psi [P, n] from equal weights on the n // 2 samples that it is about [nat]."""
    support = max(weights.shape[1] // 2, 1)
    return torch.special.xlogy(weights, weights).sum(1) + log(support)


def temperature_dual(advantage: Tensor, temperature: Tensor, eps: float) -> Tensor:
    """eta eps + eta log mean exp(A / eta) over the better half [P]; its slope in eta is eps - KL(psi || uniform).

    advantage: [P, n]; temperature: eta [P, 1].
    """
    best = advantage.topk(max(advantage.shape[1] // 2, 1), 1).values
    mean = (best / temperature).logsumexp(1) - log(best.shape[1])
    return temperature.squeeze(1) * (eps + mean)


class Duals(NamedTuple):
    """Bounds and first values."""

    eps_eta: float  # bound of KL(psi || uniform) [nat]
    eps_alpha: float  # bound of the divergence by means, or by the probabilities of choices [nat]
    eps_alpha_std: float  # bound of the divergence by standard deviations [nat]
    eta: float  # first temperature [normalised advantage]
    alpha: float  # first multipliers of the divergences [normalised advantage / nat]
    learning_rate: float  # of Adam


class VMPO(FromBehaviour):
    """Ascent on sum psi log pi - alpha_mean KL_mean - alpha_std KL_std, the divergences from the policy that sampled.

    For a Gaussian KL(old || new) is taken with the old standard deviations, then with the old means; choices have the
    first alone.
    """

    def __init__(self, model: ActorCritic, policies: int, duals: Duals, device: torch.device) -> None:
        self.model, self.duals = model, duals
        self.update = Adam(duals.learning_rate)
        first = torch.tensor([duals.eta, duals.alpha, duals.alpha], device=device)
        self.values = first.repeat(policies, 1, 1)  # [P, 1, 3] temperature, then multipliers
        self.state = self.update.init(self.values)
        self.diagnostics: dict[str, Tensor] = {}

    def gradient(self, theta: Tensor, batches: dict[str, Batch], oracle: Oracle) -> Tensor:
        """See Estimator.gradient. Then one step of the dual variables, at the theta that was asked for."""
        batch, model = batches["current"], self.model
        old = model.outputs(model.actor(self.behaviour), batch.inputs)
        eta, by_mean, by_std = self.values.unbind(-1)  # [P, 1] each
        weights = target_weights(batch.advantage, eta)
        apart: list[Tensor] = []

        def objective(out: Tensor, extra: Tensor, log_ratio: Tensor) -> Tensor:
            kl_mean = model.head.divergence(*old, out, old[1])
            kl_std = model.head.divergence(*old, old[0], extra)
            apart.extend(kl.detach().mean(-1) for kl in (kl_mean, kl_std))
            return weights.shape[1] * weights * log_ratio - by_mean * kl_mean - by_std * kl_std

        gradient = actor_gradient(model, theta, batch, objective)
        rest = oracle(theta, batch._replace(advantage=torch.zeros_like(batch.advantage)))  # critics, entropy
        self._follow(torch.stack([divergence_from_uniform(weights), *apart], -1))
        return gradient + rest

    def _follow(self, measured: Tensor) -> None:
        """One step down the dual functions; measured: the three divergences [P, 3]."""
        bounds = measured.new_tensor([self.duals.eps_eta, self.duals.eps_alpha, self.duals.eps_alpha_std])
        self.update.step(self.values, (measured - bounds).unsqueeze(1), self.state)
        self.values.clamp_(min=LEAST)
        eta, by_mean, by_std = self.values[:, 0].unbind(-1)
        self.diagnostics = {"temperature": eta.clone(), "kl_multiplier": by_mean.clone()}
        if self.model.head.extras:
            self.diagnostics["kl_std_multiplier"] = by_std.clone()

    def state_dict(self) -> dict[str, Any]:
        """See Estimator.state_dict."""
        return {"values": self.values, "state": self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Estimator.load_state_dict."""
        self.values, self.state = state["values"], state["state"]
