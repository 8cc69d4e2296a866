"""Scales and senses of limits trained to known optima, and the multipliers that every composition leaves behind.

A server with room for five jobs works fast, for energy, or slowly, for nothing: waiting has a price, and so has work.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from tests.safe.conftest import chances
from tradeoff.engine.actor_critic import ACTOR
from tradeoff.engine.learner import Learner, LearnerConfig
from tradeoff.envs.batched import BatchedEnv, Outcome
from tradeoff.envs.finite import FiniteModel
from tradeoff.envs.protocol import EnvSpec
from tradeoff.envs.tabular import finite_arrays, make_tabular
from tradeoff.evaluation import ConstrainedOptimum, constrained_optimum, finite_problem, policy_returns
from tradeoff.safe.constraints import Constraint
from tradeoff.safe.duals import PID
from tradeoff.safe.solvers import (
    SOLVERS,
    AugmentedLagrangian,
    PIDLagrangian,
    PlainLagrangian,
    ReLOAD,
    constrained_learner,
)

JOBS, ARRIVAL, SERVICE, DISCOUNT = 6, 0.5, (0.3, 0.9), 0.9
ENERGY = 0.5  # of a step of fast work


@cache
def server(channel: str, horizon: int | None) -> FiniteModel:
    """States 0 to 5 jobs; the objective is minus the energy and the cost what waits, or the reverse with "rest"."""
    transition, waiting, slow = np.zeros((JOBS, 2, JOBS)), np.zeros((JOBS, 2)), np.zeros((JOBS, 2))
    for s in range(JOBS):
        for a, served in enumerate(SERVICE):
            left = {max(s - 1, 0): served}
            left[s] = left.get(s, 0.0) + 1 - served
            for jobs, chance in left.items():
                transition[s, a, min(jobs + 1, JOBS - 1)] += chance * ARRIVAL
                transition[s, a, jobs] += chance * (1 - ARRIVAL)
            waiting[s, a], slow[s, a] = s, a == 0
    energy = ENERGY * (1 - slow)
    paid, limited = (-energy, waiting) if channel == "waiting" else (-waiting, slow)
    return finite_arrays(transition, paid[..., None], cost=limited[..., None], start=3, horizon=horizon)


def best(model: FiniteModel, limit: float, sense: Any, average: bool) -> tuple[Any, ConstrainedOptimum]:
    """The problem and its linear program's answer."""
    paid = np.concatenate([model.reward, model.cost], -1)
    problem = finite_problem(model.transition, paid, start=model.start, discount=1.0 if average else DISCOUNT)
    return problem, constrained_optimum(problem, [1, 0], [(1, limit, sense)], average=average)


@pytest.mark.parametrize(
    ("channel", "scale", "sense", "limit", "penalty"),
    [
        ("waiting", "average", "<=", 1.5, 0.2), ("rest", "average", ">=", 0.5, 20.0),
        ("waiting", "discounted", "<=", 22.0, 0.02), ("rest", "discounted", ">=", 5.0, 1.0),
        ("waiting", "per-step", "<=", 2.2, 0.2), ("rest", "per-step", ">=", 0.5, 10.0),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_scales_and_senses_lead_to_the_linear_program_of_each(channel, scale, sense, limit, penalty) -> None:
    average = scale == "average"
    model = server(channel, None if average else 60)  # 0.9^60 = 0.002 is left out
    problem, optimum = best(model, limit * (10 if scale == "per-step" else 1), sense, average)
    assert optimum.stochastic and optimum.multipliers[0] > 0.01
    config = LearnerConfig(
        rollout_steps=60, environments=64, epochs=4, minibatches=4, learning_rate=6e-3, hidden=(32,),
        gamma=0.98 if average else DISCOUNT,
    )  # fmt: skip
    env = make_tabular(model, 3 * config.environments, costs=("limited",), discount=DISCOUNT)
    given = [Constraint(cost="limited", limit=limit, scale=scale, sense=sense)]
    solver, draw = AugmentedLagrangian(penalty=penalty, rate=penalty / 5), torch.Generator().manual_seed(0)
    learner = constrained_learner(env, given, solver, config, draw, discount=DISCOUNT, policies=3)
    jobs, seen = torch.arange(float(JOBS)).unsqueeze(1), []
    for i in range(150):
        learner.iterate(max(0.02, 1 - i / 150))
        if i >= 90:
            seen.append([policy_returns(problem, policy, average=average) for policy in chances(learner, jobs)])
    np.testing.assert_allclose(np.mean(seen, (0, 1)), optimum.returns, rtol=0.04)  # time, and three policies


class Effort(BatchedEnv):
    """An action a in [-2, 2] per step, without end: the objective is -a^2, and the work done is a."""

    def __init__(self, num_envs: int) -> None:
        see, act = spaces.Box(0, 1, (1,), np.float32), spaces.Box(-2, 2, (1,), np.float32)
        spec = EnvSpec(id="effort", observation_space=see, action_space=act, objectives=("ease",), costs=("work",))
        super().__init__(spec, num_envs)

    def start(self, uniform: Tensor) -> tuple[Tensor, ...]:
        """Nothing to remember."""
        return (torch.zeros(len(uniform)),)

    def transition(self, state: tuple[Tensor, ...], action: Tensor, uniform: Tensor) -> Outcome:
        """Pay for the action."""
        over = torch.zeros(len(action), dtype=torch.bool)
        return Outcome(state, -action.square(), over, action)

    def observe(self, state: tuple[Tensor, ...]) -> Tensor:
        """The same always."""
        return torch.ones(self.num_envs, 1)


@pytest.mark.filterwarnings("ignore:cost 'work' is negative")
def test_at_least_so_much_work_per_step_by_continuous_actions() -> None:
    # max -a^2 with a >= 1/2 on average: a = 1/2, and one more unit of work costs 2 a = 1.
    config = LearnerConfig(
        rollout_steps=8, environments=64, epochs=4, minibatches=4, learning_rate=5e-3, gamma=0.0, hidden=(8,)
    )
    given = [Constraint(cost="work", limit=0.5, scale="average", sense=">=")]
    solver, draw = AugmentedLagrangian(penalty=2.0, rate=0.2), torch.Generator().manual_seed(0)
    learner = constrained_learner(Effort(config.environments), given, solver, config, draw)
    found = [learner.iterate(max(0.05, 1 - i / 300)) for i in range(300)][200:]
    work, price = (torch.stack([row[name] for row in found])[:, 0, -1].mean() for name in ("returns", "weights"))
    assert work == pytest.approx(0.5, abs=0.02)
    assert price == pytest.approx(1.0, abs=0.05)


CONFIG = LearnerConfig(rollout_steps=8, environments=8, epochs=2, minibatches=2, hidden=(8,), learning_rate=0.01)
RULES = {  # solver, and its multiplier after violations v and w
    "lagrangian": (PlainLagrangian(rate=0.5), lambda v, w: 0.5 * (v + w)),
    "pid-lagrangian": (PIDLagrangian(rule=PID(kp=2.0, ki=0.25, kd=3.0)), lambda v, w: 0.25 * (v + w)),
    "augmented-lagrangian": (AugmentedLagrangian(penalty=4.0, rate=0.5), lambda v, w: 0.5 * (v + w)),
    "reload": (ReLOAD(rate=0.5, strength=2.0), lambda v, w: 0.5 * v + 0.5 * (3 * w - 2 * v)),
}
PRICES = {  # in force when w was measured, multiplier v' = rate * v
    "lagrangian": lambda v, w: 0.5 * v,
    "pid-lagrangian": lambda v, w: 0.25 * v + 2 * w + 3 * max(w - v, 0),
    "augmented-lagrangian": lambda v, w: 0.5 * v + 4 * w,
}


def _fast_or_not(solver: Any) -> Learner:
    """Two policies: fast work costs 1; half of 4 steps do so at first, and the limit is a tenth: violations near 2."""
    paid = np.array([[[0.0, 0.0], [1.0, 1.0]]])
    model = finite_arrays(np.ones((1, 2, 1)), paid[..., :1], cost=paid[..., 1:], horizon=4)
    env = make_tabular(model, 2 * CONFIG.environments, costs=("cost",))
    draw, given = torch.Generator().manual_seed(0), [Constraint(cost="cost", limit=0.1)]
    return constrained_learner(env, given, solver, CONFIG, draw, policies=2)


@pytest.mark.parametrize("step", ["ppo", "trust-region", "importance", "score"])
@pytest.mark.parametrize("name", RULES)
def test_multipliers_follow_their_rule_under_every_policy_step(name, step) -> None:
    solver, multiplier = RULES[name]
    learner = _fast_or_not(replace(solver, step=step))
    before = learner.population.theta.clone()
    rows = [learner.iterate() for _ in range(2)]
    v, w = (row["returns"][:, 1].double() - 0.1 for row in rows)
    assert (v > 1).all() and (learner.population.theta != before).any((1, 2)).all()
    dual = learner.scalarizer.inner if name == "reload" else learner.scalarizer
    torch.testing.assert_close(dual.multiplier[:, 0], multiplier(v, w))
    if name in PRICES:
        expected = [PRICES[name](a, b) for a, b in zip(v.tolist(), w.tolist(), strict=True)]
        np.testing.assert_allclose(-rows[1]["weights"][:, 1].double().numpy(), expected, rtol=1e-5)


CHOSEN = {  # settings of a rule, its price when w is measured after v, and when x is measured after both
    "projected": ({"rate": 0.5}, lambda v, w: 0.5 * v, lambda v, w, x: 0.5 * (v + w)),
    "augmented": (
        {"rate": 0.5, "penalty": 4.0}, lambda v, w: 0.5 * v + 4 * w, lambda v, w, x: 0.5 * (v + w) + 4 * x
    ),
    "pid": (
        {"rate": 0.05, "penalty": 0.02, "kd": 5.0},
        lambda v, w: 0.05 * v + 0.02 * w + 5 * (w - v).clamp(min=0),
        lambda v, w, x: 0.05 * (v + w) + 0.02 * x + 5 * (x - w).clamp(min=0),
    ),
    "optimistic": (  # multipliers v / 2, then v / 2 + (w + 2 (w - v)) / 2; twice the last weight less the one before
        {"rule": "optimistic", "rate": 0.5, "strength": 2.0},
        lambda v, w: v,
        lambda v, w, x: 2 * (1.5 * w - 0.5 * v) - 0.5 * v,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ["focops", "cup", "rcpo"])
@pytest.mark.parametrize("rule", CHOSEN)
def test_solvers_with_steps_of_their_own_follow_any_rule(name: str, rule: str) -> None:
    settings, second, third = CHOSEN[rule]
    learner, free = (_fast_or_not(SOLVERS[name](**given)) for given in (settings, {"rate": 0.0}))
    rows = [learner.iterate() for _ in range(3)]
    v, w, x = (row["returns"][:, 1].double() - 0.1 for row in rows)
    assert (v > 1).all() and (w > 0.5).all() and (rule != "pid" or (w > v).any())
    found = torch.stack([row["weights"].double() for row in rows])
    torch.testing.assert_close(found[..., 0], torch.ones(3, 2).double())
    torch.testing.assert_close(-found[1:, :, 1], torch.stack([second(v, w), third(v, w, x)]), rtol=1e-5, atol=0)
    for _ in range(3):
        free.iterate()
    assert (learner.population.theta - free.population.theta)[:, ACTOR].abs().max() > 1e-3
