"""Return and advantage estimators: pure functions over time, any number of batch axes, one column per channel.

Shapes: reward, value, next_value [T, ..., c]; terminated, truncated [T, ...]. `next_value[t]` is the critic at the true
successor of step t (the final observation where an episode ended), so time limits bootstrap and terminations do not.
"""

from __future__ import annotations

import torch
from torch import Tensor


def scan(x: Tensor, decay: Tensor) -> Tensor:
    """Solve y[t] = x[t] + decay[t] * y[t + 1] with y[T] = 0, in log2(T) passes over whole tensors.

    x: [T, ...]; decay: broadcastable to x. Returns [T, ...]. Every return estimator below is one call of this.
    """
    y, decay = x.clone(), decay.expand_as(x).clone()
    span = 1
    while span < len(x):
        y[:-span] += decay[:-span] * y[span:]
        decay[:-span] = decay[:-span] * decay[span:]
        decay[-span:] = 0.0
        span *= 2
    return y


def gae(
    reward: Tensor, value: Tensor, next_value: Tensor, terminated: Tensor, truncated: Tensor, gamma: float, lam: float
) -> Tensor:
    """Generalised advantage estimate per channel [T, ..., c].

    Terminated: no value beyond. Truncated: bootstrap from next_value, then cut the recursion.
    Source: Schulman et al. 2016, arXiv:1506.02438, eq. 16.
    """
    _check(reward, value, next_value, terminated, truncated)
    going_on = (~terminated).unsqueeze(-1)
    delta = reward + gamma * next_value * going_on - value
    return scan(delta, gamma * lam * (going_on & ~truncated.unsqueeze(-1)).to(delta.dtype))


def discounted_returns(
    reward: Tensor, next_value: Tensor, terminated: Tensor, truncated: Tensor, gamma: float
) -> Tensor:
    """Discounted sum of rewards to the end of the episode per channel [T, ..., c], bootstrapped where it was cut.

    The identity it is built on: GAE with lambda = 1 and a zero baseline, the values of cut ends kept.
    """
    cut = truncated.clone()
    cut[-1] = True
    bootstrap = next_value * cut.unsqueeze(-1)
    return gae(reward, torch.zeros_like(reward), bootstrap, terminated, cut & ~terminated, gamma, 1.0)


def n_step_returns(
    reward: Tensor, next_value: Tensor, terminated: Tensor, truncated: Tensor, gamma: float, n: int
) -> Tensor:
    """Sum of up to n discounted rewards, then the critic, per channel [T, ..., c]; shorter at ends of episodes.

    n = 1 is the one-step target, n >= T equals `discounted_returns`.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    ended = (terminated | truncated).unsqueeze(-1)
    one_step = reward + gamma * next_value * (~terminated).unsqueeze(-1)
    target = one_step
    for _ in range(n - 1):
        later = torch.where(ended[:-1], one_step[:-1], reward[:-1] + gamma * target[1:])
        target = torch.cat([later, one_step[-1:]])
    return target


def accrued(x: Tensor, start: Tensor, carry: Tensor) -> Tensor:
    """Running sum of x [T, ..., c] since the start of each episode, this step included.

    start: [T, ...] true where an episode begins; carry: [..., c] what had been accrued before step 0.
    """
    going_on = (~start).unsqueeze(-1).to(x.dtype)
    first = x[:1] + going_on[:1] * carry
    back = torch.cat([first, x[1:]]).flip(0)
    return scan(back, going_on.flip(0)).flip(0)


def _check(reward: Tensor, value: Tensor, next_value: Tensor, terminated: Tensor, truncated: Tensor) -> None:
    if (
        not reward.shape == value.shape == next_value.shape
        or not terminated.shape == truncated.shape == reward.shape[:-1]
    ):
        raise ValueError(
            f"reward {tuple(reward.shape)}, value {tuple(value.shape)} and next_value {tuple(next_value.shape)} agree, "
            f"terminated {tuple(terminated.shape)} and truncated {tuple(truncated.shape)} lack only their last axis"
        )
