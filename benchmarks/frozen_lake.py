"""How fast the gap to the optimum closes with trajectories: TSIVR on the slippery 8 x 8 frozen lake, discount .99.

Tabular softmax, steps of one length; an epoch is one large batch of N trajectories and sqrt(N) - 1 corrections by
sqrt(N) trajectories each; the number of epochs is fixed, N grows. Tables start from HEAD_START times the best values
of actions (gap .292): from the uniform policy one episode in some hundreds pays anything, and nothing is learnt. The
gap is exact: the optimum by value iteration less the value of the policy by the linear system, with no limit on time.
Writes docs/figures/frozen_lake.png.
"""

from __future__ import annotations

from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from benchmarks.report import emit
from benchmarks.turns import ROOT
from tradeoff.engine.actor_critic import ACTOR, ActorCritic
from tradeoff.engine.compositions import Composition, tsivr
from tradeoff.engine.episodes import Episodes
from tradeoff.engine.episodic import EpisodicLearner, episodic_learner
from tradeoff.engine.scalarizers import Linear
from tradeoff.envs import finite_arrays, make_tabular
from tradeoff.envs.finite import FiniteModel
from tradeoff.evaluation import FiniteProblem, finite_problem
from tradeoff.evaluation.exact import best_policy, policy_returns

FIGURE = ROOT / "docs" / "figures" / "frozen_lake.png"
DISCOUNT, HORIZON, RUNS = 0.99, 200, 4
BATCHES = (16, 64, 256, 1024)
EPOCHS, RATE, RADIUS = 60, 1000.0, 0.1
HEAD_START = 50.0  # logits per unit of value


class Lake(NamedTuple):
    """The problem for sampling, and the same for exact solutions."""

    model: FiniteModel
    problem: FiniteProblem
    optimum: float
    values: NDArray[np.float64]  # [64, 4] of actions, followed by the best policy


def lake() -> Lake:
    """Gymnasium's FrozenLake8x8-v1 from its own table of transitions; episodes are cut after HORIZON steps."""
    import gymnasium

    env: Any = gymnasium.make("FrozenLake8x8-v1", is_slippery=True).unwrapped
    over = np.isin(env.desc.ravel(), [b"H", b"G"])
    move, pay = np.zeros((len(over), 4, len(over))), np.zeros((len(over), 4, 1))
    for state, action in np.ndindex(len(over), 4):
        for chance, after, reward, _ in env.P[state][action]:
            move[state, action, after] += chance
            pay[state, action] += 0.0 if over[state] else chance * reward
    problem = finite_problem(move, pay, start=0, discount=DISCOUNT, terminal=over)
    model = finite_arrays(move, pay, terminal=over, horizon=HORIZON)
    best = best_policy(problem, [1.0])
    return Lake(model, problem, best.value, pay[..., 0] + DISCOUNT * move @ best.values)


def learner(given: Lake, made: Composition, runs: int, seed: int) -> EpisodicLearner:
    """`runs` tabular softmax policies side by side, all uniform at first."""

    def make(num_envs: int, seed: int) -> Any:
        return make_tabular(given.model, num_envs, id="frozen-lake", discount=DISCOUNT, seed=seed)

    found = episodic_learner(
        make, Linear(torch.ones(runs, 1)), made, Generator().manual_seed(seed), policies=runs, hidden=(),
        precondition=_without_biases,
    )  # fmt: skip
    found.population.theta.zero_()
    return found


def _without_biases(model: ActorCritic, theta: Tensor, episodes: Episodes, direction: Tensor) -> Tensor:
    """A table of logits [64, 4] has no number that all states share: the last four."""
    direction[..., -4:] = 0.0
    return direction


def gaps(given: Lake, trained: EpisodicLearner) -> list[float]:
    """Optimum less exact value, of every policy."""
    logits = trained.population.theta[:, ACTOR, :-4].view(len(trained.population), -1, 4).double()
    found = [policy_returns(given.problem, one.softmax(-1).numpy())[0] for one in logits]
    return [given.optimum - float(x) for x in found]


def epochs(given: Lake, large: int, seed: int, *, runs: int, count: int, rate: float, radius: float) -> dict[str, Any]:
    """Train by TSIVR; trajectories per run, and the gaps of the runs at the end."""
    small = isqrt(large)
    made = tsivr(rate, radius, large, small, small, separate=False, baseline="mean")
    trained = learner(given, made, runs, seed)
    trained.population.theta[:, ACTOR, :-4] = HEAD_START * torch.as_tensor(given.values, dtype=torch.float32).flatten()
    for _ in range(count * small):
        trained.iterate(1.0)
    played = trained.source.counts
    found = {"trajectories": played["episodes"] // runs, "steps": trained.source.taken, "gaps": gaps(given, trained)}
    trained.source.close()
    return found


def slope(trajectories: NDArray[np.float64], gap: NDArray[np.float64]) -> float:
    """Of the straight line through the logarithms, by least squares."""
    return float(np.polyfit(np.log(trajectories), np.log(gap), 1)[0])


def main(quick: bool = False, large: tuple[int, ...] = BATCHES, seed: int = 0, figure: Path = FIGURE) -> None:
    """Run the measurement.

    Args:
        quick: two epochs of the smallest batch and its quadruple; shows that it works, measures nothing.
        large: sizes N of the large batches.
        seed: of the runs.
        figure: where the picture goes.
    """
    large, count = ((16, 64), 2) if quick else (large, EPOCHS)
    given = lake()
    found = [epochs(given, n, seed, runs=RUNS, count=count, rate=RATE, radius=RADIUS) for n in large]
    spent, gap = (np.array([x[name] for x in found], dtype=np.float64) for name in ("trajectories", "gaps"))
    rows = [
        {"N": str(n), "trajectories": f"{x['trajectories']:,}", "mean gap": f"{np.mean(x['gaps']):.4f}"}
        for n, x in zip(large, found, strict=True)
    ]
    draw(spent, gap, figure)
    result = {"optimum": given.optimum, "slope": slope(spent, gap.mean(1)), "found": found}
    emit(f"gap to {given.optimum:.4f}, slope {result['slope']:.3f}", rows, result, epochs=count, runs=RUNS)


def draw(trajectories: NDArray[np.float64], gap: NDArray[np.float64], path: Path) -> None:
    """Every run's gap [N, runs] and their mean, against trajectories."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.loglog(trajectories, gap, "k.", markersize=3)
    axes.loglog(trajectories, gap.mean(1), label=f"mean, slope {slope(trajectories, gap.mean(1)):.3f}")
    axes.set(xlabel="trajectories per run", ylabel="exact gap to the optimum")
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    import tyro

    tyro.cli(main, description=__doc__)
