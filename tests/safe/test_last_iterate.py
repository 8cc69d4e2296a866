"""The proof on exact numbers: ascent and descent go round, optimistic and augmented ones arrive."""

from __future__ import annotations

import numpy as np
import pytest

from tradeoff.engine.updates import SGD
from tradeoff.evaluation import constrained_optimum, exact_jacobian, finite_problem
from tradeoff.safe.duals import OptimisticAscent, augmented, projected_ascent
from tradeoff.safe.optimism import Optimistic

TRUTH = {"two-states": (0.388788, 0.3, 0.801989), "reward-is-cost": (0.5, 0.5, 1.0), "at-least": (0.5, 0.5, 1.0)}
# Steps of policy and multiplier, policy by mirror ascent (logits move by Q) or by the gradient of J.
SETTINGS = [
    ("two-states", True, 1.0, 0.5),
    ("reward-is-cost", True, 0.3, 0.3),
    ("at-least", True, 0.3, 0.3),
    ("reward-is-cost", False, 0.3, 0.3),
]


def _problem(tables):
    return finite_problem(tables.transition, tables.reward, start=0, discount=tables.discount)


@pytest.mark.parametrize("name", TRUTH)
def test_the_linear_program_agrees_on_what_is_to_be_found(problems, name) -> None:
    tables = problems[name]()
    limit = (1, tables.constraint.limits[0] / (1 - tables.discount), tables.constraint.sense)
    best = constrained_optimum(_problem(tables), [1, 0], [limit])
    found = [*best.returns * (1 - tables.discount), *best.multipliers]
    np.testing.assert_allclose(found, TRUTH[name], atol=1e-6)
    assert best.stochastic


def test_the_gradient_of_the_game_is_that_of_the_linear_system(problems) -> None:
    tables, logits = problems["two-states"](), np.array([[0.3, -0.2], [0.1, 0.7]])
    policy = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    exact = np.moveaxis(exact_jacobian(_problem(tables), logits), 0, -1) * (1 - tables.discount)
    np.testing.assert_allclose(tables.gradient(policy), exact, atol=1e-12)


@pytest.mark.parametrize(("name", "mirror", "eta", "rate"), SETTINGS)
def test_ascent_and_descent_never_settles(problems, play, name, mirror, eta, rate) -> None:
    path = play(problems[name](), projected_ascent(rate), SGD(eta), 2000, mirror=mirror)
    assert path.amplitude(1000) > 0.4
    assert np.ptp(path.multiplier[-1000:]) > 1.5


@pytest.mark.parametrize("how", ["gradients", "weights", "augmented"])
@pytest.mark.parametrize(("name", "mirror", "eta", "rate"), SETTINGS)
def test_optimistic_and_augmented_players_arrive_in_their_last_iterate(
    problems, play, name, mirror, eta, rate, how
) -> None:
    rule = augmented(2.0, rate) if how == "augmented" else OptimisticAscent(rate=rate)
    update = Optimistic(SGD(eta)) if how == "gradients" else SGD(eta)
    path = play(problems[name](), rule, update, 2000 if mirror else 3000, mirror=mirror, weights=how == "weights")
    last = [*path.returns[-1], path.multiplier[-1]]
    np.testing.assert_allclose(last, TRUTH[name], atol=5e-5)
    assert path.amplitude(500) < 1e-4
    # Complementary slackness: the price is positive, so the limit is met exactly.
    assert abs(last[2] * (last[1] - TRUTH[name][1])) < 5e-5


def test_the_policy_of_two_states_is_the_one_of_the_linear_program(problems, play) -> None:
    path = play(problems["two-states"](), OptimisticAscent(rate=0.5), Optimistic(SGD(1.0)), 2000, mirror=True)
    np.testing.assert_allclose(path.policy, [[0, 1], [0.875, 0.125]], atol=1e-4)


def test_the_better_deterministic_policy_of_the_paradox_breaks_its_limit(problems, play) -> None:
    # Found: half and half. Its likelier action earns all the reward at the full cost 1 > 1/2, or nothing.
    tables = problems["reward-is-cost"]()
    path = play(tables, OptimisticAscent(rate=0.5), Optimistic(SGD(1.0)), 2000, mirror=True)
    np.testing.assert_allclose(path.policy, [[0.5, 0.5]], atol=1e-4)
    alone = [tables.returns(np.eye(2)[[a]]) for a in (0, 1)]
    np.testing.assert_array_equal(alone, [[0, 0], np.full(2, 1 - tables.discount) / (1 - tables.discount)])
