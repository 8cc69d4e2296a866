"""Steps in the local problem against convex programs: exact and inexact directions, both precisions, every unit."""

from __future__ import annotations

from itertools import product

import cvxpy
import numpy as np
import pytest
import torch

from tradeoff.engine.natural import conjugate_gradients
from tradeoff.safe.quadratic_model import Local, cpo_step, pcpo_step

DIMENSIONS, RADIUS = 12, 0.01
UNITS = (1e-6, 1.0, 1e6)


def _draw(seed, j, kind, dtype=torch.float64, iterations=DIMENSIONS, units=(1.0, 1.0)):
    """A random problem in any unit of objective and violations, and its metric [D, D].

    kind: what the violations are in multiples of what the ball can move them by.
    """
    draw = torch.Generator().manual_seed(seed)
    random = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)  # noqa: E731
    root = random(DIMENSIONS, DIMENSIONS)
    metric = root @ root.mT + 0.1 * torch.eye(DIMENSIONS, dtype=torch.float64)
    g, b = random(1, DIMENSIONS), random(1, j, DIMENSIONS)
    if kind == "parallel":
        b[:, 0] = 2 * g
    reach = (2 * RADIUS * (b * torch.linalg.solve(metric, b.mT).mT).sum(-1)).sqrt()
    c = {"zero": 0 * reach, "parallel": -0.3 * reach}.get(kind, reach * (0.5 * random(1, j) - 0.1))
    g, b, c = ((x * unit).to(dtype) for x, unit in zip((g, b, c), (units[0], units[1], units[1]), strict=True))
    rows = torch.cat([g.unsqueeze(1), b], 1)
    h = metric.to(dtype)
    if iterations == DIMENSIONS:
        solved = torch.linalg.solve(metric, rows.double().mT).mT.to(dtype)
    else:
        solved = torch.cat(
            [conjugate_gradients(lambda v: v @ h, r.unsqueeze(1), iterations) for r in rows.unbind(1)], 1
        )
    gram = solved.double() @ metric @ solved.double().mT
    return Local(g, b, c, solved[:, 0], solved[:, 1:], RADIUS, gram), metric


def _program(local, metric, project=None):
    """cvxpy's solution of the problem within the span of the directions, in unitless numbers; None where infeasible.

    project: the point to be projected onto the half-spaces instead, without the ball.
    """
    directions = torch.cat([local.ig.unsqueeze(1), local.ib], 1)[0].double().numpy()
    root = np.linalg.cholesky(metric.numpy()).T
    _, size, basis = np.linalg.svd(directions / np.linalg.norm(directions, axis=1, keepdims=True))
    basis = basis[: len(size)][size > 1e-5]  # orthonormal rows that span the directions
    z = cvxpy.Variable(len(basis))
    x = basis.T @ z
    b, c, g = local.b[0].double().numpy(), local.c[0].double().numpy(), local.g[0].double().numpy()
    length = np.linalg.norm(b, axis=1)
    limits = [(b / length[:, None]) @ x + c / length <= 0]
    far = cvxpy.norm(root @ x / np.sqrt(2 * RADIUS)) <= 1
    if project is None:
        problem = cvxpy.Problem(cvxpy.Maximize(g / np.linalg.norm(g) @ x), [far, *limits])
    else:
        problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(root @ (x - project))), limits)
    problem.solve(solver="CLARABEL")
    return x.value if problem.status == "optimal" else None


def _gap(step, best, metric):
    """Distance in the metric, in multiples of the ball's radius."""
    off = step[0].double().numpy() - best
    return np.sqrt(off @ metric.numpy() @ off / (2 * RADIUS))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("iterations", [3, DIMENSIONS], ids=["inexact", "exact"])
@pytest.mark.parametrize("j", [1, 2, 3, 4])
def test_cpo_step_is_the_convex_program_of_the_directions_span(j, iterations, dtype) -> None:
    solved = 0
    for seed, kind in product(range(3), ("any", "zero", "parallel")):
        local, metric = _draw(seed, j, kind, dtype, iterations)
        best = _program(local, metric)
        if best is None:
            continue
        solved += 1
        step = cpo_step(local)
        near = 5e-3 if dtype == torch.float32 else 2e-4
        if kind == "parallel":  # the best points are many
            gain, most = (float(local.g[0].double() @ x) for x in (step[0].double(), torch.from_numpy(best)))
            assert gain >= most - near * abs(most), (seed, kind)
        else:
            assert _gap(step, best, metric) < near, (seed, kind)
        over = (local.c + (local.b * step.unsqueeze(1)).sum(-1)) / local.b.norm(dim=-1)
        assert (over <= 1e-5).all() and step.abs().sum() > 0, (seed, kind)
    assert solved >= 6


@pytest.mark.parametrize("j", [1, 3])
def test_pcpo_step_is_the_projection_within_the_directions_span(j) -> None:
    for seed, kind in product(range(3), ("any", "zero", "parallel")):
        local, metric = _draw(seed, j, kind, iterations=3)
        free = Local(local.g, local.b[:, :0], local.c[:, :0], local.ig, local.ib[:, :0], RADIUS, local.gram[:, :1, :1])
        _assert_projected(local, metric, free)


def _assert_projected(local, metric, free) -> None:
    """The rim's best point of the span, not of the first direction alone, is what is projected."""
    far = local._replace(c=torch.full_like(local.c, -1e9))
    best = _program(local, metric, project=cpo_step(far)[0].numpy())
    assert best is not None and _gap(pcpo_step(local), best, metric) < 1e-3
    assert (free.g * cpo_step(far)).sum() >= (free.g * pcpo_step(free)).sum() - 1e-9


@pytest.mark.parametrize("rule", [cpo_step, pcpo_step])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_unit_of_objective_or_violations_changes_a_step(rule, dtype) -> None:
    kinds = ("any", "zero", "parallel")
    for seed, kind, iterations, units in product(range(2), kinds, (3, DIMENSIONS), product(UNITS, UNITS)):
        one, other = (rule(_draw(seed, 2, kind, dtype, iterations, u)[0]) for u in ((1.0, 1.0), units))
        torch.testing.assert_close(one, other, rtol=0, atol=(2e-3 if dtype == torch.float32 else 1e-7) * one.norm())


def test_violations_of_different_units_recover_alike() -> None:
    # H = 1: x1 <= -3 and x2 <= -4 cannot both hold in the unit disc; they are 3 and 4 away, so down goes (-.6, -.8).
    g, b, c = torch.tensor([[1.0, 0.0]]), torch.eye(2).unsqueeze(0), torch.tensor([[3.0, 4.0]])
    for unit in (1e-6, 1.0, 1e6):
        row = b * torch.tensor([[[unit], [1.0]]])
        step = cpo_step(Local(g, row, c * torch.tensor([[unit, 1.0]]), g, row, 0.5))
        torch.testing.assert_close(step, torch.tensor([[-0.6, -0.8]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inverses_that_disagree_are_symmetrised(dtype) -> None:
    # H = 1, radius .01, b = (.6, .8), c = -.05. Along b at most .05, across (.8, -.6) the rest of the ball's .1414:
    # .05 (.6, .8) + sqrt(.02 - .0025) (.8, -.6) = (.1358, -.0394). H^-1 g is off by 1e-3: g'H^-1 b is not b'H^-1 g.
    rows = torch.tensor([[1.0, 0.0], [0.6, 0.8], [1.0, 1e-3]], dtype=dtype)
    c = torch.tensor([[-0.05]], dtype=dtype)
    local = Local(rows[:1], rows[None, 1:2], c, rows[2:], rows[None, 1:2], 0.01)
    best = torch.tensor([[0.1358, -0.0394]], dtype=dtype)
    torch.testing.assert_close(cpo_step(local), best, atol=2e-4, rtol=0)


@pytest.mark.parametrize("rule", [cpo_step, pcpo_step])
def test_a_cost_that_is_the_objective_is_climbed_up_to_its_limit(rule) -> None:
    row = torch.tensor([[1.0, 0.0]])
    local = Local(row, row.unsqueeze(1), torch.tensor([[-0.05]]), row, row.unsqueeze(1), 0.01)
    torch.testing.assert_close(rule(local), torch.tensor([[0.05, 0.0]]))
