"""A new method is a rule for weights. Here: all weight on the objective that is worst off (max-min fairness)."""

import torch
from torch import Generator

from tradeoff.engine import ActorCritic, Learner, LearnerConfig, Rollout, fresh_population, make_features, make_head
from tradeoff.engine.scalarizers import Linear
from tradeoff.envs import make


class WorstOff(Linear):
    """The subgradient of min_i (J_i - z_i) / s_i."""

    floor, scale = torch.tensor([0.0, -20.0]), torch.tensor([24.0, 20.0])

    def weights(self, returns):
        fair = (returns.nan_to_num(0.0) - self.floor) / self.scale
        return torch.nn.functional.one_hot(fair.argmin(-1), 2) / self.scale


config = LearnerConfig(rollout_steps=32, environments=16, epochs=4, minibatches=4, learning_rate=2e-3, entropy=0.05)
env = make("deep-sea-treasure-v0", num_envs=16, seed=0)
model = ActorCritic(make_features(env.spec.observation_space), make_head(env.spec.action_space), channels=2)
generator = Generator().manual_seed(0)
people, rule = fresh_population(model, 1, generator), WorstOff(torch.ones(1, 2))
learner = Learner(model, Rollout(env, 1, 32), people, rule, config, generator, discount=1.0)
for turn in range(200):
    record = learner.iterate()
    if turn % 20 == 19:
        print(f"treasure and time: {[round(x, 2) for x in record['returns'][0].tolist()]}")
