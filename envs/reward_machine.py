"""Rewards that depend on what happened before: a finite automaton that reads events and pays.

The pair of environment state and automaton state is a Markov decision process again, and the automaton's state is part
of the observation. Source: Toro Icarte et al. 2018, ICML (reward machines).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from tradeoff.envs.augmented import Augmented, break_off
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.finite import FiniteModel
from tradeoff.envs.protocol import Step, VectorEnv
from tradeoff.envs.tabular import finite_arrays

Label = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(observation [N, d], action [N, ...], true successor [N, d]) -> event [N] int64; observations as the environment
inside shows them."""


@dataclass(frozen=True)
class RewardMachine:
    """U automaton states, L events. It starts in state 0; an episode is over when it enters a state that ends."""

    following: Tensor  # [U, L] int64, the state after each event
    paid: Tensor  # [U, L, r] what each of r channels is paid for an event
    ends: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))  # [U] bool; empty: none ends

    def __post_init__(self) -> None:
        if self.following.ndim != 2 or self.paid.shape[:2] != self.following.shape or self.paid.ndim != 3:
            raise ValueError(
                f"following is {tuple(self.following.shape)} and paid {tuple(self.paid.shape)}; expected [U, L] "
                "and [U, L, r]"
            )
        states = len(self.following)
        if self.following.min() < 0 or self.following.max() >= states:
            raise ValueError(f"following leads to states outside of 0 to {states - 1}")
        if self.ends.numel() == 0:
            object.__setattr__(self, "ends", torch.zeros(states, dtype=torch.bool))
        if self.ends.shape != (states,):
            raise ValueError(f"ends has shape {tuple(self.ends.shape)}; expected ({states},), one flag per state")


def reward_machine(following: ArrayLike, paid: ArrayLike, ends: Sequence[int] = ()) -> RewardMachine:
    """A machine from nested lists: following [U, L], paid [U, L] or [U, L, r], numbers of the states that end."""
    pay = torch.as_tensor(np.asarray(paid), dtype=torch.float32)
    after = torch.as_tensor(np.asarray(following), dtype=torch.int64)
    over = torch.zeros(len(after), dtype=torch.bool)
    over[list(ends)] = True
    return RewardMachine(after, pay.unsqueeze(-1) if pay.ndim == 2 else pay, over)


class MachineReward(Augmented):
    """A VectorEnv that pays what a reward machine pays, then every original reward.

    Observations end with the machine's state, one-hot.
    """

    def __init__(
        self, env: VectorEnv, machine: RewardMachine, label: Label, *, names: Sequence[str] = ("machine",)
    ) -> None:
        """names: of the machine's r channels.

        Raises: TradeoffError for names that do not fit, and for a machine that ends episodes around an environment
        that cannot begin single ones anew.
        """
        if len(names) != machine.paid.shape[2]:
            raise TradeoffError(f"names are {tuple(names)}, the machine pays {machine.paid.shape[2]} channels")
        if machine.ends.any() and not hasattr(env, "restart"):
            raise TradeoffError(
                f"{env.spec.id} cannot break off single episodes; let the machine wait in a state that pays nothing"
            )
        put = lambda x: x.to(env.device)  # noqa: E731
        self.machine = RewardMachine(put(machine.following), put(machine.paid), put(machine.ends))
        self.label = label
        super().__init__(env, (*names, *env.spec.objectives), len(machine.following), env.spec.discount)

    def begin(self) -> Tensor:
        """See Augmented.begin: state 0."""
        return torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)

    def shown(self, memory: Tensor) -> Tensor:
        """See Augmented.shown."""
        return torch.nn.functional.one_hot(memory, len(self.machine.following))

    def advance(self, action: Tensor, step: Step) -> tuple[Tensor, Step]:
        """See Augmented.advance. Raises TradeoffError for an event that the machine does not know."""
        event = self._checked(self.label(self.seen, action, step.final_observation))
        after = self.machine.following[self.memory, event]
        reward = torch.cat([self.machine.paid[self.memory, event], step.reward], -1)
        step = step._replace(reward=reward)
        over = self.machine.ends[after]
        return after, break_off(self.env, step, over) if over.any() else step

    def _checked(self, event: Tensor) -> Tensor:
        events = self.machine.following.shape[1]
        if event.shape != (self.num_envs,) or event.dtype != torch.int64:
            raise TradeoffError(f"label answers {event.dtype} {tuple(event.shape)}; expected int64 ({self.num_envs},)")
        if event.min() < 0 or event.max() >= events:
            raise TradeoffError(f"label answers events from {event.min()} to {event.max()}; expected 0 to {events - 1}")
        return event


def machine_model(model: FiniteModel, machine: RewardMachine, labels: ArrayLike) -> FiniteModel:
    """The product as arrays, for exact solutions: state s * U + u, channels as MachineReward pays them.

    labels: [S, A, S] whole numbers, the event of each transition.
    """
    events, (states, actions, _), size = np.asarray(labels), model.transition.shape, len(machine.following)
    after, paid = machine.following.cpu().numpy(), machine.paid.cpu().numpy().astype(np.float64)
    transition = np.zeros((states, size, actions, states, size))
    reward = np.zeros((states, size, actions, paid.shape[2]))
    rows = np.indices((states, actions, states))
    for u in range(size):
        transition[rows[0], u, rows[1], rows[2], after[u, events]] = model.transition
        reward[:, u] = np.einsum("sat,satr->sar", model.transition, paid[u, events])
    spread = lambda x: np.repeat(x, size, axis=0)  # noqa: E731  [S, ...] -> [S * U, ...]
    return finite_arrays(
        transition.reshape(states * size, actions, -1),
        np.concatenate([reward.reshape(states * size, actions, -1), spread(model.reward)], -1),
        cost=spread(model.cost),
        start=(model.start[:, None] * (np.arange(size) == 0)).ravel(),
        terminal=(model.terminal[:, None] | machine.ends.cpu().numpy()).ravel(),
        horizon=model.horizon,
    )
