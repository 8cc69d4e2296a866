"""A trained policy, ready to act, and a model's shape as plain values for files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
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
from tradeoff.envs.native import NativeSpaces, native_spaces
from tradeoff.envs.protocol import EnvSpec

HEADS: dict[str, Any] = {"categorical": Categorical, "gaussian": Gaussian, "state-gaussian": StateGaussian}


@dataclass(kw_only=True, repr=False)
class Policy:
    """One policy that speaks the environment's own spaces, numpy in and numpy out.

    Files from before spaces were saved give policies that take flat numbers [d] or [n, d] and count choices from 0.
    """

    model: ActorCritic
    population: Population  # of one
    generator: Generator = field(default_factory=lambda: Generator().manual_seed(0))
    context: Tensor = field(default_factory=lambda: torch.zeros(0))  # [q] what it sees besides observations
    repeat: int = 1  # steps for which each of its actions is to be made

    @property
    def shape(self) -> str:
        """Its networks in a few words."""
        layers = " x ".join(map(str, self.model.hidden))
        return f"{type(self.model.head).__name__} actions, hidden layers {layers}"

    def __repr__(self) -> str:
        more = [f"given {self.context.tolist()}"] if self.context.numel() else []
        more += [f"each action made {self.repeat} times"] if self.repeat > 1 else []
        return f"{type(self).__name__}({'; '.join([self.shape, *more])})"

    @torch.no_grad()
    def __call__(self, observation: Any, deterministic: bool = True) -> Any:
        """Action for one observation, or actions for several.

        Args:
            observation: an element of the environment's observation space, or n of them stacked, so that every array
                has n in front: for a Dict space a dictionary of arrays [n, ...], for a Tuple a tuple of them.
            deterministic: the mode of the distribution instead of a sample.

        Returns: an element of the action space, or an array [n, ...] of n; fractions inside its bounds, in its dtype.

        Raises: TradeoffError for observations that are not of the space: other keys, shapes or choices.
        """
        native = self.model.native
        numbers, single = _flat_rows(observation) if native is None else native.rows(observation)
        device = self.population.theta.device
        rows = torch.as_tensor(numbers, device=device).unsqueeze(0)
        by = standard(self.population.observations)
        inputs = self.model.inputs(rows, by, self.context.to(device).expand(*rows.shape[:2], -1))
        out, extra = self.model.outputs(self.model.actor(self.population.theta), inputs)
        head = self.model.head
        noise = None if deterministic else head.noise(tuple(out.shape[:2]), self.generator)
        action = head.mode(out, extra) if noise is None else head.sample(out, extra, noise.to(device))
        found: NDArray[Any] = head.to_env(action[0]).cpu().numpy()
        if native is not None:
            return native.actions(found, single)
        return found[0] if single else found


def few(texts: list[str], most: int = 6) -> list[str]:
    """At most so many of them, and how many are left."""
    return texts if len(texts) <= most else [*texts[:most], f"and {len(texts) - most} more"]


def _flat_rows(observation: ArrayLike) -> tuple[NDArray[Any], bool]:
    """Numbers [n, d] of one flat observation [d] or several [n, d], and whether it was one."""
    seen = np.asarray(observation)
    single = seen.ndim <= 1
    return seen.reshape(1 if single else len(seen), -1), single


def speaking(model: ActorCritic, spec: EnvSpec) -> ActorCritic:
    """The model of policies that speak an environment's own spaces."""
    return replace(model, native=native_spaces(spec))


def model_state(model: ActorCritic) -> dict[str, Any]:
    """A model's shape as plain values."""
    kind = next(name for name, head in HEADS.items() if isinstance(model.head, head))
    return {
        "features": asdict(model.features), "head": {"kind": kind, **asdict(model.head)},  # type: ignore[call-overload]
        "channels": model.channels, "hidden": list(model.hidden), "context": model.context,
        "activation": model.activation, "native": model.native and model.native.state_dict(),
    }  # fmt: skip


def model_from_state(state: dict[str, Any]) -> ActorCritic:
    """The inverse of `model_state`."""
    features, head = (_with_tuples(state[part]) for part in ("features", "head"))
    made: Head = HEADS[head.pop("kind")](**head)
    rest = state["context"], state.get("activation", "tanh")  # files from before there was a choice
    native = state.get("native") and NativeSpaces.from_state(state["native"])  # and from before spaces were saved
    return ActorCritic(Features(**features), made, state["channels"], tuple(state["hidden"]), *rest, native)


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in values.items()}
