"""What a critic of costs learns from lidar as it is, and from lidar that is seen a second time, sharpened.

    python -m benchmarks.closeness RUN

RUN: a finished run of a constrained method on a navigation task with one cost. Its first policy plays episodes,
networks of the critic's size are fitted to the discounted costs that followed, and what is told is the share of their
variance that is explained on episodes with layouts that were not fitted to.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from tradeoff.engine.features import Features
from tradeoff.engine.returns import scan
from tradeoff.engine.trained import Trained
from tradeoff.envs import VectorEnv, make
from tradeoff.settings import read_settings

COPIES, BEYOND = 64, 60  # environments; steps at the end whose costs are not followed far enough


def main() -> None:
    """Read the command line, play, fit, print."""
    about = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    about.add_argument("run", type=Path)
    about.add_argument("--rounds", type=int, default=4, help="episodes per environment to fit to; one more is fresh")
    about.add_argument("--epochs", type=int, default=8)
    asked = about.parse_args()
    torch.set_num_threads(1)
    config = read_settings(asked.run).config
    env = config.shown(make(config.env, COPIES))
    trained, gamma = Trained.load(asked.run), config.learner.gamma
    parts = [played(trained, env, gamma, seed) for seed in range(asked.rounds + 1)]
    fitted = [torch.cat(part) for part in zip(*parts[:-1], strict=True)]
    found = {}
    for name, near in (("as it is", ()), ("sharpened, too", env.spec.near)):
        features = Features(fitted[0].shape[-1], near=near)
        found[name] = explained(features, *fitted, parts[-1], config.learner.hidden, asked.epochs)
    for name, shares in found.items():
        print(f"lidar {name}: explained after each epoch {', '.join(f'{share:.2f}' for share in shares)}")
    print(json.dumps(found))


@torch.no_grad()
def played(trained: Trained, env: VectorEnv, gamma: float, seed: int) -> tuple[Tensor, Tensor]:
    """Observations [n, d] of an episode of every environment, and discounted sums [n] of the costs that followed."""
    policy = trained.policy(0)
    policy.generator.manual_seed(seed)
    watched, paid, observation = [], [], env.reset(1000 * seed)
    for _ in range(env.spec.horizon or 0):
        step = env.step(torch.from_numpy(policy(observation.numpy(), deterministic=False)))
        watched.append(observation.float())
        paid.append(step.cost[:, 0].float())
        observation = step.observation
    followed = scan(torch.stack(paid), torch.tensor(gamma))
    return torch.stack(watched)[:-BEYOND].flatten(0, 1), followed[:-BEYOND].flatten()


def explained(
    features: Features, x: Tensor, y: Tensor, fresh: tuple[Tensor, Tensor], hidden: tuple[int, ...], epochs: int
) -> list[float]:
    """Share of the variance of fresh costs that a network fitted to y [n] of observations x [n, d] explains."""
    torch.manual_seed(0)
    x, other = features(x), features(fresh[0])
    centre, spread = x.mean(0), x.std(0) + 1e-6
    x, other = ((z - centre) / spread for z in (x, other))
    sizes = [x.shape[1], *hidden]
    layers = [part for i, o in zip(sizes, hidden, strict=False) for part in (nn.Linear(i, o), nn.Tanh())]
    net = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
    climb = torch.optim.Adam(net.parameters(), lr=5e-4)
    shares = []
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(256):
            climb.zero_grad()
            (net(x[part])[:, 0] - (y[part] - y.mean()) / y.std()).square().mean().backward()
            climb.step()
        with torch.no_grad():
            error = fresh[1] - (net(other)[:, 0] * y.std() + y.mean())
        shares.append(1 - float(error.square().mean() / fresh[1].var()))
    return shares


if __name__ == "__main__":
    main()
