"""Rules on gradients as settings of a method: each answers weights on m objectives from K and the returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Generator, Tensor

from tradeoff.morl.dynamic_weights import floored, influence_step
from tradeoff.morl.exact_pareto import exact_pareto
from tradeoff.morl.gradient_rules import cagrad, mgda, nash, pcgrad, random_order, with_unit_gradients, without_silent

Memory = dict[str, Tensor]


class GradientRule(Protocol):
    """What a rule must offer. Frozen settings; whatever it remembers is in the memory it is handed."""

    name: ClassVar[str]

    def weights(self, k: Tensor, returns: Tensor, memory: Memory) -> Tensor:
        """Weights [P, m] for K [P, m, m] and returns [P, m], NaN where unknown."""
        ...


@dataclass(frozen=True, kw_only=True)
class MGDA:
    """The shortest convex sum of the objectives' gradients, along which each of them rises.

    Source: Desideri 2012, Comptes Rendus Mathematique 350.
    """

    name: ClassVar[str] = "mgda"

    unit: bool = True  # bring gradients to length 1 first, so that no unit of reward decides

    def weights(self, k: Tensor, returns: Tensor, memory: Memory) -> Tensor:
        """See GradientRule.weights."""
        return with_unit_gradients(mgda)(k) if self.unit else mgda(without_silent(k))


@dataclass(frozen=True, kw_only=True)
class PCGrad:
    """The sum of the objectives' gradients, each less its part against the others, met in random order.

    Source: Yu et al. 2020, arXiv:2001.06782.
    """

    name: ClassVar[str] = "pcgrad"

    unit: bool = True  # bring gradients to length 1 first, so that no unit of reward decides

    def weights(self, k: Tensor, returns: Tensor, memory: Memory) -> Tensor:
        """See GradientRule.weights; the order is drawn from the number of the step."""
        memory["turn"] = memory.get("turn", torch.zeros((), dtype=torch.int64)) + 1
        order = random_order(k.shape[1], Generator().manual_seed(int(memory["turn"])))
        ordered = lambda gram: pcgrad(gram, order)  # noqa: E731
        return (with_unit_gradients(ordered) if self.unit else ordered)(k)


@dataclass(frozen=True, kw_only=True)
class CAGrad:
    """Near the mean gradient, what raises the worst-served objective most.

    Source: Liu et al. 2021, arXiv:2110.14048.
    """

    name: ClassVar[str] = "cagrad"

    unit: bool = True  # bring gradients to length 1 first, so that no unit of reward decides
    reach: float = 0.5  # how far from the mean gradient, in its lengths, in [0, 1)

    def __post_init__(self) -> None:
        if not 0 <= self.reach < 1:
            raise ValueError(f"reach must lie in [0, 1), got {self.reach}")

    def weights(self, k: Tensor, returns: Tensor, memory: Memory) -> Tensor:
        """See GradientRule.weights."""
        near = lambda gram: cagrad(gram, self.reach)  # noqa: E731
        return (with_unit_gradients(near) if self.unit else near)(k)


@dataclass(frozen=True, kw_only=True)
class NashMTL:
    """The bargain that maximises the product of the objectives' gains, whatever their units.

    Source: Navon et al. 2022, arXiv:2202.01017.
    """

    name: ClassVar[str] = "nash-mtl"

    def weights(self, k: Tensor, returns: Tensor, memory: Memory) -> Tensor:
        """See GradientRule.weights."""
        return nash(k)


@dataclass(frozen=True, kw_only=True)
class EPO:
    """Exact Pareto search: the point of the front on the ray from a reference.

    Source: Mahapatra and Rajan 2020, ICML.
    """

    name: ClassVar[str] = "epo"

    ray: tuple[float, ...] = (1.0,)  # wanted gains, to scale, one for all objectives or one each
    reference: tuple[float, ...] | None = None  # returns that gains are counted from; None: the environment's reference
    balanced: float = 1e-3  # divergence from the ray that counts as none [nat]

    def __post_init__(self) -> None:
        if not (self.ray and all(0 < x < float("inf") for x in self.ray)):
            raise ValueError(f"ray must hold positive finite numbers, got {self.ray}")
        if not self.balanced > 0:
            raise ValueError(f"balanced must be positive, got {self.balanced}")

    def gains(self, returns: Tensor) -> Tensor:
        """Returns [P, m] less the reference."""
        return returns - torch.tensor(self.reference or (0.0,)).to(returns)

    def weights(self, k: Tensor, returns: Tensor, memory: Memory) -> Tensor:
        """See GradientRule.weights; unknown returns count as no gain."""
        gains = self.gains(returns).nan_to_num(0.0)
        return exact_pareto(k, gains, torch.tensor(self.ray).expand(k.shape[1]), balanced=self.balanced)


@dataclass(frozen=True, kw_only=True)
class Influence:
    """Weights that grow with how much an objective's gradient raises the sum of all of them.

    Source: Lu et al. 2025, arXiv:2509.11452, with gradients of length 1, and a floor against the collapse to one.
    """

    name: ClassVar[str] = "dynamic-weights"

    rate: float = 0.1  # of the logarithms of the weights per step
    floor: float = 0.05  # least weight, as a share of an even one

    def __post_init__(self) -> None:
        if not (self.rate > 0 and 0 < self.floor < 1):
            raise ValueError(f"rate must be positive and floor lie in (0, 1), got {self.rate} and {self.floor}")

    def weights(self, k: Tensor, returns: Tensor, memory: Memory) -> Tensor:
        """See GradientRule.weights."""
        before = memory.get("weights", torch.full(k.shape[:2], 1 / k.shape[1], dtype=torch.float64))

        def stepped(unit: Tensor) -> Tensor:
            memory["weights"] = floored(influence_step(before, unit, self.rate), self.floor / k.shape[1])
            return memory["weights"]

        return with_unit_gradients(stepped)(k.double())


RULES: tuple[type[GradientRule], ...] = (MGDA, PCGrad, CAGrad, NashMTL, EPO, Influence)
