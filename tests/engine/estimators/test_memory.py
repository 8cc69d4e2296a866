"""Peak memory of one step, measured: copies of the parameters, not of trajectories or channels."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tradeoff.engine import compositions
from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.episodes import Episodes, unfold
from tradeoff.engine.features import Features
from tradeoff.engine.heads import Categorical
from tradeoff.engine.recursion import Recursion
from tradeoff.morl.gradient_methods import Chooser, Ruled
from tradeoff.morl.rules import MGDA

STEPS, INPUTS = 4, 3
SMALL, LARGE = 96, 192  # units of the two hidden layers


class Peak(TorchDispatchMode):
    """Bytes of the tensors that come to life and are alive at once; views count with what they view."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        old = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for x in tree_leaves(found):
            if isinstance(x, Tensor) and x.untyped_storage().data_ptr() not in old | self.known:
                self._born(x)
        return found

    def _born(self, x: Tensor) -> None:
        where, size = x.untyped_storage().data_ptr(), x.untyped_storage().nbytes()
        self.known.add(where)
        self.live += size
        self.most = max(self.most, self.live)
        weakref.finalize(x, self._died, where, size)

    def _died(self, where: int, size: int) -> None:
        self.known.discard(where)
        self.live -= size


def _episodes(model: ActorCritic, theta: Tensor, count: int, seed: int) -> Episodes:
    draw = Generator().manual_seed(seed)
    inputs = torch.randn(1, STEPS * count, INPUTS, generator=draw)
    action = torch.randint(2, (1, STEPS * count, 1), generator=draw)
    log_prob = unfold(model.log_prob(theta, inputs, action).detach(), STEPS)
    alive = torch.ones(STEPS, 1, count, dtype=torch.bool)
    paid = torch.randn(STEPS, 1, count, model.channels, generator=draw)
    return Episodes(inputs, action, log_prob, paid, alive)


def _peak(estimator: Any, units: int, channels: int, count: int) -> tuple[int, int]:
    """Bytes that the third step of an estimator takes at most, and those of the parameters."""
    model = ActorCritic(Features(INPUTS), Categorical((2,)), channels, (units, units))
    theta, weights = model.init(1, Generator().manual_seed(0)), torch.ones(1, channels)
    for turn in range(3):
        plan = estimator.plan(theta)
        data = {role: _episodes(model, asked.theta, count, turn) for role, asked in plan.items()}
        del plan

        with Peak() as peak:
            estimator.returns(model, theta, data)
            estimator.direction(model, theta, data, weights)
        theta = theta + 1e-4 * torch.randn(theta.shape, generator=Generator().manual_seed(turn))
    return peak.most, 4 * model.network.parameters


def _copies(make: Any, channels: int, count: int) -> float:
    """Copies of a policy's parameters that a step takes: how its peak grows with them."""
    (few, short), (many, long) = (_peak(make(), units, channels, count) for units in (SMALL, LARGE))
    return (many - few) / (long - short)


MADE = {
    "gpomdp": lambda: compositions.gpomdp(0.1, 8),
    "gpomdp, optimal baseline": lambda: compositions.gpomdp(0.1, 8, baseline="optimal"),
    "momentum": lambda: compositions.momentum(0.1, 8, 0.3),
    "svrpg": lambda: compositions.svrpg(0.1, 8, 8, 100),
    "srvr_pg": lambda: compositions.srvr_pg(0.1, 8, 8, 100),
    "storm_pg": lambda: compositions.storm_pg(0.1, 8, 0.3),
    "tsivr": lambda: compositions.tsivr(0.1, 0.1, 8, 8, 100),
    "n_pg_igt": lambda: compositions.n_pg_igt(0.1, 8),
    "harpg": lambda: compositions.harpg(0.1, 8),
}


@pytest.mark.parametrize("name", MADE)
def test_a_step_takes_copies_of_the_parameters_alone(name: str) -> None:
    make = lambda: MADE[name]().estimator  # noqa: E731
    copies = {shape: _copies(make, *shape) for shape in ((4, 8), (12, 8), (4, 32))}
    assert copies[4, 8] <= 13, copies
    assert copies[12, 8] - copies[4, 8] < 0.5, "no gradient per channel"
    assert copies[4, 32] - copies[4, 8] < 4, "no gradient per trajectory: 24 more would be 24 copies"


def test_a_rule_on_gradients_takes_a_copy_per_channel() -> None:
    few, many = (
        _copies(lambda m=m: Ruled(Recursion(eta=lambda t: 1.0, batch=8), Chooser(MGDA(), 1.0), m), m, 8)
        for m in (4, 12)
    )
    assert 8 <= many - few <= 48, (few, many)


def test_the_measure_itself() -> None:
    # Two tensors of 4,000 bytes, one of which dies before a third of 8,000 is born: 12,000 at once, views for nothing.
    with Peak() as peak:
        x, y = torch.zeros(1000), torch.zeros(1000)
        del x
        z = torch.zeros(2000)
        view = z[:10]
    assert peak.most == 12_000 and view.numel() == 10 and y.numel() == 1000
