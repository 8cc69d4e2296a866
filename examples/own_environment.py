"""Bring any gymnasium environment whose reward is a vector: register a function that makes it, then train."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from tradeoff import recommended
from tradeoff.envs import register_gymnasium


class Commute(gym.Env):
    """Ten stretches of road; drive each fast (time) or slowly (fuel)."""

    observation_space = spaces.Box(0, 10, (1,), np.int32)
    action_space = spaces.Discrete(3)
    reward_space = spaces.Box(-4, 0, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.stretch = 0
        return np.array([0], np.int32), {}

    def step(self, action):
        self.stretch += 1
        speed = 1 + action
        reward = np.array([-4 / speed, -(speed**2) / 4])
        return np.array([self.stretch], np.int32), reward, self.stretch == 10, False, {}


register_gymnasium("commute", Commute, objectives=("time", "fuel"))
front = recommended("weighted-sum", "commute", steps=100_000, reference_point=(-41.0, -30.0)).run(progress=True)
print(front.table())
