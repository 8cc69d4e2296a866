"""Cost of an estimator step against a plain backward pass over the same samples: batch 144, horizon 500, 64 channels.

The samples stand ready: 64 inputs, 64 actions, 64 channels, one policy of 128 hidden units, one thread. A plain pass is
a forward pass and one weighted sum of scores by the written-out backward pass, nothing else. A step is J, its prices,
the coefficients and the gradient, corrected by importance weights, by a Hessian-vector product, or not at all. Where it
wants further samples (apart for J, for the Hessian) it is measured against plain passes over all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from benchmarks.report import emit, shown, spread, verdict
from tradeoff.engine.actor_critic import ActorCritic
from tradeoff.engine.compositions import Composition, gpomdp, harpg, storm_pg, tsivr
from tradeoff.engine.episodes import Episodes, coefficients
from tradeoff.engine.estimators import RETURNS
from tradeoff.engine.features import Features
from tradeoff.engine.heads import Categorical
from tradeoff.engine.recursion import CURVATURE, GRADIENT
from tradeoff.engine.scores import channel_gradients, linearise, log_probs

TARGET = 3.0  # plain passes


def samples(model: ActorCritic, theta: Tensor, batch: int, horizon: int, generator: Generator) -> Episodes:
    """Whole trajectories of random numbers."""
    n = batch * horizon
    inputs = torch.randn(1, n, model.features.width, generator=generator)
    action = torch.randint(model.head.outputs, (1, n, 1), generator=generator)
    paid = torch.randn(horizon, 1, batch, model.channels, generator=generator)
    alive = torch.ones(horizon, 1, batch, dtype=torch.bool)
    seen = Episodes(inputs, action, torch.zeros(horizon, 1, batch), paid, alive)
    return seen._replace(log_prob=log_probs(model, theta, seen))


def step(model: ActorCritic, theta: Tensor, data: Episodes, made: Composition) -> Callable[[], Tensor]:
    """One step of an estimator that remembers a point nearby; answers the direction."""
    estimator, by = made.estimator, dict.fromkeys((GRADIENT, RETURNS, CURVATURE), data)
    before = theta + 1e-4 * torch.randn(theta.shape, generator=Generator().manual_seed(1))
    channels = data.paid.shape[-1]
    known = {
        "theta": before, "gradient": torch.zeros_like(theta), "returns": torch.zeros(1, channels),
        "used": torch.ones(1, channels), "weights": torch.ones(1, channels),
    }  # fmt: skip

    def run() -> Tensor:
        estimator.turn, estimator.memory = 1, dict(known)
        returns = estimator.returns(model, theta, by)
        return estimator.direction(model, theta, by, returns.abs().rsqrt())

    return run


def timed(work: Callable[[], Tensor]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def contestants(model: ActorCritic, theta: Tensor, data: Episodes) -> dict[str, tuple[Callable[[], Tensor], int]]:
    """Work to time, and over how many sets of samples it goes."""
    batch = data.alive.shape[2]
    made = {
        "gpomdp": (gpomdp(0.1, batch, separate=False), 1),
        "gpomdp, optimal baseline": (gpomdp(0.1, batch, separate=False, baseline="optimal"), 1),
        "storm-pg": (storm_pg(0.1, batch, 0.5, separate=False), 1),
        "tsivr, separate": (tsivr(0.1, 0.1, batch, batch, 10), 2),
        "harpg": (harpg(0.1, batch, separate=False), 2),
    }
    work = {name: (step(model, theta, data, one), sets) for name, (one, sets) in made.items()}

    def matrix() -> Tensor:
        ahead = torch.stack([coefficients(x, data.alive) for x in data.paid.unbind(-1)], -1)
        return channel_gradients(model, theta, data, ahead)

    return work | {"per-channel matrix": (matrix, 1)}


def main(quick: bool = False, repetitions: int = 7, batch: int = 144, horizon: int = 500, channels: int = 64) -> None:
    """Run the comparison.

    Args:
        quick: one repetition over a tenth of the horizon.
        repetitions: of each step, in turn with the plain pass.
        batch: trajectories.
        horizon: steps of each.
        channels: of the return; inputs and actions are as many.
    """
    torch.set_num_threads(1)
    repetitions, horizon = (1, max(1, horizon // 10)) if quick else (repetitions, horizon)
    model = ActorCritic(Features(channels), Categorical((channels,)), channels, (128,))
    draw = Generator().manual_seed(0)
    theta = model.init(1, draw)
    data = samples(model, theta, batch, horizon, draw)
    ahead = torch.randn(horizon, 1, batch, generator=draw)

    def plain() -> Tensor:
        return linearise(model, theta, data)[1](ahead)

    plain()
    rows, results = [], {}
    for name, (work, sets) in contestants(model, theta, data).items():
        timed(work)
        pairs = [(timed(work), timed(plain)) for _ in range(repetitions)]
        ratio, seconds = spread([a / (b * sets) for a, b in pairs]), spread([a for a, _ in pairs])
        results[name] = {"ratio": ratio, "seconds": seconds, "plain": spread([b for _, b in pairs]), "sets": sets}
        judged = verdict(ratio["median"], TARGET, at_least=False) if name != "per-channel matrix" else "none"
        row = {"step": name, "s": shown(seconds, 2), "sets of samples": str(sets)}
        rows.append(row | {"plain passes": shown(ratio, 2), "target": judged})
    title = "one estimator step against plain backward passes"
    emit(title, rows, results, quick=quick, batch=batch, horizon=horizon, channels=channels)


if __name__ == "__main__":
    import tyro

    tyro.cli(main, description=__doc__)
