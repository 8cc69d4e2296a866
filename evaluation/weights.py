"""Sets of preferences on the simplex: rows [n, m] of non-negative numbers that sum to one."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import numpy as np

from evaluation.checks import Array


def simplex_lattice(objectives: int, partitions: int) -> Array:
    """All C(partitions + m - 1, m - 1) preferences [n, m] whose entries are multiples of 1 / partitions.

    Counted in integers, so none is lost to rounding. In lexicographic order.
    Source: Das and Dennis 1998, SIAM J. Optim. 8(3).
    """
    _check_size(objectives, partitions, "partitions")
    bars = np.array(list(combinations(range(partitions + objectives - 1), objectives - 1)), dtype=np.int64)
    bars = bars.reshape(-1, objectives - 1)
    fence = np.column_stack([np.full(len(bars), -1), bars, np.full(len(bars), partitions + objectives - 1)])
    return np.asarray((np.diff(fence, axis=1) - 1) / partitions)


def simplex_energy(objectives: int, count: int, seed: int = 42) -> Array:
    """`count` well spread preferences [count, m] of least Riesz s-energy, the field's usual set for expected utility.

    The first call for a triple takes seconds, later ones nothing. Source: Blank, Deb, Dhebar, Bandaru, Seada 2021,
    IEEE TEVC 25(1), as computed by pymoo; MORL-Baselines scores with 50 of them and seed 42.
    """
    _check_size(objectives, count, "count")
    return _energy(objectives, count, seed).copy()


def simplex_uniform(objectives: int, count: int, seed: int) -> Array:
    """`count` preferences [count, m] drawn evenly from the whole simplex (Dirichlet with all parameters 1)."""
    _check_size(objectives, count, "count")
    return np.random.default_rng(seed).dirichlet(np.ones(objectives), size=count)


@lru_cache(maxsize=64)
def _energy(objectives: int, count: int, seed: int) -> Array:
    if objectives == 1:
        return np.ones((count, 1))
    from pymoo.util.ref_dirs import get_reference_directions

    directions = np.asarray(get_reference_directions("energy", objectives, count, seed=seed), dtype=np.float64)
    return np.asarray(directions / directions.sum(axis=1, keepdims=True))


def _check_size(objectives: int, number: int, name: str) -> None:
    if objectives < 1 or number < 1:
        raise ValueError(f"objectives = {objectives}, {name} = {number}; both must be at least 1")
