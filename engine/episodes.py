"""Whole trajectories: returns, importance weights and the coefficients of policy gradients, as pure functions.

Shapes: T steps of the longest episode, P policies, B trajectories each, c channels. A gradient is a mean over
trajectories of sum_t coefficient_t * score_t; everything here is about coefficients [T, P, B], `engine.scores` about
scores.
Notation: omega_h = prod_{k <= h} pi_e(a_k|s_k) / pi_b(a_k|s_k) weighs what the behaviour b did as if e had acted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tradeoff.engine.trajectories import Trajectories, fold
from tradeoff.envs.errors import NumericalTrouble

LARGEST_BLOCK = 2**22  # numbers in the largest intermediate of a centred baseline

Baseline = Literal["none", "mean", "optimal", "learned"]
Channels = Callable[[Trajectories], Tensor]
"""What is paid at each step [T, P, B, c]: the rewards and costs themselves, or anything computed from the record."""


class Episodes(NamedTuple):
    """Whole trajectories ready for gradients."""

    inputs: Tensor  # [P, T * B, i] what the networks saw
    action: Tensor  # [P, T * B, c]
    log_prob: Tensor  # [T, P, B] of the policy that acted [nats]
    paid: Tensor  # [T, P, B, c] channels discounted to the episode's first step, zero after its end
    alive: Tensor  # [T, P, B] bool, false after the end
    expected: Tensor | None = None  # [T, P, B, c] what a learned baseline takes off what follows, in the unit of `paid`


def occupancy_channels(states: int, actions: int) -> Channels:
    """A channel for every pair of state and action: its return is the discounted occupancy [states * actions].

    For observations that are the number of a state and actions that are one choice. A utility of the occupancy is
    then a utility of the returns, its gradient the shadow reward, and every method serves it unchanged.
    """

    def channels(data: Trajectories) -> Tensor:
        pair = data.observation[..., 0].long() * actions + data.action[..., 0].long()
        return torch.nn.functional.one_hot(pair, states * actions).float()

    return channels


def unfold(x: Tensor, steps: int) -> Tensor:
    """[P, T * B, ...] -> [T, P, B, ...], the inverse of `fold`."""
    return x.unflatten(1, (steps, -1)).movedim(1, 0)


def alive_steps(ended: Tensor) -> Tensor:
    """The steps [T, ...] of the first episode of each column, its last step included; ended: [T, ...] bool."""
    return ended.long().cumsum(0) - ended.long() == 0


def discounted(channels: Tensor, alive: Tensor, discount: float | Tensor) -> Tensor:
    """Channels [T, P, B, c] in units of the first step, zero where not alive [T, P, B]; a discount, or one each [c]."""
    clock = torch.arange(len(channels), dtype=channels.dtype, device=channels.device)
    return torch.where(alive.unsqueeze(-1), channels, 0.0) * (discount ** clock.unsqueeze(-1)).view(
        len(clock), 1, 1, -1
    )


def importance_weights(log_ratio: Tensor, alive: Tensor, whole: bool = False) -> Tensor:
    """omega [T, P, B] from log pi_e - log pi_b [T, P, B]; after the end of an episode it stays what it was.

    whole: every step gets the weight of its whole trajectory. Both are unbiased where a coefficient looks ahead only;
    the weight per step varies less. Nothing is clipped, which would bias: keep the two policies close instead.
    Raises: NumericalTrouble when a weight is not finite.
    """
    logs = torch.where(alive, log_ratio, 0.0).double().cumsum(0)
    weights = (logs[-1:].expand_as(logs) if whole else logs).exp().to(log_ratio.dtype)
    if not torch.isfinite(weights).all():
        raise NumericalTrouble(
            f"an importance weight over {len(logs)} steps has the logarithm {logs.nan_to_num(torch.inf).max():.4g}: "
            "the policies before and after a step differ too much; take shorter steps (radius, learning rate), more "
            "frequent checkpoints or a shorter horizon"
        )
    return weights


def effective_sample_size(weights: Tensor) -> Tensor:
    """(sum of weights)^2 / sum of squares [P], out of B equally useful trajectories; weights [P, B]."""
    return weights.sum(-1).square() / weights.square().sum(-1)


def returns(paid: Tensor, weights: Tensor | None = None) -> Tensor:
    """J of each trajectory [P, B, c], or J_omega with weights [T, P, B]; paid [T, P, B, c]."""
    return paid.sum(0) if weights is None else torch.einsum("tpbc,tpb->pbc", paid, weights)


def others_pay(paid: Tensor) -> Tensor:
    """What the other trajectories of the batch were paid at each step, in the mean; paid [T, P, B, ...], alike.

    In any sum with weights or scores, a level b_h independent of the trajectory has mean zero: E[1 - omega_h] = 0
    and E[omega_h score_t] = 0 for t <= h. Zero for a batch of one.
    """
    count = paid.shape[2]
    return torch.zeros_like(paid) if count == 1 else (paid.sum(2, keepdim=True) - paid) / (count - 1)


def centred(paid: Tensor) -> Tensor:
    """Each step's pay [T, P, B, c] less the mean of what the other trajectories were paid at that step.

    Under a baseline that looks at these in turn, the own pay would come back through the others': B / (B - 1) times the
    gradient. See `coefficients`.
    """
    return paid - others_pay(paid)


def mixed(paid: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum [T, P, B] of the channels [T, P, B, c] with weights [P, c]: the shadow reward."""
    return torch.einsum("tpbc,pc->tpb", paid, weights)


def coefficients(
    reward: Tensor,
    alive: Tensor,
    weights: Tensor | None = None,
    *,
    causal: bool = True,
    baseline: Baseline = "none",
    centre: bool = False,
    squares: Tensor | None = None,
    expected: Tensor | None = None,
) -> Tensor:
    """Coefficient of every score [T, P, B]: what is paid from the step on (GPOMDP), or in all (REINFORCE, not causal).

    Args:
        reward: [T, P, B] discounted and zero after the end; one channel or a mixture.
        alive: [T, P, B].
        weights: [T, P, B] omega where another policy acted. REINFORCE is unbiased with whole-trajectory weights only.
        baseline: subtracts what the other trajectories of the batch (never the own one: that would bias) were paid
            from this step on: their mean, or the level that minimises the sum over steps of E[|score|^2 (.)^2].
            Both are linear in the reward, so the baseline of a mixture is the mixture of the channels' baselines.
            "learned": takes off what was expected of the state, then the others' mean of what remains.
        centre: takes the others' mean pay at the same step off every reward, theirs included: all that a baseline sees
            is then measured from a level without the own trajectory. Under a baseline without weights nothing is left
            of it.
        squares: [T, P, B] squared norms of the scores, for the optimal baseline.
        expected: [T, P, B] for the learned one: any function of the state that this batch did not shape.
    """
    summed = _from_step_on if causal else _whole_sum
    level = torch.ones_like(reward) if weights is None else weights
    ahead, mass = summed(reward * level), alive.to(reward.dtype)
    others = others_pay(reward) if centre and (weights is not None or baseline == "none") else None
    if baseline == "optimal":
        if squares is None:
            raise ValueError("the optimal baseline needs the squared norms of the scores")
        mass = mass * squares
    if baseline == "learned":
        if expected is None:
            raise ValueError("the learned baseline needs to be told what was expected of each state")
        ahead = ahead - level * expected
    if baseline != "none":
        moved = None if others is None else _pay_by_others(mass * level, level, others, causal)
        ahead = ahead - level * others_level(ahead, level, mass, moved)
    return torch.where(alive, ahead if others is None else ahead - summed(others * level), 0.0)


def _from_step_on(x: Tensor) -> Tensor:
    return x.flip(0).cumsum(0).flip(0)


def _whole_sum(x: Tensor) -> Tensor:
    return x.sum(0).expand_as(x)


def others_level(ahead: Tensor, level: Tensor, mass: Tensor, moved: Tensor | None = None) -> Tensor:
    """The b of each trajectory that minimises sum mass (ahead - level b)^2 over the others of its batch [T, P, B].

    Zero where no other trajectory is left. moved: what is taken off the others' sums of mass level ahead.
    """
    above, below = mass * level * ahead, mass * level.square()
    above, rest = (x.sum(-1, keepdim=True) - x for x in (above, below))
    above = above if moved is None else above - moved
    known = rest > 1e-9 * below.amax(-1, keepdim=True)
    return torch.where(known, above / torch.where(known, rest, 1.0), 0.0)


def _pay_by_others(heavy: Tensor, weights: Tensor, pay: Tensor, causal: bool) -> Tensor:
    """sum_{j != i} heavy_j,t sum_{h >= t} weights_j,h pay_i,h [T, P, B]: each trajectory's pay by the others' weights.

    All [T, P, B]; not causal: the inner sum is over all h. The T x T products of heavy and weights come in blocks.
    """
    heavy, weights, pay = (x.movedim(0, 1) for x in (heavy, weights, pay))  # [P, T, B]
    steps, rows = heavy.shape[1], max(1, LARGEST_BLOCK // (heavy.shape[0] * heavy.shape[1]))
    found = []
    for first in range(0, steps, rows):
        product = heavy[:, first : first + rows] @ weights.mT
        found.append((product.triu(first) if causal else product) @ pay)
    own = heavy * (_from_step_on if causal else _whole_sum)((weights * pay).movedim(1, 0)).movedim(0, 1)
    return (torch.cat(found, 1) - own).movedim(1, 0)


def flat(coefficient: Tensor) -> Tensor:
    """Coefficients [T, P, B] of a mean over trajectories as coefficients [P, T * B] of a sum over samples."""
    return fold(coefficient) / coefficient.shape[-1]
