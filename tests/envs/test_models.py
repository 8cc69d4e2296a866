"""Exact models: known returns, structure by hand, and agreement with what the environments do."""

from __future__ import annotations

import math
from collections import Counter

import mo_gymnasium
import numpy as np
import pytest
import torch

from tradeoff.envs import UnknownName, finite_arrays, finite_model, make, make_tabular

TREASURE = {
    "deep-sea-treasure-v0": [0.7, 8.2, 11.5, 14.0, 15.1, 16.1, 19.6, 20.3, 22.4, 23.7],
    "deep-sea-treasure-concave-v0": [1, 2, 3, 5, 8, 16, 24, 50, 74, 124],
    "deep-sea-treasure-mirrored-v0": [1, 2, 3, 5, 8, 16, 24, 50, 74, 124],
}
TIMES = [1, 3, 5, 7, 8, 9, 13, 14, 17, 19]
FINITE = {
    **{id: {} for id in TREASURE}, "resource-gathering-v0": {}, "breakable-bottles-v0": {}, "fishwood-v0": {},
    "fruit-tree-v0": {"depth": 5},
}  # fmt: skip


def shortest(model, discount):
    """Per terminal state: the best discounted return of the first objective and of the second, by breadth first."""
    returns = {int(model.start.argmax()): (0.0, 0.0)}
    reached, t = {}, 0
    while returns:
        found = {}
        for s, (first, second) in returns.items():
            for a in range(model.reward.shape[1]):
                after, paid = int(model.transition[s, a].argmax()), model.reward[s, a]
                if after not in reached:
                    found[after] = (first + discount**t * paid[0], second + discount**t * paid[1])
        reached |= found
        returns, t = {s: v for s, v in found.items() if not model.terminal[s]}, t + 1
    return {s: v for s, v in reached.items() if model.terminal[s]}


@pytest.mark.parametrize("id", list(TREASURE))
@pytest.mark.parametrize("g", [0.9, 0.99])
def test_shortest_ways_to_the_treasures(id, g):
    """v steps away after t steps: (v g^(t - 1), -(1 - g^t) / (1 - g))."""
    model = finite_model(id)
    assert model.horizon == 100 and model.transition.max(-1).min() == 1.0
    expected = [(v * g ** (t - 1), -(1 - g**t) / (1 - g)) for v, t in zip(TREASURE[id], TIMES, strict=True)]
    found = sorted(shortest(model, g).values(), key=lambda point: -point[1])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("id", list(TREASURE))
def test_treasure_fronts_are_the_originals(id):
    theirs = mo_gymnasium.make(id).unwrapped.pareto_front(0.99)
    np.testing.assert_allclose(sorted(shortest(finite_model(id), 0.99).values()), sorted(map(tuple, theirs)), rtol=1e-6)


def test_fruit_tree_bears_the_originals_fruits():
    # From the root, action 1 in binary digits leads to leaf 0b101101 = 45, paid at the sixth step.
    model, state = finite_model("fruit-tree-v0", depth=6), 0
    for a in (1, 0, 1, 1, 0, 1):
        paid, state = model.reward[state, a], int(model.transition[state, a].argmax())
    assert model.transition.shape == (127, 2, 127) and model.terminal.sum() == 64 and model.horizon is None
    original = mo_gymnasium.make("fruit-tree-v0", depth=6).unwrapped
    np.testing.assert_allclose(paid, original.tree[63 + 45], rtol=1e-7)
    leaves = model.reward.reshape(-1, 6)
    np.testing.assert_allclose(leaves[leaves.any(1)], original.tree[63:], rtol=1e-7)


def expected_return(model, actions):
    """Undiscounted expected return of an action sequence, and the probability that the episode is then over."""
    at, total = model.start.copy(), 0.0
    for a in actions:
        total = total + at @ model.reward[:, a]
        at = at @ model.transition[:, a]
    return total, at[model.terminal].sum()


UP, DOWN, LEFT, RIGHT = range(4)


def test_resource_gathering_by_hand():
    model = finite_model("resource-gathering-v0")
    # The safe ten steps to the diamond at (1, 4) and home to (4, 2).
    safe = [RIGHT, RIGHT, UP, UP, UP, DOWN, DOWN, DOWN, LEFT, LEFT]
    total, over = expected_return(model, safe)
    assert total.tolist() == [0.0, 0.0, 1.0] and over == 1.0
    # Straight up through the enemy at (1, 2) to the gold and back: two visits, 0.1 + 0.9 x 0.1 = 0.19; 0.81 bring gold.
    total, over = expected_return(model, [UP] * 4 + [DOWN] * 4)
    np.testing.assert_allclose(total, [-0.19, 0.81, 0.0], atol=1e-15)
    assert math.isclose(over, 1.0)
    # Bumping into the lower edge at home enters it again: over, with nothing carried.
    total, over = expected_return(model, [DOWN])
    assert total.tolist() == [0.0, 0.0, 0.0] and over == 1.0


def test_breakable_bottles_by_hand():
    # Cells: destination 4 to source 0 in four steps, one or two bottles, four steps back.
    model, left, right, pick = finite_model("breakable-bottles-v0"), 0, 1, 2
    total, over = expected_return(model, [left] * 4 + [pick] + [right] * 4)
    assert total.tolist() == [-9.0, 25.0, 0.0] and over == 0.0
    # Two bottles pass three inner cells, each a chance of 0.1 to lose one: q = 0.9^3 = 0.729 arrive with both (50),
    # the rest with one (25) and one on the floor (-1).
    total, over = expected_return(model, [left] * 4 + [pick] * 2 + [right] * 4)
    np.testing.assert_allclose(total, [-10.0, 50 * 0.729 + 25 * 0.271, -0.271], rtol=1e-12)
    assert math.isclose(over, 0.729)


def test_fishwood_by_hand():
    # The first step still pays at the start, in the wood: 0.9; then two catches of fish at 0.1 and 200 steps to go.
    total, over = expected_return(finite_model("fishwood-v0"), [0, 0, 0])
    np.testing.assert_allclose(total, [0.2, 0.9], rtol=1e-12)
    total, _ = expected_return(finite_model("fishwood-v0", fishproba=0.5, woodproba=0.25), [0, 1, 1])
    np.testing.assert_allclose(total, [0.5, 0.5], rtol=1e-12)  # wood, fish, wood: 1/4 + 1/4 wood, 1/2 fish
    assert over == 0.0 and finite_model("fishwood-v0").horizon == 200
    with pytest.raises(ValueError, match=r"woodproba must lie in \[0, 1\], got 1.5"):
        finite_model("fishwood-v0", woodproba=1.5)


@pytest.mark.parametrize("id", list(FINITE))
def test_models_are_distributions_and_terminal_states_pay_nothing(id):
    model = finite_model(id, **FINITE[id])
    np.testing.assert_allclose(model.transition.sum(-1), 1.0, rtol=1e-12)
    assert model.start.sum() == 1.0 and not model.start[model.terminal].any() and model.transition.min() >= 0
    over = np.flatnonzero(model.terminal)
    assert not model.reward[over].any() and (model.transition[over, :, over] == 1.0).all()
    assert model.cost.shape[-1] == 0


def follow(env, model, steps, seed):
    """Check every transition against the model; return how often each (state, action, successor) happened."""
    numbers, counts = torch.Generator().manual_seed(seed), Counter()
    paid = np.zeros(model.reward.shape)
    table = env.seen
    for _ in range(steps):
        before = env.state[0]
        action = torch.randint(model.reward.shape[1], (env.num_envs,), generator=numbers)
        step = env.step(action)
        triples = zip(before.tolist(), action.tolist(), step.terminated.tolist(), strict=True)
        for i, (s, a, ended) in enumerate(triples):
            possible = np.flatnonzero(model.transition[s, a])
            seen = [
                j for j in possible if torch.equal(table[j], step.final_observation[i]) and model.terminal[j] == ended
            ]
            assert len(seen) == 1
            counts[s, a, int(seen[0])] += 1
            paid[s, a] += step.reward[i].numpy()
    return counts, paid


@pytest.mark.parametrize("id", ["resource-gathering-v0", "breakable-bottles-v0", "fishwood-v0"])
def test_environments_do_what_their_models_say(id):
    model = finite_model(id)
    counts, paid = follow(make(id, 60, seed=4), model, 250, seed=0)
    visits = np.zeros(model.reward.shape[:2])
    for (s, a, _), n in counts.items():
        visits[s, a] += n
    for s, a in zip(*np.nonzero(visits > 30), strict=True):
        for after in np.flatnonzero(model.transition[s, a]):
            p, n = model.transition[s, a, after], visits[s, a]
            assert abs(counts[s, a, int(after)] - n * p) <= 4.5 * math.sqrt(n * p * (1 - p)) + 1e-9
        spread = 4.5 * math.sqrt(0.25 * visits[s, a]) * np.abs([1, 50, 1][: paid.shape[-1]])
        assert (np.abs(paid[s, a] - visits[s, a] * model.reward[s, a]) <= spread).all()


def test_a_model_simulated_as_arrays_is_the_environment_itself():
    model = finite_model("deep-sea-treasure-concave-v0")
    ours, arrays = make("deep-sea-treasure-concave-v0", 50), make_tabular(model, 50)
    for action in torch.randint(4, (300, 50), generator=torch.Generator().manual_seed(2)):
        a, b = ours.step(action), arrays.step(action)
        assert torch.equal(a.reward, b.reward) and torch.equal(a.terminated, b.terminated)
        assert torch.equal(ours.state[0], arrays.state[0]) and torch.equal(a.truncated, b.truncated)


def test_arrays_of_a_model_pass_their_own_check():
    model = finite_model("resource-gathering-v0")
    again = finite_arrays(model.transition, model.reward, start=model.start, terminal=model.terminal, horizon=100)
    assert np.array_equal(again.transition, model.transition) and np.array_equal(again.reward, model.reward)


def test_unknown_models_suggest_a_near_one():
    with pytest.raises(UnknownName, match="did you mean fishwood-v0"):
        finite_model("fish-wood-v0")
