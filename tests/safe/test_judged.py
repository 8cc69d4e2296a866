"""Whether limits were kept is judged at the scale of each limit, whatever the discount of the reported returns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.evaluate import Scores
from envs import make
from safe.constraints import Constraint, bind
from safe.methods import METHODS, at_scale, kept


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
    config = replace(kind(), limit=(limit,), scale=scale, discount=discount, steps=1500, policies=1, final_episodes=6)
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
