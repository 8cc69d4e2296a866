"""Environments from given arrays: hand arithmetic, frequencies, and every way to give wrong arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tradeoff.envs import finite_arrays, make_tabular

# Three states, two actions; state 2 is terminal. Action 0 stays or moves on evenly, action 1 goes to the end.
MOVES = np.array([[[0.5, 0.5, 0], [0, 0, 1]], [[0, 0.25, 0.75], [0, 0, 1]], [[0, 0, 1], [0, 0, 1]]])
PAID = np.arange(12.0).reshape(3, 2, 2)  # reward of (s, a): (4 s + 2 a, 4 s + 2 a + 1)
PRICE = np.array([[[1.0], [0.0]], [[0.5], [0.0]], [[7.0], [7.0]]])
END = [False, False, True]


def model(**changes):
    given = {"transition": MOVES, "reward": PAID, "cost": PRICE, "terminal": END, "horizon": 10} | changes
    return finite_arrays(given.pop("transition"), given.pop("reward"), **given)


def test_arrays_are_kept_and_terminal_states_pay_nothing():
    m = model()
    assert m.transition.tolist() == MOVES.tolist() and m.start.tolist() == [1.0, 0.0, 0.0] and m.horizon == 10
    assert m.reward.tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[0, 0], [0, 0]]]
    assert m.cost[..., 0].tolist() == [[1.0, 0.0], [0.5, 0.0], [0.0, 0.0]]


def test_rewards_per_successor_are_expected():
    # State 1, action 0 reaches 1 with 1/4 and 2 with 3/4: 1/4 x 8 + 3/4 x 4 = 5.
    paid = np.zeros((3, 2, 3, 1))
    paid[1, 0, 1], paid[1, 0, 2] = 8.0, 4.0
    assert model(reward=paid).reward[..., 0].tolist() == [[0.0, 0.0], [5.0, 0.0], [0.0, 0.0]]


def test_steps_pay_what_the_arrays_say_and_follow_their_probabilities():
    n = 40_000
    env = make_tabular(model(), n, objectives=("a", "b"), costs=("c",), limits=(0.5,), seed=2)
    step = env.step(torch.zeros(n, dtype=torch.int64))
    assert step.reward.unique(dim=0).tolist() == [[0.0, 1.0]] and step.cost.unique().tolist() == [1.0]
    moved = step.final_observation[:, 0].mean().item()
    assert abs(moved - 0.5) < 4 * 0.5 / n**0.5 and not step.terminated.any()
    at_one = step.observation[:, 0] == 1
    step = env.step(torch.zeros(n, dtype=torch.int64))
    ended = step.terminated[at_one].double()
    assert abs(ended.mean().item() - 0.75) < 4 * (3 / 16 / len(ended)) ** 0.5
    assert step.reward[at_one].unique(dim=0).tolist() == [[4.0, 5.0]] and step.cost[at_one].unique().tolist() == [0.5]
    assert (step.final_observation[step.terminated] == 2).all() and (step.observation[step.terminated] == 0).all()
    assert env.spec.objectives == ("a", "b") and env.spec.costs == ("c",) and env.spec.limits == (0.5,)


def test_start_distribution_and_horizon():
    n = 20_000
    env = make_tabular(model(start=[0.2, 0.8, 0.0], horizon=1), n)
    starts = env.reset(seed=1)[:, 0]
    assert abs(starts.mean().item() - 0.8) < 4 * 0.4 / n**0.5 and starts.max() == 1
    step = env.step(torch.zeros(n, dtype=torch.int64))
    assert (step.terminated ^ step.truncated).all() and step.truncated.any()


def test_probabilities_of_32_bits_are_normalised():
    third = np.full((3, 1, 3), 1 / 3, np.float32)
    model = finite_arrays(third, np.ones((3, 1, 1)), start=third[0, 0])
    assert (model.transition == 1 / 3).all() and (model.start == 1 / 3).all()
    tenths = np.full((10, 1, 10), 0.1)  # of 64 bits: as they are
    assert (finite_arrays(tenths, np.ones((10, 1, 1))).transition == 0.1).all()


def wrong(place, value, array=MOVES):
    changed = array.copy()
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"transition": MOVES[:, :, :2]}, r"transition must be \[S, A, S\], got \(3, 2, 2\)"),
        ({"transition": wrong((1, 0), [0.5, 0, 0])}, r"transition\[1, 0\] is no distribution: least 0.0, sum 0.5"),
        ({"transition": wrong((0, 1), [-1, 1, 1])}, r"transition\[0, 1\] is no distribution: least -1.0"),
        ({"transition": wrong((0, 0, 0), np.nan)}, r"transition\[0, 0\] is no distribution"),
        ({"reward": PAID[:2]}, r"reward must be .* got \(2, 2, 2\)"),
        ({"reward": wrong((1, 1, 0), np.inf, PAID)}, r"reward\[1, 1, 0\] is not a finite number"),
        ({"cost": wrong((0, 1, 0), np.nan, PRICE)}, r"cost\[0, 1, 0\] is not a finite number"),
        ({"terminal": [True]}, r"terminal must be \[S\]"),
        ({"start": 3}, "a state from 0 to 2, got 3"),
        ({"start": -1}, "a state from 0 to 2, got -1"),
        ({"start": [0.5, 0.4, 0.0]}, "a distribution over 3 states"),
        ({"start": [1.0, 0.0]}, "a distribution over 3 states"),
        ({"start": 2}, "probability 1.0 to terminal states"),
    ],
)
def test_wrong_arrays_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        model(**changes)


def test_names_that_do_not_match_the_channels():
    with pytest.raises(ValueError, match="objectives names 1 channels, the model has 2"):
        make_tabular(model(), 1, objectives=("one",))
