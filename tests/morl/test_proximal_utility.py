"""Proximal steps along one utility: remembered returns, the right slope, and where they arrive."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tradeoff.engine.learner import LearnerConfig
from tradeoff.engine.scalarizers import Linear
from tradeoff.envs import finite_arrays, make, make_tabular, register
from tradeoff.morl import SER, SERScalarizer, proximal_settings
from tradeoff.morl.proximal_utility import MOPPO, Blended
from tradeoff.morl.utilities import harmonic

LEARNER = LearnerConfig(
    rollout_steps=64, environments=4, epochs=2, minibatches=2, learning_rate=2e-3, gamma=1.0, anneal=True, hidden=(8,)
)


def arms(num_envs: int, **options: object) -> object:
    """One choice among (2, 0), (0, 1) and (.7, .35)."""
    model = finite_arrays(
        [[[0, 1.0]] * 3, [[0, 1.0]] * 3], [[[2, 0], [0, 1], [0.7, 0.35]]] * 2, terminal=[False, True], horizon=1
    )
    return make_tabular(model, num_envs, id="two-arms", objectives=("left", "right"), discount=1.0, **options)


def test_returns_are_remembered_by_the_recursion() -> None:
    # x: 4; then .25 * 8 + .75 * 4 = 5; then .25 * 1 + .75 * 5 = 4. Weights of -9 / (x + 1) are 9 / (x + 1)^2: asking
    # changes nothing, so the second turn is priced at x = 5 before and after it is remembered.
    rule = Blended(SERScalarizer(SER(harmonic((9.0,), (1.0,))), 1), 0.25)
    turns = torch.tensor([[[4.0]], [[8.0]], [[1.0]]], dtype=torch.float64)
    seen = []
    for returns in turns:
        assert torch.equal(rule.weights(returns), rule.weights(returns))
        seen.append(rule.weights(returns).item())
        rule.update(returns)
    assert seen == pytest.approx([9 / 25, 9 / 36, 9 / 25])
    assert rule.memory.item() == pytest.approx(4)
    again = Blended(SERScalarizer(SER(harmonic((9.0,), (1.0,))), 1), 0.25)
    again.load_state_dict(rule.state_dict())
    assert again.weights(turns[1]).item() == pytest.approx(9 / 36)


def test_what_was_never_measured_is_not_remembered() -> None:
    # Policy 1 ends its first episode in the second turn: its memory starts there, at 6, not at NaN; a third turn of 2
    # makes it .5 * 2 + .5 * 6 = 4, and policy 0's .5 * (.5 * 4 + .5 * 2) + .5 * 2 = 2.5.
    rule = Blended(Linear(torch.ones(2, 1)), 0.5)
    for turn in ([4.0, torch.nan], [2.0, 6.0], [2.0, 2.0]):
        rule.update(torch.tensor(turn).unsqueeze(1))
    assert rule.memory.flatten().tolist() == [2.5, 4.0]


@pytest.mark.parametrize(
    ("eta", "says"),
    [
        (0.0, r"lie in \(0, 1\], got 0"),
        (1.5, r"lie in \(0, 1\], got 1.5"),
        (float("nan"), "be a finite number, got nan"),
    ],
)
def test_a_share_outside_of_zero_to_one_is_refused(eta: float, says: str) -> None:
    with pytest.raises(ValueError, match=f"eta must {says}"):
        MOPPO(env="two-arms", eta=eta)


def test_even_odds_of_two_arms_are_found_and_steps_counted() -> None:
    # log(J0 + .01) + log(J1 + .01): odds p of the first arm give log 2p + log(1 - p), best at even odds, whatever the
    # unit of an objective: log 1.01 + log .51 = -.663. The third arm for sure is worth log .71 + log .36 = -1.364. The
    # mean objective would be best at p = 1: (2, 0). One turn is 64 steps of 3 x 4 environments; 100 are 76,800 steps.
    register("two-arms", arms)
    found = MOPPO(
        env="two-arms", policies=3, steps=76_800, evaluate_every=50, episodes=100, final_episodes=2000,
        utility="proportional-fair", shift=(0.01,), learner=LEARNER,
    ).run()  # fmt: skip
    assert found.returns.mean(1) == pytest.approx(np.array([[1.0, 0.5]] * 3), abs=0.1)
    assert found.indicators["value"] == pytest.approx([np.log(1.01) + np.log(0.51)] * 3, abs=0.06)
    steps = found.indicators["real_environment_steps"]
    assert steps["training"] + steps["evaluation"] >= 76_800 > steps["training"] - 768


def test_the_published_queues_are_served_better_than_at_random() -> None:
    # Six queues, 300 episodes: uniformly random service is worth -61.4, the longest queue first -57.9.
    settings = proximal_settings("server-queues-6-v0")
    found = MOPPO(
        env="server-queues-6-v0", policies=2, steps=300 * 500 * 2, evaluate_every=1000, final_episodes=200, **settings
    ).run()
    assert min(found.indicators["value"]) > -59.5
    spec = make("server-queues-6-v0").spec
    assert MOPPO(env=spec.id, **settings).value(torch.full((1, 6), 99.0), spec).item() == pytest.approx(-30)
