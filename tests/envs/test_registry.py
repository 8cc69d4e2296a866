"""Which version of an environment `make` picks, and what it says when there is none."""

from __future__ import annotations

import sys
import types

import gymnasium as gym
import numpy as np
import pytest
import torch

from tradeoff.envs import TradeoffError, UnknownName, list_environments, make, register
from tradeoff.envs.mujoco_bodies import ENVIRONMENTS as BODIES

pytestmark = pytest.mark.filterwarnings("ignore:.*out of date", "ignore:.*precision lowered")


@pytest.mark.parametrize(
    ("id", "backend", "used", "m"),
    [
        ("minecart-v0", None, "torch", 3),
        ("minecart-v0", "torch", "torch", 3),
        ("minecart-v0", "gymnasium-sync", "gymnasium-sync", 3),
        ("mo-swimmer-v4", None, "mujoco-threads", 2),
        ("mo-swimmer-v4", "gymnasium-async", "gymnasium-async", 2),
        ("CartPole-v1", None, "torch", 1),
        ("MountainCar-v0", None, "gymnasium-sync", 1),
    ],
)
def test_the_fastest_is_picked_unless_told_otherwise(id, backend, used, m):
    env = make(id, 2, backend=backend)
    assert (env.spec.backend, len(env.spec.objectives), env.num_envs) == (used, m, 2)
    env.close()


@pytest.mark.parametrize("id", ["minecart-v0", "mo-swimmer-v5", "mo-reacher-v5", "fishwood-v0"])
def test_the_original_goes_by_the_names_of_its_twin(id):
    env, twin = make(id, backend="gymnasium-sync").spec, make(id).spec
    assert env.objectives == twin.objectives and env.reference_point == twin.reference_point
    assert env.discount == twin.discount == (0.98 if id == "minecart-v0" else 0.99)


@pytest.mark.parametrize(
    ("id", "backend", "complaint"),
    [
        ("mo-hopper-v5", "torch", "mo-hopper-v5 has no backend torch here; it runs on mujoco-threads"),
        (
            "MountainCar-v0",
            "mujoco-threads",
            "MountainCar-v0 has no backend mujoco-threads here; it runs on gymnasium-sync",
        ),
        ("minecart-v0", "gymnasium-sink", "unknown backend 'gymnasium-sink'; did you mean gymnasium-sync"),
    ],
)
def test_backends_that_do_not_exist_are_refused(id, backend, complaint):
    with pytest.raises(TradeoffError, match=complaint):
        make(id, backend=backend)


@pytest.mark.parametrize(
    ("near", "wanted"),
    [("mo-hoper-v5", "mo-hopper-v5"), ("CartPol-v1", "CartPole-v1"), ("deep-sea-tresure-v0", "deep-sea-treasure-v0")],
)
def test_unknown_ids_suggest_near_ones_of_all_three_sources(near, wanted):
    with pytest.raises(UnknownName, match=f"unknown environment '{near}'; did you mean .*{wanted}"):
        make(near)


@pytest.mark.parametrize(
    ("id", "backend"),
    [
        ("mo-mountaincar-v0", None),
        ("mo-mountaincar-v0", "gymnasium-sync"),
        ("mo-mountaincar-v0", "gymnasium-async"),
        ("mo-swimmer-v5", None),
        ("mo-reacher-v5", None),
    ],
)
def test_every_backend_cuts_episodes_where_it_is_told(id, backend):
    """Cut after 7 steps: the flags of 15 steps stand at the 7th and the 14th, whatever the usual length is."""
    env = make(id, 2, max_episode_steps=7, backend=backend)
    space = env.spec.action_space
    action = torch.zeros(2, *space.shape, dtype=torch.float32 if space.shape else torch.int64)
    flags = torch.stack([env.step(action).truncated for _ in range(15)])
    assert flags.nonzero().tolist() == [[6, 0], [6, 1], [13, 0], [13, 1]]
    assert env.spec.horizon == 7
    env.close()


@pytest.mark.parametrize("id", ["minecart-v0", "mo-hopper-v5", "mo-reacher-v4", "MountainCar-v0"])
@pytest.mark.parametrize("name", ["num_envs", "max_episode_steps"])
def test_numbers_below_one_are_refused_everywhere(id, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        make(id, **{name: 0})


def test_further_options_reach_the_original():
    """Five times left in the tree of depth 5: the first leaf, once from our tables and once from the original."""
    ours, original = make("fruit-tree-v0", depth=5), make("fruit-tree-v0", depth=5, backend="gymnasium-sync")
    for env in (ours, original):
        rewards = [env.step(torch.zeros(1, dtype=torch.int64)) for _ in range(5)]
        assert [step.terminated.item() for step in rewards] == [False] * 4 + [True]
        env.last = rewards[-1].reward[0].float()
    assert torch.equal(ours.last, original.last) and ours.last.count_nonzero() == 6


class Counter(gym.Env):
    observation_space, action_space = gym.spaces.Box(0, 9, (1,)), gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.ones(1, np.float32), 2.5, True, False, {}


def test_what_gymnasium_learns_later_is_found_too():
    with pytest.raises(UnknownName):
        make("Counter-v0")
    gym.register("Counter-v0", Counter)
    assert make("Counter-v0", 3).step(torch.zeros(3, dtype=torch.int64)).reward.tolist() == [[2.5]] * 3


def test_an_id_may_name_the_module_that_registers_it(monkeypatch):
    module = types.ModuleType("counting")
    gym.register("Counting-v0", Counter)
    monkeypatch.setitem(sys.modules, "counting", module)
    assert make("counting:Counting-v0").step(torch.zeros(1, dtype=torch.int64)).reward.item() == 2.5


def test_a_constructor_of_ones_own_is_handed_everything():
    seen = {}

    def constructor(num_envs, **options):
        seen.update(options, num_envs=num_envs)
        return make("deep-sea-treasure-v0", num_envs)

    register("my-own", constructor)
    make("my-own", 4, seed=3, max_episode_steps=9, wind=0.5)
    assert seen == {"num_envs": 4, "seed": 3, "max_episode_steps": 9, "wind": 0.5, "device": "cpu"}
    assert ("my-own", "registered", False) in list_environments()


def test_the_list_names_each_id_once_and_says_what_make_would_use():
    listed = list_environments()
    ids = [entry.id for entry in listed]
    assert len(ids) == len(set(ids)) and ids == sorted(ids)
    backends = {entry.id: entry.backend for entry in listed}
    assert all(backends[id] == "mujoco-threads" for id in BODIES) and len(BODIES) == 18
    assert backends["mo-lunar-lander-v3"] == "gymnasium-sync"
    for id in ("minecart-v0", "mo-walker2d-v5"):
        assert make(id).spec.backend == backends[id]
    assert {entry.id for entry in listed if entry.exact} >= {"deep-sea-treasure-v0", "fruit-tree-v0"}


def test_versions_and_capitals_do_not_make_a_name_near():
    with pytest.raises(UnknownName, match="unknown environment 'nope-v0'; `tradeoff envs` lists them"):
        make("nope-v0")
    with pytest.raises(UnknownName, match="did you mean HalfCheetah-v5"):
        make("halfcheetah")


@pytest.mark.parametrize("count", [True, False])
def test_a_truth_value_is_no_number_of_environments(count):
    with pytest.raises(TradeoffError, match=f"num_envs must be a whole number, got {count}"):
        make("deep-sea-treasure-v0", count)
