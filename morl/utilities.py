"""Utilities of a return vector: value and gradient, for many policies at once.

Returns J are [P, m], all maximised. A parameter "per objective" is one number, [m], or [P, m] where policies differ; a
parameter "per policy" is one number or [P, 1]. Every utility here is concave unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from tradeoff.envs.errors import NumericalTrouble

Parameter = float | Tensor | list[float] | tuple[float, ...] | list[list[float]]


class OutsideDomain(NumericalTrouble, ValueError):
    """A utility was asked for its value or slope where it has none."""


class Valued(NamedTuple):
    """A utility at J."""

    value: Tensor  # [P]
    gradient: Tensor  # [P, m]


@dataclass(frozen=True)
class Utility:
    """A function of returns and all that it depends on; two of the same parameters are the same utility."""

    name: str
    function: Callable[..., Valued]  # (returns [P, m], **parameters) -> value and gradient, not finite outside
    parameters: Mapping[str, Tensor]
    domain: str = "all returns"  # where value and gradient exist, for error messages

    def at(self, returns: Tensor) -> Valued:
        """Value and gradient in the precision of `returns`, unchecked: NaN or infinite outside the domain."""
        return self.function(returns, **{name: x.to(returns) for name, x in self.parameters.items()})

    def value(self, returns: Tensor) -> Tensor:
        """f(J) [P]. Raises OutsideDomain naming the first policy whose returns lie outside."""
        return self.checked("value", self.at(returns).value, returns)

    def gradient(self, returns: Tensor) -> Tensor:
        """Gradient of f at J [P, m], at a kink the supergradient that the utility documents. Raises OutsideDomain."""
        return self.checked("slope", self.at(returns).gradient, returns)

    def checked(self, what: str, found: Tensor, returns: Tensor) -> Tensor:
        """`found` [P, ...] once it is known to be finite; else OutsideDomain naming policy and returns."""
        good = torch.isfinite(found).reshape(len(found), -1).all(-1)
        if good.all():
            return found
        policy = int((~good).nonzero()[0])
        raise OutsideDomain(
            f"utility {self.name!r} has no finite {what} at the returns {_short(returns[policy])} of policy {policy}; "
            f"it takes {self.domain}: move the domain (shift, smoothing) or project the returns (floor)"
        )

    def neutral(self, returns: Tensor) -> Tensor:
        """Weights [P, m] before anything is known of J: the utility's own where it has some, else 1 / m each."""
        equal = returns.new_full((), 1 / returns.shape[-1])
        return self.parameters.get("weights", equal).to(returns).expand_as(returns)

    def with_parameters(self, **changes: Tensor) -> Utility:
        """The same utility with some parameters replaced."""
        return replace(self, parameters={**self.parameters, **changes})


def _short(row: Tensor) -> str:
    shown = ", ".join(f"{x:.4g}" for x in row.flatten()[:6].tolist())
    return f"({shown}{', ...' if row.numel() > 6 else ''})"


def parameter(name: str, given: Parameter, *, above: float | None = None, least: float | None = None) -> Tensor:
    """A finite parameter as a double tensor; weights of preference keep every bit of single precision.

    Raises ValueError for numbers that are not finite, not above `above` or below `least`.
    """
    x = torch.as_tensor(given, dtype=torch.float64).detach().clone()
    if not torch.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got {_short(x)}")
    if above is not None and not (x > above).all():
        raise ValueError(f"{name} must be above {above:g}, got {_short(x)}")
    if least is not None and not (x >= least).all():
        raise ValueError(f"{name} must be at least {least:g}, got {_short(x)}")
    return x


def linear(weights: Parameter) -> Utility:
    """sum_i w_i J_i. weights: per objective, any sign."""
    return Utility("linear", _linear, {"weights": parameter("weights", weights)})


def _linear(returns: Tensor, weights: Tensor) -> Valued:
    slope = weights.expand_as(returns)
    return Valued((slope * returns).sum(-1), slope)


def alpha_fair(alpha: Parameter, weights: Parameter = 1.0, shift: Parameter = 0.0) -> Utility:
    """sum_i w_i x_i^(1 - alpha) / (1 - alpha), for alpha = 1 sum_i w_i log x_i, where x = J + shift.

    Defined for x > 0 (at x = 0 the value exists for alpha < 1, the slope never). Towards alpha = 0 linear, towards
    infinity max-min. alpha > 0, weights >= 0, shift: per objective. Source: Mo and Walrand 2000, IEEE/ACM ToN 8(5).
    """
    given = {
        "alpha": parameter("alpha", alpha, above=0),
        "weights": parameter("weights", weights, least=0),
        "shift": parameter("shift", shift),
    }
    return Utility("alpha-fair", _alpha_fair, given, "J + shift > 0 in every objective")


def _alpha_fair(returns: Tensor, alpha: Tensor, weights: Tensor, shift: Tensor) -> Valued:
    x = returns + shift
    x = torch.where(x < 0, torch.nan, x)  # odd powers of negative numbers would pass for values
    logs = alpha == 1
    each = torch.where(logs, x.log(), x ** (1 - alpha) / torch.where(logs, 1.0, 1 - alpha))
    return Valued((weights * each).sum(-1), weights * x**-alpha)


def proportional_fair(weights: Parameter = 1.0, shift: Parameter = 0.0) -> Utility:
    """sum_i w_i log(J_i + shift_i). Source: Kelly 1997, European Transactions on Telecommunications 8(1)."""
    return alpha_fair(1.0, weights, shift)


def square_root(weights: Parameter = 1.0, shift: Parameter = 0.0) -> Utility:
    """sum_i w_i sqrt(J_i + shift_i). Source: Guidobene et al. 2025, arXiv:2508.10608 (deep sea treasure, w = 1)."""
    return alpha_fair(0.5, parameter("weights", weights) / 2, shift)


def harmonic(scale: Parameter, shift: Parameter = 1.0) -> Utility:
    """-sum_i scale_i / (J_i + shift_i). Source: Guidobene et al. 2025, arXiv:2508.10608 (queues, scale = horizon)."""
    return alpha_fair(2.0, scale, shift)


def by_autograd(
    function: Callable[..., Tensor], name: str = "custom", domain: str = "what its author says", **parameters: Parameter
) -> Utility:
    """Any utility, its slope derived by autograd: function(returns [P, m], **parameters) -> [P].

    Row p of the answer may depend on row p of the returns only. It need not be concave, but then weights climb to a
    local optimum at best. Kinks get the subgradient that torch picks. Raises ValueError for an answer of another shape.
    """

    def valued(returns: Tensor, **given: Tensor) -> Valued:
        with torch.enable_grad():
            leaf = returns.detach().requires_grad_()
            value = function(leaf, **given)
            if value.shape != returns.shape[:1]:
                raise ValueError(f"the utility {name} answers {tuple(value.shape)}; expected {(len(returns),)}")
            (slope,) = torch.autograd.grad(value.sum(), leaf)
        return Valued(value.detach(), slope)

    return Utility(name, valued, {key: parameter(key, x) for key, x in parameters.items()}, domain)
