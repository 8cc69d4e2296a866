"""Constrained solvers from replay that choose among options: second ways to the same numbers, resume, known optima."""

from __future__ import annotations

from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from tests.safe.conftest import chances
from tradeoff.engine import checkpoint
from tradeoff.engine.run import Interrupted, complete
from tradeoff.engine.soft_config import SoftConfig
from tradeoff.envs import finite_model, make
from tradeoff.envs.finite import FiniteEnv
from tradeoff.envs.tabular import finite_arrays, make_tabular
from tradeoff.evaluation import constrained_optimum, finite_problem, policy_returns
from tradeoff.safe.constraints import Constraint
from tradeoff.safe.soft_methods import METHODS
from tradeoff.safe.soft_solvers import CAL, SACPID, SACLagrangian, soft_learner
from tradeoff.safe.variational import CVPO, fit_choices, reweigh
from tradeoff.safe.worst_case import WCSAC, RiskCritics

QUICK = SoftConfig(
    rollout_steps=8, environments=16, batch=64, warmup=512, capacity=50_000, hidden=(32, 32), gamma=0.97,
    learning_rate=2e-3, polyak=0.02, updates=0.25, temperature=0.1, temperature_rate=2e-3,
)  # fmt: skip


def test_the_variance_of_a_choice_by_hand():
    # Options of means 0 and 4 and variances 1 and 2, with chances 3/4 and 1/4: mean 1; variance 3/4 + 2/4 within, and
    # 3/4 * 1 + 1/4 * 9 = 3 between, together 17/4. A step before, with cost 1 and discount 1/2: 1 + 1/2 and 17/16.
    critics = RiskCritics(1, 1, 1, 1, 1, hidden=(2,), options=2)
    values = torch.tensor([[[[[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 4.0, log(2.0)]]]]])
    future = critics.average(values, torch.tensor([[[0.75, 0.25]]]))
    torch.testing.assert_close(future[0, 0, 0], torch.tensor([0.0, 0.0, 1.0, log(17 / 4)]))
    paid = torch.tensor([[[0.0, 0.0, 1.0]]])
    target = critics.target(paid, torch.full((1, 1), 0.5), future, torch.zeros(1, 1))
    torch.testing.assert_close(target[0, 0, 0], torch.tensor([0.0, 0.0, 1.5, 17 / 16]))


def test_units_change_no_variance_of_an_option():
    config = replace(QUICK, warmup=64, updates=0.05)
    limits = [Constraint(cost=c, limit=0.02, scale="average") for c in ("lava", "mud")]
    env = make("safe-grid-v0", config.environments)
    learner = soft_learner(env, limits, WCSAC(), config, Generator().manual_seed(0))
    learner.iterate()
    sample = next(iter(learner._prepare(1)))

    def values() -> torch.Tensor:
        found = learner.critics.forward(learner.theta, sample.pairs).values
        return torch.cat([found[..., :4], found[..., 4:].exp()], -1) * learner.scale[:, None, None]

    before, data = values(), learner._sample()
    known = (learner.scale > 0)[:, None, None].expand_as(before)  # what has never paid has no unit to keep values in
    assert known.any()
    learner._remember({"rollout": data["rollout"]._replace(cost=3 * data["rollout"].cost)})
    torch.testing.assert_close(values()[known], before[known], rtol=1e-4, atol=1e-6)


def test_chances_reweigh_as_samples_of_those_chances_do():
    # Options a, b, c with chances 1/2, 1/4, 1/4 are the samples a, a, b, c of 1/4 each.
    generator = Generator().manual_seed(0)
    gain = torch.randn(1, 5, 3, generator=generator, dtype=torch.float64)
    cost = torch.rand(1, 5, 3, 2, generator=generator, dtype=torch.float64)
    limit, heat, price = (torch.tensor([x], dtype=torch.float64) for x in ([0.3, 0.4], [0.7], [0.2, 0.5]))
    prior = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log().expand(1, 5, 3)
    found, twice = reweigh(gain, cost, limit, heat, price, 0.1, prior), [0, 0, 1, 2]
    wanted = reweigh(gain[..., twice], cost[:, :, twice], limit, heat, price, 0.1)
    torch.testing.assert_close(found.d_temperature, wanted.d_temperature)
    torch.testing.assert_close(found.d_price, wanted.d_price)
    torch.testing.assert_close(found.weight[..., 0], wanted.weight[..., :2].sum(-1))
    torch.testing.assert_close(found.weight[..., 1:], wanted.weight[..., 2:])


def test_the_slope_of_a_fit_of_choices_agrees_with_autograd():
    generator = Generator().manual_seed(0)
    out, old, raw = torch.randn(3, 2, 4, 3, generator=generator, dtype=torch.float64)
    out, weight = out.requires_grad_(), raw.softmax(-1)
    price = torch.tensor([[0.5, 9.0], [1.5, 9.0]], dtype=torch.float64)
    categorical = torch.distributions.Categorical
    apart = torch.distributions.kl_divergence(categorical(logits=old), categorical(logits=out))
    likely = (weight * out.log_softmax(-1)).sum(-1)
    wanted = torch.autograd.grad((likely - price[:, :1] * apart).sum(), out)[0]
    found = fit_choices(out.detach(), old, weight, price)
    torch.testing.assert_close(found.d_out, wanted)
    torch.testing.assert_close(found.apart, torch.stack([apart.mean(1).detach(), torch.zeros(2).double()], -1))


def test_cvpo_limit_does_not_depend_on_the_level_of_the_critics():
    # What reweighed actions may cost beyond the mean of all is the same if every value of the cost is 100 higher.
    limits, config = [Constraint(cost="cost_0", limit=5.0)], replace(QUICK, warmup=128)
    learner = soft_learner(_shift(32), limits, CVPO(), config, Generator(), policies=2)
    for _ in range(4):
        learner.iterate()
    seen, solve, sample = [], learner._solve, next(iter(learner._prepare(1)))

    def spied(gain: torch.Tensor, cost: torch.Tensor, limit: torch.Tensor, *rest: Any) -> Any:
        seen.append((cost.mean((1, 2)), limit - cost.mean((1, 2))))
        return solve(gain, cost, limit, *rest)

    learner._solve = spied
    with torch.no_grad():
        learner._act(sample, torch.tensor([[1.0, 0.0]] * 2), 0.0)
        layers = learner.critics.network.layers(learner.theta.flatten(0, 1))
        layers.biases[-1].unflatten(-1, (3, -1))[..., -1].add_(100.0)
        learner._act(sample, torch.tensor([[1.0, 0.0]] * 2), 0.0)
    (low, room), (high, same) = seen
    torch.testing.assert_close(high, low + 100.0)
    torch.testing.assert_close(same, room, rtol=0, atol=1e-4)
    assert room.isfinite().all() and room.abs().max() > 0.01


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_run_of_choices_ends_as_if_it_had_not_been(tmp_path: Path, name: str):
    unread = {field: getattr(SoftConfig(), field) for field in getattr(METHODS[name]().solver, "unread", ())}
    learner = replace(QUICK, warmup=60, environments=2, batch=16, hidden=(8, 8), **unread)
    config = METHODS[name](
        env="safe-grid-v0", limit=("lava<=0.02", "mud<=0.01"), scale="average", learner=learner, episodes=2,
        final_episodes=3, evaluate_every=4, policies=3, steps=600, horizon=20,
    )  # fmt: skip
    turns = iter(range(1, 10**6))
    with pytest.raises(Interrupted):
        complete(config.start(), tmp_path, stop=lambda: next(turns) == 6)
    again = config.start()
    again.load_state_dict(checkpoint.load_newest(tmp_path))
    one, other = config.run(), complete(again, tmp_path)
    assert one.indicators == other.indicators and one.history == other.history
    assert torch.equal(one.population.theta, other.population.theta)
    one.save(tmp_path / "kept")
    acted = type(one).load(tmp_path / "kept").policy(2)
    assert 0 <= acted([3]) == one.policy(2)([3]) < 4


def _shift(num_envs: int) -> FiniteEnv:
    """Ten hours, in each of which a worker rests, works or hurries: pays 0, 1 or 1.5 and tires by 0, 1/4 or 1."""
    pay, tire = np.array([[[0.0], [1.0], [1.5]]]), np.array([[[0.0], [0.25], [1.0]]])
    return make_tabular(finite_arrays(np.ones((1, 3, 1)), pay, cost=tire, horizon=10), num_envs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver",
    [SACLagrangian(rate=0.01), SACPID(kp=0.05, ki=0.01, kd=0.0), CAL(penalty=0.3, rate=0.02), CVPO(),
     WCSAC(risk=1.0, rate=0.03)],
    ids=lambda x: x.name,
)  # fmt: skip
def test_a_worker_hurries_as_much_as_the_limit_allows(solver: Any):
    # At most 5 in ten hours: 1/4 + 3/4 x = 1/2, so a share x = 1/3 of the hours is hurried and the others are worked,
    # for 10 (1 + x / 2) = 11.67. Without a limit 15 is paid. Mean of the last third, of three policies side by side.
    config = replace(QUICK, gamma=0.9, warmup=128, hidden=(8,), learning_rate=5e-3, temperature_rate=5e-3)
    limits = [Constraint(cost="cost_0", limit=5.0)]
    env, draw = _shift(3 * config.environments), Generator().manual_seed(0)
    learner = soft_learner(env, limits, solver, config, draw, policies=3)
    late = []
    for turn in range(150):
        learner.iterate()
        late += [chances(learner, env.seen)[:, 0]] if turn >= 100 else []
    rested, worked, hurried = np.mean(late, (0, 1))
    paid, tired = 10 * worked + 15 * hurried, 2.5 * worked + 10 * hurried
    assert paid > 0.93 * 35 / 3 and tired < 1.1 * 5, (rested, worked, hurried)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solver", "turns"), [(SACLagrangian(rate=0.02), 120), (CVPO(), 150), (WCSAC(risk=1.0, rate=0.1), 120)],
    ids=lambda x: getattr(x, "name", ""),
)  # fmt: skip
def test_a_diver_returns_in_time(solver: Any, turns: int):
    # Treasures by the time they take; within 6 the linear program draws between the ways of 5 and of 7, for 12.75.
    limits, config = [Constraint(cost="time", limit=-6.0, sense=">=")], replace(QUICK, batch=128)
    env, model = make("deep-sea-treasure-v0", config.environments), finite_model("deep-sea-treasure-v0")
    best = torch.tensor([[1.0, 0.0]])
    learner = soft_learner(env, limits, solver, config, Generator().manual_seed(1), base=best)
    problem = finite_problem(model.transition, model.reward, start=model.start, discount=1.0, terminal=model.terminal)
    wanted = constrained_optimum(problem, best[0].numpy(), [(1, -6.0, ">=")], horizon=100)
    late = []
    for turn in range(turns):
        learner.iterate()
        if turn >= turns - 48 and turn % 4 == 0:
            stages = np.broadcast_to(chances(learner, env.seen)[0], (100, len(model.start), 4))
            late.append(policy_returns(problem, stages, horizon=100))
    treasure, time = np.mean(late, 0)
    print(f"\n{solver.name}: {treasure:.2f} in {-time:.2f}")
    assert wanted.value == pytest.approx(12.75)
    assert treasure > 0.9 * wanted.value and time > -1.05 * 6, late
