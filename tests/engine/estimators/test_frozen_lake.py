"""The frozen lake beside exact solutions: what its optimum is, and that gaps of trained tables are exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.frozen_lake import EPOCHS, RADIUS, RATE, epochs, gaps, lake, learner, slope
from tradeoff.engine.compositions import gpomdp
from tradeoff.evaluation.exact import best_policy, policy_returns


def test_the_optimum_is_the_published_one() -> None:
    # Zhang et al. 2021 give .4146 at discount .99. The uniform policy earns .0011; cut after 400 steps, the best one
    # keeps all but 1e-5 of the optimum (time limits hardly bias a gap), after 200 it loses .003.
    given = lake()
    assert given.optimum == pytest.approx(0.4146, abs=5e-5)
    best = best_policy(given.problem, [1.0]).policy
    lost = [given.optimum - policy_returns(given.problem, best, horizon=h)[0] for h in (400, 200)]
    assert lost[0] < 1e-5
    assert lost[1] == pytest.approx(0.0028, abs=1e-4)


def test_gaps_are_those_of_the_tables_of_logits() -> None:
    # Zero logits: uniform, gap .41464 - .00110. Logits of 60 for the best actions: the optimum itself.
    given = lake()
    trained = learner(given, gpomdp(1.0, 4, separate=False), 2, 0)
    table = trained.population.theta[1, 0, :-4].view(64, 4)
    table.copy_(60 * torch.tensor(best_policy(given.problem, [1.0]).policy))
    assert gaps(given, trained) == pytest.approx([0.41354, 0.0], abs=1e-5)


def test_an_epoch_counts_its_trajectories_and_leaves_what_all_states_share() -> None:
    # N = 16: 16 in the large batch and 3 corrections of 4 each make 28 an epoch; two epochs of one run 56.
    assert epochs(lake(), 16, 0, runs=2, count=2, rate=1.0, radius=0.1)["trajectories"] == 56
    given = lake()
    trained = learner(given, gpomdp(1e3, 64, separate=False), 1, 0)
    table = trained.population.theta[0, 0, :-4].view(64, 4)
    table.copy_(5 * torch.tensor(best_policy(given.problem, [1.0]).policy))  # from the uniform one none arrives
    before = table.clone()
    trained.iterate(1.0)
    assert (table - before).abs().max() > 0.1
    assert trained.population.theta[..., -4:].abs().max() == 0.0


def test_slope_of_a_power_is_its_exponent() -> None:
    x = np.array([10.0, 100.0, 1000.0])
    assert slope(x, 3 * x**-0.5) == pytest.approx(-0.5)


@pytest.mark.slow
def test_the_gap_falls_with_the_square_root_of_trajectories() -> None:
    # Zhang et al. 2021 measure -.496. Sixteen times the large batch: gaps of .25 and .05 after 1,680 and 29,760.
    found = [epochs(lake(), large, 3, runs=3, count=EPOCHS, rate=RATE, radius=RADIUS) for large in (16, 256)]
    spent, gap = (np.array([np.mean(x[name]) for x in found]) for name in ("trajectories", "gaps"))
    assert spent.tolist() == [1680, 29760]
    assert slope(spent, gap) == pytest.approx(-0.5, abs=0.12)
