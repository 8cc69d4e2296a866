"""Summaries over seeds average what means the same, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality import main
from tradeoff.envs import make, register_gymnasium
from tradeoff.envs.errors import TradeoffError


def folder(at: Path, seed: int, reference: list[float]) -> str:
    interval = {"value": float(seed), "low": 0.0, "high": 9.0}
    scores: dict[str, Any] = {"seed": seed, "hypervolume": interval, "expected_utility": interval, "cardinality": 3}
    scores |= {"real_environment_steps": {"total": 10}, "reference_point": reference}
    at.mkdir()
    (at / "indicators.json").write_text(json.dumps(scores))
    return str(at)


def test_hypervolumes_of_different_reference_points_are_not_averaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (folder(tmp_path / str(seed), seed, [0.0, -1.0]) for seed in (1, 2))
    assert main([one, two]) == 0
    assert main([one, two, folder(tmp_path / "3", 3, [0.0, -2.0])]) == 2
    assert "different reference points cannot be averaged" in capsys.readouterr().err


def test_a_reference_point_is_given_at_registration() -> None:
    import mo_gymnasium

    def sea() -> Any:
        return mo_gymnasium.make("deep-sea-treasure-v0")

    register_gymnasium("own-sea", sea, ("treasure", "time"), reference_point=(0, -25))
    assert make("own-sea").spec.reference_point == (0.0, -25.0)
    register_gymnasium("bad-sea", sea, ("treasure", "time"), reference_point=(0,))
    with pytest.raises(TradeoffError, match="give 2 finite numbers, one for each of treasure, time"):
        make("bad-sea")
