"""Bad input at the command line: one clear line with the way out, exit code 2, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

import pytest

from tests.tradeoff.conftest import SMALL, Refuses, assert_same_results, contents
from tradeoff.cli import main


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trian"], "did you mean train?"),
        (["train"], "c-morl, weighted-sum"),
        (["train", "c-mrl"], "did you mean c-morl"),
        (["train", "c-morl", "--env", "deep-see-treasure-v0"], "did you mean deep-sea-treasure-v0"),
        (["train", "c-morl", "--env", "CartPole-v1"], "choose an environment from `tradeoff envs`"),
        (["train", "c-morl", "--steps", "-1"], "steps must be at least 1, got -1"),
        (["train", "c-morl", "--learning-rate", "-1"], "learning_rate must be positive, got -1.0"),
        (["train", "c-morl", "--learning-rat", "1"], "perhaps --learning-rate?"),
        (["train", "c-morl", "--steps", "many"], "'many'"),
        (["train", "c-morl", "--horizon", "0"], "horizon must be at least 1, got 0"),
        (["train", "c-morl", "--reference-point", "1", "2", "3"], "treasure, time"),
        (["train", "c-morl", "--threads", "0"], "threads must be at least 1, got 0"),
        (["train", "c-morl", "--device", "nonsense"], "cpu always can"),
        (["envs", "deep-see"], "deep-sea-treasure"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(
    words: list[str], says: str, refuses: Refuses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in refuses(*words)
    assert len(list(tmp_path.iterdir())) == 0, "no run folder was left behind"


@pytest.mark.parametrize(
    ("preference", "says"),
    [
        (["--weights", 0.5, 0.3, 0.2], "expected 2 numbers"),
        (["--weights", 1], "expected 2 numbers"),
        (["--weights", -0.5, 1.5], "expected numbers >= 0"),
        (["--weights", 0, 0], "at least one above 0"),
        (["--minimum", 1], "treasure, time"),
        (["--minimum", "x", "None"], "--minimum takes numbers, or None, got x None; `tradeoff evaluate --help`"),
        (["--minimum", 1000, "None"], "the closest returns"),
        (["--episodes", 0], "episodes must be at least 1"),
    ],
)
def test_preferences_that_do_not_fit(preference: list[object], says: str, refuses: Refuses, finished: Path) -> None:
    before = contents(finished)
    assert says in refuses("evaluate", finished, *preference)
    assert contents(finished) == before


def test_missing_extra(refuses: Refuses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)  # what `import mujoco` meets where it is not installed
    complaint = refuses("train", "c-morl", "--env", "mo-hopper-v5", "--out", tmp_path / "run")
    assert "pip install 'tradeoff-rl[mujoco]'" in complaint
    assert len(list(tmp_path.iterdir())) == 0


@pytest.mark.parametrize("command", ["resume", "evaluate", "plot"])
def test_a_folder_that_is_not_a_run(command: str, refuses: Refuses, tmp_path: Path, finished: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("mine")
    assert "`tradeoff train` makes one" in refuses(command, tmp_path / "notes")
    assert f"runs there: {finished}" in refuses(command, finished.parent / "finnished")
    assert contents(tmp_path / "notes") == {"todo.txt": b"mine"}


def test_a_taken_folder_is_never_trained_into(refuses: Refuses, copied: Path, tmp_path: Path) -> None:
    before = contents(copied)
    assert f"`tradeoff resume {copied}`" in refuses("train", "c-morl", *SMALL, "--out", copied)
    assert contents(copied) == before
    (tmp_path / "file").write_text("mine")
    assert "--out names another" in refuses("train", "c-morl", *SMALL, "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_unfinished_run_has_no_front_to_evaluate(refuses: Refuses, copied: Path) -> None:
    (copied / "front.pt").unlink()
    assert "resume the run" in refuses("evaluate", copied)
    assert "resume the run" in refuses("plot", copied)


@pytest.mark.parametrize(
    "number", [5, 6]
)  # fsyncs: settings, metrics' header; first rows, first checkpoint, then again
def test_full_disk_keeps_the_last_checkpoint(
    number: int, refuses: Refuses, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, calls = tmp_path / "run", []

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        complaint = refuses("train", "c-morl", *SMALL, "--out", folder, "--quiet")
    assert "no room left" in complaint and "resume" in complaint
    assert len(list(folder.glob("checkpoint-*.pt"))) == 1
    assert not list(folder.glob(".*")), "no part of a file stays behind"
    assert main(["resume", str(folder), "--quiet"]) == 0
    assert_same_results(finished, folder)


def test_full_disk_while_drawing(refuses: Refuses, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(copied)

    def replace(*paths: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", replace)
    assert "free some space" in refuses("plot", copied)
    assert contents(copied) == before


def with_version(path: Path, version: int) -> None:
    """Rewrite a checkpoint's first line, its content as it was."""
    head, _, body = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps({**json.loads(head), "version": version}).encode() + b"\n" + body)


def test_checkpoints_of_another_version(refuses: Refuses, copied: Path) -> None:
    for path in copied.glob("*.pt"):
        with_version(path, 99)
    before = contents(copied)
    for command in ("evaluate", "plot", "resume"):
        complaint = refuses(command, copied)
        assert "version 99, this program reads version 1" in complaint and "train anew" in complaint
    assert contents(copied) == before


def test_resuming_from_checkpoints_of_another_version(refuses: Refuses, copied: Path) -> None:
    (copied / "front.pt").unlink()
    for path in copied.glob("checkpoint-*.pt"):
        with_version(path, 99)
    before = contents(copied)
    assert "version 99" in refuses("resume", copied)
    assert contents(copied) == before


def test_an_older_whole_checkpoint_replaces_a_damaged_one(
    copied: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / "front.pt").unlink()
    old, new = sorted(copied.glob("checkpoint-*.pt"))
    new.write_bytes(new.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=f"damaged.*going on from {old.name}"):
        assert main(["resume", str(copied), "--quiet"]) == 0
    assert_same_results(finished, copied)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 7}, "version 7"),
        ({"method": "c-mrl"}, "did you mean c-morl"),
        ({"mood": 1}, "unknown 'mood'"),
        ({"threads": "two"}, "threads is 'two', expected int"),
        ({"settings": {}}, "was altered after the program wrote it"),
        ({"seed": 1}, "unknown 'seed'"),
        ({"settings": []}, "expected a table"),
    ],
)
def test_settings_that_were_tampered_with(change: dict[str, object], says: str, refuses: Refuses, copied: Path) -> None:
    path = copied / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    before = contents(copied)
    assert says in refuses("resume", copied)
    assert contents(copied) == before


def test_settings_that_are_not_json(refuses: Refuses, copied: Path) -> None:
    (copied / "config.json").write_text('{"version"')
    assert "is not JSON" in refuses("resume", copied)


def test_an_error_that_is_nobodys_input_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, finished: Path) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ValueError("a bug, number 17")

    monkeypatch.setattr("tradeoff.replay.play", broken)
    with pytest.raises(ValueError, match="number 17"):
        main(["evaluate", str(finished)])
