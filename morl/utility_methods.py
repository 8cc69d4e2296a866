"""Policies for one utility f(E[G]) from whole episodes: variance-reduced gradients as methods of the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tradeoff.engine import compositions
from tradeoff.engine.compositions import Composition
from tradeoff.engine.episodes import Baseline
from tradeoff.engine.episodic import episodic_learner
from tradeoff.engine.loop import Loop
from tradeoff.engine.natural import natural
from tradeoff.engine.numbers import Count, Layers, Positive
from tradeoff.engine.training import Training
from tradeoff.engine.unread import existing, refuse_unread
from tradeoff.engine.updates import SGD, Adam, Unitless
from tradeoff.morl.utility_aims import Box, UtilityAim

Maker = Callable[..., Composition]
Names = tuple[str, ...]
Step = Literal["adam", "own", "natural"]


@dataclass(frozen=True, kw_only=True)
class UtilityConfig(UtilityAim):
    """What every method for one utility on whole episodes needs to know; each names its composition and settings."""

    make: ClassVar[Maker]  # from tradeoff.engine.compositions
    settings: ClassVar[Names]  # fields that `make` takes, beside those that all of them take
    corrected: ClassVar[bool] = False  # whether old estimates are corrected by weights or Hessians

    learning_rate: Positive = 1e-2  # of the policy
    anneal: bool = True  # let the learning rate fall to zero linearly over the run
    step: Step = "adam"  # Adam along the estimate, the method's own rule, or a natural gradient
    baseline: Baseline = "mean"  # subtracted from what follows a step
    centre: bool = True  # subtract the other trajectories' pay at every step; without corrections, for baseline none
    hidden: Layers = (64, 64)  # units per hidden layer

    def __post_init__(self) -> None:
        UtilityAim.__post_init__(self)
        self._refuse_unread()

    @classmethod
    def rate_of(cls, step: Step | None) -> dict[str, float]:
        """The learning rate recommended for a step, where it is not the default."""
        return {}

    def _refuse_unread(self) -> None:
        if self.baseline != "none" and not self.corrected:
            refuse_unread(self, ["centre"], f"baseline {self.baseline!r} centres already", "take none, or leave it out")
        if self.step != "own":
            refuse_unread(self, ["radius"], f"step {self.step!r} has no radius", "take own, or leave it out")
        if self.utility == "linear":
            refuse_unread(self, ["lag"], "the slope of utility 'linear' is the same at all returns")

    def composition(self, box: Box | None) -> Composition:
        """Estimator and own update. box: least and largest returns per channel, to which estimates are projected."""
        own = {name: getattr(self, name) for name in self.settings}
        return type(self).make(learning_rate=self.learning_rate, **own, **self.common(box))

    def common(self, box: Box | None) -> dict[str, Any]:
        """Fields of `Recursion` that every method sets."""
        return {"box": box, "baseline": self.baseline, "centre": self.centre}

    def build(self, run: Training) -> Loop:
        """See TrainingConfig.build."""
        m = len(run.spec.objectives)
        parts = self.composition(self.box(m, len(run.spec.costs)))
        further: dict[str, Any] = {}
        if self.step == "adam":
            parts = parts._replace(update=Unitless(Adam(self.learning_rate)))
        elif self.step == "natural":
            parts, further = parts._replace(update=SGD(self.learning_rate)), {"precondition": natural(divergence=0.5)}
        return episodic_learner(
            run.make_env, self.scalarizer(m), parts, run.generator,
            policies=self.policies, hidden=self.hidden, discount=run.discount, **further,
        )  # fmt: skip

    def rate(self, share: float) -> float:
        """See TrainingConfig.rate."""
        return 1.0 - share if self.anneal else 1.0


@dataclass(frozen=True, kw_only=True)
class MOPG(UtilityConfig):
    """Plain policy gradient of a utility of returns: fresh batches for the returns and for the gradient, no memory.

    Source: the baseline of Guidobene et al. 2025, arXiv:2508.10608.
    """

    name: ClassVar[str] = "mo-pg"
    make: ClassVar[Maker] = compositions.gpomdp
    settings: ClassVar[Names] = ("batch",)

    batch: Count = 12  # episodes per step, for the returns and again for the gradient


@dataclass(frozen=True, kw_only=True)
class MOTSIVRPG(UtilityConfig):
    """Variance-reduced policy gradient of a utility of returns: large batches now and then, corrections in between.

    Source: Guidobene et al. 2025, arXiv:2508.10608, after Zhang et al. 2021, arXiv:2102.08607.
    """

    name: ClassVar[str] = "mo-tsivr-pg"
    make: ClassVar[Maker] = compositions.tsivr
    settings: ClassVar[Names] = ("checkpoint", "batch", "period", "radius", "lag")
    corrected: ClassVar[bool] = True

    step: Step = "own"  # no longer than radius, as published; Adam along the estimate, or a natural gradient
    learning_rate: Positive = 1.0  # of the policy, for its own step; Adam wants about 0.01
    checkpoint: Count = 144  # N: episodes of a large batch, for the returns and again for the gradient
    batch: Count = 12  # B: episodes of a correction, likewise
    period: Count = 12  # m: steps from one large batch to the next
    radius: Positive = 0.1  # longest step of the method's own rule [parameters]
    lag: bool = False  # between large batches, weigh by the weights of the step before, as the analysis does

    def __post_init__(self) -> None:
        UtilityConfig.__post_init__(self)
        if self.step != "own" and self.learning_rate == 1.0 and not existing():
            raise ValueError(
                f"learning_rate 1.0 is meant for steps of bounded length, and step {self.step!r} has none; "
                f"give learning_rate {self.rate_of(self.step)['learning_rate']}, or take step own"
            )

    @classmethod
    def rate_of(cls, step: Step | None) -> dict[str, float]:
        """See UtilityConfig.rate_of."""
        return {} if step in (None, "own") else {"learning_rate": UtilityConfig.learning_rate}


@dataclass(frozen=True, kw_only=True)
class MOStormPG(UtilityConfig):
    """A blend of fresh and corrected gradients and returns at every step.

    Source: Yuan et al. 2020, arXiv:2003.04302.
    """

    name: ClassVar[str] = "mo-storm-pg"
    make: ClassVar[Maker] = compositions.storm_pg
    settings: ClassVar[Names] = ("checkpoint", "batch", "eta")
    corrected: ClassVar[bool] = True

    checkpoint: Count = 144  # episodes of the first batch
    batch: Count = 12  # episodes per step
    eta: float = 0.2  # weight of the fresh estimate, in (0, 1]

    def __post_init__(self) -> None:
        UtilityConfig.__post_init__(self)
        if not 0 < self.eta <= 1:
            raise ValueError(f"eta must lie in (0, 1], got {self.eta}")


@dataclass(frozen=True, kw_only=True)
class MONormalisedIGT(UtilityConfig):
    """Old gradients stay valid because new ones are sampled ahead: no weights at all.

    Source: Fatkhullin et al. 2023, arXiv:2302.01734 (N-PG-IGT).
    """

    name: ClassVar[str] = "mo-n-pg-igt"
    make: ClassVar[Maker] = compositions.n_pg_igt
    settings: ClassVar[Names] = ("batch", "eta")

    step: Step = "own"  # Adam along the estimate, the method's own rule, or a natural gradient
    batch: Count = 12  # episodes per step
    eta: float = 1.0  # weight of the first estimates


METHODS: dict[str, type[UtilityConfig]] = {kind.name: kind for kind in (MOPG, MOTSIVRPG, MOStormPG, MONormalisedIGT)}
