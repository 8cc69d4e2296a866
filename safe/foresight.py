"""Measured values of limited channels, averaged over the last part of a run, and moved by what critics expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from tradeoff.engine.rollout import EpisodeReturns
from tradeoff.engine.trajectories import Trajectories
from tradeoff.envs.protocol import EnvSpec
from tradeoff.safe.constraints import Constraint, Constraints, Scale
from tradeoff.safe.duals import Gain, State, check_gains, per_limit, row
from tradeoff.safe.measuring import PATIENCE, MeasuredReturns

BETA1, BETA2 = 0.9, 0.999  # of Adam
DECAY = 5  # power of time by which iterations count in averages
FOREVER = 1e9  # steps that critics without discount see of an episode that was cut


def mean_steps(discount: float, horizon: int | None) -> float:
    """Sum of discount^t over the steps of an episode, t from 0; infinite where nothing ends it."""
    if discount == 1.0:
        return float("inf") if horizon is None else float(horizon)
    return (1 - (0.0 if horizon is None else discount**horizon)) / (1 - discount)


def summed_steps(scale: Scale, discount: float, horizon: int | None) -> float:
    """How many steps, weighed as their costs are, a measured value of a scale sums over in a whole episode."""
    return {
        "episodic": mean_steps(1.0, horizon),
        "discounted": mean_steps(discount, horizon),
        "per-step": mean_steps(discount, horizon) * (1 - discount),
        "average": 1.0,
    }[scale]


def critics_unit(given: Sequence[Constraint], spec: EnvSpec, *, discount: float, gamma: float) -> tuple[float, ...]:
    """What critics of discount gamma see of each limit's measured value, per unit of it, where costs are paid evenly.

    (1 - gamma^T) / (1 - gamma) steps out of those that the value sums over; 1 where that number is not known. It
    converts gains that are meant per discounted cost. Source: Wu et al. 2024, arXiv:2401.14758, for their limits.
    """
    seen = mean_steps(gamma, spec.horizon)
    shares = (seen / summed_steps(c.scale, discount, spec.horizon) for c in given)
    return tuple(share if 0 < share < inf else 1.0 for share in shares)


def per_unit(gain: Gain, units: tuple[float, ...]) -> Gain:
    """A gain per discounted cost as one per measured value, for every limit."""
    if isinstance(gain, tuple):
        return tuple(x * unit for x, unit in zip(gain, units, strict=True)) if len(gain) == len(units) else gain
    return tuple(gain * unit for unit in units)


def remaining(length: Tensor, terminated: Tensor, gamma: float) -> Tensor:
    """Mean over an episode's steps of the discounted number of steps that remain, this one included.

    Where the episode terminated after l steps that is sum_r (1 - gamma^r) / (1 - gamma) / l over r = 1 .. l; where it
    was cut, critics look ahead for ever.
    """
    if gamma == 1.0:
        return torch.where(terminated, (length + 1) / 2, FOREVER)
    left = (length - gamma * (1 - gamma**length) / (1 - gamma)) / length
    return torch.where(terminated, left, 1.0) / (1 - gamma)


class AveragedReturns(MeasuredReturns):
    """Measured values, and their averages over the last part of the run.

    Weights of iterations grow as the power DECAY of time (polynomial decay averaging, Shamir and Zhang 2013,
    arXiv:1212.1824). `past` holds the averages, empty before the first.
    """

    ready: bool = True  # whether averages are taken

    def __init__(self, constraints: Constraints, patience: int = PATIENCE) -> None:
        super().__init__(constraints, patience)
        discount = torch.as_tensor(self.discount)
        summed = torch.where(discount < 1, self.factor / (1 - discount), torch.nan)
        self.endless = torch.where(self.average, 1.0, summed)  # steps that are summed where no episode ends
        self.past: dict[str, Tensor] = {}

    def update(self, data: Trajectories, counted: bool = True) -> Tensor:
        """See EpisodeReturns.update."""
        found = super().update(data, counted)
        if self.ready:
            self._average(self._averaged(data))
        return found

    def _averaged(self, data: Trajectories) -> dict[str, Tensor]:
        """What averages are taken of."""
        ended = torch.where(self.average, 1.0, data.ended.sum((0, 2)).unsqueeze(-1).to(self.latest))
        return {
            "ended": ended, "measured": torch.where(ended > 0, ended * self.latest, 0.0),
            "steps": torch.where(ended > 0, ended * self.span, 0.0), "paid": data.channels.mean((0, 2)),
            "turns": torch.ones_like(ended[:, :1]),
        }  # fmt: skip

    def _average(self, mine: dict[str, Tensor]) -> None:
        if not self.past:
            self.past = {name: torch.zeros_like(x) for name, x in mine.items()}
        count = self.past.pop("turns") + mine.pop("turns")
        share = (DECAY + 1) / (count + DECAY)
        self.past = {name: self.past[name].lerp(x, share) for name, x in mine.items()} | {"turns": count}

    @property
    def share(self) -> Tensor:
        """Weight [P, 1] of the latest iteration in the averages; 1 where it is the only one."""
        return (DECAY + 1) / (self.past["turns"] + DECAY)

    @property
    def measured(self) -> Tensor:
        """Average [P, m + k] of the measured values; NaN where there are none."""
        past = self.past
        return torch.where(past["ended"] == 0, past["paid"] * self.endless, past["measured"] / past["ended"])

    @property
    def steps(self) -> Tensor:
        """Average number of steps [P, m + k] that a measured value sums over."""
        past = self.past
        return torch.where(past["ended"] == 0, self.endless, past["steps"] / past["ended"])

    @property
    def room(self) -> Tensor:
        """How much more [P, j] every step may cost on average within the limits; NaN where nothing has ended yet.

        To first order J(q) = J(p) + steps * mean over p's steps of (E_q Q - E_p Q): a policy q keeps its limit if E_q Q
        exceeds E_p Q by no more than this, p being the policies that were measured. Source: Kakade and Langford 2002.
        """
        c = self.constraints
        measured = c.measured(self.measured)
        return (c.limit.to(measured) - measured) / c.measured(self.steps)

    def state_dict(self) -> dict[str, Any]:
        """See MeasuredReturns.state_dict."""
        return super().state_dict() | {"foreseen": {"past": self.past}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See MeasuredReturns.load_state_dict; older files hold no averages, and these begin anew."""
        super().load_state_dict(state)
        self.past = dict(state.get("foreseen", {"past": {}})["past"])


class ForeseenReturns(AveragedReturns):
    """Measured values of the limited channels, moved by what critics have come to expect since they were measured.

    Values of replayed steps say at once where costs go, but not what an episode costs: they are discounted, they look
    beyond a time limit but not beyond a termination, and replayed states are not those of the present policy. So the
    level is that of finished episodes, and the change is that of the critics:

        foreseen = measured + (read - expected) / unit

    with both averages, `measured` and `expected` (what critics read of replayed steps, without caution), over the same
    last part of the run, so that they meet where the policy has settled. `unit` is what critics see of a cost of 1 per
    episode that is paid evenly: the mean discounted number of steps that remain, see `remaining`, out of the steps that
    a measured value sums over.
    """

    def __init__(self, constraints: Constraints, gamma: float, patience: int = PATIENCE) -> None:
        """gamma: discount of the critics."""
        super().__init__(constraints, patience)
        self.gamma = gamma
        self.limited = torch.zeros(len(constraints.channels), dtype=torch.bool, device=constraints.index.device)
        self.limited[constraints.index] = True
        self.read = self.plain = self.clock = torch.empty(0)
        self.lengths = EpisodeReturns(1.0)

    @property
    def ready(self) -> bool:  # type: ignore[override]
        """Whether the critics have been heard."""
        return self.plain.numel() > 0

    def expect(self, read: Tensor, plain: Tensor) -> None:
        """Take what critics now expect of replayed steps [P, m + k]: as prices are to see it, and without caution."""
        self.read, self.plain = read, plain

    def update(self, data: Trajectories, counted: bool = True) -> Tensor:
        """See EpisodeReturns.update; limited channels are NaN until the critics have been heard."""
        ones = data._replace(reward=torch.ones_like(data.reward), cost=data.cost[..., :0])
        self.clock = self.lengths.follow(ones)[..., 0]  # [T, P, B] steps of the episode so far
        found = super().update(data, counted)
        return torch.where(self.limited, self._foreseen(found), found)

    def _averaged(self, data: Trajectories) -> dict[str, Tensor]:
        """See AveragedReturns._averaged."""
        ahead = torch.where(data.ended, self.clock * remaining(self.clock, data.terminated, self.gamma), 0.0)
        length = torch.where(data.ended, self.clock, 0.0)
        seen = {"ahead": ahead, "length": length}
        summed = {name: x.sum((0, 2)).unsqueeze(-1) for name, x in seen.items()}
        return super()._averaged(data) | summed | {"expected": self.plain}

    @property
    def unit(self) -> Tensor:
        """What critics see [P, m + k] per unit of a measured value, where costs are paid evenly."""
        past, forever = self.past, mean_steps(self.gamma, None)
        return torch.where(past["length"] > 0, past["ahead"] / past["length"], forever) / self.steps

    def _foreseen(self, found: Tensor) -> Tensor:
        if not self.past:
            return torch.full_like(found, torch.nan)
        return self.measured + (self.read - self.past["expected"]) / self.unit

    def state_dict(self) -> dict[str, Any]:
        """See MeasuredReturns.state_dict."""
        state = super().state_dict()
        mine = {"read": self.read, "plain": self.plain, "lengths": self.lengths.carry}
        return state | {"foreseen": state["foreseen"] | mine}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See AveragedReturns.load_state_dict."""
        super().load_state_dict(state)
        fresh = {"read": torch.empty(0), "plain": torch.empty(0), "lengths": {}}
        mine = fresh | state.get("foreseen", {})
        self.read, self.plain, self.lengths.carry = mine["read"], mine["plain"], mine["lengths"]


@dataclass(frozen=True, kw_only=True)
class LogAscent:
    """Adam on the logarithm of the multiplier, and price = [multiplier + penalty * violation]_+.

    The size of violations does not matter to Adam, only their sign and how long it lasts; the slope in the logarithm is
    multiplier * violation. Source: Wu et al. 2024, arXiv:2401.14758, whose multiplier less its rectification is this
    price.
    """

    rate: Gain = 0.012  # learning rate of the logarithm, per iteration
    penalty: Gain = 10.0  # price of the latest violation, on top of the multiplier [price / violation]
    start: Gain = 0.6931  # first multiplier; above 0
    bound: float = 1e3  # ceiling of multiplier and price

    def __post_init__(self) -> None:
        check_gains(self, ("rate", "penalty", "start"))
        if not all(x > 0 for x in (self.start if isinstance(self.start, tuple) else (self.start,))):
            raise ValueError(f"start must be positive: the logarithm of {self.start} moves nowhere")

    def init(self, policies: int, constraints: int) -> State:
        """See DualRule.init."""
        start = row(self.start, constraints).expand(policies, constraints).clone()
        return {"multiplier": start, **{name: torch.zeros_like(start) for name in ("m", "v", "steps")}}

    def step(self, state: State, violation: Tensor) -> State:
        """See DualRule.step."""
        slope, steps = state["multiplier"] * violation, state["steps"] + 1
        m, v = state["m"].lerp(slope, 1 - BETA1), state["v"].lerp(slope.square(), 1 - BETA2)
        length = (v / (1 - BETA2**steps)).sqrt()
        unit = torch.where(length > 0, m / (1 - BETA1**steps) / length, 0.0)
        moved = state["multiplier"] * (per_limit(self.rate, violation) * unit).exp()
        return {"multiplier": moved.clamp(max=self.bound), "m": m, "v": v, "steps": steps}

    def price(self, state: State, violation: Tensor) -> Tensor:
        """See DualRule.price."""
        total = state["multiplier"] + per_limit(self.penalty, violation) * violation
        return total.clamp(0.0, self.bound)
