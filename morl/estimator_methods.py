"""Published gradient estimators as methods of the program, each with its own step, for a linear utility unless told.

Settings that were measured on classic control are in docs/methods/estimators.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tradeoff.engine import compositions
from tradeoff.morl.utility_aims import Box, UtilityName
from tradeoff.morl.utility_methods import Maker, Names, Step, UtilityConfig


@dataclass(frozen=True, kw_only=True)
class EstimatorConfig(UtilityConfig):
    """What every published estimator needs to know."""

    settings: ClassVar[Names] = ("batch",)

    utility: UtilityName = "linear"  # f, of the expected discounted returns
    step: Step = "own"  # Adam along the estimate, the method's own rule, or a natural gradient
    anneal: bool = False  # let the learning rate fall to zero linearly over the run
    batch: int = 10  # B: episodes per step

    def __post_init__(self) -> None:
        UtilityConfig.__post_init__(self)
        for name in ("checkpoint", "batch", "period", "curvature"):
            if getattr(self, name, 1) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("eta", "probability"):
            if not 0 < getattr(self, name, 1) <= 1:
                raise ValueError(f"{name} must lie in (0, 1], got {getattr(self, name)}")
        if not getattr(self, "radius", 1.0) > 0:
            raise ValueError(f"radius must be positive, got {getattr(self, 'radius', None)}")

    def common(self, box: Box | None) -> dict[str, Any]:
        """See UtilityConfig.common. The slope of a linear utility is known: no episodes are spent on the returns."""
        return super().common(box) | {"separate": self.utility != "linear", "seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class REINFORCE(EstimatorConfig):
    """The whole return times the sum of scores. Source: Williams 1992."""

    name: ClassVar[str] = "reinforce"
    make: ClassVar[Maker] = compositions.reinforce


@dataclass(frozen=True, kw_only=True)
class GPOMDP(EstimatorConfig):
    """Every score is paid from its step on. Source: Baxter and Bartlett 2001."""

    name: ClassVar[str] = "gpomdp"
    make: ClassVar[Maker] = compositions.gpomdp


@dataclass(frozen=True, kw_only=True)
class MomentumPG(EstimatorConfig):
    """An average of gradients that forgets, normalised steps. Source: Cutkosky and Mehta 2020, arXiv:2002.03305."""

    name: ClassVar[str] = "momentum"
    make: ClassVar[Maker] = compositions.momentum
    settings: ClassVar[Names] = ("batch", "eta")

    eta: float = 0.2  # weight of the fresh gradient, in (0, 1]


@dataclass(frozen=True, kw_only=True)
class SRVRPG(EstimatorConfig):
    """Large batches now and then; between them, corrections by weights to the step before.

    Source: Xu et al. 2020, arXiv:1909.08610.
    """

    name: ClassVar[str] = "srvr-pg"
    make: ClassVar[Maker] = compositions.srvr_pg
    corrected: ClassVar[bool] = True
    settings: ClassVar[Names] = ("checkpoint", "batch", "period")

    checkpoint: int = 50  # N: episodes of a large batch
    period: int = 5  # m: steps from one large batch to the next


@dataclass(frozen=True, kw_only=True)
class SVRPG(SRVRPG):
    """Large batches now and then; between them, corrections by weights to the last large batch.

    Source: Papini et al. 2018, arXiv:1806.05618.
    """

    name: ClassVar[str] = "svrpg"
    make: ClassVar[Maker] = compositions.svrpg


@dataclass(frozen=True, kw_only=True)
class TSIVR(SRVRPG):
    """SRVR-PG with steps of bounded length, which bound the weights. Source: Zhang et al. 2021, arXiv:2102.08607."""

    name: ClassVar[str] = "tsivr"
    make: ClassVar[Maker] = compositions.tsivr
    settings: ClassVar[Names] = ("checkpoint", "batch", "period", "radius")

    radius: float = 0.1  # longest step [parameters]


@dataclass(frozen=True, kw_only=True)
class PAGEPG(EstimatorConfig):
    """SRVR-PG with large batches at random. Source: Gargiani et al. 2022, arXiv:2202.00308."""

    name: ClassVar[str] = "page-pg"
    make: ClassVar[Maker] = compositions.page_pg
    corrected: ClassVar[bool] = True
    settings: ClassVar[Names] = ("checkpoint", "batch", "probability")

    checkpoint: int = 50  # N: episodes of a large batch
    probability: float = 0.2  # of a large batch, at every step


@dataclass(frozen=True, kw_only=True)
class STORMPG(EstimatorConfig):
    """A blend of fresh and corrected gradients at every step. Source: Yuan et al. 2020, arXiv:2003.04302."""

    name: ClassVar[str] = "storm-pg"
    make: ClassVar[Maker] = compositions.storm_pg
    corrected: ClassVar[bool] = True
    settings: ClassVar[Names] = ("checkpoint", "batch", "eta")

    checkpoint: int = 50  # episodes of the first batch
    eta: float = 0.3  # weight of the fresh gradient, in (0, 1]


@dataclass(frozen=True, kw_only=True)
class NVRPG(EstimatorConfig):
    """STORM with steps of a given length and shrinking weights; the prices of the step before let one batch do.

    Source: Barakat et al. 2023, arXiv:2306.01854.
    """

    name: ClassVar[str] = "n-vr-pg"
    make: ClassVar[Maker] = compositions.n_vr_pg
    corrected: ClassVar[bool] = True

    def common(self, box: Box | None) -> dict[str, Any]:
        """See UtilityConfig.common."""
        return super().common(box) | {"separate": False}


@dataclass(frozen=True, kw_only=True)
class NPGIGT(EstimatorConfig):
    """Gradients are sampled ahead, where old and new ones average rightly; steps of a given, shrinking length.

    Source: Fatkhullin et al. 2023, arXiv:2302.01734.
    """

    name: ClassVar[str] = "n-pg-igt"
    make: ClassVar[Maker] = compositions.n_pg_igt
    settings: ClassVar[Names] = ("batch", "eta")

    eta: float = 1.0  # weight of the first gradients, in (0, 1]


@dataclass(frozen=True, kw_only=True)
class HARPG(NPGIGT):
    """Old gradients are brought over by Hessian-vector products. Source: Fatkhullin et al. 2023, arXiv:2302.01734."""

    name: ClassVar[str] = "harpg"
    make: ClassVar[Maker] = compositions.harpg
    corrected: ClassVar[bool] = True
    settings: ClassVar[Names] = ("batch", "eta", "curvature")

    curvature: int = 10  # episodes of a Hessian-vector product, at every step


@dataclass(frozen=True, kw_only=True)
class NHARPG(HARPG):
    """HARPG with steps of a given, shrinking length. Source: Fatkhullin et al. 2023, arXiv:2302.01734."""

    name: ClassVar[str] = "n-harpg"
    make: ClassVar[Maker] = compositions.n_harpg


METHODS: dict[str, type[EstimatorConfig]] = {
    kind.name: kind
    for kind in (REINFORCE, GPOMDP, MomentumPG, SVRPG, SRVRPG, PAGEPG, STORMPG, TSIVR, NVRPG, NPGIGT, HARPG, NHARPG)
}
