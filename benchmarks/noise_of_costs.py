"""How much of what a policy among hazards climbs is the noise of costs, by the memory of its estimates.

    python -m benchmarks.noise_of_costs RUN

RUN: a run of a constrained method that learns from rollouts, finished or not. The policies of its newest checkpoint
play on; told are the share of the variance of what followed that their critics explain, and by how much the advantages
of rewards and of costs scatter, the latter at the prices of the run's last evaluation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from engine.checkpoint import load_newest
from engine.learner import Learner
from engine.normalisers import standard
from engine.returns import gae
from engine.training import Training
from engine.trajectories import Trajectories, fold
from tradeoff.run import prepare
from tradeoff.settings import read_settings

BEYOND = 60  # steps at the end, which what followed is not known of


def main() -> None:
    """Read the command line, play, print."""
    about = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    about.add_argument("run", type=Path)
    about.add_argument("--iterations", type=int, default=16, help="rollouts to play, without learning")
    about.add_argument("--memories", type=float, nargs="+", default=[0.95, 0.8, 0.6], help="values of gae_lambda")
    asked = about.parse_args()
    torch.set_num_threads(1)
    learner, price = opened(asked.run)
    data, gamma = played(learner, asked.iterations), learner.config.gamma
    value, after = valued(learner, data)
    found = {"explained of rewards and costs": explained(data, value, after, gamma).tolist()}
    for memory in asked.memories:
        found[f"spread of both, lambda {memory:g}"] = spreads(data, value, after, gamma, memory, price).tolist()
    for name, rows in found.items():
        print(f"{name}: {[[round(x, 2) for x in row] for row in rows]}")
    print(json.dumps(found))


def opened(folder: Path) -> tuple[Learner, Tensor]:
    """The learner as the run's newest checkpoint has it, and the last prices [P, k]. Raises TypeError without one."""
    run = prepare(read_settings(folder))
    if not isinstance(run, Training) or not isinstance(run.learner, Learner):
        raise TypeError(f"{folder} learns from no rollouts; expected a run of a constrained method that does")
    run.load_state_dict(load_newest(folder))
    return run.learner, torch.tensor(run.history[-1]["prices"])


def played(learner: Learner, iterations: int) -> Trajectories:
    """Rollouts in a row, as one."""
    people = learner.population
    parts = [
        learner.source.collect(learner.model, people.theta, people.observations, learner.generator)
        for _ in range(iterations)
    ]
    return Trajectories(*map(torch.cat, zip(*parts, strict=True)))


@torch.no_grad()
def valued(learner: Learner, data: Trajectories) -> tuple[Tensor, Tensor]:
    """Critics' values [T, P, B, c] before and after every step."""
    people, model = learner.population, learner.model
    found = []
    for seen in (data.observation, data.next_observation):
        inputs = fold(model.inputs(seen, standard(people.observations), data.context))
        value = model.values(people.theta, inputs, people.returns)
        found.append(value.unflatten(1, (len(seen), -1)).movedim(1, 0))
    return found[0], found[1]


def explained(data: Trajectories, value: Tensor, after: Tensor, gamma: float) -> Tensor:
    """Share [P, c] of the variance of discounted sums that the critics explain."""
    ends = data.terminated, data.truncated
    left = gae(data.channels, value, after, *ends, gamma, 1.0)[:-BEYOND]
    return 1 - left.var((0, 2)) / (left + value[:-BEYOND]).var((0, 2))


def spreads(data: Trajectories, value: Tensor, after: Tensor, gamma: float, memory: float, price: Tensor) -> Tensor:
    """Standard deviations [P, 2] of the advantage of rewards and of that of costs at prices [P, k]."""
    advantage = gae(data.channels, value, after, data.terminated, data.truncated, gamma, memory)
    earned, cost = advantage.split([data.reward.shape[-1], data.cost.shape[-1]], -1)
    both = torch.stack([earned.mean(-1), (cost * price.unsqueeze(1)).sum(-1)], -1)
    return both.std((0, 2))


if __name__ == "__main__":
    main()
