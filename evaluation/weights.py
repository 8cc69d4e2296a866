"""Sets of preferences on the simplex: rows [n, m] of non-negative numbers that sum to one."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np

from tradeoff.evaluation.checks import Array, InvalidWeights


def simplex_lattice(objectives: int, partitions: int) -> Array:
    """All C(partitions + m - 1, m - 1) preferences [n, m] whose entries are multiples of 1 / partitions.

    Counted in integers, so none is lost to rounding. In lexicographic order.
    Source: Das and Dennis 1998, SIAM J. Optim. 8(3).
    """
    _check_size(objectives, partitions, "partitions")
    places, splits = partitions + objectives - 1, objectives - 1
    bars = np.array(list(combinations(range(places), splits)), dtype=np.int64).reshape(comb(places, splits), splits)
    fence = np.column_stack([np.full(len(bars), -1), bars, np.full(len(bars), places)])
    return np.asarray((np.diff(fence, axis=1) - 1) / partitions)


def simplex_energy(objectives: int, count: int, seed: int = 1) -> Array:
    """`count` well spread preferences [count, m] of least Riesz s-energy, the field's usual set for expected utility.

    The first call for a triple takes seconds, later ones nothing. Seed 1 gives the set that MORL-Baselines scores with
    (50 of them): pymoo, which computes it, drops the seed 42 asked for there and always draws from 1.
    Raises InvalidWeights for a count below m.
    Source: Blank, Deb, Dhebar, Bandaru, Seada 2021, IEEE TEVC 25(1).
    """
    _check_size(objectives, count, "count")
    if count < objectives:
        raise InvalidWeights(
            f"count = {count} for {objectives} objectives; the set holds every single objective, so at least "
            f"{objectives}, or use simplex_uniform"
        )
    return _energy(objectives, count, seed).copy()


def simplex_uniform(objectives: int, count: int, seed: int) -> Array:
    """`count` preferences [count, m] drawn evenly from the whole simplex (Dirichlet with all parameters 1)."""
    _check_size(objectives, count, "count")
    return np.random.default_rng(seed).dirichlet(np.ones(objectives), size=count)


@lru_cache(maxsize=64)
def _energy(objectives: int, count: int, seed: int) -> Array:
    if objectives == 1:
        return np.ones((count, 1))
    from pymoo.util.ref_dirs.energy import RieszEnergyReferenceDirectionFactory

    directions = np.asarray(RieszEnergyReferenceDirectionFactory(objectives, count).do(seed=seed), dtype=np.float64)
    return np.asarray(directions / directions.sum(axis=1, keepdims=True))


def _check_size(objectives: int, number: int, name: str) -> None:
    if not all(isinstance(n, int | np.integer) and n >= 1 for n in (objectives, number)):
        raise InvalidWeights(f"objectives = {objectives}, {name} = {number}; expected whole numbers, both at least 1")
