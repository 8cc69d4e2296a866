"""Updates: how parameters move along a gradient. All climb, all treat each policy of the population by itself.

theta and gradient are [P, G, D]: P policies, each made of G networks (actor, critic) of D parameters. Norms are taken
per policy, over its G * D numbers. `step` moves theta in place; state is tensors only, so that it can be saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

State = dict[str, Any]  # tensors, or states in turn
TINY = torch.finfo(torch.float32).tiny  # keeps a zero gradient from being divided by zero, whatever its unit


class Update(Protocol):
    """What a rule for steps must offer."""

    def init(self, theta: Tensor) -> State:
        """Fresh state for parameters of this shape."""
        ...

    def step(self, theta: Tensor, gradient: Tensor, state: State, rate: float) -> None:
        """Move theta uphill in place; `rate` multiplies the step (learning-rate schedules)."""
        ...


def norms(gradient: Tensor) -> Tensor:
    """Euclidean norm per policy [P, 1, 1]."""
    return torch.linalg.vector_norm(gradient, dim=(-2, -1), keepdim=True)


def clip_norm(gradient: Tensor, largest: float) -> Tensor:
    """Shorten the gradients of those policies whose norm exceeds `largest`."""
    return gradient / (norms(gradient) / largest).clamp_(min=1.0)


@dataclass(frozen=True)
class SGD:
    """theta + lr * g."""

    learning_rate: float

    def init(self, theta: Tensor) -> State:
        """No state."""
        return {}

    def step(self, theta: Tensor, gradient: Tensor, state: State, rate: float = 1.0) -> None:
        """See Update.step."""
        theta.add_(gradient, alpha=self.learning_rate * rate)


@dataclass(frozen=True)
class Normalised:
    """theta + lr * g / |g|. Source: Cutkosky and Mehta 2020, arXiv:2002.03305, without its momentum."""

    learning_rate: float

    def init(self, theta: Tensor) -> State:
        """No state."""
        return {}

    def step(self, theta: Tensor, gradient: Tensor, state: State, rate: float = 1.0) -> None:
        """See Update.step."""
        theta.add_(gradient / norms(gradient).clamp_min(TINY), alpha=self.learning_rate * rate)


@dataclass(frozen=True)
class Truncated:
    """theta + lr * g, the step never longer than `radius`. Source: Zhang et al. 2021, arXiv:2102.08607 (TSIVR-PG)."""

    learning_rate: float
    radius: float

    def init(self, theta: Tensor) -> State:
        """No state."""
        return {}

    def step(self, theta: Tensor, gradient: Tensor, state: State, rate: float = 1.0) -> None:
        """See Update.step."""
        move = gradient * (self.learning_rate * rate)
        theta.add_(move * (self.radius / norms(move).clamp_min(TINY)).clamp_(max=1.0))


@dataclass(frozen=True)
class Adam:
    """Adam with bias correction, as one fused kernel over the whole population. Source: Kingma and Ba 2015."""

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-5  # 1e-8 elsewhere; on-policy RL uses the larger value

    def init(self, theta: Tensor) -> State:
        """First and second moments, and the number of steps."""
        m, v = (torch.zeros_like(theta, memory_format=torch.contiguous_format) for _ in range(2))
        return {"m": m, "v": v, "steps": torch.zeros((), device=theta.device)}

    def step(self, theta: Tensor, gradient: Tensor, state: State, rate: float = 1.0) -> None:
        """See Update.step."""
        state["steps"].add_(1)
        dense = theta.contiguous()  # the kernel does not look at strides: a slice would move its neighbours
        torch._fused_adam_(
            [dense], [gradient.contiguous()], [state["m"]], [state["v"]], [], [state["steps"]],
            lr=self.learning_rate * rate, beta1=self.beta1, beta2=self.beta2, eps=self.eps,
            weight_decay=0.0, amsgrad=False, maximize=True,
        )  # fmt: skip
        if dense is not theta:
            theta.copy_(dense)


@dataclass(frozen=True)
class Unitless:
    """Another update, of gradients divided by the length of a policy's first one that is not zero.

    What an update adds to a gradient (Adam's eps) is then a share of that length, whatever the unit of what is climbed.
    """

    update: Update

    def init(self, theta: Tensor) -> State:
        """The update's own state, and the lengths [P, 1, 1]; 0 as long as there was none."""
        return {"inner": self.update.init(theta), "unit": theta.new_zeros(len(theta), 1, 1)}

    def step(self, theta: Tensor, gradient: Tensor, state: State, rate: float = 1.0) -> None:
        """See Update.step."""
        if "unit" not in state:  # of a checkpoint of earlier versions
            return self.update.step(theta, gradient, state, rate)
        state["unit"] = torch.where(state["unit"] > 0, state["unit"], norms(gradient))
        self.update.step(theta, gradient / state["unit"].clamp_min(TINY), state["inner"], rate)


@dataclass(frozen=True)
class Scheduled:
    """Another update whose step at turn t = 0, 1, ... is multiplied by (2 / (t + 2))^power."""

    update: Update
    power: float

    def init(self, theta: Tensor) -> State:
        """The update's own state, and the number of steps."""
        return {"inner": self.update.init(theta), "steps": 0}

    def step(self, theta: Tensor, gradient: Tensor, state: State, rate: float = 1.0) -> None:
        """See Update.step."""
        self.update.step(theta, gradient, state["inner"], rate * (2 / (state["steps"] + 2)) ** self.power)
        state["steps"] += 1


@dataclass(frozen=True)
class Polyak:
    """theta + g * min((target - value) / (scale |g|^2), largest); no step where the target is not above the value.

    `value` [P] in the state is the estimate of what is climbed, f(J) for a utility f, written there before every step.
    The target is the known optimum, or else the best value that a policy's twin has shown (policies 2 i and 2 i + 1 are
    twins), plus `margin`. Without a margin the better of two twins waits until the other one has overtaken it.
    Source: Li et al. 2024, arXiv:2404.07525; the margin is the target level of Nedic and Bertsekas 2001.
    """

    largest: float  # gamma_b: longest multiple of the gradient
    scale: float = 1.0  # c; noise makes |g|^2 too large, a smaller c makes up for it
    optimum: float | None = None  # None: unknown, twins estimate it
    margin: float = 0.0  # added to what the twin has shown [unit of the value]

    def init(self, theta: Tensor) -> State:
        """The value, and the best one so far. Raises ValueError when twins are wanted and a policy has none."""
        if self.optimum is None and len(theta) % 2:
            raise ValueError(f"{len(theta)} policies do not make pairs; give an even number, or the optimum")
        return {name: theta.new_full((len(theta),), -torch.inf) for name in ("value", "best")}

    def step(self, theta: Tensor, gradient: Tensor, state: State, rate: float = 1.0) -> None:
        """See Update.step."""
        value = state["value"]
        state["best"] = torch.maximum(state["best"], value)
        twins = state["best"].view(-1, 2).flip(1).flatten() + self.margin if self.optimum is None else self.optimum
        gap = (twins - value).clamp(min=0.0).view(-1, 1, 1)
        step = (gap / (self.scale * norms(gradient).square()).clamp_min(TINY)).clamp_(max=self.largest)
        theta.add_(gradient * step, alpha=rate)
