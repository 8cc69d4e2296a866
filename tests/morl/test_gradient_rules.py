"""Rules against closed forms, second solvers and the promises they make."""

from __future__ import annotations

import cvxpy
import numpy as np
import pytest
import torch
from torch import Generator

from tradeoff.morl.gradient_rules import (
    cagrad,
    combined,
    gram,
    mgda,
    nash,
    pcgrad,
    random_order,
    with_unit_gradients,
    without_silent,
)
from tradeoff.morl.simplex import least_on_simplex

DRAWS = 40


def _gradients(m: int, d: int = 6, seed: int = 0, policies: int = DRAWS) -> torch.Tensor:
    return torch.randn(policies, m, d, generator=Generator().manual_seed(seed), dtype=torch.float64)


def _by_cvxpy(a: np.ndarray, b: np.ndarray) -> float:
    w = cvxpy.Variable(len(b), nonneg=True)
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.quad_form(w, cvxpy.psd_wrap(a)) / 2 + b @ w), [cvxpy.sum(w) == 1])
    program.solve(solver=cvxpy.CLARABEL)
    return float(program.value)


@pytest.mark.parametrize("m", [2, 3, 5, 9])
def test_quadratics_on_the_simplex_agree_with_another_solver(m: int) -> None:
    g = _gradients(m, d=max(2, m - 2))  # fewer dimensions than gradients: singular
    k, b = (
        gram(g),
        torch.randn(DRAWS, m, generator=Generator().manual_seed(1)).double() * torch.linspace(0, 2, DRAWS)[:, None],
    )
    w = least_on_simplex(k, b)
    assert (w >= 0).all() and torch.allclose(w.sum(1), torch.ones(DRAWS).double())
    value = ((w * (k @ w.unsqueeze(-1)).squeeze(-1)) / 2 + b * w).sum(1)
    for p in range(0, DRAWS, 4):
        assert value[p].item() == pytest.approx(_by_cvxpy(k[p].numpy(), b[p].numpy()), abs=1e-6)
    # Optimal: no weight promises to gain, and the used ones promise alike.
    slope = (k @ w.unsqueeze(-1)).squeeze(-1) + b
    assert (slope - (w * slope).sum(1, keepdim=True)).min() > -1e-9


def test_two_gradients_in_closed_form_are_a_fine_grid_search() -> None:
    k = gram(_gradients(2, d=2))
    share = torch.linspace(0, 1, 200_001, dtype=torch.float64)
    length = torch.stack(
        [share**2 * x[0, 0] + 2 * share * (1 - share) * x[0, 1] + (1 - share) ** 2 * x[1, 1] for x in k]
    )
    w = mgda(k)
    torch.testing.assert_close(w[:, 0], share[length.argmin(1)], atol=1e-5, rtol=0)
    torch.testing.assert_close(w, least_on_simplex(k, torch.zeros(DRAWS, 2)), atol=1e-8, rtol=0)
    assert {0.0, 1.0} < set(w[:, 0].tolist()), "corners and inner points occur"


def test_the_shortest_direction_by_hand() -> None:
    # (2, 0), (0, 1): w = (1, 4) / 5, direction (2, 4) / 5. Opposed (1, 0), (-3, 0): w = (3, 1) / 4, nothing to gain.
    # Equal ones: any weights. (1, 0), (1, 1): the first alone.
    g = torch.tensor([[[2.0, 0], [0, 1]], [[1, 0], [-3, 0]], [[1, 1], [1, 1]], [[1, 0], [1, 1]]])
    w = mgda(gram(g))
    assert w[0].tolist() == pytest.approx([0.2, 0.8]) and w[1].tolist() == [0.75, 0.25] and w[3].tolist() == [1, 0]
    assert combined(w, g)[0].tolist() == pytest.approx([0.4, 0.8]) and combined(w, g)[2].tolist() == [1, 1]


@pytest.mark.parametrize("m", [2, 3, 6])
def test_every_objective_rises_along_the_shortest_direction(m: int) -> None:
    k = gram(_gradients(m))
    w = mgda(k)
    rises, squared = (k @ w.unsqueeze(-1)).squeeze(-1), torch.einsum("pi,pij,pj->p", w, k, w)
    assert (rises >= squared.unsqueeze(1) - 1e-9).all() and squared.max() > 0.1
    stuck = gram(_gradients(m, d=m - 1)[:, :, : m - 1])  # some of these hulls hold the origin
    w = mgda(stuck)
    lengths = torch.einsum("pi,pij,pj->p", w, stuck, w)
    assert lengths.min() < 1e-9 and lengths.max() > 1e-3


def _projected(g: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The direction of the algorithm, on the gradients themselves."""
    total = np.zeros(g.shape[1])
    for i, row in enumerate(g):
        left = row.copy()
        for j in order[i]:
            dot = left @ g[j]
            left -= min(dot, 0.0) * g[j] / (g[j] @ g[j])
        total += left
    return total


def test_projected_conflicts_are_those_of_the_gradients_themselves() -> None:
    g = _gradients(4)
    order = random_order(4, Generator().manual_seed(3))
    assert all(sorted([i, *row]) == [0, 1, 2, 3] for i, row in enumerate(order.tolist()))
    assert not torch.equal(order, random_order(4, Generator().manual_seed(4)))
    ours = combined(pcgrad(gram(g), order), g)
    np.testing.assert_allclose(ours, [_projected(x.numpy(), order.numpy()) for x in g], atol=1e-12)
    in_order = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
    np.testing.assert_allclose(combined(pcgrad(gram(g)), g)[0], _projected(g[0].numpy(), in_order), atol=1e-12)


def test_two_conflicting_gradients_by_hand() -> None:
    # g1 = (1, 0), g2 = (-1, 1), g1.g2 = -1: g1 + g2 / 2 = (1/2, 1/2), g2 + g1 = (0, 1): sum (1/2, 3/2).
    g = torch.tensor([[[1.0, 0], [-1, 1]], [[1, 0], [1, 1]]])
    assert pcgrad(gram(g)).tolist() == [[2, 1.5], [1, 1]]
    assert combined(pcgrad(gram(g)), g).tolist() == [[0.5, 1.5], [2, 1]]


@pytest.mark.parametrize(("m", "reach"), [(2, 0.4), (3, 0.5), (5, 0.9)])
def test_the_worst_served_objective_gains_most_within_reach(m: int, reach: float) -> None:
    """The primal program by cvxpy: max_d min_i <g_i, d> with |d - mean| <= reach |mean|."""
    g = _gradients(m)
    d = combined(cagrad(gram(g), reach), g)
    mean = g.mean(1)
    for p in range(0, DRAWS, 5):
        x = cvxpy.Variable(g.shape[2])
        ball = cvxpy.norm(x - mean[p].numpy()) <= reach * float(mean[p].norm())
        best = cvxpy.Problem(cvxpy.Maximize(cvxpy.min(g[p].numpy() @ x)), [ball]).solve(solver=cvxpy.CLARABEL)
        assert (g[p] @ d[p]).min().item() == pytest.approx(best, abs=2e-5)
        assert (d[p] - mean[p]).norm().item() <= reach * mean[p].norm().item() * (1 + 1e-7)


def _degenerate(kind: str, m: int, d: int) -> torch.Tensor:
    """Gradients [4, m, d] that leave little or nothing to gain."""
    g, draw = _gradients(m, d, seed=5, policies=4), torch.rand(4, 1, generator=Generator().manual_seed(6)).double()
    if kind == "opposite":
        g[:, 1] = -2 * draw * g[:, 0]
    elif kind == "on a line":
        g = g[:, :, :1] * g[:, :1]
    elif kind == "one is zero":
        g[:, 0] = 0.0
    elif kind == "two are equal":
        g[:, 1] = g[:, 0]
    elif kind == "surrounding":
        g[:, -1] = -3 * draw * g[:, :-1].sum(1)
    elif kind == "of all lengths":
        g = g * torch.logspace(-3, 3, m).double()[:, None]
    return g


@pytest.mark.parametrize(("m", "d"), [(2, 2), (3, 2), (5, 3)])
@pytest.mark.parametrize(
    "kind", ["opposite", "on a line", "one is zero", "two are equal", "surrounding", "of all lengths"]
)
def test_cagrad_matches_cvxpy_where_gradients_are_degenerate(kind: str, m: int, d: int) -> None:
    g = _degenerate(kind, m, d)
    for reach in (0.1, 0.9):
        found, mean = combined(cagrad(gram(g), reach), g), g.mean(1)
        for p in range(len(g)):
            unit = g[p].norm(dim=1).max().item()
            rows, centre, radius = g[p].numpy() / unit, mean[p].numpy() / unit, reach * mean[p].norm().item() / unit
            x = cvxpy.Variable(d)
            program = cvxpy.Problem(cvxpy.Maximize(cvxpy.min(rows @ x)), [cvxpy.norm(x - centre) <= radius])
            best = program.solve(solver=cvxpy.CLARABEL)
            assert (g[p] @ found[p]).min().item() / unit**2 == pytest.approx(best, abs=3e-6)
            assert (found[p] - mean[p]).norm().item() / unit <= radius * (1 + 1e-6) + 1e-9


def test_cagrad_lowers_no_objective_where_two_gradients_are_opposite() -> None:
    # (1, 0), (-1, 0), (1, 1): the mean is (1, 1) / 3. What raises the first lowers the second, so nothing gains more
    # than 0; the nearest direction that lowers none is (0, 1/3), at a distance of 1/3 < .9 sqrt(2) / 3.
    g = torch.tensor([[[1.0, 0], [-1, 0], [1, 1]]]).double()
    weights = cagrad(gram(g), 0.9)
    found = combined(weights, g)[0]
    assert found.tolist() == pytest.approx([0, 1 / 3], abs=1e-6)
    assert (g[0] @ found).min().item() == pytest.approx(0, abs=1e-6)
    assert weights.max() < 30, "those that cancel stay small, or rounding would drown the rest"


def test_no_reach_is_the_mean_and_a_bad_one_is_refused() -> None:
    assert cagrad(gram(_gradients(4)), 0.0)[0].tolist() == [0.25] * 4
    with pytest.raises(ValueError, match="reach"):
        cagrad(gram(_gradients(2)), 1.0)


@pytest.mark.parametrize("m", [2, 4, 8])
def test_the_bargain_solves_its_equation_for_any_units(m: int) -> None:
    g = _gradients(m, d=20) * torch.logspace(-2, 2, m, dtype=torch.float64).unsqueeze(-1)
    k = gram(g)
    a = nash(k)
    assert (a > 0).all()
    torch.testing.assert_close((k @ a.unsqueeze(-1)).squeeze(-1) * a, torch.ones_like(a), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(combined(a, g).norm(dim=1), torch.full((DRAWS,), m**0.5).double(), rtol=1e-6, atol=0)
    # Orthogonal gradients of lengths 2 and 1/2: weights 1/2 and 2, each moves by 1.
    assert nash(gram(torch.tensor([[[2.0, 0], [0, 0.5]]])))[0].tolist() == pytest.approx([0.5, 2.0])


def test_units_do_not_count_once_gradients_have_length_one() -> None:
    g = _gradients(3)
    unit = torch.tensor([100.0, 1.0, 0.01]).double().unsqueeze(-1)
    for rule in (mgda, cagrad, pcgrad):
        plain, scaled = with_unit_gradients(rule)(gram(g)), with_unit_gradients(rule)(gram(g * unit))
        torch.testing.assert_close(combined(plain, g), combined(scaled, g * unit), rtol=1e-6, atol=1e-8)
    silent = torch.cat([g[:, :2], torch.zeros_like(g[:, 2:])], 1)
    heard, alone = with_unit_gradients(mgda)(gram(silent)), with_unit_gradients(mgda)(gram(g[:, :2]))
    assert heard[:, 2].tolist() == [0] * DRAWS
    share = heard[:, :2] / heard[:, :2].sum(1, keepdim=True)
    torch.testing.assert_close(share, alone / alone.sum(1, keepdim=True), rtol=1e-6, atol=1e-8)
    # By hand: (2, 0), (0, 1) and nothing: squares 4, 1 and 4 at right angles, weights as 1/4, 1, 1/4.
    k = without_silent(gram(torch.tensor([[[2.0, 0], [0, 1], [0, 0]]])))
    assert mgda(k)[0].tolist() == pytest.approx([1 / 6, 2 / 3, 1 / 6])


def test_rules_stay_finite_where_gradients_vanish_or_oppose() -> None:
    cases = torch.tensor([[[0.0, 0], [0, 0]], [[1, 0], [-1, 0]], [[0, 0], [0, 2]], [[3, 3], [3, 3]]])
    for rule in (mgda, cagrad, pcgrad, nash):
        assert torch.isfinite(combined(rule(gram(cases)), cases)).all()
        assert rule(gram(cases)).abs().max() < 1e6
        three = torch.cat([cases, cases[:, :1]], 1)
        assert torch.isfinite(combined(rule(gram(three)), three)).all()
