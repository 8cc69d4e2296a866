"""Natural gradients against the Fisher matrix written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tradeoff.engine.natural import conjugate_gradients, fisher_product, natural


@pytest.fixture
def samples(world):
    """Two different policies, twenty trajectories each, and the Fisher matrices [2, D, D] of their actors."""
    theta = torch.cat([world.theta, world.theta + 0.2])
    data = world.drawn(world.theta, 2, 20, torch.Generator().manual_seed(1))
    leaf = theta.clone().requires_grad_()
    log_prob = world.model.log_prob(leaf, data.inputs, data.action).unflatten(1, (4, 20)).movedim(1, 0)
    fisher = []
    for p in range(2):
        rows = [torch.autograd.grad(x, leaf, retain_graph=True)[0][p, 0] for x in log_prob[:, p][data.alive[:, p]]]
        fisher.append(torch.stack(rows).T @ torch.stack(rows) / len(rows))
    return theta, data, torch.stack(fisher)


def _vector(theta: Tensor) -> Tensor:
    v = torch.randn(theta.shape, generator=torch.Generator().manual_seed(2)).double()
    v[:, 1] = 0.0
    return v


def test_products_equal_the_matrix(world, samples) -> None:
    theta, data, fisher = samples
    v = _vector(theta)
    want = torch.einsum("pij,pj->pi", fisher, v[:, 0])
    found = fisher_product(world.model, theta, data, v)
    torch.testing.assert_close(found[:, 0], want, rtol=0, atol=1e-12)
    assert (found[:, 1] == 0).all() and want.abs().max() > 0.01


def test_the_natural_direction_solves_the_system(world, samples) -> None:
    theta, data, fisher = samples
    g = _vector(theta)
    found = natural(0.01, 60)(world.model, theta, data, g)
    matrix = fisher + 0.01 * torch.eye(fisher.shape[-1]).double()
    torch.testing.assert_close(found[:, 0], torch.linalg.solve(matrix, g[:, 0]), rtol=1e-8, atol=1e-8)
    still = natural(0.01, 5, 0.1)(world.model, theta, data, torch.zeros_like(g))
    assert (still == 0).all(), "a zero gradient asks for no step"


def test_a_step_moves_the_policy_by_the_divergence_that_was_asked(world) -> None:
    # KL(old || new), averaged over the states of the samples; 1e-4 nats are small enough for the quadratic model.
    theta, data = world.theta, world.drawn(world.theta, 1, 2000, torch.Generator().manual_seed(1))
    gradient = world.gradient(theta, torch.ones(2).double())
    step = natural(1e-5, 60, 1e-4)(world.model, theta, data, gradient)
    old, new = (
        world.model.outputs(world.model.actor(x), data.inputs)[0].log_softmax(-1) for x in (theta, theta + step)
    )
    divergence = (old.exp() * (old - new)).sum(-1).unflatten(1, (4, 2000)).movedim(1, 0)[data.alive].mean()
    assert divergence.item() == pytest.approx(1e-4, rel=0.05)
    assert (step * gradient).sum() > 0


def test_conjugate_gradients_by_hand() -> None:
    # diag(1, 4) x = (1, 2): x = (1, 1/2), in two iterations. A zero right-hand side beside it stays zero.
    b = torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]]).double()
    product = lambda v: v * torch.tensor([1.0, 4.0]).double()  # noqa: E731
    torch.testing.assert_close(conjugate_gradients(product, b, 2), torch.tensor([[[1.0, 0.5]], [[0, 0]]]).double())
    assert torch.equal(conjugate_gradients(product, b, 50), conjugate_gradients(product, b, 40))


@pytest.mark.parametrize("wrong", [{"damping": -1.0}, {"iterations": 0}, {"divergence": 0.0}])
def test_settings_that_cannot_be(wrong) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        natural(**wrong)
