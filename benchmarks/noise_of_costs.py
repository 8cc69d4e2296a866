"""How much of what a policy among hazards climbs is the noise of costs, by the memory of its estimates.

    python -m benchmarks.noise_of_costs RUN

RUN: a run of a constrained method that learns from rollouts, finished or not. The policies of its newest checkpoint
play on; told are the share of the variance of what followed that their critics explain, and by how much the advantages
of rewards and of costs scatter, the latter at the prices of the run's last evaluation.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from tradeoff.engine.checkpoint import load_newest
from tradeoff.engine.learner import Learner
from tradeoff.engine.training import Training
from tradeoff.engine.trajectories import Batch, Trajectories
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
    data = played(learner, asked.iterations)
    whole = estimated(learner, data, 1.0)
    found = {"explained of rewards and costs": explained(whole, data.log_prob.shape[2]).tolist()}
    for memory in asked.memories:
        found[f"spread of both, lambda {memory:g}"] = spreads(estimated(learner, data, memory), price).tolist()
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


def estimated(learner: Learner, data: Trajectories, memory: float) -> Batch:
    """What the learner would make of the data with another memory: advantages and targets [P, n, m + k]."""
    learner.config = replace(learner.config, gae_lambda=memory)
    return learner.prepare(data, torch.ones(len(learner.population), data.channels.shape[-1]))


def explained(whole: Batch, copies: int) -> Tensor:
    """Share [P, m + k] of the variance of discounted sums that critics explain, of a batch with memory 1."""
    left, sums = (x[:, : -BEYOND * copies] for x in (whole.advantages, whole.target))
    return 1 - left.var(1) / sums.var(1)


def spreads(batch: Batch, price: Tensor) -> Tensor:
    """Standard deviations [P, 2] of the advantage of rewards and of that of costs at prices [P, k]."""
    costs = price.shape[1]
    earned, cost = batch.advantages[..., :-costs], batch.advantages[..., -costs:]
    return torch.stack([earned.mean(-1), (cost * price.unsqueeze(1)).sum(-1)], -1).std(1)


if __name__ == "__main__":
    main()
