"""Whether limits were kept is judged at the scale of each limit, whatever the discount of the reported returns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tradeoff.engine.evaluate import Scores
from tradeoff.engine.run import complete
from tradeoff.envs import make
from tradeoff.safe.budget_methods import METHODS as BUDGETS
from tradeoff.safe.constraints import Constraint, bind
from tradeoff.safe.methods import METHODS, at_scale, by_likeliest, kept


def test_every_scale_by_hand() -> None:
    # Two episodes of 2 and 4 steps that pay (treasure, time) 1, -1 in every step, at the discount 1/2:
    # returns 1.5 and 1.875, sums 2 and 4.
    pays = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    returns = torch.tensor([[1.5], [1.875]]) * pays
    sums, lengths = torch.tensor([[2.0], [4.0]]) * pays, torch.tensor([[2, 4]])
    scores, spec = Scores(returns[None], lengths, 6, sums[None]), make("deep-sea-treasure-v0").spec
    wanted = {"episodic": [-2, -4], "discounted": [-1.5, -1.875], "per-step": [-0.75, -0.9375], "average": [-1, -1]}
    for scale, values in wanted.items():
        limit = Constraint(cost="time", limit=-1.0, scale=scale, sense=">=")  # type: ignore[arg-type]
        bound = bind([limit], spec, discount=0.5)
        found = at_scale(bound, scores)
        assert found[0, :, 1].tolist() == values and found[0, :, 0].tolist() == [1.5, 1.875]
        said = kept(bound, found, lengths)
        assert said["violation"] == [[pytest.approx(-1 - np.mean(values))]]
        assert said["episodes_over_the_limit"] == [[np.mean([v < -1 for v in values])]]
        assert said["feasible"] == [np.mean(values) >= -1]


def test_an_average_over_steps_counts_steps_not_episodes() -> None:
    # 2 steps of cost 3 and 4 steps of cost 0: 6 / 6 = 1 per step, while the two episodes' means are 3 and 0.
    scores = Scores(torch.tensor([[[6.0, 0.0], [0.0, 0.0]]]).double(), torch.tensor([[2, 4]]), 6)
    limit = Constraint(cost="treasure", limit=1.25, scale="average")
    bound = bind([limit], make("deep-sea-treasure-v0").spec, discount=1.0)
    said = kept(bound, at_scale(bound, scores), scores.lengths)
    assert said["violation"] == [[-0.25]] and said["feasible"] == [True]
    assert said["episodes_over_the_limit"] == [[0.5]]


@pytest.mark.parametrize(
    ("scale", "limit", "discount", "unit"),
    [
        ("average", "time>=-1.5", 1.0, "step"),
        ("per-step", "time>=-0.9", 0.5, "half"),
        ("episodic", "time>=-2.5", 0.5, ""),
    ],
)
def test_a_run_is_judged_by_what_it_was_asked(
    scale: str, limit: str, discount: float, unit: str, tmp_path: Path
) -> None:
    kind = METHODS["lagrangian"]
    steps = 2048 + 500  # an iteration and an evaluation of five episodes
    config = replace(kind(), limit=(limit,), scale=scale, discount=discount, steps=steps, policies=1, final_episodes=6)
    found = config.run()
    # 1, 1.5, 1.75, ... is what 1, 2, 3 steps cost at half; sums of 1 - 2^-t at the discount 1/2 give the steps t back.
    paid = -found.returns[0, :, 1]
    steps = paid if discount == 1 else -np.log2(1 - paid / 2)
    value = {"step": np.ones(6), "half": paid / 2, "": steps}[unit]
    bar = -float(limit.split("=")[1])
    assert found.indicators["violation"] == [[pytest.approx(value.mean() - bar)]]
    assert found.indicators["feasible"] == [bool(value.mean() <= bar)]
    assert ("sums" in found.history[-1]) == (discount != 1)
    if discount != 1:
        row = found.history[-1]
        assert row["sums"][0][1] == pytest.approx(-row["length"][0])  # every step costs 1


def test_a_limit_is_judged_by_the_likeliest_actions_too() -> None:
    # Limit 2 on treasure. Policy 0 draws 2 and 1 (kept) and plays 3 and 2 by its likeliest actions (broken by 0.5);
    # policy 1 the other way round, policy 2 keeps it by both.
    bound = bind([Constraint(cost="treasure", limit=2.0)], make("deep-sea-treasure-v0").spec, discount=1.0)
    fixed = torch.tensor([[3.0, 2], [1, 2], [0, 1]]).double()
    scores = Scores(torch.stack([fixed, -fixed], -1), torch.ones(3, 2), 6)
    said = by_likeliest(bound, scores, [[-0.5], [0.25], [-1.0]])
    assert said["likeliest_actions"] == {
        "violation": [[0.5], [-0.5], [-1.5]], "feasible": [False, True, True],
        "episodes_over_the_limit": [[0.5], [0.0], [0.0]],
    }  # fmt: skip
    assert said["broken_by_one_way_of_acting"] == [
        "policy 0: treasure <= 2: 1.5 with drawn actions, 2.5 with the likeliest; deploy it stochastic",
        "policy 1: treasure <= 2: 2.25 with drawn actions, 1.5 with the likeliest; deploy it deterministic",
    ]


def test_a_run_judges_its_last_episodes_by_both_ways_of_acting() -> None:
    kind = METHODS["lagrangian"]
    found = replace(kind(), limit=("time>=-6",), steps=2 * (2048 + 500), policies=2, final_episodes=5).run()
    likeliest = found.indicators["likeliest_actions"]
    for said, played in ((found.indicators, found.returns), (likeliest, found.deterministic_returns)):
        assert np.array(said["violation"])[:, 0] == pytest.approx(-6 - played[..., 1].mean(1))
    assert found.indicators["violation"] != likeliest["violation"]


PRICED = {"reload", "lagrangian", "pid-lagrangian", "augmented-lagrangian", "ipo", "focops", "cup", "rcpo"}


@pytest.mark.parametrize("method", sorted({**METHODS, **BUDGETS}))
def test_methods_with_prices_tell_them_and_no_other_does(method: str) -> None:
    # Time is at least 1, so a budget of 6 for it fits all of them.
    # Iterations take 2 x 8 x 16 = 256 steps, an evaluation up to 2 x 2 x 100 = 400: three iterations.
    kind, env = {**METHODS, **BUDGETS}[method], "safe-deep-sea-treasure-v0"
    learner = replace(kind().learner, rollout_steps=16, environments=8, hidden=(8,), epochs=2, minibatches=2)
    run = replace(
        kind(), env=env, limit=("time<=6",), steps=1000, policies=2, episodes=2, final_episodes=2, learner=learner
    ).start()
    complete(run)
    found = run.result()
    assert all(("prices" in row) == (method in PRICED) for row in found.history)
    assert ("prices" in found.indicators) == (method in PRICED)
    if method in PRICED:
        prices = found.indicators["prices"]["time <= 6"]
        assert [[x] for x in prices] == found.history[-1]["prices"] and min(prices) >= 0
    if method in ("lagrangian", "rcpo"):
        assert prices == run.learner.scalarizer.multiplier[:, 0].tolist() and max(prices) > 0
