"""Weights that move: argmax by search, slopes by finite differences, and a factor that must not cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from tests.engine.conftest import Corridor
from tests.engine.conftest import learner_for as learner_for  # fixtures here too
from tests.engine.conftest import model_for as model_for
from tradeoff.engine import LearnerConfig, Linear
from tradeoff.engine.updates import SGD, Adam
from tradeoff.evaluation import hypervolume
from tradeoff.morl.dynamic_weights import (
    HypervolumeGuide,
    Stretched,
    floored,
    guided_parts,
    hypervolume_slope,
    influence_step,
)
from tradeoff.morl.gradient_rules import gram


def test_the_influence_step_is_the_best_within_its_divergence() -> None:
    # Gradients (1, 0), (0, 2), (-1, 1): their sum (0, 3) has the products 0, 6, 3 with them.
    k = gram(torch.tensor([[[1.0, 0], [0, 2], [-1, 1]]]))
    old = torch.tensor([[0.5, 0.2, 0.3]]).double()
    new = influence_step(old, k, 0.1)[0]
    want = np.array([0.5, 0.2 * np.exp(0.6), 0.3 * np.exp(0.3)])
    np.testing.assert_allclose(new, want / want.sum())
    tries = torch.rand(200_000, 3, generator=Generator().manual_seed(0)).double().log().neg()
    tries = tries / tries.sum(1, keepdim=True)

    def value(w: torch.Tensor) -> torch.Tensor:
        return 0.1 * w @ torch.tensor([0.0, 6, 3]).double() - (w * (w / old).log()).sum(-1)

    assert value(new.unsqueeze(0)).item() >= value(tries).max().item() - 1e-12
    assert value(tries).max().item() > value(new.unsqueeze(0)).item() - 1e-3
    assert floored(torch.tensor([[1.0, 0, 0]]), 0.1)[0].tolist() == pytest.approx([0.8, 0.1, 0.1])


@pytest.mark.parametrize("m", [2, 3, 4])
def test_the_hypervolumes_slope_by_finite_differences(m: int) -> None:
    draw = np.random.default_rng(m)
    moved = 0
    for _ in range(15):
        front, point, low = draw.random((5, m)), 0.6 + 0.5 * draw.random(m), np.full(m, -0.1)
        slope = hypervolume_slope(front, point, low)
        for i in range(m):
            h = 1e-6 * np.eye(m)[i]
            rise = [hypervolume(np.vstack([front, point + s * h]), low).value for s in (1, -1)]
            assert slope[i] == pytest.approx((rise[0] - rise[1]) / 2e-6, abs=1e-6)
        moved += bool(slope.any())
    assert moved >= 10


def test_slopes_by_hand() -> None:
    # Front (3, 1), point (1, 2), reference 0: to the right the point is new between heights 1 and 2, above it all of 1.
    assert hypervolume_slope(np.array([[3.0, 1]]), np.array([1.0, 2]), np.zeros(2)).tolist() == [1, 1]
    assert hypervolume_slope(np.array([[3.0, 3]]), np.array([1.0, 2]), np.zeros(2)).tolist() == [0, 0]
    assert hypervolume_slope(np.empty((0, 2)), np.array([1.0, 2]), np.zeros(2)).tolist() == [2, 1]
    assert hypervolume_slope(np.empty((0, 2)), np.array([1.0, -2]), np.zeros(2)).tolist() == [0, 0]


def test_a_guide_weighs_what_adds_most_and_remembers_it() -> None:
    # (1, 2) from (0, 0): slope (2, 1), weights (2/3, 1/3), volume 2. Then (3, 1): adds 3 + 2 - 1 - 2 = 2, slope: right
    # 1, up 3 - 1 = 2. Covered returns get the preference and half a step.
    guide = HypervolumeGuide(torch.tensor([[0.9, 0.1]]), (0.0, 0.0), unit=2.0)
    first, second, covered = (torch.tensor([row]) for row in ([1.0, 2, 7], [3.0, 1, 7], [0.5, 0.5, 7]))
    assert guide.weights(first)[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert guide.weights(torch.full((1, 3), torch.nan))[0].tolist() == pytest.approx([0.9, 0.1, 0])
    guide.update(first)
    assert guide.stretch.item() == pytest.approx(0.5 + 1.5 * np.tanh(1))
    assert guide.weights(second)[0].tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    guide.update(second)
    assert guide.stretch.item() == pytest.approx(0.5 + 1.5 * np.tanh(1))
    assert guide.weights(covered)[0].tolist() == pytest.approx([0.9, 0.1, 0])
    guide.update(covered)
    assert guide.stretch.item() == 0.5 and len(guide.reached[0]) == 2
    again = HypervolumeGuide(torch.tensor([[0.9, 0.1]]), (0.0, 0.0), unit=2.0)
    again.load_state_dict(guide.state_dict())
    assert torch.equal(again.reached[0], guide.reached[0]) and torch.equal(again.stretch, guide.stretch)
    with pytest.raises(ValueError, match="unit"):
        HypervolumeGuide(torch.ones(1, 2), (0.0, 0.0), unit=0.0)
    with pytest.raises(ValueError, match="3 numbers for 2 objectives"):
        HypervolumeGuide(torch.ones(1, 2), (0.0, 0.0, 0.0), unit=1.0)


def test_steps_are_stretched_per_policy() -> None:
    theta = torch.zeros(2, 1, 3)
    Stretched(SGD(0.5), lambda: torch.tensor([2.0, 0.5])).step(theta, torch.ones(2, 1, 3), {}, 1.0)
    assert theta[:, 0, 0].tolist() == [1, 0.25]


def test_a_common_factor_of_the_weights_cancels_but_not_one_of_the_steps(
    learner_for: Callable[..., Any],
) -> None:
    """Advantages are divided by their spread: weights (4, 4) learn as (1, 1) does; stretched steps do not."""
    config = LearnerConfig(rollout_steps=16, environments=4, epochs=1, minibatches=2, hidden=(4,))

    def learnt(scale: float, stretch: float) -> torch.Tensor:
        update = Stretched(Adam(0.01), lambda: torch.tensor([stretch]))
        learner = learner_for(
            Corridor(4), [[1.0, 1, 0]], config, scalarizer=Linear(scale * torch.tensor([[1.0, 1, 0]])), update=update
        )
        for _ in range(3):
            learner.iterate()
        return torch.as_tensor(learner.population.theta[0, 0])

    torch.testing.assert_close(learnt(4.0, 1.0), learnt(1.0, 1.0), rtol=1e-4, atol=1e-6)
    assert (learnt(1.0, 2.0) - learnt(1.0, 1.0)).abs().max() > 1e-3


def test_a_guided_learner_steps_by_what_its_returns_added(learner_for: Callable[..., Any]) -> None:
    config = LearnerConfig(rollout_steps=64, environments=4, epochs=1, minibatches=1, hidden=(4,), learning_rate=0.01)
    guide = HypervolumeGuide(torch.tensor([[0.5, 0.5]]), (-1.0, -1.0), unit=1.0)
    scalarizer, update = guided_parts(guide, Adam(0.01))
    learner = learner_for(Corridor(4), [[1.0, 1, 0]], config, scalarizer=scalarizer, update=update)
    before = learner.population.theta.clone()
    learner.iterate()
    assert (learner.population.theta[:, 0] - before[:, 0]).abs().max().item() == pytest.approx(0.01, rel=1e-2)
    stretch, before = guide.stretch.item(), learner.population.theta.clone()
    assert stretch > 1, "the first returns add a volume of about 2"
    state = learner.state_dict()
    assert state["scalarizer"]["stretch"].item() == stretch
    learner.iterate()
    moved = (learner.population.theta[:, 0] - before[:, 0]).abs().max().item()
    assert 0.005 < moved / stretch < 0.02
