"""Surrogates by hand, against autograd and against each other."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from tradeoff.engine.surrogates import by_autograd, importance_weighted, ppo_clip, score_function, with_divergence

SURROGATES = {
    "score": score_function,
    "importance": importance_weighted,
    "clip": ppo_clip(0.25),
    "divergence": with_divergence(importance_weighted, 0.5),
    "clip + divergence": with_divergence(ppo_clip(0.25), 0.5),
}
each = pytest.mark.parametrize("surrogate", SURROGATES.values(), ids=SURROGATES.keys())


def _samples(spread: float = 0.6) -> tuple[Tensor, Tensor]:
    generator = Generator().manual_seed(0)
    return tuple(x * torch.randn(2, 500, generator=generator).double() for x in (spread, 2.0))


def test_clip_by_hand() -> None:
    # clip = 1/4: one row for each branch of min(r A, clipped r A).
    #   r     A     r A    clipped   min     slope d min / d log r
    #   3/2   1     1.5     1.25     1.25     0     (clipped)
    #   3/2  -2    -3      -2.5     -3       -3     (kept)
    #   1/2   2     1       1.5      1        1     (kept)
    #   1/2  -4    -2      -3       -3        0     (clipped)
    #   1     3     3       3        3        3     (inside)
    log_ratio = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.0]).double().log()
    objective, slope = ppo_clip(0.25)(log_ratio, torch.tensor([1.0, -2, 2, -4, 3]).double())
    torch.testing.assert_close(objective, torch.tensor([1.25, -3, 1, -3, 3]).double())
    torch.testing.assert_close(slope, torch.tensor([0.0, -3, 1, 0, 3]).double())


def test_divergence_by_hand() -> None:
    # weight 1/2, r = 3, A = 2: objective 6 - (3 - 1 - log 3) / 2 = 5 + log(3) / 2, slope 6 - (3 - 1) / 2 = 5.
    log_ratio = torch.tensor([3.0]).double().log()
    objective, slope = with_divergence(importance_weighted, 0.5)(log_ratio, torch.tensor([2.0]).double())
    torch.testing.assert_close(objective, 5 + log_ratio / 2)
    torch.testing.assert_close(slope, torch.tensor([5.0]).double())
    assert with_divergence(importance_weighted, 0.0) is importance_weighted


def test_mean_of_the_divergence_term_is_the_divergence() -> None:
    # Behaviour (1/4, 3/4), policy (1/2, 1/2): KL = log(1/2)/4 + 3 log(3/2)/4. Enumerate both actions, no advantage.
    behaviour, policy = torch.tensor([0.25, 0.75]).double(), torch.tensor([0.5, 0.5]).double()
    penalty, _ = with_divergence(importance_weighted, 1.0)((policy / behaviour).log(), torch.zeros(2).double())
    want = (behaviour * (behaviour / policy).log()).sum()
    torch.testing.assert_close((behaviour * -penalty).sum(), want)


@each
def test_slope_is_the_derivative_of_the_objective(surrogate) -> None:
    log_ratio, advantage = _samples()
    objective, slope = surrogate(log_ratio, advantage)
    derived = by_autograd(lambda x, a: surrogate(x, a)[0])(log_ratio, advantage)
    torch.testing.assert_close(derived[0], objective, rtol=0, atol=0)
    torch.testing.assert_close(derived[1], slope, rtol=1e-12, atol=1e-12)
    assert objective.shape == slope.shape == (2, 500) and not derived[0].requires_grad and not log_ratio.requires_grad


def test_by_autograd_derives_inside_no_grad() -> None:
    # objective = A r^2: slope 2 A r^2. With r = 2 and A = 3: 12 and 24.
    square = by_autograd(lambda log_ratio, advantage: advantage * (2 * log_ratio).exp())
    with torch.no_grad():
        objective, slope = square(torch.tensor([2.0]).log(), torch.tensor([3.0]))
    torch.testing.assert_close(torch.cat([objective, slope]), torch.tensor([12.0, 24.0]))


def test_clip_is_ratio_times_advantage_minus_a_drift() -> None:
    # min(r A, clip(r) A) = r A - relu((r - clip(r)) A).
    log_ratio, advantage = _samples()
    ratio = log_ratio.exp()
    drift = torch.relu((ratio - ratio.clamp(0.8, 1.2)) * advantage)
    objective, slope = ppo_clip(0.2)(log_ratio, advantage)
    torch.testing.assert_close(objective, ratio * advantage - drift, rtol=1e-14, atol=1e-14)
    assert ((slope == 0) == (drift > 0)).all() and 0.2 < (drift > 0).double().mean() < 0.8


@each
def test_at_ratio_one_every_slope_is_the_score_functions(surrogate) -> None:
    _, advantage = _samples()
    torch.testing.assert_close(surrogate(torch.zeros_like(advantage), advantage)[1], advantage, rtol=0, atol=0)


@pytest.mark.parametrize("clip", [0.0, 1.0, -0.1])
def test_a_clip_outside_the_unit_interval_is_refused(clip: float) -> None:
    with pytest.raises(ValueError, match=rf"clip must lie in \(0, 1\), got {clip}"):
        ppo_clip(clip)


def test_a_negative_divergence_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        with_divergence(score_function, -1)
