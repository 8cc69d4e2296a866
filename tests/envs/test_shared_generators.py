"""Environments that draw from the generators of the whole process: one seed, one result, and no copy like another."""

# ruff: noqa: NPY002

from __future__ import annotations

import multiprocessing as mp
import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.envs.spawned import Gambler, waste
from tradeoff.envs import TradeoffError, make
from tradeoff.envs.gymnasium_adapter import GymnasiumEnv


def played(env: GymnasiumEnv, steps: int = 3) -> torch.Tensor:
    """Observations [steps + 1, N, d] from a seeded reset on, while the program draws, too."""
    seen = [env.reset(7)]
    for _ in range(steps):
        np.random.rand(), random.random(), torch.rand(())
        seen.append(env.step(torch.zeros(env.num_envs, dtype=torch.int64)).observation)
    env.close()
    return torch.stack(seen)


def test_a_copy_draws_what_its_seed_says_in_any_process() -> None:
    """Copy i, reset with seed 7 + i, draws what the seeded generators give; luck is drawn when it is built (seed 5)."""
    found = played(GymnasiumEnv(Gambler, 3, seed=5))
    for i in range(3):
        np.random.seed(7 + i), random.seed(7 + i), torch.manual_seed(7 + i)
        for t in range(4):
            want = [np.random.RandomState(5 + i).rand(), np.random.rand(), random.random(), float(torch.rand(()))]
            assert found[t, i].tolist() == want
    assert torch.equal(played(GymnasiumEnv(Gambler, 3, seed=5, workers=2)), found)
    assert torch.equal(played(GymnasiumEnv(Gambler, 2, seed=5)), found[:, :2]), "neighbours change nothing"


def test_the_generators_of_the_program_are_left_as_they_were() -> None:
    np.random.seed(1), random.seed(1), torch.manual_seed(1)
    want = np.random.rand(), random.random(), float(torch.rand(()))
    np.random.seed(1), random.seed(1), torch.manual_seed(1)
    env = GymnasiumEnv(Gambler, 2)
    env.step(torch.zeros(2, dtype=torch.int64))
    assert (np.random.rand(), random.random(), float(torch.rand(()))) == want


def dug(workers: int) -> torch.Tensor:
    """Observations [15, 2, 7] of two carts that turn, drive to a mine, brake and dig there; the last two are ore."""
    env = make("minecart-v0", 2, seed=3, backend=f"gymnasium-{'async' if workers else 'sync'}")
    seen = []
    for action in [1] * 2 + [3] * 4 + [4] * 6 + [0] * 3:
        np.random.rand()
        seen.append(env.step(torch.tensor([action, action])).observation)
    env.close()
    return torch.stack(seen)


def test_minecarts_dig_the_same_for_one_seed_and_not_the_same_as_each_other() -> None:
    found = dug(0)
    assert (found[-1, :, 5:].sum(1) > 0).all() and not torch.equal(found[-1, 0, 5:], found[-1, 1, 5:])
    assert torch.equal(dug(0), found) and torch.equal(dug(2), found)


@pytest.fixture
def spawn() -> Iterator[None]:
    before = mp.get_start_method(allow_none=True)
    mp.set_start_method("spawn", force=True)
    yield
    mp.set_start_method(before, force=True)


@pytest.mark.usefixtures("spawn")
def test_workers_that_begin_anew_step_the_same() -> None:
    there = GymnasiumEnv(Gambler, 2, seed=5, workers=2, costs={"waste": waste})
    assert {worker.method for worker in there.workers} == {"spawn"} and there.spec.costs == ("waste",)
    assert torch.equal(played(there), played(GymnasiumEnv(Gambler, 2, seed=5)))
    known = make("mo-mountaincar-v0", 1, backend="gymnasium-async")  # an id that a package registers
    assert known.step(torch.tensor([1])).reward.shape == (1, 3)
    known.close()


@pytest.mark.usefixtures("spawn")
def test_what_cannot_be_sent_to_a_new_process_is_named() -> None:
    with pytest.raises(TradeoffError, match=r"start method spawn, functions that build .* top level of a module"):
        GymnasiumEnv(lambda: Gambler(), 2, workers=2)
