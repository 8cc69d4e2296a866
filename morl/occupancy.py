"""Utilities of the occupancy measure, and estimates of it.

lambda(s, a) = sum_h discount^h Pr(s_h = s, a_h = a), flattened to [P, S * A] with the action running fastest. Seen as
returns of S * A channels (`engine.episodes.occupancy_channels`), every utility here is an ordinary one, and its
gradient the shadow reward that an ordinary policy gradient climbs.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from morl.utilities import Parameter, Utility, Valued, parameter


def entropy(*, mass: float, actions: int = 1, smoothing: float = 0.0) -> Utility:
    """-sum_s d(s) log(d(s) + smoothing) of d = lambda / mass: how evenly a policy visits its states.

    Args:
        mass: sum of lambda over an episode, (1 - discount^H) / (1 - discount).
        actions: number of actions to sum over; 1 keeps every channel apart (entropy over pairs of state and action).
        smoothing: sigma >= 0, a share of time; without it the slope is infinite where nothing was visited.

    Source: Hazan et al. 2019, arXiv:1812.02690; the smoothing: Zhang et al. 2021, arXiv:2102.08607 (0.125).
    """
    return _relative("entropy", 0.0, mass, actions, smoothing)


def imitation(target: Parameter, *, mass: float, actions: int = 1, smoothing: float = 0.0) -> Utility:
    """-KL(d || target) = -sum d (log(d + smoothing) - log(target + smoothing)); arguments as in `entropy`.

    target: shares of time [S] (summed over `actions` > 1) or [S * A], or [P, ...] where policies have different ones.
    """
    goal = parameter("target", target, least=0) + smoothing
    if (goal == 0).any():
        raise ValueError("target is 0 somewhere, where its logarithm is infinite; give a positive smoothing")
    return _relative("imitation", goal.log(), mass, actions, smoothing)


def _relative(name: str, log_target: Parameter, mass: float, actions: int, smoothing: float) -> Utility:
    given = {
        "log_target": parameter("log_target", log_target),
        "mass": parameter("mass", mass, above=0),
        "smoothing": parameter("smoothing", smoothing, least=0),
    }
    if actions < 1:
        raise ValueError(f"actions must be at least 1, got {actions}")
    return Utility(name, partial(_negative_divergence, actions=actions), given, "visits > -smoothing * mass everywhere")


def _negative_divergence(
    returns: Tensor, log_target: Tensor, mass: Tensor, smoothing: Tensor, actions: int = 1
) -> Valued:
    d = returns.unflatten(-1, (-1, actions)).sum(-1) / mass
    above = d + smoothing
    slope = -(above.log() + d / above - log_target) / mass
    value = (d * log_target - torch.xlogy(d, above)).sum(-1)
    return Valued(value, slope.repeat_interleave(actions, -1))
