"""Rays and linear programs against finite differences, another solver, and fronts that are known."""

from __future__ import annotations

import cvxpy
import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from tradeoff.morl.exact_pareto import dominating, exact_pareto, guided, non_uniformity, pareto_da
from tradeoff.morl.gradient_rules import combined, gram

DRAWS = 60


def _gradients(m: int, d: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(DRAWS, m, d, generator=Generator().manual_seed(seed), dtype=torch.float64)


def test_non_uniformity_by_hand_and_by_finite_differences() -> None:
    # On the ray: 0. Gains (3, 1) for the ray (1, 1): shares 3/4, 1/4: 3/4 log 3/2 + 1/4 log 1/2 = .1308.
    off, slope = non_uniformity(torch.tensor([[4.0, 2], [3, 1]]), torch.tensor([[2.0, 1], [1, 1]]))
    assert off.tolist() == pytest.approx([0, 0.75 * np.log(1.5) + 0.25 * np.log(0.5)])
    assert slope[0].abs().max() < 1e-12 and slope[1, 0] > 0 > slope[1, 1]
    at, ray = torch.tensor([[3.0, 1, 2]]).double(), torch.tensor([1.0, 2, 0.5]).double()
    _, slope = non_uniformity(at, ray)
    for i in range(3):
        step = torch.zeros_like(at)
        step[0, i] = 1e-6
        rise = (non_uniformity(at + step, ray)[0] - non_uniformity(at - step, ray)[0]) / 2e-6
        assert slope[0, i].item() == pytest.approx(rise.item(), abs=1e-7)
    # No gain yet: nothing to balance. A gain of nothing beside one of 1: as far off as two can be, log 2.
    assert non_uniformity(torch.tensor([[-1.0, -2]]), torch.ones(2))[0].item() == 0
    assert non_uniformity(torch.tensor([[1.0, -2]]), torch.ones(2))[0].item() == pytest.approx(np.log(2), abs=1e-4)


def _by_cvxpy(k: np.ndarray, gain: np.ndarray, least: np.ndarray) -> float:
    w = cvxpy.Variable(len(gain), nonneg=True)
    bounds = [k[i] @ w >= least[i] for i in np.flatnonzero(np.isfinite(least))]
    return float(cvxpy.Problem(cvxpy.Maximize(gain @ w), [cvxpy.sum(w) == 1, *bounds]).solve(solver=cvxpy.CLARABEL))


@pytest.mark.parametrize("m", [2, 3, 5])
def test_the_guided_program_agrees_with_another_solver_and_keeps_its_bounds(m: int) -> None:
    g = _gradients(m)
    k, guide = gram(g), torch.randn(DRAWS, 6, generator=Generator().manual_seed(9)).double()
    c = torch.einsum("pmd,pd->pm", g, guide)
    w = pareto_da(k, c)
    assert (w >= 0).all() and torch.allclose(w.sum(1), torch.ones(DRAWS).double())
    aligned = 0
    for p in range(DRAWS):
        least = np.where(c[p] > 0, -np.inf, c[p])
        if (c[p] > 0).any():
            least[int(c[p].argmax())] = 0.0
            aligned += 1
        else:
            least[:] = 0.0
        assert ((k[p] @ w[p]).numpy() >= least - 1e-6).all()
        assert (w[p] @ c[p]).item() == pytest.approx(_by_cvxpy(k[p].numpy(), c[p].numpy(), least), abs=1e-5)
    assert aligned > 0 and (m > 3 or aligned < DRAWS), "both kinds of bounds occur"
    # The direction goes along the guide but for draws whose bounds forbid it.
    assert ((w * c).sum(1)[(c > 0).any(1)] > -1e-9).double().mean() > 0.95


def test_dominance_raises_the_sum_and_lowers_none() -> None:
    g = _gradients(3)
    k = gram(g)
    w = dominating(k)
    rises = torch.einsum("pij,pj->pi", k, w)
    assert rises.min() > -1e-6
    for p in range(0, DRAWS, 6):
        assert rises[p].sum().item() == pytest.approx(
            _by_cvxpy(k[p].numpy(), k[p].sum(0).numpy(), np.zeros(3)), abs=1e-5
        )


def test_held_objectives_do_not_fall() -> None:
    # g0 = (1, 0), g1 = (-1, 0.1); guide = g1: c = (-1, 1.01). Unheld: all on g1. Objective 0 held: <g0, d> >= 0 puts at
    # least 1/2 on g0, and at most so much goes along the guide: w = (1/2, 1/2).
    k = gram(torch.tensor([[[1.0, 0], [-1, 0.1]]]))
    c = k[:, :, 1]
    free, held = torch.tensor([[False, False]]), torch.tensor([[True, False]])
    assert guided(k, c, free)[0].tolist() == pytest.approx([0, 1], abs=1e-6)
    assert guided(k, c, held)[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)


def _climb(ray: Tensor, x: Tensor, turns: int = 800) -> Tensor:
    """Ascent of the two humps exp(-|x - e|^2), exp(-|x + e|^2) in three dimensions, e = (1, 1, 1) / sqrt 3."""
    e = torch.ones(3).double() / 3**0.5
    for turn in range(turns):
        gaps = torch.stack([e - x, -e - x], 1)
        height = (-gaps.square().sum(-1)).exp()
        g = 2 * gaps * height.unsqueeze(-1)
        step = combined(exact_pareto(gram(g), height, ray, balanced=1e-8), g)
        x = x + 0.2 / (1 + turn / 40) * step
    return height


@pytest.mark.parametrize("ray", [[1.0, 1.0], [1.0, 0.3], [0.4, 1.0]])
def test_the_search_ends_on_the_ray_and_on_the_front(ray: list[float]) -> None:
    """The front is x = s e with |s| <= 1: heights exp(-(1 - s)^2), exp(-(1 + s)^2); their ratio is exp(4 s)."""
    wanted = torch.tensor(ray).double()
    height = _climb(wanted, torch.tensor([[0.3, -0.4, 0.2], [-0.5, 0.2, 0.1]]).double())
    s = np.log(ray[0] / ray[1]) / 4
    best = np.exp([-((1 - s) ** 2), -((1 + s) ** 2)])
    np.testing.assert_allclose(height, [best, best], atol=1e-3)
    np.testing.assert_allclose(height[:, 0] / height[:, 1], ray[0] / ray[1], rtol=5e-3)


def test_nothing_to_gain_and_opposed_gradients_stay_finite() -> None:
    cases = torch.tensor([[[0.0, 0], [0, 0]], [[1, 0], [-1, 0]], [[0, 0], [0, 2]]])
    w = exact_pareto(gram(cases), torch.tensor([[1.0, 2], [1, 1], [3, 1]]), torch.ones(2))
    assert torch.isfinite(w).all() and torch.allclose(w.sum(1), torch.ones(3).double())
    assert combined(w, cases)[1].abs().max() < 1e-6, "balanced, and nothing raises both: no step"
