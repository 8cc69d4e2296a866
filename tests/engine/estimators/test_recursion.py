"""The recursion: its mean given the past is exact, and the known ways to get it wrong fail the same checks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import tradeoff.engine.recursion
from tradeoff.engine.curvature import curvature, slopes
from tradeoff.engine.episodes import coefficients, importance_weights, mixed, returns
from tradeoff.engine.estimators import RETURNS
from tradeoff.engine.recursion import CURVATURE, GRADIENT, RETURNS_CURVATURE, Recursion, Recursive
from tradeoff.engine.scores import linearise

EXACT = {"rtol": 0.0, "atol": 1e-9}
NOW, BEFORE = torch.tensor([[0.7, -1.3]]).double(), torch.tensor([[0.2, 0.9]]).double()


def _remembering(world, near: Tensor, **fields) -> Recursive:
    """An estimator that knows everything about the last point, `near`, exactly."""
    one = Recursive(Recursion(**{"eta": lambda t: 0.3, "batch": 5} | fields))
    one.turn = 1
    one.memory = {
        "theta": near, "gradient": world.gradient(near, BEFORE[0]), "returns": world.returns(near).unsqueeze(0),
        "used": BEFORE, "weights": BEFORE,
    }  # fmt: skip
    return one


def _mean(world, one: Recursive) -> tuple[Tensor, Tensor]:
    """Expectation of J and of the direction at the world's theta."""
    data = {role: world.every(asked.theta) for role, asked in one.plan(world.theta).items()}
    return one.returns(world.model, world.theta, data), one.direction(world.model, world.theta, data, NOW)


def _errors(world, found: tuple[Tensor, Tensor]) -> tuple[float, float]:
    want = world.returns(world.theta).unsqueeze(0), world.gradient(world.theta, NOW[0])
    return tuple((x - y).abs().max().item() for x, y in zip(found, want, strict=True))  # type: ignore[return-value]


@pytest.mark.parametrize("eta", [0.0, 0.3])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("separate", [False, True])
def test_importance_transport_is_unbiased_given_the_past(world, near, eta, whole, separate) -> None:
    one = _remembering(world, near, eta=lambda t: eta, transport="importance", whole_weights=whole, separate=separate)
    assert max(_errors(world, _mean(world, one))) < 1e-9
    assert min(_errors(world, (world.returns(near).unsqueeze(0), world.gradient(near, BEFORE[0])))) > 0.01


def test_inverted_weights_fail_that_check(world, near, monkeypatch) -> None:
    one = _remembering(world, near, transport="importance")
    monkeypatch.setattr(tradeoff.engine.recursion, "importance_weights", lambda x, *rest: importance_weights(-x, *rest))
    assert min(_errors(world, _mean(world, one))) > 1e-3


@pytest.mark.parametrize("transport, role, eta", [("importance", GRADIENT, 0.3), ("hessian", CURVATURE, 0.0)])
def test_centred_rewards_change_no_mean(short, near, transport, role, eta, monkeypatch) -> None:
    # All batches of two trajectories, side by side as copies of the population, each with the product of its chances.
    # With eta = 0 only the samples of the Hessian enter; its interpolate is the middle of the segment.
    fields = {"transport": transport, "eta": lambda t: eta, "separate": False}
    plain, one = (_remembering(short, near, centre=centre, **fields) for centre in (False, True))
    for each in (plain, one):
        monkeypatch.setattr(each, "_share", lambda theta: torch.full((len(theta), 1, 1), 0.5).double())
    n = short.states.shape[1]
    index = torch.cartesian_prod(torch.arange(n), torch.arange(n))
    stack = short.theta.expand(len(index), -1, -1)
    one.memory = {name: x.expand(len(index), *x.shape[1:]) for name, x in one.memory.items()}
    asked = one.plan(stack)
    data = {role: short.episodes(request.theta, index) for role, request in asked.items()}
    found = one.returns(short.model, stack, data), one.direction(short.model, stack, data, NOW.expand(len(index), -1))
    chance = short.chance(asked[role].theta[:1])[index].prod(1)
    for x, want in zip(found, _mean(short, plain), strict=True):
        torch.testing.assert_close(torch.einsum("p,p...->...", chance, x), want[0], **EXACT)


@pytest.mark.parametrize("baseline", ["none", "mean", "optimal", "learned"])
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("transport, role", [("none", GRADIENT), ("importance", GRADIENT), ("hessian", CURVATURE)])
def test_centred_rewards_and_baselines_together_change_no_mean(
    branches, near, transport, role, count, baseline, monkeypatch
) -> None:
    # All batches of 2, 3 and 4 trajectories with the product of their probabilities. A baseline that looked at the
    # others' centred pay would answer count / (count - 1) times the gradient: 2, 3/2 and 4/3 times.
    world, eta = branches, 0.0 if transport == "hessian" else 0.3
    fields = {"transport": transport, "eta": lambda t: eta, "separate": False}
    plain, one = (_remembering(world, near, **fields, **more) for more in ({}, {"centre": True, "baseline": baseline}))
    for each in (plain, one):
        monkeypatch.setattr(each, "_share", lambda theta: torch.full((len(theta), 1, 1), 0.5).double())
    index = torch.cartesian_prod(*[torch.arange(world.states.shape[1])] * count)
    stack = world.theta.expand(len(index), -1, -1)
    one.memory = {name: x.expand(len(index), *x.shape[1:]) for name, x in one.memory.items()}
    asked = one.plan(stack)
    promise = torch.randn(4, 2, generator=torch.Generator().manual_seed(11)).double()  # any function of the state
    expected = promise[world.states[:, index]]
    data = {
        name: world.episodes(request.theta, index)._replace(
            expected=expected * (world.states[:, index] != 3)[..., None]
        )
        for name, request in asked.items()
    }
    found = one.returns(world.model, stack, data), one.direction(world.model, stack, data, NOW.expand(len(index), -1))
    probability = world.chance(asked[role].theta[:1])[index].prod(1)
    assert probability.sum().item() == pytest.approx(1)
    for x, want in zip(found, _mean(world, plain), strict=True):
        torch.testing.assert_close(torch.einsum("p,p...->...", probability, x), want[0], **EXACT)


def test_centred_rewards_lower_the_error_of_recursed_returns(world) -> None:
    # Rewards with a level of 3 per step: weights that differ from 1 carry it into J, unless it is taken off.
    draw, many = torch.Generator().manual_seed(10), 400
    stack = world.theta.expand(many, -1, -1)
    behind = stack + 0.1 * torch.randn(world.theta.shape, generator=draw).double()
    data = world.drawn(world.theta, many, 8, draw)
    data = data._replace(paid=data.paid + 3.0 * data.alive.unsqueeze(-1))
    errors = []
    for centre in (False, True):
        settings = Recursion(eta=lambda t: 0.0, transport="importance", separate=False, centre=centre)
        one = Recursive(settings)
        one.turn, one.memory = 1, {"theta": behind, "returns": torch.zeros(many, 2).double()}
        errors.append(one.returns(world.model, stack, {GRADIENT: data}).var(0).sum().item())
    assert errors[1] < 0.3 * errors[0]


def test_without_transport_the_past_is_only_averaged_in(world, near) -> None:
    found, direction = _mean(world, _remembering(world, near))
    want = 0.3 * world.gradient(world.theta, NOW[0]) + 0.7 * world.gradient(near, BEFORE[0])
    torch.testing.assert_close(direction, want, **EXACT)
    torch.testing.assert_close(found[0], 0.3 * world.returns(world.theta) + 0.7 * world.returns(near), **EXACT)


@pytest.mark.parametrize("separate", [False, True])
def test_hessian_transport_is_unbiased_over_interpolates_prices_included(world, near, separate, monkeypatch) -> None:
    # The mean over the uniform interpolate by Gauss-Legendre quadrature of 16 nodes.
    nodes, masses = np.polynomial.legendre.leggauss(16)
    mean = [torch.zeros(1, 2).double(), torch.zeros_like(world.theta)]
    for node, mass in zip((nodes + 1) / 2, masses / 2, strict=True):
        one = _remembering(world, near, transport="hessian", separate=separate)
        monkeypatch.setattr(one, "_share", lambda theta, q=node: torch.full((1, 1, 1), q).double())
        mean = [x + mass * y for x, y in zip(mean, _mean(world, one), strict=True)]
    assert max(_errors(world, (mean[0], mean[1]))) < 1e-9


def test_a_mean_of_products_is_the_hessian_and_a_product_of_means_is_not(world) -> None:
    step = torch.randn(world.theta.shape, generator=torch.Generator().manual_seed(5)).double()
    leaf = world.theta.clone().requires_grad_()
    (slope,) = torch.autograd.grad(world.returns(leaf) @ NOW[0], leaf, create_graph=True)
    (want,) = torch.autograd.grad((slope * step).sum(), leaf)
    data = world.every(world.theta)
    ahead = coefficients(mixed(data.paid, NOW), data.alive)
    found = curvature(world.model, world.theta, step, data, ahead, lambda slope: ahead * slope.sum(0))
    torch.testing.assert_close(found, want, **EXACT)
    each = slopes(world.model, world.theta, step, data)
    _, pull = linearise(world.model, world.theta, data)
    product = curvature(world.model, world.theta, step, data, ahead)
    torch.testing.assert_close(product + pull(ahead * each.sum(0)), want, **EXACT)
    wrong = product + pull(ahead) * (world.chance(world.theta) @ each.sum(0)[0])
    assert (wrong - want).abs().max() > 1e-2


def test_the_hessian_transport_uses_that_mean_of_products(world, near, monkeypatch) -> None:
    # With unchanged prices and eta = 0 the direction moves by the Hessian at the interpolate times the step.
    one = _remembering(world, near, eta=lambda t: 0.0, transport="hessian")
    monkeypatch.setattr(one, "_share", lambda theta: torch.full((1, 1, 1), 0.25).double())
    one.memory["used"] = NOW
    leaf = (0.25 * world.theta + 0.75 * near).requires_grad_()
    (slope,) = torch.autograd.grad(world.returns(leaf) @ NOW[0], leaf, create_graph=True)
    (want,) = torch.autograd.grad((slope * (world.theta - near)).sum(), leaf)
    torch.testing.assert_close(_mean(world, one)[1] - world.gradient(near, BEFORE[0]), want, **EXACT)


@pytest.mark.parametrize("transport, biased", [("extrapolation", False), ("none", True)])
def test_extrapolation_has_no_bias_on_a_quadratic(transport, biased, monkeypatch) -> None:
    # J = b theta - theta A theta / 2 has the gradient b - A theta, sampled without noise where the estimator wants it.
    draw = torch.Generator().manual_seed(6)
    root, b = torch.randn(6, 6, generator=draw).double(), torch.randn(6, generator=draw).double()
    slope = lambda theta: b - theta @ (root @ root.T)  # noqa: E731
    one = Recursive(Recursion(eta=lambda t: (2 / (t + 2)) ** 0.8, transport=transport, batch=1))
    monkeypatch.setattr(one, "_gradient", lambda model, theta, *_: slope(theta))
    theta, worst = torch.zeros(1, 1, 6).double(), 0.0
    for _ in range(30):
        one.estimate = torch.zeros(1, 1)
        found = one.direction(None, theta, {GRADIENT: None}, torch.ones(1, 1))  # type: ignore[arg-type, dict-item]
        worst = max(worst, (found - slope(theta)).abs().max().item())
        theta = theta + 0.05 * torch.randn(1, 1, 6, generator=draw).double()
    assert (worst > 0.05) if biased else (worst < 1e-12)


def test_where_and_how_much_is_sampled(world, near) -> None:
    # eta = 1/4: extrapolation by 3 steps; interpolates between the two; N where eta is 1, B where it is not.
    fields = {"eta": lambda t: 0.25, "batch": 5, "checkpoint": 40, "curvature": 7}
    ahead = _remembering(world, near, transport="extrapolation", **fields).plan(world.theta)
    torch.testing.assert_close(ahead[GRADIENT].theta, world.theta + 3 * (world.theta - near))
    assert list(ahead) == [GRADIENT, RETURNS] and {r.episodes for r in ahead.values()} == {5}
    curved = _remembering(world, near, transport="hessian", **fields)
    asked = curved.plan(world.theta)
    assert {role: r.episodes for role, r in asked.items()} == {
        GRADIENT: 5, RETURNS: 5, CURVATURE: 7, RETURNS_CURVATURE: 7,
    }  # fmt: skip
    share = ((asked[CURVATURE].theta - near) / (world.theta - near))[
        torch.isfinite(world.theta) & (world.theta != near)
    ]
    assert share.min() > 0 and share.max() < 1 and share.max() - share.min() < 1e-6
    assert torch.equal(curved.plan(world.theta)[CURVATURE].theta, asked[CURVATURE].theta)
    curved.turn += 1
    assert not torch.equal(curved.plan(world.theta)[CURVATURE].theta, asked[CURVATURE].theta)
    begin = Recursive(Recursion(**fields, transport="hessian", separate=False)).plan(world.theta)
    assert {role: r.episodes for role, r in begin.items()} == {GRADIENT: 40}
    assert begin[GRADIENT].theta is world.theta


def test_an_estimate_of_the_returns_stays_in_its_box(world, near) -> None:
    low, high = world.returns(world.theta)[0].item() + 0.1, world.returns(world.theta)[1].item() + 0.1
    one = _remembering(world, near, transport="importance", box=((low, -9.0), (9.0, high)))
    found, _ = _mean(world, one)
    assert found[0, 0].item() == low and abs(found[0, 1].item() - high + 0.1) < 1e-9
    assert torch.equal(one.memory["returns"], found)


def test_the_weights_are_reported(world, near) -> None:
    one = _remembering(world, near, transport="importance")
    data = world.drawn(world.theta, 1, 20, torch.Generator().manual_seed(7))
    one.returns(world.model, world.theta, {GRADIENT: data, RETURNS: data})
    one.direction(world.model, world.theta, {GRADIENT: data, RETURNS: data}, NOW)
    ratio = (linearise(world.model, near, data)[0] - data.log_prob).exp()
    omega = torch.where(data.alive, ratio, 1.0).cumprod(0)
    torch.testing.assert_close(one.diagnostics["weight_max"], omega.max().view(1))
    want = omega[-1].sum().square() / omega[-1].square().sum()
    torch.testing.assert_close(one.diagnostics["effective_sample_size"], want.view(1))
    assert 1 < want < 20 and one.diagnostics["eta"].tolist() == pytest.approx([0.3])


def test_the_inner_gradient_of_tsivr_errs_less_than_a_fresh_batch_of_its_size(world) -> None:
    # 500 repetitions: a checkpoint of 64 trajectories, a step of length 0.1, a correction with 8 trajectories.
    draw, many = torch.Generator().manual_seed(8), 500
    move = torch.randn(world.theta.shape, generator=draw).double()
    behind = world.theta - 0.1 * move / move.norm()
    one = Recursive(Recursion(eta=lambda t: float(t == 0), transport="importance", checkpoint=64, batch=8))
    want = world.gradient(world.theta, NOW[0])
    for theta, count in ((behind, 64), (world.theta, 8)):
        stack = theta.expand(many, -1, -1)
        assert one.plan(stack)[GRADIENT].episodes == count
        data = {role: world.drawn(theta, many, count, draw) for role in (GRADIENT, RETURNS)}
        one.returns(world.model, stack, data)
        found = one.direction(world.model, stack, data, NOW.expand(many, -1))
    samples = data[GRADIENT]
    ahead = coefficients(mixed(samples.paid, NOW.expand(many, -1)), samples.alive)
    fresh = linearise(world.model, stack, samples)[1](ahead)
    errors = [(x - want).square().sum((1, 2)).mean().item() for x in (found, fresh)]
    assert errors[0] < 0.4 * errors[1], "the checkpoint's own error alone is 8 / 64 of the fresh one"
    away = (one.memory["returns"] - world.returns(world.theta)).square().sum(1).mean()
    plain = (returns(data[RETURNS].paid).mean(1) - world.returns(world.theta)).square().sum(1).mean()
    assert away < 0.4 * plain


def test_the_bias_of_plugged_in_prices_falls_like_one_over_n(world) -> None:
    # f = sum sqrt(J + 6): E[f'(mean of N)] - f'(J). What is linear in the error has mean zero and is left out.
    each, draw = returns(world.every(world.theta).paid)[0], torch.Generator().manual_seed(9)
    each = each / (each.shape[0] * world.chance(world.theta)).unsqueeze(-1)
    exact, sizes = world.returns(world.theta), [8, 32, 128, 512]
    slope = lambda x: 0.5 * (x + 6).rsqrt()  # noqa: E731
    biases = []
    for n in sizes:
        index = torch.multinomial(world.chance(world.theta), 4000 * n, replacement=True, generator=draw)
        error = each[index].view(4000, n, 2).mean(1) - exact
        linear = -0.25 * (exact + 6) ** -1.5 * error
        biases.append((slope(exact + error) - slope(exact) - linear).mean(0).norm().log().item())
    assert np.polyfit(np.log(sizes), biases, 1)[0] == pytest.approx(-1.0, abs=0.1)


def test_a_resumed_estimator_goes_on_exactly(world, near) -> None:
    one = _remembering(world, near, transport="hessian")
    two = Recursive(one.settings)
    two.load_state_dict(one.state_dict())
    for x, y in zip(_mean(world, one), _mean(world, two), strict=True):
        assert torch.equal(x, y)
    assert one.state_dict()["turn"] == 2


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"checkpoint": 0}, "checkpoint must be at least 1, got 0"),
        ({"curvature": -1}, "curvature must be at least 1, got -1"),
        ({"causal": False, "transport": "importance"}, "needs whole_weights=True"),
        ({"box": ((0.0,), (1.0, 2.0))}, "box has 1 lower and 2 upper bounds"),
    ],
)
def test_settings_that_cannot_be(fields, message) -> None:
    with pytest.raises(ValueError, match=message):
        Recursion(**{"eta": lambda t: 1.0} | fields)


@pytest.mark.parametrize("eta, transport", [(1.5, "importance"), (0.0, "extrapolation"), (float("nan"), "none")])
def test_a_schedule_that_leaves_its_range_is_refused(world, near, eta, transport) -> None:
    with pytest.raises(ValueError, match=f"eta is {eta} at step 1, with transport '{transport}'"):
        _remembering(world, near, eta=lambda t: eta, transport=transport).plan(world.theta)
