"""Every constrained method on episodes that terminate, that a horizon cuts, and that never end, by discount.

Ten steps with three actions of reward 0, 1, 1.5 and cost 0, 1/4, 1; the limit is a mean cost of 5 per episode:

- terminates: the number of the step is observed, and the tenth is the last;
- horizon: nothing is observed, and a time limit of ten steps cuts the episode: critics look beyond it;
- never: nothing is observed and nothing ends; what is limited is the mean per step, 1/2.

By the linear program a third of the steps takes the third action and the others the second: 11.667 per episode, 1.1667
per step. Budgets hold in every episode, which leaves 11.5 at 4.75. Value and cost are exact, of sampled actions
(budgets: of 100 episodes), averaged over the last fifth of the iterations and over three policies. A discount of 1 is
left out where a critic's values have no bound: where nothing ends, and beyond a time limit for methods that learn from
replay.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.report import Row, emit
from tradeoff.engine.learner import LearnerConfig
from tradeoff.engine.normalisers import standard
from tradeoff.engine.soft_config import SoftConfig
from tradeoff.envs import finite_arrays, make_tabular, register
from tradeoff.envs.finite import FiniteModel
from tradeoff.evaluation import constrained_optimum, finite_problem
from tradeoff.registry import METHODS
from tradeoff.safe import budget_methods, conditioned_methods, soft_methods
from tradeoff.safe.conditioned import hats
from tradeoff.safe.duals import PID
from tradeoff.safe.methods import ConstrainedConfig

HOURS, LIMIT, POLICIES, CLOSE = 10, 5.0, 3, 0.03
PAY, WEAR = np.array([0.0, 1.0, 1.5]), np.array([0.0, 0.25, 1.0])
ENDS = ("terminates", "horizon", "never")
GAMMAS = (0.9, 0.99, 1.0)
LATE = 0.2  # share of the iterations that is averaged
ROLLOUTS = LearnerConfig(
    rollout_steps=10, environments=32, epochs=4, minibatches=4, learning_rate=0.01, hidden=(16,), anneal=True,
)  # fmt: skip
REPLAY = SoftConfig(
    rollout_steps=8, environments=16, batch=64, warmup=256, capacity=50_000, hidden=(16,), learning_rate=5e-3,
    polyak=0.05, updates=0.125, temperature=0.05, temperature_rate=0.0,
)  # fmt: skip
STEPS = {"rollouts": 60_000, "replay": 50_000, "budget": 60_000, "conditioned": 200_000}
GAINS: dict[str, dict[str, Any]] = {  # for sums of ten steps; plain ascent switches between 0 and twice the multiplier
    "lagrangian": {"rate": 3.0, "bound": 1.4, "step": "trust-region"}, "reload": {"rate": 0.05, "strength": 10.0},
    "focops": {"rate": 0.05, "penalty": 0.5}, "cup": {"rate": 0.05, "penalty": 0.5},
    "rcpo": {"rate": 0.1, "penalty": 0.5}, "augmented-lagrangian": {"rate": 0.05, "penalty": 0.5},
    "pid-lagrangian": {"rule": PID(kp=0.5, ki=0.05)}, "ipo": {"sharpness": 100.0},
    "sac-lagrangian": {"rate": 0.01}, "sac-pid": {"kp": 0.05, "ki": 0.01, "kd": 0.0},
    "sac-augmented": {"penalty": 0.05, "rate": 0.01}, "sac-reload": {"rate": 0.01, "strength": 5.0},
    "cal": {"penalty": 0.3, "rate": 0.02}, "wcsac": {"risk": 1.0, "rate": 0.01},
}  # fmt: skip
PRICES = ("rate", "penalty", "kp", "ki")  # gains per violation

Array = NDArray[np.float64]


class Found(NamedTuple):
    """How one method ended."""

    value: list[float]  # [P]
    cost: list[float]  # [P]
    best: tuple[float, float]  # value and cost of the best policy
    limit: float
    seconds: float

    @property
    def missed(self) -> bool:
        """Whether the mean of the policies is more than CLOSE below the best value or above the limit."""
        return float(np.mean(self.value)) < (1 - CLOSE) * self.best[0] or self.over

    @property
    def over(self) -> bool:
        """Whether the limit is exceeded by more than CLOSE."""
        return float(np.mean(self.cost)) > (1 + CLOSE) * self.limit


def model(end: str) -> FiniteModel:
    """The hours as arrays; the last state of those that terminate is the end."""
    live = HOURS if end == "terminates" else 1
    states = live + (end == "terminates")
    move = np.zeros((states, 3, states))
    for s in range(states):
        move[s, :, min(s + 1, states - 1)] = 1.0
    pay, wear = (np.tile(x, (states, 1))[..., None] for x in (PAY, WEAR))
    return finite_arrays(
        move, pay, cost=wear, terminal=np.arange(states) >= live, horizon=HOURS if end == "horizon" else None
    )


def made(end: str, num_envs: int, **options: Any) -> Any:
    """The hours as environments."""
    return make_tabular(model(end), num_envs, id=f"hours-{end}", costs=("wear",), limits=(LIMIT,), **options)


def optimum(end: str, budget: bool) -> tuple[float, float]:
    """Value and cost of the best policy: by the linear program, or of whole hours within the budget."""
    if budget:
        hours = [(h, w) for h in range(HOURS + 1) for w in range(HOURS + 1 - h) if h + w / 4 <= LIMIT]
        return max((1.5 * h + w, h + w / 4) for h, w in hours)
    given = model(end)
    paid = np.concatenate([given.reward, given.cost], -1)
    problem = finite_problem(given.transition, paid, start=given.start, discount=1.0, terminal=given.terminal)
    limits = [(1, limit_of(end), "<=")]
    found = constrained_optimum(problem, [1, 0], limits, horizon=given.horizon, average=end == "never")
    return float(found.returns[0]), float(found.returns[1])


def limit_of(end: str) -> float:
    """Per episode, or per step where none ends."""
    return LIMIT / HOURS if end == "never" else LIMIT


def kind_of(method: str) -> str:
    """What a method learns from."""
    if method in soft_methods.METHODS:
        return "replay"
    if method in budget_methods.METHODS:
        return "budget"
    return "conditioned" if method in conditioned_methods.METHODS else "rollouts"


def cells(methods: Sequence[str], ends: Sequence[str], gammas: Sequence[float]) -> Iterator[tuple[str, str, float]]:
    """What is defined: method, end and discount."""
    for method in methods:
        kind = kind_of(method)
        for end in ends:
            for gamma in gammas:
                unbounded = gamma == 1 and (end == "never" or (end == "horizon" and kind == "replay"))
                if not unbounded and not (end == "never" and kind in ("budget", "conditioned")):
                    yield method, end, gamma


def settings(method: str, end: str, gamma: float, seed: int) -> Any:
    """The config of one cell; a mean per step is a tenth of a sum, so that gains on it are ten times as large."""
    kind, config = kind_of(method), METHODS[method]
    limit = f"wear<={limit_of(end):g}" if kind != "conditioned" else "wear<=3..7"
    asked: dict[str, Any] = {"env": f"hours-{end}", "limit": (limit,), "policies": POLICIES, "seed": seed}
    asked |= {"steps": STEPS[kind], "scale": "average" if end == "never" else "episodic"}
    shared = REPLAY if kind == "replay" else ROLLOUTS
    asked["learner"] = replace(shared, gamma=gamma, **_unread(method, type(shared)()))
    if kind == "budget":
        shaped = {"rollout_steps": 20, "environments": 16, "entropy": 0.02}
        asked["learner"] = replace(asked["learner"], **shaped)
        asked |= {"first_share": 0.5, "widened": 0.3} if method == "simmer" else {}
        return config(**asked)
    own = GAINS.get(method, {})
    if end == "never":
        more = 1 - gamma**HOURS if method in ("cal", "wcsac") else HOURS  # gains of those are per discounted cost
        own = {name: _times(more, x) if name in (*PRICES, "rule") else x for name, x in own.items()}
    if method == "cal":
        own |= {"rate": GAINS["cal"]["rate"]}  # Adam's: a step of the logarithm
    return config(**asked, solver=replace(config(**asked).solver, **own))


def _unread(method: str, defaults: Any) -> dict[str, Any]:
    """Settings of the learner that a method does not read, as it wants them: untouched."""
    made: Any = METHODS[method]
    solver = made(limit=("wear<=3..7",)).solver if kind_of(method) == "conditioned" else made().solver
    return {name: getattr(defaults, name) for name in getattr(solver, "unread", ())}


def _times(factor: float, gain: Any) -> Any:
    return replace(gain, kp=factor * gain.kp, ki=factor * gain.ki) if isinstance(gain, PID) else factor * gain


def play(method: str, end: str, gamma: float, seed: int = 0) -> Found:
    """Train one cell."""
    torch.set_num_threads(1)
    register(f"hours-{end}", partial(made, end))
    config, begun = settings(method, end, gamma, seed), time.process_time()
    run = config.start()
    late = []
    while run.learner.source.taken < config.steps:
        share = run.learner.source.taken / config.steps
        if method == "simmer":
            run.learner.source.env.schedule(share / config.widened)
        run.learner.iterate(config.rate(share))
        if share >= 1 - LATE or run.learner.source.taken >= config.steps:
            late.append(judged(run, end))
    value, cost = np.mean(late, 0)
    best = optimum(end, kind_of(method) == "budget")
    seconds = time.process_time() - begun
    return Found(value.tolist(), cost.tolist(), best, limit_of(end), seconds)


def judged(run: Any, end: str) -> Array:
    """Value and cost [2, P] of drawn actions: exact, or of 100 episodes where a budget is seen."""
    if run.config.name in budget_methods.METHODS:
        scores = run.score(run.learner.population, 100, deterministic=False)
        return np.asarray(scores.mean.numpy().T)
    drawn = chances(run, end)
    drawn = drawn.sum(1) if end == "terminates" else drawn[:, 0] * (HOURS if end == "horizon" else 1)
    return np.stack([drawn @ PAY, drawn @ WEAR])


@torch.no_grad()
def chances(run: Any, end: str) -> Array:
    """Probability [P, S, 3] of every action in every state."""
    model, people = run.learner.model, run.learner.population
    states = torch.arange(HOURS if end == "terminates" else 1).float().view(1, -1, 1).expand(len(people), -1, -1)
    context = states.new_zeros(*states.shape[:2], 0)
    if run.config.name in conditioned_methods.METHODS:
        middle = hats(torch.tensor([0.5], dtype=torch.float64), run.config.solver.nodes).float()
        context = middle.expand(*states.shape[:2], -1)
    inputs = model.inputs(states, standard(people.observations), context)
    out = model.outputs(model.actor(people.theta), inputs)[0]
    return np.asarray(out.double().softmax(-1).numpy())


def main(
    methods: tuple[str, ...] = (),
    ends: tuple[str, ...] = ENDS,
    gammas: tuple[float, ...] = GAMMAS,
    seed: int = 0,
    quick: bool = False,
) -> None:
    """Run the comparison.

    Args:
        methods: which; none: all with limits.
        ends: which.
        gammas: discounts of the critics.
        seed: of the three policies of a cell.
        quick: a fiftieth of the steps; shows that it works, measures nothing.
    """
    if quick:
        STEPS.update({kind: steps // 50 for kind, steps in STEPS.items()})
    names = methods or tuple(n for n, c in METHODS.items() if issubclass(c, ConstrainedConfig))
    rows, results = [], []
    for cell in cells(names, ends, gammas):
        found = play(*cell, seed)
        results.append({"cell": cell, **found._asdict()})
        rows.append(_row(cell, found))
        print(json.dumps(rows[-1]), flush=True)
    missed = sum(result["ends"] != "" for result in rows)
    emit(f"{missed} of {len(rows)} cells missed", rows, results, policies=POLICIES, seed=seed, steps=STEPS)


def _row(cell: tuple[str, str, float], found: Found) -> Row:
    (method, end, gamma), digits = cell, 3 if cell[1] == "never" else 2

    def shown(values: list[float]) -> str:
        return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"

    return {
        "method": method, "end": end, "discount": f"{gamma:g}", "value": shown(found.value),
        "best": f"{found.best[0]:.{digits}f}", "cost": shown(found.cost), "limit": f"{found.limit:g}",
        "seconds": f"{found.seconds:.1f}", "ends": "" if not found.missed else "over" if found.over else "short",
    }  # fmt: skip


if __name__ == "__main__":
    import tyro

    tyro.cli(main, description=__doc__)
