"""The gymnasium adapter against environments driven by hand."""

from __future__ import annotations

import sys

import gymnasium as gym
import mo_gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from tradeoff.envs import MissingExtra, TradeoffError, UnknownName, list_environments, make, register_gymnasium
from tradeoff.envs.gymnasium_adapter import GymnasiumEnv


class Lamp(gym.Env):
    """Dict observation, two choices, one reward per choice, a cost in info. Ends when both knobs were right."""

    observation_space = spaces.Dict({"place": spaces.Box(0, 9, (2,), np.float64), "lit": spaces.Discrete(2)})
    action_space = spaces.MultiDiscrete([3, 2])
    reward_space = spaces.Box(-1, 3, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(0, 9, 2)
        return {"place": self.place, "lit": 0}, {}

    def step(self, action):
        seen = {"place": self.place, "lit": int(action[1])}
        done = bool(action[0] == 2 and action[1] == 1)
        return seen, np.array([action[0], -action[1]], float), done, False, {"cost": 0.5 * action[0]}


class Odd(gym.Env):
    """Choices that are not counted from 0, a square observation, costs of several kinds; repeats what it is given."""

    observation_space = spaces.MultiDiscrete([3, 4], start=[10, 20])
    action_space = spaces.Discrete(3, start=5)

    def reset(self, *, seed=None, options=None):
        return np.array([10, 20]), {}

    def step(self, action):
        info = {"cost_heat": action, "cost_parts": [1.0, 2.0], "other": "x"}
        if action == 6:
            del info["cost_heat"]
        return np.array([12, 23]), float(action), False, False, info


class Square(gym.Env):
    """Two-dimensional numbers in and out, flags beside them, the cost between reward and flags."""

    observation_space = spaces.Tuple([spaces.Box(-1, 1, (2, 2), np.float64), spaces.MultiBinary(2)])
    action_space = spaces.Box(-1, 1, (2, 2), np.float64)

    def reset(self, *, seed=None, options=None):
        return (np.zeros((2, 2)), np.array([1, 0], np.int8)), {}

    def step(self, action):
        return (action, np.array([0, 1], np.int8)), action[0, 1], action[1, 0], False, False, {}


@pytest.mark.parametrize("workers", [0, 2])
def test_dict_observations_choices_and_costs(workers):
    env = GymnasiumEnv(Lamp, 3, seed=5, workers=workers, objectives=("warmth", "price"), max_episode_steps=4)
    assert env.spec.objectives == ("warmth", "price") and env.spec.costs == ("cost",)
    single = [Lamp() for _ in range(3)]
    first = np.stack([spaces.flatten(Lamp.observation_space, e.reset(seed=5 + i)[0]) for i, e in enumerate(single)])
    np.testing.assert_array_equal(env.reset(5).numpy(), first)
    clock, generator = [0] * 3, np.random.default_rng(0)
    for _ in range(50):
        action = generator.integers([3, 2], size=(3, 2))
        step = env.step(torch.from_numpy(action))
        for i, e in enumerate(single):
            seen, reward, terminated, _, info = e.step(action[i])
            clock[i] += 1
            truncated = clock[i] == 4 and not terminated
            np.testing.assert_array_equal(step.final_observation[i], spaces.flatten(Lamp.observation_space, seen))
            np.testing.assert_array_equal(step.reward[i], reward)
            assert step.cost[i].tolist() == [info["cost"]]
            assert (bool(step.terminated[i]), bool(step.truncated[i])) == (terminated, truncated)
            if terminated or truncated:
                clock[i], seen = 0, e.reset()[0]
            np.testing.assert_array_equal(step.observation[i], spaces.flatten(Lamp.observation_space, seen))
    env.close()


def test_a_scalar_reward_is_one_objective_and_truncation_is_kept_apart():
    env = make("CartPole-v1", 1, seed=3, max_episode_steps=20, backend="gymnasium-sync")
    single = gym.make("CartPole-v1", max_episode_steps=20)
    assert env.spec.objectives == ("reward",) and env.spec.backend == "gymnasium-sync"
    single.reset(seed=3)
    ends = {"terminated": 0, "truncated": 0}
    for t in range(400):
        action = t % 2 if t % 100 < 60 else 1
        step = env.step(torch.tensor([action]))
        seen, reward, terminated, truncated, _ = single.step(action)
        np.testing.assert_array_equal(step.final_observation[0], seen)
        assert step.reward.item() == reward
        assert (step.terminated.item(), step.truncated.item()) == (terminated, truncated and not terminated)
        ends["terminated"] += terminated
        ends["truncated"] += truncated
        if terminated or truncated:
            np.testing.assert_array_equal(step.observation[0], single.reset()[0])
    assert min(ends.values()) > 3


def test_both_ways_of_stepping_give_the_same():
    sync, other = (make("mo-mountaincar-v0", 5, seed=1, backend=f"gymnasium-{how}") for how in ("sync", "async"))
    generator = torch.Generator().manual_seed(0)
    for _ in range(250):
        action = torch.randint(3, (5,), generator=generator)
        a, b = sync.step(action), other.step(action)
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert a.reward.shape == (5, 3)
    other.close()


def test_choices_count_from_zero_and_costs_may_be_several():
    """Action 0 is the original's 5, 2 its 7; observation (12, 23) lies 2 and 3 above the smallest (10, 20)."""
    env = GymnasiumEnv(Odd, 2, costs=("cost_parts", "cost_heat"), limits=(1, 2, 3))
    assert env.spec.action_space == spaces.Discrete(3) and env.spec.observation_space == spaces.MultiDiscrete([3, 4])
    assert env.spec.costs == ("cost_parts_0", "cost_parts_1", "cost_heat") and env.spec.limits == (1, 2, 3)
    assert env.reset().tolist() == [[0, 0], [0, 0]]
    step = env.step(torch.tensor([0, 2]))
    assert step.reward.tolist() == [[5], [7]] and step.observation.tolist() == [[2, 3], [2, 3]]
    assert step.cost.tolist() == [[1, 2, 5], [1, 2, 7]]
    assert step.final_observation is step.observation  # no episode ended
    with pytest.raises(TradeoffError, match=r"reports no cost 'cost_heat', and the first one did: .* report 0"):
        env.step(torch.tensor([1, 1]))


def test_squares_are_flattened_and_a_cost_beside_the_reward_is_a_cost():
    """Rows of four numbers become [[a, b], [c, d]]; it pays b and costs c; flags follow the numbers."""
    env = GymnasiumEnv(Square, 1)
    assert env.spec.action_space.shape == (4,) and env.spec.observation_space.shape == (6,)
    assert env.reset().tolist() == [[0, 0, 0, 0, 1, 0]]
    step = env.step(torch.tensor([[0.125, 0.25, 0.5, 0.75]]))
    assert step.observation.tolist() == [[0.125, 0.25, 0.5, 0.75, 0, 1]]
    assert (step.reward.item(), step.cost.item(), env.spec.costs) == (0.25, 0.5, ("cost",))


class Same(gym.Env):
    """Writes every observation into one array; pays two numbers in the third step of an episode instead of one."""

    observation_space, action_space = spaces.Box(0, 9, (1,), np.float64), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.seen = getattr(self, "seen", np.zeros(1))
        self.seen[0] = 0
        return self.seen, {}

    def step(self, action):
        self.seen += 1
        return self.seen, [1.0] * (2 if self.seen[0] == 3 else 1), False, False, {}


def test_an_observation_that_the_environment_overwrites_is_kept():
    """Cut after 2 steps: the last observation is 2, the next begins at 0, and what was handed out stays."""
    env = GymnasiumEnv(Same, 1, max_episode_steps=2)
    first, second = (env.step(torch.zeros(1, dtype=torch.int64)) for _ in range(2))
    assert (first.observation.item(), second.observation.item(), second.final_observation.item()) == (1, 0, 2)


def test_a_reward_of_another_length_is_refused():
    env = GymnasiumEnv(Same, 1)
    with pytest.raises(TradeoffError, match="the step's reward holds 2 numbers; it held 1 in the first step"):
        for _ in range(3):
            env.step(torch.zeros(1, dtype=torch.int64))


def test_episodes_may_be_longer_than_the_original_cuts_them():
    """The mountain car's own clock stops it after 200 steps; told 230, both the original and ours go on to 230."""
    env = make("mo-mountaincar-v0", 1, backend="gymnasium-sync", max_episode_steps=230)
    flags = [env.step(torch.ones(1, dtype=torch.int64)).truncated.item() for _ in range(230)]
    assert flags.index(True) == 229


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"costs": ("cst",)}, TradeoffError, "Lamp reports no cost 'cst' in its first step, only cost"),
        ({"limits": (1.0, 2.0)}, ValueError, "2 limits for 1 costs: cost"),
        ({"objectives": ("one",)}, ValueError, "1 names for 2 objectives: one"),
        ({"gravity": 1}, TradeoffError, "options gravity: a function that builds the environment takes none"),
    ],
)
def test_what_does_not_fit_the_environment_is_named(options, error, complaint):
    with pytest.raises(error, match=complaint):
        GymnasiumEnv(Lamp, 1, **options)


def test_a_wrong_number_of_actions_is_not_passed_over():
    with pytest.raises(TradeoffError, match=r"takes actions of shape \(3,\), got \(2,\)"):
        make("CartPole-v1", 3, backend="gymnasium-sync").step(torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("id", ["mo-mountaincar-v0", "mo-lunar-lander-v3"])
@pytest.mark.parametrize("workers", [0, 2])
def test_vector_rewards_over_many_episodes_against_the_original_by_hand(id, workers):
    if "lander" in id:
        pytest.importorskip("Box2D")
    env = make(id, 3, seed=1, backend=f"gymnasium-{'async' if workers else 'sync'}", max_episode_steps=60)
    originals = [mo_gymnasium.make(id, max_episode_steps=60) for _ in range(3)]
    first = np.stack([original.reset(seed=1 + i)[0] for i, original in enumerate(originals)])
    np.testing.assert_array_equal(env.reset(1).numpy(), first)
    ends, generator = 0, np.random.default_rng(0)
    for _ in range(250):
        action = generator.integers(env.spec.action_space.n, size=3)
        step = env.step(torch.from_numpy(action))
        for i, original in enumerate(originals):
            seen, reward, terminated, truncated, _ = original.step(action[i])
            np.testing.assert_array_equal(step.final_observation[i], seen)
            np.testing.assert_array_equal(step.reward[i], reward)
            assert (bool(step.terminated[i]), bool(step.truncated[i])) == (terminated, truncated and not terminated)
            if terminated or truncated:
                ends, seen = ends + 1, original.reset()[0]
            np.testing.assert_array_equal(step.observation[i], seen)
    assert ends >= 12  # 250 steps of 3 copies in episodes of 60 at most
    env.close()


def test_unknown_ids_suggest_near_ones():
    with pytest.raises(UnknownName, match=r"unknown environment 'minecat-v0'; did you mean minecart-v0"):
        make("minecat-v0")


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(
        MissingExtra, match=r"needs the package mujoco, not installed here; pip install 'tradeoff-rl\[mujoco\]'"
    ):
        make("mo-hopper-v5")


def test_registered_environments_are_made_and_listed():
    register_gymnasium("lamp", Lamp, objectives=("warmth", "price"))
    env = make("lamp", 2)
    assert env.spec.id == "lamp" and env.reset().shape == (2, 4)
    assert "lamp" in {listed.id for listed in list_environments()}
    backends = {listed.id: listed.backend for listed in list_environments()}
    assert backends["minecart-v0"] == "torch" and backends["mo-ant-v5"] == "mujoco-threads"
    assert backends["mo-lunar-lander-v3"] == "gymnasium-sync"
