"""Files of run folders under random edits: one line says what is wrong or what is used instead, and nothing hangs.

DAMAGES=1000 in the environment makes so many edits of every file; a few suffice to notice a guard that is gone.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tradeoff.conftest import Refuses
from tradeoff.cli import main
from tradeoff.engine import checkpoint
from tradeoff.engine.trained import Trained
from tradeoff.envs.errors import TradeoffError
from tradeoff.metrics import Metrics
from tradeoff.morl import Front
from tradeoff.results import kind_in
from tradeoff.run import restored
from tradeoff.settings import read_settings

COUNT = int(os.environ.get("DAMAGES", "60"))
WORDS = ("mo-pg", "--env", "deep-sea-treasure-v0", "--horizon", "20", "--utility", "linear", "--hidden", "4",
         "--batch", "8", "--steps", "2500", "--evaluate-every", "2", "--episodes", "2", "--final-episodes", "2",
         "--quiet")  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert main(["train", *WORDS, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def edited(content: bytes, chance: random.Random) -> bytes:
    """Truncated, a bit flipped, some bytes lost, doubled or replaced, a JSON value replaced, or nothing left."""
    a, b = sorted(chance.choices(range(len(content) + 1), k=2))
    b = min(b, a + chance.choice((1, 8, 10**9)))
    flipped = bytearray(content)
    flipped[min(a, len(content) - 1)] ^= 1 << chance.randrange(8)
    ways = [content[:a], bytes(flipped), bytes(flipped), content[:a] + content[b:], content[:b] + content[a:],
            content[:a] + chance.randbytes(b - a) + content[b:], b"", replaced(content, chance)]  # fmt: skip
    return chance.choice(ways)


def replaced(content: bytes, chance: random.Random) -> bytes:
    """A file of JSON, or one that begins with a line of it, with one of its values replaced."""
    line, end, body = content.partition(b"\n") if content.startswith(b'{"') else (content, b"", b"")
    try:
        record = json.loads(line)
    except ValueError:
        return content[::-1]
    place = record
    while True:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if isinstance(place[key], (dict, list)) and place[key] and chance.random() < 0.8:
            place = place[key]
            continue
        place[key] = chance.choice(
            [None, -1, 0, 1, 1e400, "x", "", [], {}, True, 10**30, [1], float("nan"), "os:abort"]
        )
        return json.dumps(record).encode() + end + body


def laid(path: Path, chance: random.Random, content: bytes) -> bytes | None:
    """Damage a file; answer its new content, None where no file is left."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.unlink(missing_ok=True)
    way = chance.randrange(12)
    if way == 0:
        path.mkdir()
    elif way == 1:
        path.symlink_to(path.parent / "nowhere")
    elif way == 2:
        path.symlink_to(path)
    elif way == 3:
        os.mkfifo(path)
    else:
        path.write_bytes(edited(content, chance))
        path.chmod(chance.choice((0o644, 0o000)))
        return path.read_bytes() if os.access(path, os.R_OK) else None
    return None


def told(what: Callable[[], Any]) -> tuple[Any, str]:
    """What a call answers, and the lines it says: a complaint of ours, or warnings."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            return what(), "\n".join(str(w.message) for w in said)
        except TradeoffError as error:
            line = " ".join(str(error).split())
            assert 10 < len(line) < 600, line
            return None, line


def same(a: Any, b: Any) -> bool:
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def looked_at(run: Path, name: str) -> Callable[[], Any]:
    """What reads a file of a run; its answer is plain values."""
    settings, newest = read_settings(run), checkpoint.load_newest(run)
    columns = tuple((run / "metrics.csv").read_text().splitlines()[0].split(",")[4:])
    kind = kind_in(run)
    assert kind is not None
    result = kind.load(run)
    row = {"steps": 10**6, "iteration": 10**6, "policies": 1, "objective": 0.0}

    def metrics() -> str:
        written = Metrics(run, columns, events=False, expected=newest["metrics"])
        written(row)
        written.close()
        return (run / name).read_text("latin-1")

    def scores() -> list[str]:
        missing = kind.missing(result, run)
        if missing:
            raise TradeoffError(f"would be written again: {', '.join(missing)}")
        return missing

    readers: dict[str, Callable[[], Any]] = {
        "config.json": lambda: read_settings(run).record(),
        "metrics.csv": metrics, "scores.csv": scores, "indicators.json": scores, "front.csv": scores,
        "policies.pt": lambda: Trained.load(run).returns.tolist(), "front.pt": lambda: Front.load(run).points.tolist(),
    }  # fmt: skip
    return readers.get(name, lambda: restored(settings, settings, run)[0].iteration)


@pytest.mark.parametrize(
    "name", ["config.json", "checkpoint", "metrics.csv", "policies.pt", "scores.csv", "indicators.json", "front.pt"]
)
def test_every_edit_of_a_file_is_told(name: str, run: Path, copied: Path) -> None:
    folder = copied if name == "front.pt" else run
    path = checkpoint.numbered(folder)[-1] if name == "checkpoint" else folder / name
    content, read, chance = path.read_bytes(), looked_at(folder, name), random.Random(name)
    expected, silent = told(read)
    assert expected is not None and silent == "", "whole files are taken without a word"
    unharmed = 0
    for number in range(COUNT):
        left = laid(path, chance, content)
        found, said = told(read)
        if not said:  # nothing was lost: a space in a line of JSON, rows that are repeated anyway
            assert same(found, expected), (number, left)
            unharmed += 1
        elif name == "checkpoint" and found is not None:
            assert "going on from checkpoint-" in said and found < expected, "the one before is used"
    assert unharmed < COUNT / 4


@pytest.mark.parametrize("part", ["learner", "generator", "iteration", "steps", "history", "theta", "moments", "all"])
def test_a_whole_file_with_another_state_is_passed_over(part: str, run: Path) -> None:
    path, settings = checkpoint.numbered(run)[-1], read_settings(run)
    state = checkpoint.load(path)
    people = state["learner"]["population"]
    if part == "theta":
        people["theta"] = people["theta"][..., :-1]
    elif part == "moments":
        people["observations"] = tuple(x * torch.nan for x in people["observations"])
    elif part == "all":
        state = {"settings": state["settings"]}
    else:
        state[part] = "x"
    checkpoint.save(path, state)
    found, said = told(lambda: restored(settings, settings, run)[0].iteration)
    assert found is not None and f"going on from {checkpoint.numbered(run)[0].name}" in said


def empty_folder(path: Path) -> None:
    path.mkdir()


def full_folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def link_to_nowhere(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    "lay",
    [os.mkfifo, empty_folder, full_folder, link_to_nowhere, link_to_itself, Path.touch],
    ids=lambda lay: lay.__name__,
)
def test_whatever_lies_in_place_of_the_newest_checkpoint_the_run_ends_as_without_it(
    lay: Callable[[Path], None], whole: Path, run: Path
) -> None:
    (run / "policies.pt").unlink()
    newest = checkpoint.numbered(run)[-1]
    newest.unlink()
    lay(newest)
    with pytest.warns(UserWarning, match=r"(is no|is not|cannot be).*going on from checkpoint"):
        assert main(["resume", str(run), "--quiet"]) == 0
    for name in ("policies.pt", "scores.csv", "metrics.csv"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    assert newest.is_file() and not newest.is_symlink(), "the step was reached again, and saved"
    if lay is full_folder:
        assert (run / f"not-{newest.name}" / "notes.txt").read_text() == "mine"


def test_rows_of_metrics_that_were_damaged_are_told_once_the_run_goes_on(run: Path) -> None:
    lines = (run / "metrics.csv").read_bytes().splitlines(keepends=True)
    (run / "metrics.csv").write_bytes(b"".join([*lines[:2], b"\xff\xfe half a row", *lines[3:]]))
    with pytest.warns(UserWarning, match=rf"metrics.csv was altered or damaged; {len(lines) - 3} of its rows are kept"):
        assert main(["resume", str(run), "--steps", "4000", "--quiet"]) == 0


def test_a_result_that_cannot_be_written_is_one_line(run: Path, refuses: Refuses) -> None:
    (run / "policies.pt").unlink()
    (run / "policies.pt").mkdir()
    assert "cannot write" in refuses("resume", run, "--quiet")
