"""Constrained methods where episodes terminate, are cut, or never end: each method once, every end and discount."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.ends import CLOSE, ENDS, GAMMAS, HOURS, LIMIT, cells, kind_of, optimum, play
from tradeoff.registry import METHODS
from tradeoff.safe.methods import ConstrainedConfig

LIMITED = tuple(name for name, config in METHODS.items() if issubclass(config, ConstrainedConfig))


def chosen() -> list[tuple[str, str, float]]:
    """One cell per method: ends and discounts take turns among those that are defined for it."""
    found = []
    for i, name in enumerate(sorted(LIMITED, key=lambda name: name == "lagrangian")):
        mine = list(cells((name,), ENDS, GAMMAS))
        found.append(mine[i * 5 % len(mine)])
    return found


def test_the_best_by_hand_is_that_of_the_linear_program() -> None:
    """A third hurried, the rest worked: 10 (1 + 1/6) at 10 (1/4 + 1/4). In whole hours three hurried, seven worked."""
    for end in ENDS:
        scale = 1 / HOURS if end == "never" else 1.0
        np.testing.assert_allclose(optimum(end, False), [scale * 35 / 3, scale * LIMIT])
    assert optimum("horizon", True) == (11.5, 4.75)


def test_every_method_has_a_cell_and_every_end_and_discount_is_chosen() -> None:
    assert {name for name, _, _ in cells(LIMITED, ENDS, GAMMAS)} == set(LIMITED)
    assert {end for _, end, _ in chosen()} == set(ENDS) and {gamma for _, _, gamma in chosen()} == set(GAMMAS)
    assert ("cal", "horizon", 1.0) not in list(cells(("cal",), ENDS, GAMMAS))
    assert {kind_of(name) for name in LIMITED} == {"rollouts", "replay", "budget", "conditioned"}


@pytest.mark.slow
@pytest.mark.parametrize(("method", "end", "gamma"), chosen())
def test_a_method_ends_at_the_optimum(method: str, end: str, gamma: float) -> None:
    found = play(method, end, gamma)
    print(f"\n{method}, {end}, {gamma:g}: {found}")
    assert np.mean(found.value) > (1 - CLOSE) * found.best[0], found
    assert np.mean(found.cost) < (1 + CLOSE) * found.limit, found
