"""The interior-point weights against finite differences, and what they are for: a point no weights reach."""

from __future__ import annotations

import pytest
import torch

from tradeoff.morl.barrier import Barrier, thresholds

T, SHARE = 20.0, 0.9


def utility(returns: torch.Tensor, pushed: int, floor: torch.Tensor, scale: torch.Tensor) -> float:
    """J_l / s_l + (1 / t) sum_{i != l} log((J_i - G_i) / s_i)."""
    logs = ((returns - floor) / scale).log()
    return float(returns[pushed] / scale[pushed] + (logs.sum() - logs[pushed]) / T)


@pytest.mark.parametrize("scale", [[1.0, 1.0, 1.0], [2.0, 5.0, 0.5]])
@pytest.mark.parametrize("pushed", [0, 1, 2])
def test_weights_are_the_gradient_of_the_barrier(scale, pushed):
    """Anchored at (10, -20, 4): thresholds 9, -22, 3.6. At (12, -19, 5) every slack is well above s / t^2."""
    scale = torch.tensor(scale, dtype=torch.float64)
    barrier = Barrier(torch.tensor([pushed]), scale, SHARE, T)
    barrier.anchor = torch.tensor([[10.0, -20.0, 4.0]], dtype=torch.float64)
    at, floor = (
        torch.tensor([12.0, -19.0, 5.0], dtype=torch.float64),
        torch.tensor([9.0, -22.0, 3.6], dtype=torch.float64),
    )
    torch.testing.assert_close(thresholds(barrier.anchor, SHARE)[0], floor)
    weights, h = barrier.weights(at.unsqueeze(0))[0], 1e-5
    for i, step in enumerate(torch.eye(3, dtype=torch.float64) * h):
        slope = (utility(at + step, pushed, floor, scale) - utility(at - step, pushed, floor, scale)) / (2 * h)
        assert weights[i].item() == pytest.approx(slope, rel=1e-6)


def test_thresholds_never_ask_for_more_than_there_is():
    """0.9 of 10 is 9; -10 may fall to -11, never must rise to -9; 0 stays 0."""
    assert thresholds(torch.tensor([[10.0, -10.0, 0.0]]), SHARE).tolist() == [[9.0, -11.0, 0.0]]


def test_a_violated_constraint_has_the_price_t_and_the_branches_meet():
    """t = 20: below a slack of 1 / 400 the weight is 1 / (20 / 400) = 20; at twice that slack, 10."""
    barrier = Barrier(torch.tensor([0, 0, 0]), torch.ones(2), 1.0, T)
    barrier.anchor = torch.zeros(3, 2)
    returns = torch.tensor([[0.0, -5.0], [0.0, 1 / 400], [0.0, 2 / 400]])
    torch.testing.assert_close(barrier.weights(returns)[:, 1], torch.tensor([20.0, 20.0, 10.0]))
    assert barrier.weights(returns)[:, 0].tolist() == [1.0, 1.0, 1.0]


def test_the_anchor_is_the_first_returns_and_stays():
    """Share 0.9, scale 1. First returns (nan), weights are neutral; then 10 anchors: slack 1, weight 1 / 20."""
    barrier = Barrier(torch.tensor([0]), torch.ones(2), SHARE, T)
    nothing = torch.full((1, 3), torch.nan)
    assert barrier.weights(nothing).tolist() == [[1.0, 1.0, 0.0]]  # a cost channel gets no weight
    barrier.update(nothing)
    first, later = torch.tensor([[3.0, 10.0, 0.0]]), torch.tensor([[3.0, 11.0, 0.0]])
    torch.testing.assert_close(barrier.weights(first)[0, 1], torch.tensor(1 / 20.0))
    barrier.update(first)
    barrier.update(later)
    assert barrier.anchor.tolist() == [[3.0, 10.0]]
    torch.testing.assert_close(barrier.weights(later)[0, 1], torch.tensor(1 / 40.0))
    other = Barrier(torch.tensor([1]), torch.zeros(2), 0.5, 1.0)
    other.load_state_dict(barrier.state_dict())
    assert torch.equal(other.weights(later), barrier.weights(later))


def test_stage_two_reaches_a_point_that_no_weights_reach():
    """A softmax over three arms paying (1, 0), (0, 1), (0.4, 0.4): for every w the middle arm loses to an end.

    From the first arm, keeping half of J_0 while pushing J_1: mixing arms 1 and 2 at equal odds gives (0.5, 0.5),
    the best J_1 with J_0 >= 0.5. Exact gradients, no sampling.
    """
    arms = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.4, 0.4]], dtype=torch.float64)
    logits = torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    barrier = Barrier(torch.tensor([1]), torch.ones(2, dtype=torch.float64), 0.5, 200.0)
    barrier.anchor = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    for _ in range(4000):
        returns = torch.softmax(logits, 0) @ arms
        weights = barrier.weights(returns.detach().unsqueeze(0))[0]
        (gradient,) = torch.autograd.grad(weights @ returns, logits)
        logits = (logits + 0.05 * gradient).detach().requires_grad_()
    assert returns[0] >= 0.5 - 1e-3
    assert returns[1].item() == pytest.approx(0.5, abs=0.03)
