"""What every environment of the toolkit looks like: N copies that step at once, on tensors.

Words and shapes: N environments, m objectives (maximised), k costs (kept at or below a limit), d observation numbers.
`terminated` means the task ended; `truncated` means the clock ran out. They stay apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from gymnasium import spaces
from torch import Tensor, device

from tradeoff.envs.native import NativeSpaces


class Step(NamedTuple):
    """What one call of `VectorEnv.step` returns.

    An environment whose episode ended is reset in the same call: `observation` already belongs to its next episode,
    `final_observation` is what the last action really led to. There is no reset transition to train on.
    The tensors are the caller's to keep: an environment never writes into them again.
    """

    observation: Tensor  # [N, d] to act on next
    reward: Tensor  # [N, m] one column per objective
    cost: Tensor  # [N, k] one column per cost
    terminated: Tensor  # [N] bool, the task ended: no value beyond
    truncated: Tensor  # [N] bool, the clock ran out: bootstrap from final_observation; never true where terminated is
    final_observation: Tensor  # [N, d] true successor; the same object as `observation` when no episode ended


@dataclass(frozen=True, kw_only=True)
class EnvSpec:
    """What is known about an environment before it runs."""

    id: str
    observation_space: spaces.Space[
        Any
    ]  # of one environment, as the tensors show it (Dict comes flat, MultiDiscrete from 0)
    action_space: spaces.Space[Any]  # Discrete, MultiDiscrete or Box, of one environment
    objectives: tuple[str, ...]  # m names, in the order of the reward's columns
    near: tuple[int, ...] = ()  # which numbers of an observation say how near something is: 0 far away, 1 where it is
    costs: tuple[str, ...] = ()  # k names, in the order of the cost's columns
    limits: tuple[float, ...] = ()  # cost limits per episode, one per cost where the task defines them
    ceilings: tuple[float, ...] = ()  # largest cost of a step, one per cost; costs are then at least 0; empty: unknown
    horizon: int | None = None  # steps after which an episode is truncated; None: never
    discount: float = 0.99  # the literature's choice for scores
    reference_point: tuple[float, ...] | None = None  # the literature's hypervolume reference, one per objective
    repeat: int = 1  # real steps that one step makes
    native: NativeSpaces | None = None  # the environment's own spaces, where they are others than these two
    backend: str = "torch"  # who computes the dynamics: torch, mujoco-threads, gymnasium-sync, gymnasium-async


@runtime_checkable
class VectorEnv(Protocol):
    """N environments of one kind. Environment i depends on its own seed only, never on N or on its neighbours."""

    spec: EnvSpec
    num_envs: int
    device: device
    exact_state: bool  # True: state_dict holds everything; False: a checkpoint must fall on a reset

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        """Start N new episodes and return observations [N, d].

        seed: one int s gives environment i the seed s + i; a sequence gives each its own; None goes on with the
        generators as they are (seeded from 0 at construction unless the constructor was told otherwise).
        """
        ...

    def step(self, action: Tensor) -> Step:
        """Advance all environments. action: [N] int64 (Discrete), [N, c] int64 (MultiDiscrete), [N, a] float (Box)."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything a later `load_state_dict` needs to go on bit for bit: tensors and plain Python values only."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`'s answer; the next step is the one the saved environment would have made."""
        ...

    def close(self) -> None:
        """Give back processes, threads and memory."""
        ...
