"""No unit decides: rewards, costs with their limits, or observations in another unit give the same run, every method.

Powers of two scale numbers of 32 bits without rounding, so most runs agree bit for bit.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.tradeoff.tiny_methods import Units, tiny_config
from tradeoff.engine.learner_config import LearnerConfig
from tradeoff.envs import finite_arrays, make_tabular, register
from tradeoff.registry import METHODS

ITERATIONS, BIG = 4, 2.0**20
UNITS = {"up": (BIG, 1 / BIG, BIG), "down": (1 / BIG, BIG, 1 / BIG)}


def _trained(method: str, units: Units) -> torch.Tensor:
    """The actors after a few iterations."""
    run = tiny_config(method, units).start()
    for _ in range(ITERATIONS):
        run.advance()
    return run.learner.population.theta[:, 0].clone()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", METHODS)
def test_no_unit_changes_a_run(method: str) -> None:
    plain = _trained(method, (1.0, 1.0, 1.0))
    for name, units in UNITS.items():
        other = _trained(method, units)
        torch.testing.assert_close(other, plain, rtol=0, atol=1e-4, msg=lambda m, name=name: f"{name}: {m}")


DECIMAL = {"small": (1e-6, 1e3, 1e-6), "large": (1e3, 1e-6, 1e3)}
ONE_OF_EACH = ("c-morl", "v-mpo", "mo-tsivr-pg", "pid-lagrangian", "cup", "sac-lagrangian")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ONE_OF_EACH)
def test_decimal_units_change_a_run_by_rounding_only(method: str) -> None:
    """They round in every product. What single precision leaves (2^-24 = 6e-8 of a parameter near 1, an iteration each)
    was at most 3e-7; methods that solve with curvature (cpo, pcpo) make thousands of times as much of it.
    """
    plain = _trained(method, (1.0, 1.0, 1.0))
    for name, units in DECIMAL.items():
        other = _trained(method, units)
        torch.testing.assert_close(other, plain, rtol=0, atol=3e-6, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.slow
def test_cpo_keeps_a_limit_whatever_the_unit_of_the_cost() -> None:
    # Ten steps, each paying 1 at a cost of one unit, or nothing at all; limit: 5 units, which 5 of 10 steps spend.
    learner = LearnerConfig(
        rollout_steps=50, environments=8, epochs=4, minibatches=4, learning_rate=3e-3, gamma=0.99, hidden=(16,)
    )
    found = []
    for unit in (1.0, 1e-6):
        model = finite_arrays([[[1.0], [1.0]]], [[[0.0], [1.0]]], cost=[[[0.0], [unit]]], horizon=10)
        register("spend", lambda n, model=model, **options: make_tabular(model, n, costs=("wear",), **options))
        config: Any = METHODS["cpo"](
            env="spend", limit=(f"{5 * unit!r}",), steps=60_000, policies=3, learner=learner, final_episodes=100,
            evaluate_every=1000, discount=1.0,
        )  # fmt: skip
        found.append(config.run().returns[..., 1].mean() / unit)
    assert found == pytest.approx([5.0] * 2, abs=0.4)
    assert found == pytest.approx([found[0]] * 2, abs=0.1)
