"""The records that every part of the engine reads. Axes: time T, policies P, environments B per policy, vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Generator, Tensor


class Trajectories(NamedTuple):
    """T steps of P policies in B environments each; rollouts, replay and offline data all look like this."""

    observation: Tensor  # [T, P, B, d]
    action: Tensor  # [T, P, B, c] as the distribution's head made it
    log_prob: Tensor  # [T, P, B] of the action under the policy that acted [nats]
    reward: Tensor  # [T, P, B, m]
    cost: Tensor  # [T, P, B, k]
    terminated: Tensor  # [T, P, B] bool
    truncated: Tensor  # [T, P, B] bool
    next_observation: Tensor  # [T, P, B, d] true successor, the final observation where an episode ended
    start: Tensor  # [T, P, B] bool, the first step of an episode
    context: Tensor  # [T, P, B, q] what else the policy saw: preference, accrued reward; q may be 0

    @property
    def channels(self) -> Tensor:
        """Rewards, then costs: [T, P, B, m + k]."""
        return torch.cat([self.reward, self.cost], -1)

    @property
    def ended(self) -> Tensor:
        """[T, P, B] bool, the last step of an episode."""
        return self.terminated | self.truncated


class Batch(NamedTuple):
    """Samples ready for gradients, policies first, time and environments folded into n samples."""

    inputs: Tensor  # [P, n, i] what the networks see
    action: Tensor  # [P, n, c]
    log_prob: Tensor  # [P, n] of the behaviour [nats]
    advantages: Tensor  # [P, n, m + k] one per channel, in the channel's unit
    advantage: Tensor  # [P, n] weighted by the scalarizer's weights
    target: Tensor  # [P, n, m + k] for the critic, in its normalised unit


def fold(x: Tensor) -> Tensor:
    """[T, P, B, ...] -> [P, T * B, ...]."""
    return x.movedim(1, 0).flatten(1, 2)


def minibatches(batch: Batch, epochs: int, count: int, generator: Generator) -> Iterator[Batch]:
    """Shuffle the samples anew in each epoch and cut them into `count` equal parts (a remainder is left out).

    All policies share the permutation: one gather per field and epoch, and the parts are views of it.
    """
    if epochs == count == 1:
        yield batch
        return
    n = batch.log_prob.shape[1]
    for _ in range(epochs):
        order = torch.randperm(n, generator=generator, device=generator.device)[: n - n % count]
        parts = [field.index_select(1, order).unflatten(1, (count, -1)).unbind(1) for field in batch]
        yield from map(Batch._make, zip(*parts, strict=True))
