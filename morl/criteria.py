"""Utility of the expected return, or expected utility of the return: two questions with two answers.

For concave u, E[u(G)] <= u(E[G]), and the best policies differ: whoever plays often and averages wants SER, whoever
plays once wants ESR. They are different types here, and each is refused where the other is meant.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tradeoff.envs.accrued import AccruedReward
from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.protocol import VectorEnv
from tradeoff.morl.utilities import Utility


class WrongCriterion(TradeoffError, TypeError):
    """A utility of the return where one of the expected return is needed, or the reverse."""


@dataclass(frozen=True)
class SER:
    """Scalarized expected returns: maximise f(E[G])."""

    utility: Utility


@dataclass(frozen=True)
class ESR:
    """Expected scalarized returns: maximise E[u(G)]."""

    utility: Utility


def expect_ser(given: object) -> Utility:
    """The utility of an SER. Raises WrongCriterion for anything else."""
    if isinstance(given, SER):
        return given.utility
    if isinstance(given, ESR):
        raise WrongCriterion(
            f"ESR({given.utility.name}) asks for E[u(G)], and no weights on the channels climb that: what counts is "
            "the return of each episode, not their mean. Wrap the environment by tradeoff.morl.accrued(env, ESR(u)) "
            "and climb its first channel; or write SER(u) if the utility of the mean is meant"
        )
    raise WrongCriterion(
        f"got {type(given).__name__}; say which is meant: SER(u) for the utility of the expected return, or "
        "tradeoff.morl.accrued(env, ESR(u)) for the expected utility of the return"
    )


def accrued(env: VectorEnv, criterion: ESR, *, policies: int = 1, discount: float | None = None) -> AccruedReward:
    """The environment in which E[u(G)] is the plain return of the first channel, "utility", without discount.

    policies: P, where the utility's parameters differ between policies; environment p * B + b belongs to policy p.
    discount: of the return G; None: the environment's usual one.
    Raises: WrongCriterion for anything but an ESR; TradeoffError where u(0) is not finite.
    """
    if not isinstance(criterion, ESR):
        raise WrongCriterion(
            f"{type(criterion).__name__} is no ESR: f(E[G]) needs the mean over episodes, which no reward of one "
            "episode adds up to. Give the original environment and SERScalarizer(SER(f)); or write ESR(u) if the "
            "expected utility of each episode's return is meant"
        )
    given = criterion.utility.parameters
    each = {k: x.repeat_interleave(env.num_envs // policies, 0) for k, x in given.items() if x.ndim == 2}
    utility = criterion.utility.with_parameters(**each)

    def value(returns: Tensor) -> Tensor:
        return utility.at(returns).value

    return AccruedReward(env, value, discount=discount)
