"""The interior-point scalarizer beyond its floor, policy by policy, and in the learner against a solved problem."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Generator, Tensor, tensor

from tradeoff.engine import ActorCritic, Learner, LearnerConfig, Rollout, fresh_population, make_features, make_head
from tradeoff.engine.scalarizers import Linear, Scalarizer
from tradeoff.envs import make
from tradeoff.morl.barrier import Barrier

doubles = partial(torch.tensor, dtype=torch.float64)


def utility(returns: Tensor, pushed: int, floor: Tensor, scales: Tensor, t: float) -> float:
    """J_l / s_l + sum of log(z_i) / t over the others, a straight line of slope t below z = 1 / t^2."""
    total = float(returns[pushed] / scales[pushed])
    for i in range(len(scales)):
        z, knee = float((returns[i] - floor[i]) / scales[i]), 1 / t**2
        if i != pushed:
            total += math.log(z) / t if z > knee else math.log(knee) / t + t * (z - knee)
    return total


@pytest.mark.parametrize("scales", [(1.0, 1.0, 1.0), (2.0, 4.0, 0.5)])
@pytest.mark.parametrize("pushed", [0, 1, 2])
@pytest.mark.parametrize("moved", [(0.0, 0.0, 0.0), (3.0, 2.0, 5.0), (-1.8, -3.8, -0.8), (-4.0, -9.0, -2.0)])
def test_weights_are_the_gradient_of_the_extended_utility(
    scales: tuple[float, ...], pushed: int, moved: tuple[float, ...]
) -> None:
    # Anchored at (4, -8, 2) with share 1/2 the floors are (2, -12, 1); t = 2 puts the knee at z = 1/4. The moves lie
    # above it, at a slack of 0.2 (above or below it, by the scale), and beyond the floor.
    anchor, floor, s = doubles([4.0, -8.0, 2.0]), doubles([2.0, -12.0, 1.0]), doubles(scales)
    barrier = Barrier(tensor([pushed]), s, 0.5, 2.0)
    barrier.update(anchor[None])
    at = anchor + doubles(moved)
    slopes = []
    for i in range(3):
        h = 1e-6 * torch.eye(3, dtype=torch.float64)[i]
        rise = utility(at + h, pushed, floor, s, 2.0) - utility(at - h, pushed, floor, s, 2.0)
        slopes.append(rise / 2e-6)
    assert barrier.weights(at[None])[0].tolist() == pytest.approx(slopes, rel=1e-6)


def test_each_policy_is_anchored_at_its_own_first_returns() -> None:
    # Share 3/4, t = 4, scales (2, 1). Policy 0 pushes objective 0, anchored at (8, 8): floor 6 for objective 1.
    barrier = Barrier(tensor([0, 1]), tensor([2.0, 1.0]), 0.75, 4.0)
    nothing, first = [torch.nan] * 3, [8.0, 8.0, 5.0]
    # No episode ended: 1 / s. Before its first update a policy stands on its own returns: z = 8 - 6 = 2, 1 / (4 * 2).
    assert barrier.weights(tensor([nothing, nothing])).tolist() == [[0.5, 1.0, 0.0]] * 2
    assert barrier.weights(tensor([first, nothing])).tolist() == [[0.5, 0.125, 0.0], [0.5, 1.0, 0.0]]
    assert int(barrier.anchor.isnan().sum()) == 4, "reading weights moves nothing"
    barrier.update(tensor([first, nothing]))
    barrier.update(tensor([[100.0, 7.0, 5.0], [4.0, -4.0, 5.0]]))
    barrier.update(tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert barrier.anchor.tolist() == [[8.0, 8.0], [4.0, -4.0]]
    # Policy 0: z = 7 - 6 = 1, price 1/4. Policy 1 pushes objective 1; floor 3 for objective 0, z = (4 - 3) / 2, price
    # 1 / (4 / 2) = 1/2, over the scale 1/4. Costs weigh nothing.
    weights = barrier.weights(tensor([[100.0, 7.0, 5.0], [4.0, -4.0, 5.0]]))
    assert weights.tolist() == [[0.5, 0.25, 0.0], [0.25, 1.0, 0.0]]


def test_state_carries_all_that_weights_depend_on() -> None:
    barrier = Barrier(tensor([1, 0]), tensor([2.0, 3.0]), 0.75, 4.0)
    barrier.update(tensor([[8.0, -8.0], [torch.nan, torch.nan]]))
    other = Barrier(tensor([0, 0]), tensor([1.0, 1.0]), 1.0, 1.0)
    other.load_state_dict(barrier.state_dict())
    for returns in (tensor([[7.0, -9.0], [1.0, 2.0]]), tensor([[5.0, 0.0], [-1.0, 4.0]])):
        assert other.weights(returns).tolist() == barrier.weights(returns).tolist()
        for one in (barrier, other):
            one.update(returns)


def climb(scalarizer: Scalarizer, iterations: int, theta: Tensor | None = None) -> tuple[Tensor, list[float]]:
    """Train one policy on a single deal. Its parameters, and its mean return over the last 20 iterations."""
    config = LearnerConfig(
        rollout_steps=1, environments=1024, epochs=2, minibatches=2, learning_rate=0.01, hidden=(4,), max_norm=10.0
    )
    env, generator = make("deal", 1024, seed=0), Generator().manual_seed(0)
    model = ActorCritic(make_features(env.spec.observation_space), make_head(env.spec.action_space), 2, config.hidden)
    people = fresh_population(model, 1, generator)
    people.theta = people.theta if theta is None else theta.clone()
    learner = Learner(model, Rollout(env, 1, 1), people, scalarizer, config, generator, discount=0.9)
    seen = [learner.iterate()["returns"][0] for _ in range(iterations)]
    return learner.population.theta, torch.stack(seen[-20:]).mean(0).tolist()


def test_the_barrier_holds_a_trade_off_that_no_weights_give() -> None:
    # Three deals: (1, 0), (0, 1), (0.92, 0.3). Weights make one of them best; from the first, all on the second
    # objective ends in (0, 1).
    theta, first = climb(Linear(tensor([[1.0, 0.0]])), 40)
    assert first == pytest.approx([1.0, 0.0], abs=0.02)
    assert climb(Linear(tensor([[0.0, 1.0]])), 150, theta)[1] == pytest.approx([0.0, 1.0], abs=0.02)
    # Pushing the second objective with floor f for the first: dealing the third with probability c returns
    # (1 - 0.08 c, 0.3 c). d/dc [0.3 c + log(1 - 0.08 c - f) / t] = 0 at a slack of z = 0.08 / (0.3 t) = 4 / (15 t), for
    # t = 5 at 4/75 = 0.0533, above the knee 1/25. (The second deal loses at its price of 1 / (5 z) = 3.75 per unit.)
    barrier = Barrier(tensor([1]), torch.ones(2), 0.9, 5.0)
    _, returns = climb(barrier, 150, theta)
    floor = 0.9 * float(barrier.anchor[0, 0])
    assert floor == pytest.approx(0.9, abs=0.01)
    assert returns[0] == pytest.approx(floor + 4 / 75, abs=0.01)
    assert returns[1] == pytest.approx((1 - floor - 4 / 75) * 0.3 / 0.08, abs=0.05)
    # t = 20 would allow z = 1/75, less than the 0.02 that the third deal alone leaves: it is dealt always.
    barrier = Barrier(tensor([1]), torch.ones(2), 0.9, 20.0)
    _, returns = climb(barrier, 150, theta)
    assert returns == pytest.approx([0.92, 0.3], abs=0.01)
    assert returns[0] >= 0.9 * float(barrier.anchor[0, 0]) - 0.005
