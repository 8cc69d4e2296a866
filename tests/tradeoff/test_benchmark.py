"""Methods x tasks x seeds: what is run, what is not run again, and what the standings say."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tradeoff.conftest import Refuses
from tradeoff import benchmark
from tradeoff.cli import main
from tradeoff.engine.trained import Trained
from tradeoff.envs.errors import UnknownName
from tradeoff.errors import BadInput
from tradeoff.standings import FILES, summarise, table, write
from tradeoff.standings_plots import PICTURES, front
from tradeoff.suites import SUITES

WORDS = [
    "benchmark", "safe-small", "--envs", "deep-sea-treasure-v0", "--methods", "reload", "crpo", "--seeds", "3", "4",
    "--steps", "2000", "--evaluations", "4", "--episodes", "2", "--final-episodes", "6", "--workers", "1",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("standings")
    assert main([*WORDS, "--out", str(out)]) == 0
    return out


def test_every_run_is_an_ordinary_one_with_files_and_pictures(finished: Path) -> None:
    names = {f"{method}-deep-sea-treasure-v0-{seed}" for method in ("reload", "crpo") for seed in (3, 4)}
    assert {path.name for path in finished.iterdir() if path.is_dir()} == names
    settings = json.loads((finished / "crpo-deep-sea-treasure-v0-4" / "config.json").read_text())["settings"]
    assert (settings["seed"], settings["steps"], settings["limit"]) == (4, 2000, ["time>=-6"])
    assert settings["margin"] == 0.2
    assert all((finished / name).stat().st_size > 0 for name in (*FILES, *(f"{name}.png" for name in PICTURES)))


def test_rows_say_what_the_runs_say(finished: Path) -> None:
    rows = list(csv.DictReader((finished / "runs.csv").open()))
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("reload", "3"),
        ("reload", "4"),
        ("crpo", "3"),
        ("crpo", "4"),
    ]
    for row in rows:
        run = Trained.load(finished / f"{row['method']}-deep-sea-treasure-v0-{row['seed']}")
        treasure, time = run.returns[0].mean(0)
        assert float(row["return"]) == pytest.approx(treasure), "time carries a limit, so treasure alone is maximised"
        assert float(row["excess"]) == pytest.approx(-6 - time), "time must stay above -6"
        curve = np.array([record["returns"][0] for record in run.history])
        assert float(row["strong_violation"]) == pytest.approx(np.maximum(-6 - curve[:, 1], 0).mean())
        # An evaluation takes at most 2 episodes x 100 steps, an iteration 32 steps in 4 environments.
        assert 2000 - 200 <= int(row["real_steps"]) < 2000 + 128 and float(row["seconds"]) > 0


def test_what_is_finished_is_not_trained_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies = sorted(finished.glob("*/policies.pt"))
    before = [path.stat().st_mtime_ns for path in policies]
    (finished / "standings.csv").unlink()
    assert main([*WORDS, "--out", str(finished), "--format", "png", "svg"]) == 0
    for name in PICTURES:
        drawn = (finished / f"{name}.svg").read_text()
        assert "<!-- reload, crpo within limits -->" in drawn and "seeds 3, 4" in drawn
        assert "deep-sea-treasure-v0" in drawn and "environment steps per policy" in drawn
    assert [path.stat().st_mtime_ns for path in policies] == before and len(before) == 4
    assert (finished / "standings.csv").is_file() and "2" in capsys.readouterr().out


def test_a_finished_run_with_other_settings_is_not_taken_for_the_one_asked_for(
    finished: Path, refuses: Refuses
) -> None:
    more = [("4000" if word == "2000" else word) for word in WORDS]
    said = refuses(*more, "--out", str(finished))
    assert "reload-deep-sea-treasure-v0-3 holds a run with other settings: steps 4000 is asked for, it has 2000" in said


def test_runs_in_processes_of_their_own_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    words = ["benchmark", "safe-small", "--envs", "deep-sea-treasure-v0", "--methods", "crpo", "--seeds", "4"]
    assert main([*words, *WORDS[10:-1], "2", "--out", str(tmp_path)]) == 0
    name = "crpo-deep-sea-treasure-v0-4/scores.csv"
    assert (tmp_path / name).read_bytes() == (finished / name).read_bytes()


def test_policies_of_one_run_count_like_runs_and_each_has_its_steps(tmp_path: Path) -> None:
    words = ["benchmark", "safe-small", "--envs", "deep-sea-treasure-v0", "--methods", "crpo", "--seeds", "4"]
    assert main([*words, *WORDS[10:], "--policies", "2", "--out", str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert [(row["seed"], row["policy"]) for row in rows] == [("4", "0"), ("4", "1")]
    assert json.loads((tmp_path / "standings.json").read_text())[0]["runs"] == 2
    run = Trained.load(tmp_path / "crpo-deep-sea-treasure-v0-4")
    steps, turn = run.indicators["real_environment_steps"], 2 * 32 * 4  # policies x steps x environments
    assert 4000 - 2 * 2 * 100 <= steps["training"] + steps["evaluation"] < 4000 + turn
    assert len(run.history) in (4, 5), "evaluations as often as with one policy"


def _row(seed: int, **changes: Any) -> dict[str, Any]:
    row = {
        "env": "sea", "method": "rule", "seed": seed, "policy": 0, "return": 10.0, "cost": 1.0, "excess": -1.0,
        "deterministic_return": 1.0, "deterministic_cost": 1.0, "deterministic_excess": 0.0, "cost_rate": 0.1,
        "strong_violation": 0.0, "oscillation": 0.0, "first_feasible": 5.0, "lasting_feasible": 5.0,
        "feasible_share": 1.0, "average_return": 1.0, "average_excess": 0.0, "real_steps": 100, "seconds": 1.0,
    }  # fmt: skip
    return row | changes


def test_standings_by_hand(tmp_path: Path) -> None:
    # Returns 10, 20, 30, 100; the last run breaks the limit. Middle half: 20 and 30. Feasible ones: 10, 20, 30 -> 20.
    rows = [
        _row(0),
        _row(1, **{"return": 20.0}),
        _row(2, **{"return": 30.0}),
        _row(3, **{"return": 100.0, "excess": 2.0}),
    ]
    rows[3]["lasting_feasible"] = math.inf
    (found,) = summarise(rows)
    assert (found["runs"], found["feasible"]) == (4, 3)
    assert found["return"] == 25.0 and found["return_low"] <= 25.0 <= found["return_high"]
    assert found["feasible_return"] == 20.0 and found["lasting_feasible"] == 5.0
    (none,) = summarise([_row(0, excess=1.0, lasting_feasible=math.inf)])
    assert math.isnan(none["feasible_return"]) and math.isinf(none["lasting_feasible"])
    write(rows, [none], tmp_path)
    assert json.loads((tmp_path / "standings.json").read_text())[0]["feasible_return"] is None
    assert table([found, none]).row_count == 2


def test_the_front_of_cost_and_return_by_hand() -> None:
    # (2, 1) costs more than (1, 1) for nothing, (3, 4) less than (4, 4), and equal points count once.
    points = np.array([[3.0, 4.0], [1, 1], [2, 1], [4, 4], [-1, -2], [3, 4], [-1, -3]])
    assert front(points).tolist() == [[-1, -2], [1, 1], [3, 4]]


def test_what_cannot_be_compared_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="safe-speed"):
        benchmark.tasks("safe-speed")
    with pytest.raises(UnknownName, match="environment of safe-small"):
        benchmark.tasks("safe-small", ["minecart-v0"])
    plan = benchmark.Plan(SUITES["safe-small"], ("c-morl",), (0,), 1, 0.0, 10, 1, 1, 1, tmp_path)
    with pytest.raises(BadInput, match="keeps no limits"):
        benchmark.jobs(plan)
    with pytest.raises(BadInput, match="workers must be at least 1, got 0"):
        benchmark.workers(0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--policies", "--steps", "--evaluations", "--episodes"])
def test_numbers_that_make_no_run_are_one_line(option: str, refuses: Refuses, tmp_path: Path) -> None:
    words = ["benchmark", "safe-small", "--seeds", "0", "--out", tmp_path / "runs", option, "0"]
    assert refuses(*words).count(f"{option[2:]} must be at least 1, got 0") == 1
    assert "seeds must be at least 0, got -1" in refuses(*words[:2], "--seeds", "-1", "--out", tmp_path / "runs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("limit", "methods", "says"),
    [
        ("lava=-5", ["lagrangian"], "safe-grid-v0 keeps lava <= -5 (the least that any policy reaches is 0.00146206)"),
        ("lave=5", ["lagrangian", "crpo"], "unknown cost 'lave'; did you mean lava?"),
        ("reward>=0.1", ["lagrangian", "saute"], "reward >= ... (episodic) is no budget: saute spends costs"),
    ],
)
def test_limits_that_no_run_can_keep_stop_the_suite_before_its_first_run(
    limit: str, methods: list[str], says: str, refuses: Refuses, tmp_path: Path
) -> None:
    words = ["benchmark", "safe-tabular", "--envs", "safe-grid-v0", "--steps", "100", "--seeds", "0"]
    assert says in refuses(*words, "--methods", *methods, "--limit", limit, "--out", tmp_path / "runs")
    assert list(tmp_path.iterdir()) == []


def test_a_suite_whose_steps_hold_no_iteration_and_evaluation_is_refused(refuses: Refuses, tmp_path: Path) -> None:
    # 2 policies x 4 environments x 32 steps, and 2 policies x 3 episodes x 100 steps.
    words = ["benchmark", "safe-small", "--envs", "deep-sea-treasure-v0", "--methods", "crpo", "--policies", "2"]
    said = refuses(*words, "--episodes", "3", "--steps", "427", "--out", tmp_path / "runs")
    assert "crpo on deep-sea-treasure-v0: steps is 854, too few" in said and "give at least 856" in said
    assert list(tmp_path.iterdir()) == []


def test_suites_name_what_exists() -> None:
    from tradeoff.registry import spec_of

    for tasks in SUITES.values():
        for task in tasks:
            spec = spec_of(task.env)
            assert task.limit or spec.limits, f"{task.env} has no limits of its own"
    assert len(SUITES["safe-velocity"]) == 6
