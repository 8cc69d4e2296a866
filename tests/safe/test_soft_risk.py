"""Worst shares of costs, and the best reweighting of actions within limits: closed forms, a convex program, slopes."""

from __future__ import annotations

from dataclasses import replace
from math import pi, sqrt

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Generator, Tensor

from tradeoff.engine.soft import SoftLearner
from tradeoff.engine.soft_config import SoftConfig
from tradeoff.engine.soft_head import StateGaussian
from tradeoff.envs.batched import BatchedEnv, Outcome
from tradeoff.envs.protocol import EnvSpec
from tradeoff.safe.constraints import Constraint
from tradeoff.safe.soft_solvers import soft_learner
from tradeoff.safe.variational import CVPO, fit, reweigh
from tradeoff.safe.worst_case import WCSAC, RiskCritics, worst_mean

CONFIG = SoftConfig(rollout_steps=8, environments=8, batch=64, warmup=64, capacity=8192, hidden=(16, 16),
                    normalise=False)  # fmt: skip


class Lottery(BatchedEnv):
    """Two steps; each costs 2 or nothing with equal chances, whatever is done, and pays 1."""

    step_draws = 1

    def __init__(self, num_envs: int, seed: int = 0) -> None:
        spec = EnvSpec(
            id="lottery", observation_space=spaces.Discrete(2), action_space=spaces.Box(-1, 1, (1,), np.float32),
            objectives=("pay",), costs=("loss",), horizon=2,
        )  # fmt: skip
        super().__init__(spec, num_envs, seed=seed)

    def start(self, uniform: Tensor) -> tuple[Tensor, ...]:
        return (torch.zeros(self.num_envs, dtype=torch.int64),)

    def transition(self, state: tuple[Tensor, ...], action: Tensor, uniform: Tensor) -> Outcome:
        (s,) = state
        return Outcome(((s + 1).clamp(max=1),), torch.ones(self.num_envs, 1), s == 1, 2.0 * (uniform < 0.5))

    def observe(self, state: tuple[Tensor, ...]) -> Tensor:
        return state[0].unsqueeze(1)


def _learner(solver: object, config: SoftConfig = CONFIG) -> SoftLearner:
    limits = [Constraint(cost="loss", limit=1.0)]
    return soft_learner(Lottery(config.environments), limits, solver, config, Generator().manual_seed(0))


def test_means_of_the_worst_share_of_a_normal():
    # Worst half: phi(0) / .5 = 2 / sqrt(2 pi); of all: 0; worst tenth: phi(-1.2815516) / .1 = 1.7549833.
    assert worst_mean(0.5) == pytest.approx(2 / sqrt(2 * pi))
    assert worst_mean(1.0) == 0.0
    assert worst_mean(0.1) == pytest.approx(1.7549833, rel=1e-7)
    draws = np.sort(np.random.default_rng(0).standard_normal(400_000))
    assert draws[-40_000:].mean() == pytest.approx(worst_mean(0.1), abs=0.01)
    with pytest.raises(ValueError, match="share of worst cases"):
        WCSAC(risk=0.0)


def test_critics_find_the_variance_of_a_lottery():
    # Cost 2 or 0: mean 1, variance 1. Discount 1/2: from state 1 mean 1 and variance 1, from state 0 1.5 and 1.25.
    config = replace(CONFIG, gamma=0.5, learning_rate=1e-3, polyak=0.05, updates=0.75, environments=32, batch=512)
    learner = _learner(WCSAC(risk=0.5), config)
    for _ in range(12):
        learner.iterate()
    pairs = torch.cat([torch.eye(2), torch.zeros(2, 1)], 1).unsqueeze(0)
    values = learner.critics.forward(learner.theta, pairs).values
    scale = learner.scale
    means, variances = values[0, ..., 2] * scale[0, 2], values[0, ..., 3].exp() * scale[0, 3]
    torch.testing.assert_close(means, torch.tensor([[1.5, 1.0]] * 2), rtol=0, atol=0.12)
    torch.testing.assert_close(variances, torch.tensor([[1.25, 1.0]] * 2), rtol=0.05, atol=0)
    read = learner.critics.read(values)[0][0, :, 2] * scale[0, 2]
    wanted = means.mean(0) + 2 / sqrt(2 * pi) * variances.sqrt().mean(0)
    torch.testing.assert_close(read, wanted)


def test_slopes_of_risky_values_agree_with_autograd():
    critics, generator = RiskCritics(1, 1, 1, 2, 3, risk=0.3), Generator().manual_seed(0)
    values = torch.randn(2, 3, 4, critics.outputs, generator=generator, dtype=torch.float64).requires_grad_()
    read, pull = critics.read(values)
    slope = torch.randn(read.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(pull(slope).detach(), torch.autograd.grad((read * slope).sum(), values)[0])
    risk = worst_mean(0.3) * (values[..., 4:] / 2).exp().mean(1)
    torch.testing.assert_close(read[..., 2:], values[..., 2:4].mean(1) + risk)


def test_targets_and_slopes_of_variances_by_hand():
    # Columns entropy, objective, cost, log variance. Cost 1, discount 1/2, future cost 4, its variance e^0 = 1: target
    # of the cost 3, what the successor adds 1/4. Seen cost 2, log variance 0: error 1, sample 1 + 1/4 = 5/4, slope 1/4.
    # Seen cost -7: error 10, sample 100.25 counts as 10 times the variance seen: slope 9.
    critics = RiskCritics(1, 1, 1, 1, 1, hidden=(2,))
    future = torch.tensor([[[[0.0, 0.0, 4.0, 0.0]]]]).expand(1, 1, 2, 4)
    paid = torch.tensor([[[0.0, 0.0, 1.0]]]).expand(1, 2, 3)
    target = critics.target(paid, torch.full((1, 2), 0.5), future, torch.zeros(1, 2))
    torch.testing.assert_close(target[0, 0, :, 2:], torch.tensor([[3.0, 0.25], [3.0, 0.25]]))
    pushed: list[Tensor] = []
    object.__setattr__(critics, "push", lambda seen, slope: pushed.append(slope) or slope)
    seen = critics.forward(critics.init(1, Generator().manual_seed(0)), torch.zeros(1, 2, 2))
    at = torch.tensor([[[[0.0, 0.0, 2.0, 0.0], [0.0, 0.0, -7.0, 0.0]]]])
    critics.gradient(seen._replace(values=at), target)
    torch.testing.assert_close(pushed[0][0, 0, :, 2:], torch.tensor([[2.0, 0.25], [20.0, 9.0]]) / 2)


def test_units_change_no_variance():
    learner = _learner(WCSAC(), replace(CONFIG, updates=0.1))
    learner.iterate()
    sample = next(iter(learner._prepare(1)))

    def variance() -> Tensor:
        return learner.critics.forward(learner.theta, sample.pairs).values[..., 3].exp() * learner.scale[0, 3]

    before, data = variance(), learner._sample()
    learner._remember({"rollout": data["rollout"]._replace(cost=3 * data["rollout"].cost)})
    torch.testing.assert_close(variance(), before, rtol=1e-4, atol=0)


def _problem(states: int = 3, actions: int = 5) -> tuple[Tensor, Tensor]:
    generator = Generator().manual_seed(1)
    gain = torch.randn(1, states, actions, generator=generator, dtype=torch.float64)
    return gain, torch.rand(1, states, actions, 2, generator=generator, dtype=torch.float64)


def _dual(gain: Tensor, cost: Tensor, limit: Tensor, radius: float, at: Tensor) -> Tensor:
    """The dual function at (temperature, prices)."""
    score = (gain - (cost * at[1:]).sum(-1)) / at[0]
    return at[0] * radius + (at[1:] * limit).sum() + at[0] * score.exp().mean(-1).log().mean()


def test_slopes_of_the_dual_function():
    gain, cost = _problem()
    limit, at = torch.tensor([[0.3, 0.4]], dtype=torch.float64), torch.tensor([0.7, 0.2, 0.5], dtype=torch.float64)
    found = reweigh(gain, cost, limit, at[:1].view(1, 1), at[1:].view(1, 2), 0.1)
    wanted = torch.autograd.functional.jacobian(lambda x: _dual(gain, cost, limit, 0.1, x), at)
    torch.testing.assert_close(torch.cat([found.d_temperature, found.d_price], 1)[0], wanted)


def test_the_least_dual_is_the_best_feasible_reweighting():
    # The primal as a convex program: mean gain at its largest, mean costs within limits, divergence within 0.3.
    import cvxpy as cp

    gain, cost = _problem()
    limit, radius, (states, actions) = cost[0].numpy().mean((0, 1)) - [0.05, 0.02], 0.3, gain.shape[1:]
    q = cp.Variable((states, actions), nonneg=True)
    paid = [cp.sum(cp.multiply(q, cost[0, ..., i].numpy())) / states for i in range(2)]
    apart = cp.sum(cp.kl_div(q, np.full((states, actions), 1 / actions))) / states
    rules = [cp.sum(q, axis=1) == 1, apart <= radius, *(x <= d for x, d in zip(paid, limit, strict=True))]
    best = cp.Problem(cp.Maximize(cp.sum(cp.multiply(q, gain[0].numpy())) / states), rules)
    best.solve(solver=cp.CLARABEL)

    learner = _learner(CVPO(radius=radius, descents=1500, rate=0.02))
    learner.dual = torch.zeros(1, 1, 3, dtype=torch.float64)
    learner.moments["dual"] = learner.dual_rule.init(learner.dual)
    found = learner._solve(gain, cost, torch.from_numpy(limit).view(1, 2))
    value = (found.weight * gain).sum(-1).mean().item()
    assert value == pytest.approx(best.value, abs=2e-3)
    np.testing.assert_allclose(found.weight[0], q.value, atol=0.01)
    temperature, prices = learner.prices
    np.testing.assert_allclose(prices[0], [rules[2].dual_value, rules[3].dual_value], atol=0.02)
    assert temperature.item() == pytest.approx(float(rules[1].dual_value), abs=0.02)


def test_the_slope_of_a_fit_agrees_with_autograd():
    head, generator = StateGaussian((-1.0,) * 2, (1.0,) * 2), Generator().manual_seed(0)
    out, old = (torch.randn(2, 3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    action = torch.randn(2, 3, 5, 2, generator=generator, dtype=torch.float64)
    weight = torch.rand(2, 3, 5, generator=generator, dtype=torch.float64).softmax(-1)
    price = torch.tensor([[0.5, 2.0], [1.5, 0.1]], dtype=torch.float64)
    normal, (old_mean, old_spread) = torch.distributions.Normal, head.split(old)

    def parts(at: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = at.chunk(2, -1)
        by_mean, by_spread = normal(mean, old_spread.exp()), normal(old_mean, spread.exp())
        likely = sum(
            (d.log_prob(action.movedim(2, 0)).sum(-1).movedim(0, 2) * weight).sum(-1) for d in (by_mean, by_spread)
        )
        sampled = normal(old_mean, old_spread.exp())
        apart = [torch.distributions.kl_divergence(sampled, d).sum(-1) for d in (by_mean, by_spread)]
        return likely, torch.stack(apart, -1)

    out.requires_grad_()
    likely, apart = parts(out)
    wanted = torch.autograd.grad((likely - (apart * price.unsqueeze(1)).sum(-1)).sum(), out)[0]
    found = fit(head, out.detach(), old, action, weight, price)
    torch.testing.assert_close(found.d_out, wanted)
    torch.testing.assert_close(found.apart, apart.mean(1).detach())


@pytest.mark.parametrize("field", ["actions", "descents", "radius", "by_mean", "hold", "rate"])
def test_settings_that_cannot_be_are_refused(field: str):
    with pytest.raises(ValueError, match=field):
        CVPO(**{field: 0})
