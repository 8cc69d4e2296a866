"""Settings of the soft actor-critic, see `tradeoff.engine.soft`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tradeoff.engine.numbers import check_numbers
from tradeoff.engine.unread import refuse_unread

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class SoftConfig:
    """Soft actor-critic; the defaults suit continuous control."""

    rollout_steps: int = 16  # steps per environment and iteration
    environments: int = 4  # environments per policy
    updates: float = 1.0  # of the critics, per step and policy
    actor_every: int = 1  # updates of the critics per update of the actor
    batch: int = 256  # samples per update
    warmup: int = 5000  # steps per policy before the first update
    capacity: int = 1_000_000  # steps per policy that the replay remembers
    learning_rate: float = 3e-4  # of actors and critics
    gamma: float = 0.99  # discount of the critics
    polyak: float = 0.005  # share of the critics that enters the target networks at every update
    members: int = 2  # critics per policy
    temperature: float = 1.0  # first price of a nat of entropy [reward / nat]
    temperature_rate: float = 3e-4  # learning rate of its logarithm; 0 keeps it
    entropy: float = -1.0  # entropy aimed at where actions are numbers [nats per number]
    choice_entropy: float = 0.2  # entropy aimed at where actions are choices [share of log A, that of equal chances]
    hidden: tuple[int, ...] = (256, 256)  # units per hidden layer
    normalise: bool = True  # normalise observations (those that are numbers) by their running moments
    precision: Precision = "float32"  # of the hidden layers; parameters, values and sums are float32 always

    def __post_init__(self) -> None:
        check_numbers(self)
        for name in ("rollout_steps", "environments", "actor_every", "batch", "warmup", "capacity", "members"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("updates", "learning_rate", "temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.temperature_rate < 0:
            raise ValueError(f"temperature_rate must not be negative, got {self.temperature_rate}")
        if self.temperature_rate == 0:
            why = "temperature_rate 0 keeps the temperature, so no entropy is aimed at"
            refuse_unread(self, ["entropy", "choice_entropy"], why)
        for name in ("gamma", "polyak", "choice_entropy"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must name at least one layer of at least one unit, got {self.hidden}")
        if max(self.rollout_steps * self.environments, self.warmup) > self.capacity:
            raise ValueError(
                f"capacity {self.capacity} holds neither less than warmup {self.warmup} nor than an iteration's "
                f"{self.rollout_steps} steps x {self.environments} environments"
            )
