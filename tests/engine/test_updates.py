"""Updates against torch.optim and their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from tradeoff.engine.updates import SGD, Adam, Normalised, Truncated, clip_norm, norms


def _gradients(steps: int) -> Tensor:
    """[steps, 3, 2, 10], policy p about 100 times as long as policy p - 1."""
    size = torch.tensor([0.01, 1.0, 100.0]).view(3, 1, 1)
    return torch.randn(steps, 3, 2, 10, generator=Generator().manual_seed(0)) * size


def test_adam_equals_torch() -> None:
    theta, mine = torch.ones(3, 2, 10), torch.ones(3, 2, 10)
    theirs = theta.requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.01, betas=(0.9, 0.999), eps=1e-5, maximize=True)
    update = Adam(0.01)
    state = update.init(mine)
    for gradient in _gradients(20):
        theirs.grad = gradient.clone()
        optimizer.step()
        update.step(mine, gradient, state, 1.0)
    torch.testing.assert_close(mine, theirs.detach(), rtol=1e-6, atol=1e-6)
    assert state["steps"] == 20


@pytest.mark.parametrize("update", [SGD(0.1), Normalised(0.1), Truncated(0.1, 0.5), Adam(0.1)], ids=type)
def test_a_slice_of_the_stack_moves_alone_and_as_if_it_stood_alone(update) -> None:
    # Actors and critics may follow different rules: then each rule is handed a strided slice of theta.
    theta, apart = torch.ones(3, 2, 10), torch.ones(3, 1, 10)
    for row in (0, 1):
        piece = theta[:, row : row + 1]
        state, alone = update.init(piece), update.init(apart)
        before, apart = theta.clone(), torch.ones(3, 1, 10)
        for gradient in _gradients(3):
            update.step(piece, gradient[:, row : row + 1], state, 1.0)
            update.step(apart, gradient[:, row : row + 1].clone(), alone, 1.0)
        assert torch.equal(theta[:, row : row + 1], apart)
        assert torch.equal(theta[:, 1 - row], before[:, 1 - row])


def test_sgd_climbs_by_the_gradient() -> None:
    # 1 + 1/2 * 1/4 * 8 = 2.
    theta = torch.ones(1, 1, 1)
    SGD(0.5).step(theta, torch.full((1, 1, 1), 8.0), {}, 0.25)
    assert theta.item() == 2.0


def test_a_normalised_step_is_exactly_as_long_as_the_learning_rate_for_each_policy() -> None:
    (gradient,) = _gradients(1)
    theta = torch.zeros(3, 2, 10)
    Normalised(0.25).step(theta, gradient, {}, 2.0)
    torch.testing.assert_close(norms(theta).flatten(), torch.full((3,), 0.5))
    torch.testing.assert_close(theta / 0.5, gradient / norms(gradient))
    still = torch.zeros(3, 2, 10)
    Normalised(0.25).step(still, torch.zeros(3, 2, 10), {})
    assert (still == 0).all(), "a zero gradient leaves the parameters where they are"


def test_a_truncated_step_is_plain_inside_and_as_long_as_the_radius_outside() -> None:
    # Lengths of the plain steps: about 0.0045, 0.45 and 45 (root of 20 numbers, times 0.1); the radius is 1.
    (gradient,) = _gradients(1)
    theta, plain = torch.zeros(3, 2, 10), torch.zeros(3, 2, 10)
    Truncated(0.1, 1.0).step(theta, gradient, {})
    SGD(0.1).step(plain, gradient, {})
    assert torch.equal(theta[:2], plain[:2]) and norms(plain)[1] < 1 < norms(plain)[2]
    torch.testing.assert_close(theta[2], plain[2] / norms(plain)[2])


def test_clipping_looks_at_each_policy_by_itself() -> None:
    # Policy 0: rows (3, 0) and (0, 4), length 5, cut to 1: (0.6, 0), (0, 0.8). Policy 1: length 0.5, left as it is.
    gradient = torch.tensor([[[3.0, 0], [0, 4]], [[0.3, 0], [0, 0.4]]])
    want = torch.tensor([[[0.6, 0], [0, 0.8]], [[0.3, 0], [0, 0.4]]])
    torch.testing.assert_close(clip_norm(gradient, 1.0), want, rtol=1e-6, atol=0)
    assert norms(gradient).flatten().tolist() == [5.0, 0.5]
    assert torch.equal(clip_norm(gradient, 1.0)[1], gradient[1])
