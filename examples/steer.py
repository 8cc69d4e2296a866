"""Load a saved front and let a preference steer it in the original mo-gymnasium environment.

First: tradeoff train c-morl --env breakable-bottles-v0 --out runs/bottles
"""

import sys

import mo_gymnasium

from tradeoff.envs import ActionRepeat
from tradeoff.morl import Front

front = Front.load(sys.argv[1] if len(sys.argv) > 1 else "runs/bottles")
for weight in (0.05, 0.3, 0.5, 0.9):
    others = (1 - weight) / (len(front.objectives) - 1)
    policy = front.select(weights=[weight, *[others] * (len(front.objectives) - 1)])
    env = ActionRepeat(mo_gymnasium.make(front.env), policy.repeat)  # as often as in training
    observation, _ = env.reset(seed=0)
    total, over = 0.0, False
    while not over:
        observation, reward, terminated, truncated, _ = env.step(policy(observation))
        total, over = total + reward, terminated or truncated
    print(f"{weight:.0%} for {front.objectives[0]}: returns {total}")
