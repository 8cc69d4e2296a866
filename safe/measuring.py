"""What the constraints read: every channel at its own scale, and a watch over costs that cannot be right."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from tradeoff.engine.rollout import EpisodeReturns
from tradeoff.engine.trajectories import Trajectories
from tradeoff.safe.constraints import Constraints

PATIENCE = 20  # rollouts after which silence of a channel, or of the end of episodes, is worth a word


class SafetyWarning(UserWarning):
    """Something about a cost or a limit that lets a run go on but deserves a look."""


class MeasuredReturns(EpisodeReturns):
    """Returns of finished episodes, each channel at the scale of its constraint; it takes the place of EpisodeReturns.

    `latest` [P, m + k] is what the last rollout said, for whoever needs the violation besides the scalarizer;
    `span` [P, m + k] how many steps, discounted like the channel, a measured value sums over.
    """

    def __init__(self, constraints: Constraints, patience: int = PATIENCE) -> None:
        """patience: rollouts before the watch complains of silence."""
        c, scales = constraints, {x.cost: x.scale for x in constraints.given}
        ones, device = torch.ones(len(c.channels)), c.index.device
        whole = torch.tensor([scales.get(name) == "episodic" for name in c.channels])
        per_step = torch.tensor([scales.get(name) == "per-step" for name in c.channels])
        self.average = torch.tensor([scales.get(name) == "average" for name in c.channels], device=device)
        super().__init__(torch.where(whole, ones, ones * c.discount).to(device))
        self.constraints = constraints
        self.factor = torch.where(per_step, ones * (1 - c.discount), ones).to(device)
        self.clocks = EpisodeReturns(self.discount)
        self.latest = self.span = torch.empty(0)
        self.watch = Watch(constraints, patience)

    def update(self, data: Trajectories, counted: bool = True) -> Tensor:
        """See EpisodeReturns.update; channels of scale "average" are the mean over the steps of `data`."""
        found = super().update(data, counted) * self.factor
        steps = data.channels.mean((0, 2))
        self.latest = torch.where(self.average, steps, found)
        ones = torch.ones_like(data.channels)
        lengths = self.clocks.update(data._replace(reward=ones, cost=ones[..., :0]), counted) * self.factor
        self.span = torch.where(self.average, 1.0, lengths)
        if counted:
            self.watch.see(data, self.latest)
        return self.latest

    @property
    def violation(self) -> Tensor:
        """[P, j], see Constraints.violation."""
        return self.constraints.violation(self.latest)

    @property
    def violation_per_step(self) -> Tensor:
        """[P, j] float32, the violation in the unit of a mean advantage per step; 0 where nothing was measured yet.

        The mean of ratio * advantage over the visited steps moves the measured value by its span: by the length of an
        episode, or by 1 / (1 - discount) where episodes never end.
        """
        found = self.violation / self.span[:, self.constraints.index]
        return torch.where(found.isnan(), 0.0, found).float()

    def state_dict(self) -> dict[str, Any]:
        """Sums, clocks and what the watch has seen."""
        return {
            "sums": self.carry, "clocks": self.clocks.carry, "latest": self.latest, "span": self.span,
            "watch": self.watch.state_dict(),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s answer."""
        self.carry, self.clocks.carry = state["sums"], state["clocks"]
        self.latest, self.span = state["latest"], state["span"]
        self.watch.load_state_dict(state["watch"])


class Watch:
    """Follows measured values over a run: warns once per fault, remembers how near feasibility the run came."""

    def __init__(self, constraints: Constraints, patience: int = PATIENCE) -> None:
        self.constraints, self.patience = constraints, patience
        self.rollouts = self.silent = 0
        self.low = torch.full((len(constraints.channels),), torch.inf)
        self.high = -self.low
        self.moved = torch.zeros(len(constraints.channels), dtype=torch.bool)  # whether a measured value ever differed
        self.last = torch.empty(0)  # [P, m + k] measured values of the rollout before
        self.least = torch.empty(0)  # [P, j] measured values where the worst violation was least
        self.worst = torch.empty(0)  # [P] that violation
        self.first_feasible = torch.empty(0)  # [P] rollout number, 0 where never
        self.told: set[str] = set()

    def see(self, data: Trajectories, measured: Tensor) -> None:
        """Look at a rollout and its measured values [P, m + k]."""
        self.rollouts += 1
        flat = data.channels.flatten(0, 2)
        self.low = torch.minimum(self.low.to(flat), flat.amin(0))
        self.high = torch.maximum(self.high.to(flat), flat.amax(0))
        if self.last.numel():
            self.moved = self.moved.to(measured.device) | (measured - self.last).abs().gt(0).any(0)
        self.last = measured
        self._remember(self.constraints.violation(measured), self.constraints.measured(measured))
        self._complain(measured)

    def _remember(self, violation: Tensor, value: Tensor) -> None:
        worst = violation.amax(1).nan_to_num(torch.inf)
        if not self.worst.numel():
            self.worst, self.least = worst, value
            self.first_feasible = torch.zeros_like(worst, dtype=torch.int64)
        better = worst < self.worst
        self.least = torch.where(better.unsqueeze(1), value, self.least)
        self.worst = torch.minimum(worst, self.worst)
        fresh = (self.first_feasible == 0) & (worst <= 0)
        self.first_feasible = torch.where(fresh, self.rollouts, self.first_feasible)

    def _complain(self, measured: Tensor) -> None:
        c = self.constraints
        for i, name in enumerate(c.channels[c.objectives :], c.objectives):
            if self.low[i] < 0:
                self._tell(
                    f"{name} negative",
                    f"cost {name!r} is negative ({self.low[i]:.4g}); a cost is kept low: limit a reward by '>='",
                )
        for i in c.index.tolist():
            # A cost of 0 may be one that the policy does not cause yet: what stayed so is told when the run ends.
            if self.rollouts >= self.patience and self._still(i) and self.low[i] != 0:
                self._tell(
                    f"{c.channels[i]} still",
                    f"{c.channels[i]!r} has been {self.low[i]:.4g} at every step of {self.rollouts} rollouts; its "
                    "limit steers nothing: is the channel wired up?",
                )
        self.silent = self.silent + 1 if c.measured(measured).isnan().any() else 0
        if self.silent >= self.patience:
            self._tell(
                "no end",
                f"no episode has ended in {self.silent} rollouts, so limits per episode price nothing; set a horizon "
                "or use the scale 'average'",
            )

    def _still(self, channel: int) -> bool:
        """Whether every step paid the same and no measured value differed from the one before."""
        return bool(self.low[channel] == self.high[channel] and not self.moved[channel])

    def idle(self) -> list[str]:
        """A sentence for every limited channel that was 0 at every step so far, however short the run."""
        c = self.constraints
        idle = [i for i in dict.fromkeys(c.index.tolist()) if self._still(i) and self.low[i] == 0]
        return [
            f"{c.channels[i]!r} was 0 at every step of {self.rollouts} rollouts, so its limit steered nothing: either "
            "no policy did what costs, or its channel is not wired up"
            for i in idle
        ]

    def _tell(self, topic: str, message: str) -> None:
        if topic not in self.told:
            self.told.add(topic)
            warnings.warn(message, SafetyWarning, stacklevel=2)

    def verdict(self, steps: int) -> str | None:
        """A sentence for policies that were never feasible in `steps` environment steps each; None if all were."""
        never = (self.first_feasible == 0).nonzero().flatten().tolist()
        if not never:
            return None
        p = never[0]
        seen = ", ".join(
            f"{name}: {value:.4g}" for name, value in zip(self.constraints.names(), self.least[p].tolist(), strict=True)
        )
        return f"policies {never} were never feasible in {steps} steps; nearest of policy {p} was {seen}"

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and values."""
        names = ("rollouts", "silent", "low", "high", "moved", "last", "least", "worst", "first_feasible")
        return {name: getattr(self, name) for name in names} | {"told": sorted(self.told)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s answer."""
        for name, value in state.items():
            setattr(self, name, set(value) if name == "told" else value)
