"""Methods that find a Pareto front. A method is its config: it says which weights the next population trains under."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from tradeoff.engine.learner import LearnerConfig
from tradeoff.engine.population import Population
from tradeoff.engine.run import RunConfig
from tradeoff.engine.scalarizers import Linear, Scalarizer, padded
from tradeoff.engine.unread import refuse_unread, refuse_unread_on
from tradeoff.envs.protocol import EnvSpec
from tradeoff.evaluation import simplex_energy, simplex_lattice
from tradeoff.morl.archive import Archive
from tradeoff.morl.barrier import Barrier

if TYPE_CHECKING:
    from tradeoff.morl.discovery import Discovery


class Plan(NamedTuple):
    """What to train next."""

    scalarizer: Scalarizer
    preferences: NDArray[np.float64]  # [P, m] noted beside each policy
    parents: Population | None  # where to start from; None: fresh policies
    share: float  # go on until this share of the run's steps is spent ...
    iterations: int | None = None  # ... or for so many iterations, if that is fewer


@dataclass(frozen=True, kw_only=True)
class FrontConfig(RunConfig):
    """What every front method needs to know; one preference per policy."""

    reference_point: tuple[float, ...] | None = None  # of the hypervolume; None: the environment's usual one
    capacity: int = 100  # policies kept in the archive
    learner: LearnerConfig = field(default_factory=LearnerConfig)

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        if self.capacity < 2:
            raise ValueError(f"capacity must be at least 2, got {self.capacity}")

    def start(self) -> Discovery:
        """See RunConfig.start."""
        from tradeoff.morl.discovery import Discovery

        return Discovery(self)

    def begin(self, spec: EnvSpec) -> Plan:
        """The first population: one policy per preference, spread over the simplex."""
        refuse_unread_on(spec, self.learner)
        weights = spread_preferences(len(spec.objectives), self.policies)
        channels = len(spec.objectives) + len(spec.costs)
        scalarizer = Linear(padded(torch.tensor(weights, dtype=torch.float32, device=self.device), channels))
        return Plan(scalarizer, weights, None, self.first_share)

    @property
    def first_share(self) -> float:
        """Share of the steps spent on the first population."""
        return 1.0

    def extend(self, archive: Archive, used: set[int], spec: EnvSpec, generator: Generator) -> Plan | None:
        """The next population once a plan is over; None: nothing more to do. `used` holds members chosen before."""
        return None


@dataclass(frozen=True, kw_only=True)
class WeightedSumFront(FrontConfig):
    """P policies, one per weight vector, trained as one program. The plain method every other is compared with.

    It reaches the convex hull of the front: the points that are best for some weights.
    """

    name: ClassVar[str] = "weighted-sum"


@dataclass(frozen=True, kw_only=True)
class CMORL(FrontConfig):
    """Two stages: a population over the simplex, then the archive's most isolated policies pushed along each objective.

    An extension maximises one objective while an interior-point barrier keeps every other one above a share of the
    selected policy's return. The best policy inside the barrier may be one that no weights make best; where it is a
    mixture, evaluation shows only its likeliest actions. All extensions train as one population.
    Source: Liu et al. 2025, arXiv:2410.02236.
    """

    name: ClassVar[str] = "c-morl"

    extension: float = 0.4  # share of the steps spent on extensions
    select: int = 5  # policies extended at once; each trains once per objective
    extension_iterations: int = 20  # iterations per extension
    keep_share: float = 0.9  # beta: share of the other objectives that an extension must keep
    sharpness: float = 20.0  # t of the log barrier

    def __post_init__(self) -> None:
        FrontConfig.__post_init__(self)
        if not 0 <= self.extension < 1:
            raise ValueError(f"extension must lie in [0, 1), got {self.extension}")
        if not 0 < self.keep_share <= 1:
            raise ValueError(f"keep_share must lie in (0, 1], got {self.keep_share}")
        if self.select < 1 or self.extension_iterations < 1:
            raise ValueError("select and extension_iterations must be at least 1")
        if not self.sharpness > 0:  # a NaN is refused too
            raise ValueError(f"sharpness must be positive, got {self.sharpness}")
        if self.extension == 0:
            refuse_unread(self, EXTENDING, "extension 0 extends no policy", "give extension above 0, or leave it out")

    @property
    def first_share(self) -> float:
        """See FrontConfig.first_share."""
        return 1.0 - self.extension

    def extend(self, archive: Archive, used: set[int], spec: EnvSpec, generator: Generator) -> Plan | None:
        """See FrontConfig.extend. When every policy of the archive has been extended, all may be chosen again."""
        m = len(spec.objectives)
        if not set(archive.members.tolist()) - used:
            used.clear()
        chosen = archive.select(self.select, used)
        used.update(archive.members[chosen].tolist())
        rows = np.repeat(chosen, m)
        objectives = torch.arange(m, device=self.device).repeat(len(chosen))
        span = np.ptp(archive.points, axis=0)
        scales = torch.tensor(np.where(span > 0, span, 1.0), dtype=torch.float32, device=self.device)
        assert archive.population is not None
        barrier = Barrier(objectives, scales, self.keep_share, self.sharpness)
        parents = archive.population[rows.tolist()]
        return Plan(barrier, np.eye(m)[objectives.cpu().numpy()], parents, 1.0, self.extension_iterations)


EXTENDING = ("select", "extension_iterations", "keep_share", "sharpness")
"""Settings of C-MORL's second stage."""

METHODS: dict[str, type[FrontConfig]] = {method.name: method for method in (CMORL, WeightedSumFront)}


def spread_preferences(m: int, count: int) -> NDArray[np.float64]:
    """`count` weight vectors over the simplex [count, m], its corners among them once there are enough.

    A lattice where one has this many points (always for two objectives), otherwise points that repel each other.
    Raises ValueError for a count between 1 and m: no such set treats the objectives alike.
    """
    if count == 1:
        return np.full((1, m), 1 / m)
    if count < m:
        raise ValueError(f"policies is {count}; give 1, or at least {m}, one per objective")
    if m == 2:
        return simplex_lattice(2, count - 1)
    for partitions in range(1, 20):
        lattice = simplex_lattice(m, partitions)
        if len(lattice) == count:
            return lattice
        if len(lattice) > count:
            break
    return simplex_energy(m, count, seed=0)
