"""Checks that stop a run before trouble spreads; each error says where it happened."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tradeoff.envs.errors import NumericalTrouble


def check_finite(what: str, x: Tensor, channels: Sequence[str]) -> None:
    """Raise NumericalTrouble naming policy, environment, step and channel of the first bad number of x [T, P, B, c]."""
    if torch.isfinite(x).all():
        return
    t, p, b, c = (~torch.isfinite(x)).nonzero()[0].tolist()
    name = channels[c] if c < len(channels) else str(c)
    raise NumericalTrouble(
        f"{what} {name!r} is {x[t, p, b, c].item()} at step {t} of this rollout, policy {p}, environment {b}; "
        "the parameters were not touched: repair the environment and resume"
    )


def check_parameters(theta: Tensor) -> None:
    """Raise NumericalTrouble when an update left a NaN or infinite parameter in theta [P, G, D]."""
    if torch.isfinite(theta).all():
        return
    broken = (~torch.isfinite(theta)).flatten(1).any(1).nonzero().flatten().tolist()
    raise NumericalTrouble(
        f"the loss of policies {broken} is no longer finite; train with a smaller learning rate or larger minibatches"
    )


def check_weights(weights: Tensor) -> None:
    """Raise NumericalTrouble naming the first policy whose weights [P, c] a scalarizer left NaN or infinite."""
    if torch.isfinite(weights).all():
        return
    policy = int((~torch.isfinite(weights)).any(1).nonzero()[0])
    raise NumericalTrouble(
        f"the weights of policy {policy} are not finite: {weights[policy].tolist()}; the parameters were not touched: "
        "repair the rule that made them and resume"
    )
