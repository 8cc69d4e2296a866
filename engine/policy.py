"""A trained policy, ready to act, and a model's shape as plain values for files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.features import Features
from tradeoff.engine.heads import Categorical, Gaussian, Head
from tradeoff.engine.normalisers import standard
from tradeoff.engine.population import Population
from tradeoff.engine.soft_head import StateGaussian

HEADS: dict[str, Any] = {"categorical": Categorical, "gaussian": Gaussian, "state-gaussian": StateGaussian}


@dataclass(kw_only=True)
class Policy:
    """One policy, numpy in and numpy out."""

    model: ActorCritic
    population: Population  # of one
    generator: Generator = field(default_factory=lambda: Generator().manual_seed(0))
    context: Tensor = field(default_factory=lambda: torch.zeros(0))  # [q] what it sees besides observations
    repeat: int = 1  # steps for which each of its actions is to be made

    @torch.no_grad()
    def __call__(self, observation: ArrayLike, deterministic: bool = True) -> NDArray[Any]:
        """Action for one observation [d], or actions for several [n, d]; as the environment wants them."""
        seen = torch.as_tensor(np.asarray(observation))
        single = seen.ndim <= 1
        rows = seen.reshape(1, 1 if single else len(seen), -1)
        by = standard(self.population.observations)
        inputs = self.model.inputs(rows, by, self.context.expand(*rows.shape[:2], -1))
        out, extra = self.model.outputs(self.model.actor(self.population.theta), inputs)
        head = self.model.head
        noise = None if deterministic else head.noise(tuple(out.shape[:2]), self.generator)
        action = head.mode(out, extra) if noise is None else head.sample(out, extra, noise)
        found: NDArray[Any] = head.to_env(action[0]).numpy()
        return found[0] if single else found


def model_state(model: ActorCritic) -> dict[str, Any]:
    """A model's shape as plain values."""
    kind = next(name for name, head in HEADS.items() if isinstance(model.head, head))
    return {
        "features": asdict(model.features), "head": {"kind": kind, **asdict(model.head)},  # type: ignore[call-overload]
        "channels": model.channels, "hidden": list(model.hidden), "context": model.context,
        "activation": model.activation,
    }  # fmt: skip


def model_from_state(state: dict[str, Any]) -> ActorCritic:
    """The inverse of `model_state`."""
    features, head = (_with_tuples(state[part]) for part in ("features", "head"))
    made: Head = HEADS[head.pop("kind")](**head)
    rest = state["context"], state.get("activation", "tanh")  # files from before there was a choice
    return ActorCritic(Features(**features), made, state["channels"], tuple(state["hidden"]), *rest)


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in values.items()}
