"""Evaluating a saved front, drawing it, and several runs beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.tradeoff.conftest import Refuses
from tradeoff.cli import main
from tradeoff.drawing import curve
from tradeoff.morl import Front
from tradeoff.settings import digest, read_settings
from tradeoff.summary import summary


def evaluated(capsys: pytest.CaptureFixture[str], *words: object) -> dict:  # type: ignore[type-arg]
    assert main(["evaluate", *map(str, words), "--json"]) == 0
    found: dict = json.loads(capsys.readouterr().out)  # type: ignore[type-arg]
    return found


def test_the_whole_front_plays_as_in_the_original(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import mo_gymnasium

    front, found = Front.load(finished), evaluated(capsys, finished, "--episodes", 3)
    assert len(found["policies"]) == len(front) and found["discount"] == 0.99
    for row, policy in enumerate(found["policies"]):
        env = mo_gymnasium.make("deep-sea-treasure-v0")
        observation, _ = env.reset(seed=0)
        total, factor, over = np.zeros(2), 1.0, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(front.policy(row)(observation))
            total, factor, over = total + factor * reward, 0.99 * factor, terminated or truncated
        assert list(policy["mean"].values()) == pytest.approx(total.tolist(), abs=1e-5)
        assert list(policy["stderr"].values()) == [0.0, 0.0], "a deterministic policy in a deterministic sea"
        assert policy["member"] == front.members[row]


def test_steps_are_counted(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # With discount .99 a dive of n steps costs (1 - .99^n) / .01; 7 episodes of the chosen policy are 7 n steps.
    found = evaluated(capsys, finished, "--weights", 0, 1, "--episodes", 7)
    n = np.log(1 + 0.01 * found["policies"][0]["mean"]["time"]) / np.log(0.99)
    assert found["real_environment_steps"] == round(7 * n)


@pytest.mark.parametrize(("weights", "objective"), [((1, 0), 0), ((0, 3), 1)])
def test_weights_choose(
    weights: tuple[int, int], objective: int, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    front = Front.load(finished)
    found = evaluated(capsys, finished, "--weights", *weights, "--episodes", 2)
    assert [p["member"] for p in found["policies"]] == [front.members[front.points[:, objective].argmax()]]


def test_minimum_chooses(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    front = Front.load(finished)
    best = front.points[:, 0].max()
    found = evaluated(capsys, finished, "--minimum", best - 1e-6, "None", "--episodes", 2)
    assert [p["reported"]["treasure"] for p in found["policies"]] == [best]


def test_the_table_shows_means_errors_and_the_reported_point(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    front = Front.load(finished)
    assert main(["evaluate", str(finished), "--weights", "1", "0", "--episodes", "2"]) == 0
    out = capsys.readouterr().out
    treasure = f"{front.points[:, 0].max():.6g}"
    assert out.count(treasure) == 2 and f"{treasure} ± 0" in out and out.count("in front.csv") == 1


def test_plot_draws_anew_with_the_exact_front(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("front.png", "front.html", "indicator.png"):
        (copied / name).unlink()
    assert main(["plot", str(copied)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    page = (copied / "front.html").read_text()
    data = json.loads(page[page.index('{"title"') :].split(";\n")[0])
    assert len(data["exact"]) == 10 and data["names"] == ["treasure", "time"]
    assert data["points"] == Front.load(copied).points.tolist()


def test_several_runs_beside_each_other(copied: Path, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", str(copied), str(finished)]) == 0
    pictures = copied.parent / "plots-deep-sea-treasure-v0"
    assert sorted(path.name for path in pictures.iterdir()) == ["fronts.png", "hypervolume.png"]
    assert len(capsys.readouterr().out.splitlines()) == 8
    assert min(path.stat().st_size for path in pictures.iterdir()) > 10_000


def test_three_objectives_beside_each_other(finished: Path) -> None:
    from dataclasses import replace

    from tradeoff.beside import by, draw_fronts

    front = Front.load(finished)
    cubic = replace(front, objectives=("a", "b", "c"), points=np.eye(3))
    figure = draw_fronts(by([cubic, cubic], "seed"), [cubic, cubic])
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert figure.get_size_inches()[0] == 7.0, "a page wide"


@pytest.mark.parametrize(("name", "value"), [("discount", 1.0), ("reference_point", [0.0, -50.0]), ("env", "other")])
def test_runs_that_cannot_be_compared(name: str, value: object, refuses: Refuses, copied: Path, finished: Path) -> None:
    front = Front.load(copied)
    front.indicators[name] = value
    front.save(copied)
    assert f"differ in {name}" in refuses("plot", copied, finished)
    assert not (copied.parent / "plots-deep-sea-treasure-v0").exists()


def test_runs_of_another_horizon_cannot_be_compared(refuses: Refuses, copied: Path, finished: Path) -> None:
    settings = json.loads((copied / "config.json").read_text())
    settings["settings"]["horizon"] = 30
    (copied / "config.json").write_text(json.dumps(settings | {"digest": digest(settings)}))
    front = Front.load(copied)
    front.settings = read_settings(copied).record()
    front.save(copied)
    assert "differ in horizon (30, None)" in refuses("plot", copied, finished)


def test_the_curve_is_the_history(finished: Path) -> None:
    steps, volumes = curve(Front.load(finished))
    lines = [line.split(",") for line in (finished / "metrics.csv").read_text().splitlines()[1:]]
    assert steps.tolist() == [float(cells[0]) for cells in lines if cells[4]]
    assert volumes.tolist() == [float(cells[4]) for cells in lines if cells[4]]


def test_the_summary_names_scores_truth_and_the_next_commands(finished: Path) -> None:
    front = Front.load(finished)
    text = summary(front, finished)
    volume = front.indicators["hypervolume"]
    assert f"{volume['value']:.6g} [{volume['low']:.6g}, {volume['high']:.6g}] above (0, -25)" in text
    assert "exact front: 360.401" in text and "of the 10 points of the exact front" in text
    assert f"environment steps  {front.indicators['real_environment_steps']['total']:,} " in text
    assert f"tradeoff evaluate {finished} --weights 1 1" in text and f"tradeoff plot {finished}" in text
