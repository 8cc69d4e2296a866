"""Checks that stop a run before trouble spreads; each error says where it happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tradeoff.envs.errors import NumericalTrouble, TradeoffError, UserCodeFailed
from tradeoff.envs.protocol import EnvSpec, VectorEnv

HELD = 2**20  # numbers that a FiniteWatch holds before it looks at them


class Place(NamedTuple):
    """Which steps are being made, for complaints."""

    spec: EnvSpec
    during: str = "this rollout"
    before: int | None = None  # real environment steps of the training before the first of them; None: not counted
    stride: int = 1  # real environment steps that one of them makes

    def at(self, step: int) -> str:
        """In words."""
        total = "" if self.before is None else f" (environment step {self.before + step * self.stride} of the training)"
        return f"at step {step} of {self.during}{total}"

    def failed(self, error: BaseException, step: int) -> TradeoffError:
        """What an environment raised, in one line."""
        if isinstance(error, UserCodeFailed):
            return located(error, self.at(step))
        if isinstance(error, TradeoffError):
            return error
        return UserCodeFailed(self.spec.id, error, self.at(step))


def located(error: UserCodeFailed, where: str) -> UserCodeFailed:
    """The same error that also says where the run was."""
    error.args = (f"{error}; it was {where}",)
    return error


def check_steps(
    place: Place, observation: Tensor, action: Tensor, reward: Tensor, cost: Tensor, successor: Tensor
) -> None:
    """Raise NumericalTrouble for the earliest number of a record that is not finite; of one step, for its cause.

    Numbers that 32 bits cannot hold are as good as infinite: networks would see them so.

    Args:
        observation: [T + 1, P, B, d], the last one seen after the last step.
        action, reward, cost, successor: [T, P, B, c] each.
    """
    later = torch.cat([observation[:1], successor])  # a successor of step t is seen at t + 1
    parts = [("observation", observation, ()), ("action", action, ()), ("reward", reward, place.spec.objectives),
             ("cost", cost, place.spec.costs), ("observation", later, ())]  # fmt: skip
    _check_parts(parts, place)


def check_seen(observations: Sequence[Tensor], place: Place) -> None:
    """Raise NumericalTrouble for the earliest of T observations [P, B, d] that is not finite."""
    _check_parts([("observation", torch.stack(tuple(observations)), ())], place)


class FiniteWatch:
    """Looks at the steps of an evaluation many at a time: cheaper than one by one, and the same step is named.

    What follows the end of an episode does not count.
    """

    def __init__(self, place: Place, size: tuple[int, int]) -> None:
        """size: policies and episodes."""
        self.place, self.size, self.step = place, size, 0
        self.noted: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, observation: Tensor, paid: Tensor, alive: Tensor) -> None:
        """Note a step: observations [N, d] that were acted on, rewards and costs [N, m + k], who plays [P, E] bool."""
        self.noted.append((observation, paid, alive))
        if len(self.noted) * observation.numel() > HELD:
            self.check()

    def check(self) -> None:
        """Raise NumericalTrouble for the earliest number of those noted that is not finite, and forget the others."""
        if self.noted:
            seen, paid, alive = map(torch.stack, zip(*self.noted, strict=True))
            seen, paid = (torch.where(alive.unsqueeze(-1), x.unflatten(1, self.size), 0) for x in (seen, paid))
            names = self.place.spec.objectives, self.place.spec.costs
            reward, cost = paid.split([len(names[0]), len(names[1])], -1)
            parts = [("observation", seen, ()), ("reward", reward, names[0]), ("cost", cost, names[1])]
            _check_parts(parts, self.place, self.step)
        self.step += len(self.noted)
        self.noted = []


def _check_parts(parts: Sequence[tuple[str, Tensor, Sequence[str]]], place: Place, first: int = 0) -> None:
    """Raise NumericalTrouble for the earliest number [T, P, B, c] that is not finite; of one step, in the first part.

    first: of the steps, where those before have been looked at.
    """
    wrong = [part for part in parts if not _finite(part[1])]
    if not wrong:
        return
    what, x, names = min(wrong, key=lambda part: _first(part[1]))
    t, p, b, c = (~torch.isfinite(x.float())).nonzero()[0].tolist()
    name = repr(names[c]) if c < len(names) else str(c)
    raise NumericalTrouble(
        f"{what} {name} is {x[t, p, b, c].item()} {place.at(first + t)}, policy {p}, environment {b} of "
        f"{place.spec.id}; the parameters were not touched: repair the environment and resume"
    )


def reset(env: VectorEnv, seed: int | Sequence[int] | None, size: tuple[int, int]) -> Tensor:
    """First observations [P, B, d] of new episodes.

    size: P and B. Raises: NumericalTrouble where they are not finite; UserCodeFailed where the environment raises.
    """
    try:
        observation = env.reset(seed).unflatten(0, size)
    except TradeoffError:
        raise
    except (Exception, SystemExit) as error:
        raise UserCodeFailed(env.spec.id, error, "at a reset") from error
    if not _finite(observation):
        p, b, i = (~torch.isfinite(observation.float())).nonzero()[0].tolist()
        raise NumericalTrouble(
            f"observation {i} is {observation[p, b, i].item()} after a reset, policy {p}, environment {b} of "
            f"{env.spec.id}; nothing was saved: repair the environment and resume"
        )
    return observation


def _finite(x: Tensor) -> bool:
    return not x.is_floating_point() or bool(torch.isfinite(x.float()).all())


def _first(x: Tensor) -> int:
    """The first step [T, ...] that holds a number that is not finite."""
    return int((~torch.isfinite(x.float())).flatten(1).any(1).nonzero()[0])


def check_parameters(theta: Tensor) -> None:
    """Raise NumericalTrouble when an update left a NaN or infinite parameter in theta [P, G, D]."""
    if torch.isfinite(theta).all():
        return
    broken = (~torch.isfinite(theta)).flatten(1).any(1).nonzero().flatten().tolist()
    raise NumericalTrouble(
        f"the loss of policies {broken} is no longer finite; train with a smaller learning rate or larger minibatches"
    )


def check_weights(weights: Tensor) -> None:
    """Raise NumericalTrouble naming the first policy whose weights [P, c] a scalarizer left NaN or infinite."""
    if torch.isfinite(weights).all():
        return
    policy = int((~torch.isfinite(weights)).any(1).nonzero()[0])
    raise NumericalTrouble(
        f"the weights of policy {policy} are not finite: {weights[policy].tolist()}; the parameters were not touched: "
        "repair the rule that made them and resume"
    )


def check_returns(returns: Tensor) -> None:
    """Raise NumericalTrouble naming the first policy whose returns [P, c] are infinite; NaN: no episode has ended."""
    if not torch.isinf(returns).any():
        return
    policy = int(torch.isinf(returns).any(1).nonzero()[0])
    raise NumericalTrouble(
        f"the returns of policy {policy} are too large for 32 bits: {returns[policy].tolist()}; the parameters were "
        "not touched: scale the rewards and costs of the environment down and resume"
    )
