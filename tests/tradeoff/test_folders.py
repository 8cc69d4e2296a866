"""Run folders: what belongs to them, who may write them, what they may import, and how a run goes on in them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tradeoff.conftest import Refuses, contents
from tradeoff.cli import main
from tradeoff.engine import checkpoint
from tradeoff.engine.files import CannotRead, clear_parts, read_whole
from tradeoff.engine.trained import Trained
from tradeoff.folder import LOCK, Busy, owned
from tradeoff.settings import digest, read_settings

WORDS = ("mo-pg", "--env", "deep-sea-treasure-v0", "--horizon", "20", "--utility", "linear", "--hidden", "4",
         "--batch", "8", "--evaluate-every", "2", "--episodes", "2", "--final-episodes", "2", "--policies", "2",
         "--quiet")  # fmt: skip
SAME = ("policies.pt", "scores.csv", "indicators.json", "metrics.csv")


def trained(folder: Path, *more: str, steps: int = 3000, seed: int = 0) -> Path:
    words = ("train", *WORDS, "--steps", str(steps), "--seed", str(seed), *more, "--out", str(folder))
    assert main(list(words)) == 0
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with one aim; read only."""
    return trained(tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def unfinish(folder: Path) -> Path:
    (folder / "policies.pt").unlink()
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


# What belongs together


@pytest.mark.parametrize(("name", "value"), [("seed", 9), ("steps", 10**6), ("horizon", 7), ("utility", "max-min")])
def test_settings_that_were_edited_are_refused_by_every_command(
    name: str, value: object, run: Path, refuses: Refuses
) -> None:
    record = json.loads((run / "config.json").read_text())
    record["settings"][name] = value
    (run / "config.json").write_text(json.dumps(record))
    for command in ("resume", "evaluate", "diagnose", "plot"):
        assert "config.json was altered after the program wrote it" in refuses(command, run)


def forge(folder: Path, **settings: object) -> None:
    """Edit settings of config.json, and its digest so that it fits them."""
    record = json.loads((folder / "config.json").read_text())
    record["settings"] |= settings
    record["digest"] = digest(record)
    (folder / "config.json").write_text(json.dumps(record))


@pytest.mark.parametrize(("name", "value"), [("seed", 9), ("horizon", 7), ("utility", "max-min"), ("steps", 10**6)])
def test_settings_that_were_edited_with_their_digest_fit_neither_result_nor_checkpoints(
    name: str, value: object, run: Path, refuses: Refuses
) -> None:
    was = json.loads((run / "config.json").read_text())["settings"][name]
    forge(run, **{name: value})
    before = contents(run)
    for words in (("evaluate",), ("plot",), ("safety", "--limit", "time<=9"), ("resume",)):
        said = refuses(words[0], run, *words[1:])
        assert f"was trained with settings.{name} {was!r}, config.json says {value!r}" in said
    for words in (("diagnose",), ("resume", "--episodes", "3")):
        said = refuses(words[0], run, *words[1:])
        assert f"belong to another run (settings.{name} {was!r}, config.json says {value!r})" in said
    assert contents(run) == before
    unfinish(run)
    assert f"belong to another run (settings.{name} {was!r}, config.json says {value!r})" in refuses("resume", run)


def test_settings_of_a_front_that_were_edited_with_their_digest_are_named(copied: Path, refuses: Refuses) -> None:
    forge(copied, horizon=7)
    for command in ("evaluate", "plot", "resume"):
        assert "was trained with settings.horizon None, config.json says 7" in refuses(command, copied)


def test_results_of_earlier_releases_are_known_by_environment_and_seed(run: Path, refuses: Refuses) -> None:
    state = checkpoint.load(run / "policies.pt")
    del state["settings"]
    checkpoint.save(run / "policies.pt", state)
    assert main(["evaluate", str(run), "--episodes", "1"]) == 0
    forge(run, seed=9)
    assert "was trained with settings.seed 0, config.json says 9" in refuses("evaluate", run)


@pytest.mark.parametrize(
    ("key", "value"),
    [("history", [{"at": 5, "before": {"seed": 0}, "after": {"seed": 9}}]), ("history", [7]), ("history", {"at": 1}),
     ("history", [{"at": 5, "before": {"steps": 1}, "after": {}}]), ("init", 3), ("init", {"run": 5, "sha256": "x"})],
)  # fmt: skip
def test_a_past_that_no_run_has_is_refused(key: str, value: object, run: Path, refuses: Refuses) -> None:
    record = json.loads((run / "config.json").read_text()) | {key: value}
    (run / "config.json").write_text(json.dumps(record | {"digest": digest(record)}))
    for command in ("resume", "evaluate"):
        assert f"config.json: {key} is" in refuses(command, run)


def test_a_checkpoint_of_another_run_is_refused(run: Path, tmp_path: Path, refuses: Refuses) -> None:
    other = trained(tmp_path / "other", seed=5)
    unfinish(run)
    for path in checkpoint.numbered(run):
        path.unlink()
    shutil.copy(checkpoint.numbered(other)[-1], run)
    assert "belong to another run (settings.seed 5" in refuses("resume", run)


def test_folders_of_the_first_version_go_on(run: Path, whole: Path) -> None:
    record = json.loads((run / "config.json").read_text())
    first = {name: record[name] for name in ("method", "threads", "settings")}
    del first["settings"]["device"]  # a setting that is newer than the folder
    (run / "config.json").write_text(json.dumps({"version": 1, **first}))
    for path in checkpoint.numbered(unfinish(run)):
        state = checkpoint.load(path)
        checkpoint.save(path, {name: x for name, x in state.items() if name not in ("settings", "metrics")})
    assert main(["resume", str(run), "--quiet"]) == 0
    assert all((run / name).read_bytes() == (whole / name).read_bytes() for name in SAME)


# What is imported


@pytest.mark.parametrize("env", ["os:abort", "http.server:test", "evil:run", "evil:Env?cost=mud", "sea?cost=x=-evil:f"])
def test_a_folder_that_names_code_imports_nothing_unasked(
    env: str, run: Path, refuses: Refuses, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nrun = f = Env = lambda *given: None\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    forge(run, env=env)
    state = checkpoint.load(run / "policies.pt")
    state["settings"]["settings"]["env"] = state["env"] = env
    checkpoint.save(run / "policies.pt", state)
    assert "--trust-code" in refuses("evaluate", run) and "--trust-code" in refuses("safety", run, "--limit", "time<=9")
    assert main(["plot", str(run)]) == 0, "a picture needs no environment"
    unfinish(run)
    assert "--trust-code" in refuses("resume", run) and "--trust-code" in refuses("diagnose", run)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("env", ["os:abort", "http.server:test", "builtins:print", "http.server:HTTPServer"])
def test_what_is_no_environment_is_never_called(env: str, refuses: Refuses, tmp_path: Path) -> None:
    assert "expected an environment's class" in refuses("train", "c-morl", "--env", env, "--out", tmp_path / "x")


def test_a_function_that_makes_something_else_is_told(
    refuses: Refuses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bakery.py").write_text("def bread(): return 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    said = refuses("train", "c-morl", "--env", "bakery:bread", "--out", tmp_path / "x")
    assert "bakery:bread returned int; expected an environment" in said


def test_code_that_was_typed_or_trusted_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: Refuses
) -> None:
    (tmp_path / "harbour.py").write_text(
        "import mo_gymnasium\ndef bay(): return mo_gymnasium.make('deep-sea-treasure-v0')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = trained(tmp_path / "run", "--env", "harbour:bay", steps=2000)
    assert "harbour:bay" in refuses("evaluate", folder)
    assert main(["evaluate", str(folder), "--episodes", "1", "--trust-code"]) == 0
    unfinish(folder)
    assert main(["resume", str(folder), "--quiet", "--trust-code"]) == 0


# Who may write


def test_one_process_trains_in_a_folder(run: Path, refuses: Refuses) -> None:
    before = contents(run)
    with owned(run):
        assert "another process is training" in refuses("resume", run)
        assert "another process is training" in refuses("resume", run, "--steps", "9000")
    assert contents(run) == before
    assert main(["resume", str(run), "--quiet"]) == 0


def test_where_folders_cannot_be_locked_a_file_is_and_a_killed_process_leaves_no_lock(
    run: Path, tmp_path: Path, refuses: Refuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    import filelock  # noqa: F401  with the locks of this system

    hold = (
        "import filelock, sys, time; sys.modules['fcntl'] = None\n"
        "from pathlib import Path; from tradeoff.folder import owned\n"
        "one, two = map(Path, sys.argv[1:])\n"
        "with owned(one), owned(two): print('held', flush=True); time.sleep(60)\n"
    )
    fresh = tmp_path / "fresh"
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    words = [sys.executable, "-c", hold, str(run), str(fresh)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as held:
        assert held.stdout is not None and held.stdout.readline() == "held\n"
        assert "another process is training" in refuses("resume", run)
        assert "another process is training" in refuses("train", *WORDS, "--out", fresh)
        held.kill()
    assert (fresh / LOCK).exists(), "what a kill leaves is no run"
    assert main(["resume", str(run), "--quiet"]) == 0
    trained(fresh, steps=640 + 80)  # an iteration and its evaluation
    with owned(run), pytest.raises(Busy), owned(run):
        raise AssertionError("held twice")


def test_a_lock_ends_with_its_process_though_a_child_lives_on(run: Path) -> None:
    hold = (
        "import os, sys, time; from pathlib import Path; from tradeoff.folder import owned\n"
        "with owned(Path(sys.argv[1])):\n"
        "    child = os.fork()\n"
        "    if child: print(child, flush=True)\n"
        "    time.sleep(60)\n"
    )
    held = subprocess.Popen([sys.executable, "-c", hold, str(run)], stdout=subprocess.PIPE, text=True)
    assert held.stdout is not None
    child = int(held.stdout.readline())
    try:
        assert main(["resume", str(run), "--quiet"]) == 2
        held.kill()
        held.wait()
        assert main(["resume", str(run), "--quiet"]) == 0
    finally:
        os.kill(child, signal.SIGKILL)


def test_parts_of_files_that_a_kill_left_are_removed_and_those_of_the_living_stay(run: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = [f".checkpoint-000000000001.pt.{gone.pid}.partabc", ".policies.pt.a1b2c3d4", f".curve.{gone.pid}.part.png"]
    stay = [f".curve.{os.getppid()}.part.png", ".mine", "checkpoint-notes.txt"]
    for name in left + stay:
        (run / name).write_text("x")
    assert main(["resume", str(run), "--quiet"]) == 0
    names = {path.name for path in run.iterdir()}
    assert not names & set(left) and names >= set(stay)
    clear_parts(run / "nowhere")


# The same bytes


def test_equal_states_give_equal_files(tmp_path: Path) -> None:
    def state(shared: bool) -> dict[str, object]:
        word, other = "price", "".join(["pri", "ce"])
        x = torch.arange(4.0)
        pair = (1, 2)
        return {
            "words": [word, word if shared else other], "whole": x, "again": x if shared else x.clone(),
            "row": torch.stack([x, x])[0] if shared else x.clone(), "pairs": [pair, pair if shared else (1, int("2"))],
        }  # fmt: skip

    for shared in (True, False):
        checkpoint.save(tmp_path / str(shared), state(shared))
    assert (tmp_path / "True").read_bytes() == (tmp_path / "False").read_bytes()


def test_results_written_again_are_the_same_bytes(run: Path, whole: Path) -> None:
    (run / "scores.csv").write_text("policy\n")  # altered
    (run / "indicators.json").unlink()
    assert main(["resume", str(run), "--quiet"]) == 0
    assert all((run / name).read_bytes() == (whole / name).read_bytes() for name in SAME)


# Further


def test_a_finished_run_is_trained_further_and_its_first_part_stays(run: Path, whole: Path) -> None:
    spent = int(rows(whole)[-1]["steps"])
    assert main(["resume", str(run), "--steps", "6000", "--quiet"]) == 0
    assert (run / "metrics.csv").read_bytes().startswith((whole / "metrics.csv").read_bytes())
    # The last evaluation takes at most 2 policies x 2 episodes x 20 steps.
    assert int(rows(run)[-1]["steps"]) >= 6000 - 80 > int(rows(run)[-2]["steps"])
    found, before = Trained.load(run), Trained.load(whole)
    assert found.history[: len(before.history)] == before.history and len(found.history) > len(before.history)
    kept = run / f"finished-{spent:012d}"
    assert all((kept / name).read_bytes() == (whole / name).read_bytes() for name in ("config.json", "policies.pt"))
    assert main(["evaluate", str(kept), "--episodes", "1"]) == 0, "the earlier results can be opened"
    settings = read_settings(run)
    assert settings.config.steps == 6000
    assert list(settings.history) == [{"at": spent, "before": {"steps": 3000}, "after": {"steps": 6000}}]


def test_what_is_no_further_is_refused(run: Path, whole: Path, refuses: Refuses) -> None:
    before = contents(run)
    spent = int(rows(whole)[-1]["steps"])
    assert f"steps is 2,000, too few: {spent:,} are taken" in refuses("resume", run, "--steps", "2000")
    assert "horizon must be at least 1, got 0" in refuses("resume", run, "--horizon", "0")
    assert contents(run) == before
    assert main(["resume", str(run), "--steps", "3000", "--quiet"]) == 0, "no change: it is finished"
    assert contents(run) == before


def test_a_finished_run_is_scored_by_more_episodes_without_training(run: Path, whole: Path) -> None:
    assert main(["resume", str(run), "--final-episodes", "7", "--quiet"]) == 0
    assert Trained.load(run).returns.shape[1] == 7
    assert (run / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    same = (Trained.load(folder).population.theta for folder in (run, whole))
    assert torch.equal(*same)


def test_a_horizon_is_added_on_the_way(run: Path) -> None:
    assert main(["resume", str(run), "--steps", "5000", "--horizon", "6", "--quiet"]) == 0
    found = Trained.load(run)
    assert found.indicators["horizon"] == 6 and max(found.history[-1]["length"]) <= 6 < max(found.history[0]["length"])
    assert main(["evaluate", str(run), "--episodes", "1"]) == 0


@pytest.mark.slow
def test_a_run_that_was_extended_and_killed_ends_in_the_same_bytes(run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    assert main(["resume", str(run), "--steps", "6000", "--quiet"]) == 0
    words = [sys.executable, "-m", "tradeoff", "resume", str(other), "--steps", "6000", "--quiet"]
    process = subprocess.Popen(words)
    deadline = time.monotonic() + 120
    before = set(checkpoint.numbered(other))
    while process.poll() is None and set(checkpoint.numbered(other)) <= before and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert main(["resume", str(other), "--quiet"]) == 0
    assert all((run / name).read_bytes() == (other / name).read_bytes() for name in (*SAME, "config.json"))


# The policies of another run


def test_policies_of_a_run_begin_another(whole: Path, tmp_path: Path, refuses: Refuses) -> None:
    folder = trained(tmp_path / "run", "--init", str(whole), "--learning-rate", "1e-30", steps=1500)
    first, then = Trained.load(whole), Trained.load(folder)
    assert torch.equal(first.population.theta, then.population.theta), "steps this short move nothing"
    assert read_settings(folder).init == {"run": str(whole), "sha256": read_settings(folder).init["sha256"]}  # type: ignore[index]
    words = ("train", *WORDS, "--hidden", "5", "--init", whole, "--out", tmp_path / "no")
    said = refuses(*words)
    assert "hidden is [4] there and [5] here" in said and not (tmp_path / "no").exists()
    assert "holds no finished run" in refuses("train", *WORDS, "--init", tmp_path / "none", "--out", tmp_path / "no")


def test_a_front_begins_a_front_with_the_policies_that_serve_its_preferences(finished: Path, tmp_path: Path) -> None:
    from tradeoff.morl import Front, recommended
    from tradeoff.run import prepare
    from tradeoff.settings import Settings
    from tradeoff.start import adopt

    front = Front.load(finished)
    run = prepare(Settings(recommended("weighted-sum", "deep-sea-treasure-v0", policies=4), 1))
    fresh = run.learner.population.theta.clone()  # type: ignore[attr-defined]
    adopt(run, finished)
    best = [int(np.argmax(front.points @ w)) for w in run.preferences]  # type: ignore[attr-defined]
    theta = run.learner.population.theta  # type: ignore[attr-defined]
    assert torch.equal(theta, front.population.theta[best]) and not torch.equal(theta, fresh)


# What lies at a path


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    said = {
        "pipe": "pipe is no regular file but a pipe", ".": "is no regular file but a folder",
        "link": "link cannot be read: it is a link that leads nowhere", "absent": "absent cannot be read: No such file",
    }  # fmt: skip
    for name, words in said.items():
        with pytest.raises(CannotRead, match=words):
            read_whole(tmp_path / name)


@pytest.mark.parametrize(
    ("lay", "what"),
    [(os.mkfifo, "is no regular file but a pipe (FIFO)"), (Path.mkdir, "is no regular file but a folder"),
     (lambda path: path.symlink_to("nowhere"), "cannot be read: it is a link that leads nowhere")],
)  # fmt: skip
def test_what_lies_in_place_of_the_settings_is_named(lay: Any, what: str, run: Path, refuses: Refuses) -> None:
    (run / "config.json").unlink()
    lay(run / "config.json")
    for words in (("resume",), ("evaluate",), ("plot",), ("diagnose",), ("safety", "--limit", "time<=9")):
        said = refuses(words[0], run, *words[1:])
        assert f"{run / 'config.json'} {what}" in said and "not a run folder" not in said


def test_with_another_horizon_every_environment_begins_anew(copied: Path) -> None:
    from tradeoff.run import restored

    written = read_settings(copied)
    same, _ = restored(written, written, copied)
    assert not same.learner.source.start.all(), "episodes were going on"  # type: ignore[attr-defined]
    shorter = written._replace(config=replace(written.config, horizon=5))
    other, _ = restored(shorter, written, copied)
    assert other.learner.source.start.all() and other.spec.horizon == 5  # type: ignore[attr-defined]
