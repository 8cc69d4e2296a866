"""The common part of environments that stand around another one and remember nothing themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tradeoff.envs.protocol import EnvSpec, Step, VectorEnv


class Around(ABC):
    """A VectorEnv whose seeds, resets and saved state are those of the environment inside; a subclass says what a step
    is, and sets `spec`.
    """

    spec: EnvSpec

    def __init__(self, env: VectorEnv) -> None:
        self.env, self.num_envs, self.device, self.exact_state = env, env.num_envs, env.device, env.exact_state
        if hasattr(env, "restart"):  # only some can break off single episodes
            self.restart = env.restart

    @abstractmethod
    def step(self, action: Tensor) -> Step:
        """See VectorEnv.step."""

    def reset(self, seed: int | Sequence[int] | None = None) -> Tensor:
        """See VectorEnv.reset."""
        return self.env.reset(seed)

    def state_dict(self) -> dict[str, Any]:
        """See VectorEnv.state_dict."""
        return self.env.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See VectorEnv.load_state_dict."""
        self.env.load_state_dict(state)

    def close(self) -> None:
        """See VectorEnv.close."""
        self.env.close()
