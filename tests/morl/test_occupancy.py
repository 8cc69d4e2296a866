"""Occupancies by counts, regression and likelihood against exact ones, and the shadow reward by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from tradeoff.evaluation import finite_problem, occupancy
from tradeoff.morl.occupancy import (
    entropy,
    imitation,
    occupancy_by_counts,
    occupancy_by_likelihood,
    occupancy_by_regression,
    shadow_reward,
)

STATES, ACTIONS, HORIZON, DISCOUNT = 4, 2, 6, 0.5


def _chain() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    transition = draw.dirichlet(np.ones(STATES), (STATES, ACTIONS))
    return transition, draw.dirichlet(np.ones(ACTIONS), STATES)


def _exact() -> np.ndarray:
    transition, policy = _chain()
    problem = finite_problem(transition, np.zeros((STATES, ACTIONS, 1)), start=0, discount=DISCOUNT)
    return occupancy(problem, policy, horizon=HORIZON).sum(0).ravel()


def _simulated(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States and actions [T, 1, B]."""
    transition, policy = _chain()
    draw, state, seen = np.random.default_rng(1), np.zeros(count, int), []
    for _ in range(HORIZON):
        action = (draw.random(count)[:, None] > policy[state].cumsum(-1)).sum(-1).clip(max=ACTIONS - 1)
        seen.append((state, action))
        state = (draw.random(count)[:, None] > transition[state, action].cumsum(-1)).sum(-1).clip(max=STATES - 1)
    states, actions = (torch.tensor(np.stack(x))[:, None] for x in zip(*seen, strict=True))
    return states, actions


def test_counts_by_hand() -> None:
    # Discount 1/2. First trajectory (0,1), (2,0), (0,1): 1 + 1/4 at pair 1, 1/2 at pair 4. Second ends after (0, 0).
    state, action = torch.tensor([[0, 0], [2, 3], [0, 3]])[:, None], torch.tensor([[1, 0], [0, 1], [1, 1]])[:, None]
    alive = torch.tensor([[True, True], [True, False], [True, False]])[:, None]
    found = occupancy_by_counts(state, action, alive, states=4, actions=2, discount=0.5)
    assert found.tolist() == [[0.5, 0.625, 0, 0, 0.25, 0, 0, 0]]
    two = occupancy_by_counts(*(x.transpose(1, 2) for x in (state, action, alive)), states=4, actions=2, discount=0.5)
    assert two.tolist() == [[0, 1.25, 0, 0, 0.5, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]]


def test_counts_agree_with_the_exact_occupancy() -> None:
    # 20,000 trajectories; a pair's visits have a variance below 1, so 4 standard errors are below .03.
    state, action = _simulated(20_000)
    alive = torch.ones_like(state, dtype=torch.bool)
    found = occupancy_by_counts(state, action, alive, states=STATES, actions=ACTIONS, discount=DISCOUNT)
    np.testing.assert_allclose(found[0], _exact(), atol=0.03)


def test_regression_on_one_hot_features_is_the_counts_and_on_fewer_the_projection() -> None:
    # A label for pair j: discounted visits to j in one trajectory; every trajectory labels every pair here.
    state, action = _simulated(500)
    pairs = STATES * ACTIONS
    hot = torch.nn.functional.one_hot(state * ACTIONS + action, pairs)[:, 0]  # [T, B, pairs]
    labels = torch.einsum("t,tbj->bj", DISCOUNT ** torch.arange(HORIZON).double(), hot.double())
    one_hot = torch.eye(pairs).repeat(500, 1)
    alive = torch.ones_like(state, dtype=torch.bool)
    counts = occupancy_by_counts(state, action, alive, states=STATES, actions=ACTIONS, discount=DISCOUNT)
    found = occupancy_by_regression(one_hot[None], labels.reshape(1, -1), torch.eye(pairs)[None])
    torch.testing.assert_close(found, counts)
    few = torch.tensor(np.random.default_rng(2).normal(size=(pairs, 3)))
    found = occupancy_by_regression(few.repeat(500, 1)[None], labels.reshape(1, -1), few[None])
    by_numpy = few.numpy() @ np.linalg.lstsq(few.numpy(), counts[0].numpy(), rcond=None)[0]
    np.testing.assert_allclose(found[0], by_numpy, atol=1e-10)
    with pytest.raises(ValueError, match="labels are"):
        occupancy_by_regression(few[None], labels, few[None])


def test_likelihood_with_full_features_is_the_counts_and_with_few_what_another_solver_finds() -> None:
    policy = torch.tensor(_chain()[1])[None]
    visits = torch.tensor([[8.0, 4.0, 3.0, 1.0]], dtype=torch.float64)
    found = occupancy_by_likelihood(torch.eye(4), visits, policy, mass=2.0, penalty=1e-9)
    torch.testing.assert_close(found, (2 * visits / 16)[..., None].mul(policy).flatten(1), rtol=1e-5, atol=1e-8)
    few = np.array([[0.0, 1], [1, 0], [2, 0.5], [9, -1]])

    def loss(w: np.ndarray) -> float:
        logits = few @ w
        return float(-(visits[0].numpy() / 16) @ (logits - np.log(np.exp(logits).sum())) + 0.05 * w @ w)

    w = minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-10}).x
    p = np.exp(few @ w) / np.exp(few @ w).sum()
    found = occupancy_by_likelihood(torch.tensor(few), visits, policy, mass=2.0, penalty=0.1, sweeps=8)
    np.testing.assert_allclose(found[0].reshape(4, 2), 2 * p[:, None] * policy[0].numpy(), atol=1e-6)


def test_newtons_method_is_kept_from_overshooting() -> None:
    # 100 states, a feature marks one, which has 9 visits in 10: the first full step is .89 / (.01 * .99) = 90, where
    # the likelihood is flat. Fitted: that state .9, the others .1 / 99 each.
    mark = torch.zeros(100, 1)
    mark[7] = 1.0
    visits = torch.zeros(1, 100)
    visits[0, 7], visits[0, :4] = 9.0, 0.25
    found = occupancy_by_likelihood(mark, visits, torch.ones(1, 100, 1), mass=1.0, penalty=1e-9)[0]
    assert found[7].item() == pytest.approx(0.9, abs=1e-6) and found[0].item() == pytest.approx(0.1 / 99, abs=1e-6)


def test_shadow_rewards_by_hand() -> None:
    # mass 4, d = (1/2, 1/4, 1/4): entropy slope -(log d + 1) / 4; towards (1/4, 1/4, 1/2): -(log d - log e + 1) / 4.
    visits = torch.tensor([[2.0, 1.0, 1.0]], dtype=torch.float64)
    log2 = np.log(2)
    found = shadow_reward(entropy(mass=4.0), visits)[0]
    np.testing.assert_allclose(found, [(log2 - 1) / 4, (2 * log2 - 1) / 4, (2 * log2 - 1) / 4])
    goal = imitation([0.25, 0.25, 0.5], mass=4.0)
    np.testing.assert_allclose(shadow_reward(goal, visits)[0], [(-log2 - 1) / 4, -1 / 4, (log2 - 1) / 4])
    assert goal.value(visits).item() == pytest.approx(-(0.5 * log2 - 0.25 * log2))
    assert entropy(mass=4.0).value(visits).item() == pytest.approx(1.5 * log2)
    # Over states: pairs (0,0), (0,1) make one state of share 3/4; both get its slope.
    assert entropy(mass=4.0, actions=2).value(torch.tensor([[2.0, 1, 1, 0]])).item() == pytest.approx(
        -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    )
    with pytest.raises(ValueError, match="target is 0"):
        imitation([0.0, 1.0], mass=1.0)
    with pytest.raises(ValueError, match="actions"):
        entropy(mass=1.0, actions=0)
