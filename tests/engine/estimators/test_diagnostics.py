"""What batches of gradients show: against hand arithmetic, closed forms, known Gaussians and full enumeration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.diagnostics import (
    Seconds,
    blend_gain,
    correlation,
    cosines,
    critical_batch,
    interval,
    resamples,
    second_moments,
    signal_to_noise,
)
from tradeoff.engine.episodes import Episodes, coefficients, effective_sample_size, mixed
from tradeoff.engine.features import Features
from tradeoff.engine.heads import Categorical
from tradeoff.engine.probes import effective_share, per_trajectory, weights_at
from tradeoff.engine.scores import linearise, squared_norms

ONCE = torch.ones(1, 4, dtype=torch.float64)


def _gaussian(mean: Tensor, root: Tensor, count: int, seed: int) -> Tensor:
    """Gradients [B, c, D] = mean [c, D] + root [c, c] z, z [c, D] standard normal: noise_ij = D (root root')_ij."""
    z = torch.randn(count, *mean.shape, generator=Generator().manual_seed(seed), dtype=torch.float64)
    return mean + torch.einsum("ij,bjd->bid", root, z)


def test_moments_of_four_gradients_by_hand() -> None:
    # Channel 0: 1, 3, 1, 3 along one axis: square 5, pairs (8^2 - 20) / 12 = 11/3. Channel 1: 2, 0, 0, 2 on the same
    # axis: square 2, pairs (16 - 8) / 12 = 2/3. Both: products 2, 0, 0, 6: square 2, pairs (8 * 4 - 8) / 12 = 2.
    g = torch.tensor([[[1.0], [2]], [[3], [0]], [[1], [0]], [[3], [2]]])
    found = second_moments(g, ONCE)
    assert found.square[0].tolist() == [[5, 2], [2, 2]]
    torch.testing.assert_close(found.signal[0], torch.tensor([[11 / 3, 2], [2, 2 / 3]]).double())
    # Noise of channel 0: 5 - 11/3 = 4/3, the sample variance of 1, 3, 1, 3. Its critical batch: 4/11 trajectories.
    assert found.noise[0, 0, 0].item() == pytest.approx(4 / 3)
    assert critical_batch(found)[0].tolist() == pytest.approx([4 / 11, 2])
    assert signal_to_noise(found, torch.tensor([1.0, 11]))[0, 0].tolist() == pytest.approx([(11 / 4) ** 0.5, 5.5])
    # Weights (1, -1): gradients -1, 3, 1, 1: square 3, pairs (16 - 12) / 12 = 1/3.
    both = found.mixed(torch.tensor([1.0, -1]))
    assert (both.square.item(), both.signal.item()) == pytest.approx((3, 1 / 3))


def test_a_trajectory_drawn_twice_makes_no_pair_with_itself() -> None:
    # Counts (2, 1, 0, 0) of 1, 3: pairs 2 * (2 * 1 * 3) = 12 over 9 - 5 = 4; square (2 * 1 + 9) / 3.
    g = torch.tensor([1.0, 3, 5, 7]).view(4, 1, 1)
    found = second_moments(g, torch.tensor([[2.0, 1, 0, 0]]).double())
    assert (found.signal.item(), found.square.item()) == pytest.approx((3, 11 / 3))


def test_a_bandits_gradient_has_its_variance_in_closed_form() -> None:
    # pi = (.3, .7), pays (4, 0) and (0, 1); scores of the logits (.7, -.7) and (-.3, .3), squared .98 and .18.
    # E|g|^2: .3 * 16 * .98 = 4.704 and .7 * .18 = .126. Mean gradients: .3 * 4 * (.7, -.7) = (.84, -.84), and
    # .7 * (-.3, .3) = (-.21, .21): opposed, cosine -1.
    draws = torch.rand(200_000, generator=Generator().manual_seed(0)) < 0.3
    score = torch.where(draws[:, None], torch.tensor([0.7, -0.7]), torch.tensor([-0.3, 0.3]))
    g = torch.stack([4.0 * draws, 1.0 * ~draws], 1)[:, :, None] * score[:, None]
    square = torch.einsum("bcd,bed->ce", g, g) / len(g)
    assert square.diagonal().tolist() == pytest.approx([4.704, 0.126], rel=0.01)
    chosen = g[:1000]
    found = second_moments(chosen, torch.ones(1, 1000).double())
    mean = chosen.double().mean(0)
    exact = (mean @ mean.T - found.square[0] / 1000) * 1000 / 999  # |mean|^2 less its own noise
    torch.testing.assert_close(found.signal[0], exact)
    assert found.signal[0].diagonal().tolist() == pytest.approx([2 * 0.84**2, 2 * 0.21**2], rel=0.2)
    assert cosines(found)[0, 0, 1].item() == pytest.approx(-1, abs=1e-6)


def test_signals_are_unbiased_where_the_plain_square_is_not() -> None:
    mean, root = torch.zeros(2, 50).double(), torch.tensor([[1.0, 0], [0.6, 0.8]]).double()
    mean[0, 0], mean[1, 1] = 1.0, 1.0
    rows = [second_moments(_gaussian(mean, root, 16, seed), torch.ones(1, 16).double()) for seed in range(200)]
    signal, noise = (torch.stack([getattr(row, name)[0] for row in rows]) for name in ("signal", "noise"))
    # Noise: 50 each, shared 50 * .6. Signal: 1, 1, and orthogonal; the plain square would add 50 / 16 = 3.1.
    torch.testing.assert_close(noise.mean(0), torch.tensor([[50.0, 30], [30, 50]]).double(), rtol=0.02, atol=0)
    error = (signal.std(0) / 200**0.5).amax().item()
    torch.testing.assert_close(signal.mean(0), torch.eye(2).double(), rtol=0, atol=3 * error)
    assert error < 0.1


@pytest.mark.parametrize("length", [0.0, 1.0, 4.0])
def test_intervals_hold_the_truth_about_as_often_as_they_say(length: float) -> None:
    """D = 20, noise 20 per trajectory, 40 trajectories: signal-to-noise at that batch 0, 1.41 and 5.7."""
    held = claims = 0
    for seed in range(60):
        mean = torch.zeros(1, 20).double()
        mean[0, 0] = length
        counts = resamples(40, 200, Generator().manual_seed(1000 + seed))
        found = second_moments(_gaussian(mean, torch.eye(1).double(), 40, seed), counts)
        known = interval(found.signal[:, 0, 0])
        held += known.low <= length**2 <= known.high
        claims += known.low > 0
    assert held >= 54, "95 % intervals, 60 of them; 54 or more in 98 % of such draws"
    assert (claims <= 3) if length == 0 else (claims == 60 if length == 4 else True)


def test_known_angles_lie_in_their_intervals() -> None:
    mean = torch.zeros(3, 30).double()
    mean[0, 0] = mean[1, 0] = 2.0
    mean[1, 1], mean[2, 0] = 2.0, -2.0  # angles: 45, 180 and 135 degrees
    held = torch.zeros(3, 3)
    for seed in range(40):
        counts = resamples(100, 200, Generator().manual_seed(1000 + seed))
        found = cosines(second_moments(_gaussian(mean, torch.eye(3).double(), 100, seed), counts))
        for (i, j), angle in {(0, 1): 45, (0, 2): 180, (1, 2): 135}.items():
            known = interval(found[:, i, j], least=-1, most=1)
            held[i, j] += known.low - 1e-9 <= np.cos(np.radians(angle)) <= known.high + 1e-9
            assert known.high - known.low < 0.7
    assert held.flatten()[[1, 2, 5]].min() >= 35, "95 % intervals: 35 or more of 40 in 97 % of such draws"
    silent = second_moments(torch.zeros(5, 2, 3), resamples(5, 20, Generator().manual_seed(0)))
    assert interval(cosines(silent)[:, 0, 1], least=-1, most=1)[1:] == (-1, 1), "nothing is known of no gradient"
    assert critical_batch(silent)[0].tolist() == [np.inf, np.inf]


def test_the_gain_of_memory_in_closed_form() -> None:
    # Equal noises, correlation rho: 1 / sqrt(1 - rho^2): .6 -> 1.25, .8 -> 5/3; none or opposed -> 1.
    for rho, gain in ((0.6, 1.25), (0.8, 5 / 3), (0.0, 1.0), (-0.5, 1.0)):
        square = torch.tensor([[[2.0, 2 * rho], [2 * rho, 2]]]).double()
        found = Seconds(torch.zeros_like(square), square)
        assert blend_gain(found).item() == pytest.approx(gain) and correlation(found).item() == pytest.approx(rho)
    # Nothing changes from step to step: 100 of them are averaged, (1 + .99) / (1 - .99) = 199.
    same = torch.full((1, 2, 2), 2.0).double()
    assert blend_gain(Seconds(torch.zeros_like(same), same)).item() == pytest.approx(199)
    # Unequal ones (S' = 3, C = 1.5, S = 1) by search over a.
    square = torch.tensor([[[1.0, 1.5], [1.5, 3]]]).double()
    a = np.linspace(0, 0.999, 100_000)
    best = ((1 + 3 * a**2 - 3 * a) / (1 - a**2)).min()
    assert blend_gain(Seconds(torch.zeros_like(square), square)).item() == pytest.approx(1 / best, rel=1e-6)


def test_the_gain_of_memory_is_what_a_long_blend_comes_to() -> None:
    # x = a x + (1 - a) mean + e(own) - a e(before): its variance after many steps, per unit of the fresh one.
    rho, steps = 0.9, 4000
    draws = torch.randn(2, steps, 400, generator=Generator().manual_seed(1)).double()
    own, before = draws[0], rho * draws[0] + (1 - rho**2) ** 0.5 * draws[1]
    a = (1 - (1 - rho**2) ** 0.5) / rho
    x = torch.zeros(400).double()
    for t in range(200):
        x = a * x + own[t] - a * before[t]
    square = torch.tensor([[[1.0, rho], [rho, 1]]]).double()
    assert 1 / x.var().item() == pytest.approx(blend_gain(Seconds(torch.zeros_like(square), square)).item(), rel=0.25)


def test_gradients_of_single_trajectories_are_the_batches(world: Any) -> None:
    """Their mean is the exact gradient under enumeration, whatever is subtracted that the batch did not shape."""
    every = world.every(world.theta)
    g = per_trajectory(world.model, world.theta, every, "none")
    for i in range(2):
        exact = world.gradient(world.theta, torch.eye(2).double()[i])[0, 0]
        torch.testing.assert_close(g[:, i].mean(0), exact, rtol=1e-9, atol=1e-12)
    few = world.drawn(world.theta, 1, 6, Generator().manual_seed(0))
    for kind in ("mean", "optimal"):
        mine = per_trajectory(world.model, world.theta, few, kind)
        squares = squared_norms(world.model, world.theta, few)
        by = torch.tensor([[0.3, 0.7]]).double()
        _, pull = linearise(world.model, world.theta, few)
        want = pull(coefficients(mixed(few.paid, by), few.alive, baseline=kind, squares=squares))[0, 0]
        torch.testing.assert_close(torch.einsum("bcd,c->bd", mine, by[0]).mean(0), want, rtol=1e-9, atol=1e-12)


def test_the_noise_of_a_gradient_is_the_enumerated_one(world: Any) -> None:
    chance = world.chance(world.theta)
    n = len(chance)
    once = world.episodes(world.theta, torch.arange(n).unsqueeze(0))
    g = per_trajectory(world.model, world.theta, once, "none")
    mean = torch.einsum("b,bcd->cd", chance, g)
    exact = torch.einsum("b,bcd,bed->ce", chance, g, g) - mean @ mean.T
    rows = []
    for seed in range(40):
        drawn = world.drawn(world.theta, 1, 500, Generator().manual_seed(seed))
        rows.append(
            second_moments(per_trajectory(world.model, world.theta, drawn, "none"), torch.ones(1, 500).double())
        )
    noise, signal = (torch.stack([getattr(row, name)[0] for row in rows]) for name in ("noise", "signal"))
    torch.testing.assert_close(noise.mean(0), exact, rtol=0, atol=3 * (noise.std(0) / 40**0.5).max().item())
    torch.testing.assert_close(signal.mean(0), mean @ mean.T, rtol=0, atol=0.02)
    assert noise.std(0).max() / 40**0.5 < 0.1 * exact.max()


def test_weights_a_step_away_share_out_the_batch(world: Any, near: Tensor) -> None:
    """Enumerated: E omega = 1, and the effective share is 1 / E omega^2; weights to step h stand by themselves."""
    chance = world.chance(world.theta)
    once = world.episodes(world.theta, torch.arange(len(chance)).unsqueeze(0))
    omega = weights_at(world.model, near, once)
    assert torch.einsum("b,tb->t", chance, omega[:, 0]).tolist() == pytest.approx([1.0] * 4)
    exact = 1 / torch.einsum("b,tb->t", chance, omega[:, 0].square())
    drawn = world.drawn(world.theta, 1, 4000, Generator().manual_seed(3))
    found = weights_at(world.model, near, drawn)[:, 0]
    share = effective_share(found, torch.ones(1, 4000))[0]
    torch.testing.assert_close(share, exact, rtol=0.05, atol=0)
    torch.testing.assert_close(share * 4000, effective_sample_size(found))
    assert exact[0] > exact[-1], "weights over more steps are worth less"
    whole = weights_at(world.model, near, drawn, whole=True)
    assert (whole == whole[-1]).all()
    back = per_trajectory(world.model, near, world.every(world.theta), "none", omega)
    torch.testing.assert_close(
        back[:, 1].mean(0), world.gradient(near, torch.tensor([0.0, 1]).double())[0, 0], rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_sums_per_channel_are_the_backward_pass_of_each(activation: str) -> None:
    """One pass for all channels and one per channel go different ways through the layers."""
    draw = Generator().manual_seed(0)
    model = ActorCritic(Features(3), Categorical((2,)), 2, (5, 4), activation=activation)
    theta = torch.randn(1, 2, model.network.parameters, generator=draw)
    inputs, action = torch.randn(1, 12, 3, generator=draw), torch.randint(2, (1, 12, 1), generator=draw)
    alive, paid = torch.ones(3, 1, 4, dtype=torch.bool), torch.randn(3, 1, 4, 2, generator=draw)
    seen = Episodes(inputs, action, torch.zeros(3, 1, 4), paid, alive)
    _, pull = linearise(model, theta, seen)
    g = per_trajectory(model, theta, seen, "none").mean(0)
    for i in range(2):
        torch.testing.assert_close(g[i], pull(coefficients(paid[..., i], alive))[0, 0])
