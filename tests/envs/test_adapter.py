"""The gymnasium adapter against environments driven by hand."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from envs import MissingExtra, TradeoffError, UnknownName, list_environments, make, register_gymnasium
from envs.gymnasium_adapter import GymnasiumEnv


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
        if action[0] == 2 and self.broken:
            raise RuntimeError("the knob came off")
        seen = {"place": self.place, "lit": int(action[1])}
        done = bool(action[0] == 2 and action[1] == 1)
        return seen, np.array([action[0], -action[1]], float), done, False, {"cost": 0.5 * action[0]}

    broken = False


class Broken(Lamp):
    broken = True


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
    env, single = make("CartPole-v1", 1, seed=3, max_episode_steps=20), gym.make("CartPole-v1", max_episode_steps=20)
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


def test_an_error_in_a_worker_comes_back_with_its_traceback():
    env = GymnasiumEnv(Broken, 2, workers=2)
    with pytest.raises(TradeoffError, match="the knob came off"):
        env.step(torch.tensor([[0, 0], [2, 0]]))
    env.close()
    assert sum(worker.process.is_alive() for worker in env.workers) == 0


def test_unknown_ids_suggest_near_ones():
    with pytest.raises(UnknownName, match=r"unknown environment 'minecat-v0'; did you mean minecart-v0"):
        make("minecat-v0")


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    import sys

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
