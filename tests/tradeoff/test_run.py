"""Run folders: what training leaves, and that interruptions of every kind change no byte of it."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tradeoff.conftest import SMALL, assert_same_results, contents
from tradeoff.cli import main
from tradeoff.envs import register_gymnasium
from tradeoff.metrics import BASE, Metrics


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_what_a_run_leaves(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names >= {"config.json", "metrics.csv", "front.csv", "indicators.json", "front.pt"}
    assert names >= {"front.png", "front.html", "indicator.png"}
    assert len(list(finished.glob("checkpoint-*.pt"))) == 2
    assert len(list(finished.glob("events.out.tfevents.*"))) == 1
    settings = json.loads((finished / "config.json").read_text())
    assert (settings["method"], settings["threads"]) == ("c-morl", 1)
    assert settings["settings"]["seed"] == 3 and settings["settings"]["learner"]["environments"] == 4


def test_metrics_count_real_steps(finished: Path) -> None:
    # 3 policies x 4 environments x 32 steps are 384 steps an iteration, 4 policies in stage 2 take 512; evaluations
    # every third come on top, of at most 4 policies x 1 episode x 100 steps, and the last row's steps are what
    # indicators.json counts as training and evaluation.
    table = rows(finished)
    assert [int(row["iteration"]) for row in table] == list(range(1, len(table) + 1))
    assert [int(row["steps"]) for row in table[:2]] == [384, 768]
    counted = json.loads((finished / "indicators.json").read_text())["real_environment_steps"]
    assert int(table[-1]["steps"]) == counted["training"] + counted["evaluation"]
    assert 5500 - 400 <= int(table[-1]["steps"]) < 5500 + 512 and int(table[-2]["steps"]) < 5500 - 200
    assert [row["hypervolume"] != "" for row in table[:3]] == [False, False, True]
    policies = [row["policies"] for row in table]
    first = policies.count("3")
    assert 3 <= first < len(table) and policies[:first] == ["3"] * first
    # Stage 1 ends with an evaluation; two policies of the archive it leaves, or the only one, x 2 objectives for 4
    # iterations, and then others.
    extended = min(2, int(float(table[first - 1]["cardinality"])))
    assert policies[first : first + 4] == [str(2 * extended)] * min(4, len(table) - first)
    assert set(policies[first:]) <= {"2", "4"}


def test_events_hold_the_numbers_of_metrics(finished: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished)).Reload()
    seen = [(event.step, event.value) for event in events.Scalars("hypervolume")]
    table = [(int(row["steps"]), float(row["hypervolume"])) for row in rows(finished) if row["hypervolume"]]
    assert [step for step, _ in seen] == [step for step, _ in table]
    assert [value for _, value in seen] == pytest.approx([value for _, value in table], rel=1e-6)


def test_front_csv_agrees_with_indicators(finished: Path) -> None:
    with (finished / "front.csv").open() as file:
        front = list(csv.DictReader(file))
    scores = json.loads((finished / "indicators.json").read_text())
    assert len(front) == scores["cardinality"]
    # Two objectives above (0, -25): the hypervolume is a sum of rectangles, left to right by treasure.
    points = sorted((float(row["treasure"]), float(row["time"])) for row in front)
    left = [0.0, *(treasure for treasure, _ in points)]
    area = sum((x - before) * (y + 25) for before, (x, y) in zip(left, points, strict=False))
    assert scores["reference_point"] == [0.0, -25.0]
    assert scores["hypervolume"]["value"] == pytest.approx(area, rel=1e-12)


# At a checkpoint, and between two in either stage; which signal it was is forgotten before anything is saved.
@pytest.mark.parametrize(("kind", "row"), [(signal.SIGTERM, 3), (signal.SIGHUP, 5), (signal.SIGINT, 10)])
def test_a_signal_saves_and_the_resumed_run_is_the_same(
    kind: signal.Signals,
    row: int,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if signal.getsignal(kind) is signal.SIG_IGN:  # a test program that was started by nohup or by & ignores some
        signal.signal(kind, signal.SIG_DFL)
    folder, before = tmp_path / "run", signal.getsignal(kind)
    with monkeypatch.context() as patch:
        patch.setattr(Metrics, "__call__", signalling(kind, {row}))
        assert main(["train", "c-morl", *SMALL, "--out", str(folder), "--quiet"]) == 130
    assert f"`tradeoff resume {folder}`" in capsys.readouterr().err
    assert signal.getsignal(kind) is before
    assert len(rows(folder)) == row and not (folder / "front.csv").exists()
    assert main(["resume", str(folder)]) == 0
    said = capsys.readouterr().out
    assert f"at {int(rows(folder)[row - 1]['steps']):,} steps" in said, "nothing is done twice"
    assert_same_results(finished, folder)


def test_a_second_ctrl_c_stops_at_once(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Metrics, "__call__", signalling(signal.SIGINT, {5}, times=2))
        assert main(["train", "c-morl", *SMALL, "--out", str(folder), "--quiet"]) == 130
    assert "stopped at once" in capsys.readouterr().err
    assert len(list(folder.glob("checkpoint-*.pt"))) == 1
    assert main(["resume", str(folder), "--quiet"]) == 0
    assert_same_results(finished, folder)


def signalling(kind: signal.Signals, at: set[int], times: int = 1):  # type: ignore[no-untyped-def]
    """Metrics' call, followed by signals at some iterations."""
    record = Metrics.__call__

    def call(self: Metrics, row: dict[str, object]) -> None:
        record(self, row)
        for _ in range(times if row["iteration"] in at else 0):
            signal.raise_signal(kind)

    return call


def test_an_environment_whose_state_cannot_be_read_goes_on_from_a_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mo_gymnasium

    monkeypatch.setattr("tradeoff.envs.registry._own", {})
    register_gymnasium("sea", lambda: mo_gymnasium.make("deep-sea-treasure-v0"), objectives=("treasure", "time"))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = ["train", "c-morl", *SMALL, "--env", "sea", "--horizon", "20", "--steps", "4000", "--quiet", "--out"]
    assert main([*words, str(whole)]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Metrics, "__call__", signalling(signal.SIGINT, {5}))
        assert main([*words, str(cut)]) == 130
    assert main(["resume", str(cut), "--quiet"]) == 0
    assert len(rows(whole)) > 6
    assert_same_results(whole, cut)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_crash_between_a_row_and_its_checkpoint(
    recorded: bool, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, record = tmp_path / "run", Metrics.__call__

    def crash(self: Metrics, row: dict[str, object]) -> None:
        if recorded or row["iteration"] != 6:
            record(self, row)
        if row["iteration"] == 6:
            raise RuntimeError("crash")

    with monkeypatch.context() as patch:
        patch.setattr(Metrics, "__call__", crash)
        with pytest.raises(RuntimeError, match="crash"):
            main(["train", "c-morl", *SMALL, "--out", str(folder), "--quiet"])
    assert len(list(folder.glob("checkpoint-*.pt"))) == 1
    assert main(["resume", str(folder), "--quiet"]) == 0
    assert_same_results(finished, folder)


def test_killed_at_a_random_moment(finished: Path, tmp_path: Path) -> None:
    folder, delay = tmp_path / "run", random.random()
    kill_after_first_checkpoint(folder, delay)
    assert main(["resume", str(folder), "--quiet"]) == 0, f"killed {delay:.3f} s after its first checkpoint"
    assert_same_results(finished, folder)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.2, 0.5, 1.0])
def test_killed_at_many_moments(delay: float, finished: Path, tmp_path: Path) -> None:
    kill_after_first_checkpoint(tmp_path / "run", delay)
    assert main(["resume", str(tmp_path / "run"), "--quiet"]) == 0
    assert_same_results(finished, tmp_path / "run")


def kill_after_first_checkpoint(folder: Path, delay: float) -> None:
    words = [sys.executable, "-m", "tradeoff", "train", "c-morl", *SMALL, "--out", str(folder), "--quiet"]
    process = subprocess.Popen(words, cwd=Path(__file__).parents[2], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not any(folder.glob("checkpoint-*.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(delay)
    process.kill()
    process.wait()


def test_killed_before_the_first_checkpoint(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in ("config.json", "metrics.csv"):  # rows of iterations that no checkpoint holds
        shutil.copy(finished / name, tmp_path / "run")
    assert main(["resume", str(tmp_path / "run"), "--quiet"]) == 0
    assert_same_results(finished, tmp_path / "run")


def test_killed_while_the_results_were_written(copied: Path, finished: Path) -> None:
    for name in ("front.csv", "indicators.json", "front.png", "front.html"):
        (copied / name).unlink()
    assert main(["resume", str(copied), "--quiet"]) == 0
    assert_same_results(finished, copied)
    assert (copied / "front.html").read_bytes() == (finished / "front.html").read_bytes()
    assert (copied / "front.png").stat().st_size > 10_000


def test_a_finished_run_has_nothing_left_to_train(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(copied)
    assert main(["resume", str(copied)]) == 0
    assert capsys.readouterr().out == f"{copied} is finished, nothing left to train\n"
    assert contents(copied) == before


@pytest.mark.parametrize("cut", ["4", "40,", "40,4,2,0."])
def test_repeated_rows_replace_the_old_ones(cut: str, tmp_path: Path) -> None:
    def row(iteration: int, objective: float) -> dict[str, object]:
        return {"steps": 10 * iteration, "iteration": iteration, "policies": 2, "objective": objective}

    scores = ("hypervolume", "expected_utility", "cardinality")
    first = Metrics(tmp_path, scores, events=False)
    for i in (1, 2, 3):
        first(row(i, 0.5))
    first.close()
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write(cut)  # short by a crash
    second = Metrics(tmp_path, scores, events=False)
    second(row(3, 0.25) | {"hypervolume": 1.5, "expected_utility": -2.0, "cardinality": 3.0})
    second.close()
    head, *lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert head == ",".join((*BASE, *scores))
    assert lines == ["10,1,2,0.5,,,", "20,2,2,0.5,,,", "30,3,2,0.25,1.5,-2.0,3.0"]
