"""Finite problems with limits: known best values and prices, proved from the other side, and simulations that agree."""

from __future__ import annotations

from math import exp, factorial

import numpy as np
import pytest
import torch

from tradeoff.envs import finite_model, make
from tradeoff.envs.constrained import FINITE
from tradeoff.envs.constrained_tabular import PROBLEMS, mortal, queue, random_problem
from tradeoff.envs.queues import arrival_rates
from tradeoff.evaluation import constrained_optimum, finite_problem, policy_returns
from tradeoff.safe.constraints import default_constraints
from tradeoff.safe.exact import exact_optimum

TRUTH = {  # best value within the limits, prices, best value without limits
    "safe-two-states-v0": (0.388788, [0.801989], 0.832967),
    "safe-paradox-same-v0": (0.5, [1.0], 1.0),
    "safe-paradox-cycle-v0": (0.5, [1.0], 1.0),
    "safe-grid-v0": (0.405089, [0.436445, 0.125788], 0.69311),
    "safe-random-v0": (0.713352, [0.260389, 0.419064], 0.756966),
    "safe-queue-v0": (0.706012, [0.077387], 1.0),
    "safe-deep-sea-treasure-v0": (16.975, [0.875], 23.7),  # 16.1 after 9 steps and, one time in 4, 19.6 after 13
    "safe-deep-sea-treasure-concave-v0": (62.5, [41 / 6], 124.0),  # 1 after 1 step and 124 after 19, half each
    "safe-deep-sea-treasure-mirrored-v0": (62.5, [41 / 6], 124.0),
    "safe-resource-gathering-v0": (0.686331, [1.035971, 0.064748], 1.0),
}


def _best(id: str):
    spec = make(id).spec
    return exact_optimum(default_constraints(spec), spec, 1.0)


def _most(model, weights) -> float:
    """The best expected sum per episode of weighted channels, by backward induction; long where there is no clock."""
    paid = np.concatenate([model.reward, model.cost], -1) @ weights
    value = np.zeros(len(paid))
    for _ in range(model.horizon or 300):
        value = (paid + model.transition @ value).max(1) * ~model.terminal
    return float(model.start @ value)


def test_all_of_them_are_here() -> None:
    assert set(TRUTH) == {*PROBLEMS, *FINITE} and len(TRUTH) == 10


@pytest.mark.parametrize("id", TRUTH)
def test_values_and_prices_are_those_known_and_no_policy_does_better(id) -> None:
    value, prices, free = TRUTH[id]
    spec, model, best = make(id).spec, finite_model(id), _best(id)
    np.testing.assert_allclose([best.value, *best.multipliers], [value, *prices], atol=1e-6)
    assert best.stochastic
    # Duality: with costs charged at their prices, no policy earns more than the value once its limits are paid back.
    m, limits = len(spec.objectives), np.array(spec.limits)
    charged = _most(model, np.array([*[1 / m] * m, *-best.multipliers]))
    np.testing.assert_allclose(charged + best.multipliers @ limits, best.value, atol=1e-9)
    # Neither empty nor out of reach: all prices are positive, every limit is spent, and without limits more is paid.
    np.testing.assert_allclose(best.returns[m:], limits, atol=1e-9)
    np.testing.assert_allclose(_most(model, np.array([*[1 / m] * m, *0 * limits])), free, atol=1e-6)


def test_the_best_policy_of_two_states() -> None:
    np.testing.assert_allclose(_best("safe-two-states-v0").policy[:2], [[0, 1], [0.875, 0.125]], atol=1e-4)


def test_an_end_by_chance_is_a_discount() -> None:
    # Sums per episode of a policy, and discounted sums of the same policy in the endless problem, times the scale.
    draw = np.random.default_rng(3)
    transition, paid = draw.dirichlet(np.ones(4), (4, 3)), draw.random((4, 3, 2))
    policy = draw.dirichlet(np.ones(3), 4)
    endless = finite_problem(transition, paid, start=0, discount=0.8)
    model = mortal(transition, paid[..., :1], paid[..., 1:], 0.8, scale=0.2)
    both = np.concatenate([model.reward, model.cost], -1)
    ours = finite_problem(model.transition, both, start=model.start, discount=1.0, terminal=model.terminal)
    drawn = np.concatenate([policy, policy[:1]])
    np.testing.assert_allclose(policy_returns(ours, drawn), 0.2 * policy_returns(endless, policy), rtol=1e-12)


def test_an_end_that_is_there_already_stays_the_only_one() -> None:
    # State 1 is the end: from 0 it is reached with chance 1 / 2 by the move and with 1 / 5 of the rest by chance.
    model = mortal([[[0.5, 0.5]], [[0.0, 1.0]]], [[[1.0]], [[0.0]]], [[[2.0]], [[0.0]]], 0.8, scale=1.0, ends=True)
    np.testing.assert_allclose(model.transition, [[[0.4, 0.6]], [[0, 1]]], rtol=1e-15)
    assert model.terminal.tolist() == [False, True] and model.cost.ravel().tolist() == [2.0, 0.0]


@pytest.mark.parametrize("id", PROBLEMS)
def test_a_simulation_of_the_uniform_policy_agrees_with_its_expectation(id) -> None:
    model, env = finite_model(id), make(id, 1000, seed=1)
    value = np.zeros((len(model.start), model.reward.shape[-1] + model.cost.shape[-1]))
    for _ in range(model.horizon or 300):
        now = np.concatenate([model.reward, model.cost], -1) + np.einsum("sat,tc->sac", model.transition, value)
        value = now.mean(1) * ~model.terminal[:, None]
    draw, going = torch.Generator().manual_seed(0), torch.ones(1000, dtype=torch.bool)
    sums = torch.zeros(1000, value.shape[1])
    while going.any():
        step = env.step(torch.randint(env.spec.action_space.n, (1000,), generator=draw))
        sums += torch.cat([step.reward, step.cost], 1) * going[:, None]
        assert (step.cost >= 0).all() and (step.cost <= torch.tensor(env.spec.ceilings) + 1e-6).all()
        going &= ~(step.terminated | step.truncated)
    error = sums.std(0) / 1000**0.5
    assert ((sums.mean(0) - torch.tensor(model.start @ value)).abs() <= 4 * error + 1e-6).all()


def test_random_problems_follow_their_seed() -> None:
    one, same, other = random_problem(4), random_problem(4), random_problem(5, states=6, actions=2, costs=3)
    assert np.array_equal(one.transition, same.transition) and np.array_equal(one.cost, same.cost)
    assert other.transition.shape == (7, 2, 7) and other.cost.shape == (7, 2, 3)
    np.testing.assert_allclose(other.transition[:-1, :, -1], 0.1, rtol=1e-12)


def test_a_step_of_the_queue_by_hand() -> None:
    # Two wait. Hurrying (3 / 4 done): a customer comes with 0.4, so 3, 2, 1 remain with 0.1, 0.15 + 0.3, 0.45.
    model = queue()
    np.testing.assert_allclose(model.transition[2, 2, :4], [0, 0.45, 0.45, 0.1], rtol=1e-12)
    np.testing.assert_allclose(model.cost[2, 2, 0], (0.45 + 2 * 0.45 + 3 * 0.1) / 100, rtol=1e-12)
    np.testing.assert_allclose(model.reward[2, :, 0], [0.01, 0.008, 0.0], rtol=1e-12)


def test_resting_serves_nobody_and_serving_is_as_without_rest() -> None:
    ours, inside = make("safe-server-queues-v0", 20, seed=2), make("server-queues-v0", 20, seed=2)
    for action in torch.randint(6, (60, 20), generator=torch.Generator().manual_seed(0)):
        a, b = ours.step(action), inside.step(action)
        assert torch.equal(a.observation, b.observation) and not a.reward.any()
        np.testing.assert_allclose(a.cost[:, 0], b.observation.sum(1) / 500, rtol=1e-6)
    before = a.observation
    rested = ours.step(torch.full((20,), 6))
    arrived = inside.step(torch.zeros(20, dtype=torch.int64))
    arrived.observation[:, 0] += arrived.reward[:, 0]  # who was served is back
    assert torch.equal(rested.observation, arrived.observation) and (rested.observation >= before).all()
    np.testing.assert_allclose(rested.reward[:, 0], 0.2, rtol=1e-6)  # 100 percent in 500 steps
    assert ours.spec.limits == (5.0,) and make("safe-server-queues-v0", max_episode_steps=50).share == 0.02


def _total_waiting(places: int, horizon: int):
    """All queues as one: which of those in use is served makes no difference to how many wait. Action 1 rests.

    Customers come before the service, unseen: where nobody waits, the best guess is the queue of the highest rate.
    """
    rates = arrival_rates(6)
    chance = [exp(-sum(rates)) * sum(rates) ** n / factorial(n) for n in range(15)]
    p = np.zeros((places, 2, places))
    for waiting in range(places):
        for come in range(15):
            now = min(waiting + come, places - 1)
            met = 1.0 if waiting else 1 - (1 - rates[-1] / sum(rates)) ** come  # one of those that came is there
            p[waiting, 0, max(now - 1, 0)] += chance[come] * met
            p[waiting, 0, now] += chance[come] * (1 - met)
            p[waiting, 1, now] += chance[come]
    p /= p.sum(-1, keepdims=True)
    rest = np.broadcast_to([0.0, 100 / horizon], p.shape[:2])
    return finite_problem(p, np.stack([rest, p @ np.arange(places) / horizon], -1), start=0, discount=1.0)


def test_how_much_the_server_can_rest() -> None:
    # More than the 20.5 % that the load leaves in the long run: at the end of an episode work can be left undone.
    best = constrained_optimum(_total_waiting(100, 500), [1, 0], [(1, 5.0)], horizon=500)
    np.testing.assert_allclose([best.value, *best.multipliers], [30.1638, 1.7241], atol=1e-3)


def test_serving_whoever_waits_keeps_the_queues_as_short_as_the_program_says() -> None:
    least = -constrained_optimum(_total_waiting(60, 500), [0, -1], [], horizon=500).value
    np.testing.assert_allclose(least, 2.0795, atol=1e-4)
    env = make("safe-server-queues-v0", 300, seed=4)
    seen, total = env.reset(4), torch.zeros(300)
    for _ in range(500):
        seen, _, cost, *_ = env.step(torch.where(seen.any(1), seen.argmax(1), 5))
        total += cost[:, 0]
    assert abs(total.mean() - least) <= 4 * total.std() / 300**0.5
