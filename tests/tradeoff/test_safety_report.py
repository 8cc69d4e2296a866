"""The safety report of a run, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tradeoff.cli import main
from tradeoff.replay_trained import replay


def test_bounds_of_fresh_episodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    words = ["--env", "deep-sea-treasure-v0", "--limit", "time>=-6", "--policies", "2", "--steps", "1000"]
    assert main(["train", "reload", *words, "--final-episodes", "3", "--quiet", "--out", str(run)]) == 0
    capsys.readouterr()
    assert main(["safety", str(run), "--episodes", "20", "--limit", "time>=-1000"]) == 0
    assert "at most 13.9 % of episodes break time >= -1000 (0 of 20 did" in capsys.readouterr().out
    rows = json.loads((run / "safety.json").read_text())
    assert [(r["policy"], r["actions"]) for r in rows] == [(p, a) for p in (0, 1) for a in ("sampled", "likeliest")]
    assert [r["bound"] for r in rows] == pytest.approx([1 - 0.05 ** (1 / 20)] * 4)  # (1 - p)^20 = 0.05
    assert main(["safety", str(run), "--episodes", "20"]) == 0
    rows = json.loads((run / "safety.json").read_text())
    times = replay(run, episodes=20, seed=10_000).scores["sampled"].returns[0, :, 1]
    assert rows[0]["limit"] == "time >= -6" and rows[0]["broken"] == int((times < -6).sum())
