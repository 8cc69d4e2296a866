"""The published methods: what each composition makes of the recursion, followed over several steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tradeoff.engine.compositions import (
    Composition,
    coin,
    constant,
    decaying,
    every,
    gpomdp,
    harpg,
    momentum,
    n_harpg,
    n_pg_igt,
    n_vr_pg,
    page_pg,
    reinforce,
    srvr_pg,
    storm_pg,
    svrpg,
    tsivr,
)
from tradeoff.engine.estimators import RETURNS
from tradeoff.engine.recursion import GRADIENT
from tradeoff.engine.updates import SGD, Normalised, Scheduled, Truncated

EXACT = {"rtol": 0.0, "atol": 1e-9}


def _prices(returns: Tensor) -> Tensor:
    """Gradient of sum sqrt(J + 6)."""
    return 0.5 * (returns + 6).rsqrt()


def _follow(world, made: Composition, steps: int = 5) -> list[dict[str, Tensor]]:
    """Walk through fixed parameters; every batch is an expectation."""
    draw, theta, rows = torch.Generator().manual_seed(11), world.theta, []
    for _ in range(steps):
        asked = made.estimator.plan(theta)
        data = {role: world.every(request.theta) for role, request in asked.items()}
        returns = made.estimator.returns(world.model, theta, data)
        weights = _prices(returns)
        size = asked[GRADIENT].episodes
        direction = made.estimator.direction(world.model, theta, data, weights)
        rows.append({"theta": theta, "returns": returns, "weights": weights, "direction": direction, "size": size})
        theta = theta + 0.2 * torch.randn(theta.shape, generator=draw).double()
    return rows


UNBIASED: dict[str, Callable[..., Composition]] = {
    "reinforce": lambda **f: reinforce(0.1, 4, **f),
    "gpomdp": lambda **f: gpomdp(0.1, 4, **f),
    "svrpg": lambda **f: svrpg(0.1, 9, 4, 3, **f),
    "srvr-pg": lambda **f: srvr_pg(0.1, 9, 4, 3, **f),
    "page-pg": lambda **f: page_pg(0.1, 9, 4, 0.5, seed=1, **f),
    "storm-pg": lambda **f: storm_pg(0.1, 4, 0.3, **f),
    "tsivr": lambda **f: tsivr(0.1, 0.5, 9, 4, 3, **f),
    "n-vr-pg": lambda **f: n_vr_pg(0.1, 4, **f),
}


@pytest.mark.parametrize("name", UNBIASED)
@pytest.mark.parametrize("lag", [False, True])
def test_every_step_of_a_weighted_method_is_exact_in_the_mean(world, name, lag) -> None:
    # Weights of this step, or with a lag those of the step before; the first step has no other than its own, and a
    # checkpoint begins its epoch with its own (algorithm 1 of arXiv:2508.10608: w_0 from the large batch).
    made = UNBIASED[name](lag=lag)
    rows = _follow(world, made)
    starts = {t for t, row in enumerate(rows) if row["size"] == made.estimator.settings.checkpoint} | {0}
    for t, row in enumerate(rows):
        torch.testing.assert_close(row["returns"][0], world.returns(row["theta"]), **EXACT)
        weights = rows[t - 1 if lag and t not in starts else t]["weights"][0]
        torch.testing.assert_close(row["direction"], world.gradient(row["theta"], weights), **EXACT)
    assert (rows[-1]["weights"] - rows[-2]["weights"]).abs().max() > 1e-4
    assert starts == ({0} if made.estimator.settings.checkpoint is None else {0, 3})


def test_reinforce_pays_the_past_too(world) -> None:
    causal = [made(0.1, 4).estimator.settings.causal for made in (reinforce, gpomdp)]
    data = world.drawn(world.theta, 1, 4, torch.Generator().manual_seed(12))
    found = []
    for made in (reinforce, gpomdp):
        one = made(0.1, 4, separate=False).estimator
        one.returns(world.model, world.theta, {GRADIENT: data})
        found.append(one.direction(world.model, world.theta, {GRADIENT: data}, torch.ones(1, 2).double()))
    assert causal == [False, True] and (found[0] - found[1]).abs().max() > 1e-3


def test_batches_are_large_at_checkpoints_only(world) -> None:
    sizes = {name: [row["size"] for row in _follow(world, UNBIASED[name](), 7)] for name in UNBIASED}
    assert sizes["tsivr"] == sizes["srvr-pg"] == sizes["svrpg"] == [9, 4, 4, 9, 4, 4, 9]
    assert sizes["page-pg"] == [9] + [9 if coin(0.5, 1)(t) == 1 else 4 for t in range(1, 7)]
    assert set(sizes["page-pg"]) == {9, 4}
    assert set(sizes["gpomdp"] + sizes["storm-pg"] + sizes["n-vr-pg"]) == {4}


def test_svrpg_refers_to_its_checkpoint_and_srvr_to_the_last_step(world) -> None:
    for made, last in ((svrpg, 0), (srvr_pg, 2)):
        one = made(0.1, 9, 4, 9)
        rows = _follow(world, one, 3)
        torch.testing.assert_close(one.estimator.memory["theta"], rows[last]["theta"])
        torch.testing.assert_close(one.estimator.memory["used"], rows[last]["weights"])


def test_with_constant_prices_n_vr_pg_is_storm(world) -> None:
    # The same samples, eta = (2 / 3)^(2/3) at the second step, a linear utility: the lag has nothing to say.
    linear = torch.tensor([[1.0, 0.5]]).double()
    ends = []
    for made in (n_vr_pg(0.1, 6), storm_pg(0.1, 6, (2 / 3) ** (2 / 3), separate=False)):
        draw = torch.Generator().manual_seed(13)
        for theta in (world.theta, world.theta + 0.1):
            data = {GRADIENT: world.drawn(theta, 1, 6, draw)}
            made.estimator.returns(world.model, theta, data)
            ends.append(made.estimator.direction(world.model, theta, data, linear))
    torch.testing.assert_close(ends[1], ends[3], rtol=0, atol=1e-12)
    assert (ends[0] - ends[1]).abs().max() > 1e-3


def test_momentum_is_an_exponential_average(world) -> None:
    rows = _follow(world, momentum(0.1, 4, 0.25), 3)
    fresh = [world.gradient(row["theta"], row["weights"][0]) for row in rows]
    want = 0.25 * fresh[2] + 0.75 * (0.25 * fresh[1] + 0.75 * fresh[0])
    torch.testing.assert_close(rows[2]["direction"], want, **EXACT)


def test_schedules() -> None:
    assert [every(3)(t) for t in range(7)] == [1, 0, 0, 1, 0, 0, 1]
    assert constant(0.3)(5) == 0.3
    assert decaying(1.0, 1.0)(2) == 0.5 and decaying(3.0, 1.0)(2) == 1.0  # 2 / 4, and 3 / 2 cut at 1
    assert decaying(1.0, 0.5)(6) == pytest.approx(0.5)  # sqrt(2 / 8)
    heads = sum(coin(0.2, 7)(t) for t in range(5000)) / 5000
    assert heads == pytest.approx(0.2, abs=0.03) and coin(0.2, 7)(3) == coin(0.2, 7)(3)
    assert [coin(0.5, 1)(t) for t in range(20)] != [coin(0.5, 2)(t) for t in range(20)]
    for wrong in (lambda: every(0), lambda: coin(0.0, 1), lambda: coin(1.1, 1)):
        with pytest.raises(ValueError, match="must"):
            wrong()


def test_how_each_method_moves() -> None:
    assert tsivr(0.1, 0.5, 9, 4, 3).update == Truncated(0.1, 0.5)
    assert gpomdp(0.1, 4).update == svrpg(0.1, 9, 4, 3).update == SGD(0.1)
    assert n_vr_pg(0.1).update == Scheduled(Normalised(0.1), 2 / 3)
    assert harpg(0.1, 4).update == Scheduled(SGD(0.1), 0.5) and n_harpg(0.1, 4).update == Scheduled(Normalised(0.1), 1)
    assert n_pg_igt(0.1, 4).estimator.settings.eta(3) == pytest.approx((2 / 5) ** 0.8)
    assert n_harpg(0.1, 4, eta=0.5).estimator.settings.eta(2) == 0.25
    assert n_vr_pg(0.1).estimator.settings.lag, "one batch serves both only with the prices of the step before"
    assert n_vr_pg(0.1).estimator.settings.separate is False and RETURNS in tsivr(1, 1, 1, 1, 1).estimator.plan(
        torch.zeros(1, 2, 3)
    )
