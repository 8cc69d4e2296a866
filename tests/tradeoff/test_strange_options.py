"""Options that no run can be made of: one line, exit code 2, nothing written; and hundreds of combinations drawn."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.tradeoff.conftest import Refuses, contents, leaves
from tradeoff.cli import main
from tradeoff.engine.run import Interrupted
from tradeoff.registry import METHODS

SEA = ("--env", "deep-sea-treasure-v0")
LIMITED = (*SEA, "--limit", "time>=-6")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("mo-ppo", *SEA, "--weights", "1", "2", "3"), "3 numbers were given for 2 objectives"),
        (("mo-tsivr-pg", *SEA, "--weights", "1", "2", "3"), "3 numbers were given for 2 objectives"),
        (("mo-tsivr-pg", *SEA, "--weights"), "weights must hold a number that is not 0"),
        (("mo-ppo", *SEA, "--weights", "0"), "weights must hold a number that is not 0"),
        (("mo-ppo", *SEA, "--weights", "1e-320", "1"), "weights must be 0 or 1.2e-38 in size at least"),
        (("mo-pg", *SEA, "--shift", "1", "2", "3"), "3 numbers were given for 2 objectives"),
        (("c-morl", *SEA, "--threads", "99999"), "threads must lie between 1 and 1024"),
        (("c-morl", *SEA, "--steps", "1" + "0" * 23), "steps must be at most 9,007,199,254,740,992 in size"),
        (("c-morl", *SEA, "--steps", "1e23"), "1e23"),
        (("c-morl", *SEA, "--policies", "1000000000000"), "of memory, most of it for 1,000,000,000,000 policies"),
        (("c-morl", *SEA, "--seed", "-1"), "seed must be at least 0"),
        (("c-morl", *SEA, "--learning-rate", "inf"), "learning_rate must be a finite number, got inf"),
        (("c-morl", *SEA, "--sharpness", "inf"), "sharpness must be a finite number, got inf"),
        (("focops", *LIMITED, "--temperature", "inf"), "temperature must be a finite number, got inf"),
        (("cpo", *LIMITED, "--radius", "inf"), "radius must be a finite number, got inf"),
        (("lagrangian", *LIMITED, "--radius", "0.1"), "radius 0.1 has no effect: step 'ppo' has no trust region"),
        (("c-morl", *SEA, "--device", "meta"), "device 'meta' cannot be used"),
        (("c-morl", *SEA, "--out", ""), "--out has an empty value"),
        (("c-morl", *SEA, "--out="), "--out has an empty value"),
        (("c-morl", *SEA, "--out", "file/run"), "file is no folder"),
        (("c-morl", *SEA, "--out", "loop/run"), "Too many levels of symbolic links"),
        (("c-morl", *SEA, "--out", "x" * 300), "cannot be made (File name too long)"),
        (("c-morl", *SEA, "--out", "closed/run"), "closed is not writable"),
    ],
)
def test_train_refuses_what_no_run_can_be_made_of(
    words: tuple[str, ...], says: str, refuses: Refuses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("loop").symlink_to("loop")
    Path("closed").mkdir()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "closed" not in str(path) and allowed(path, mode))
    assert says in refuses("train", *words)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "loop", "closed"}
    assert not list(Path("closed").iterdir()) and Path("file").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("benchmark", "safe-small", "--methods"), "methods names none"),
        (("benchmark", "safe-small", "--seeds"), "seeds must hold one number at least"),
        (("benchmark", "safe-small", "--seeds", "-1"), "seeds must be at least 0"),
        (("benchmark", "safe-small", "--steps", "0"), "steps must be at least 1"),
        (("benchmark", "safe-small", "--margin", "nan"), "margin must be a finite number"),
        (("benchmark", "safe-small", "--out", "file/x"), "file is no folder"),
        (("evaluate", "RUN", "--episodes", "1" + "0" * 14), "their returns alone take"),
        (("evaluate", "RUN", "--seed", "-1"), "seed must be at least 0"),
        (("evaluate", "RUN", "--weights", "nan", "1"), "weights must be a finite number"),
        (("diagnose", "RUN", "--episodes", "0"), "episodes must be at least 1"),
        (("safety", "RUN", "--share", "1e-300"), "share must be 0 or 1.2e-38 in size at least"),
        (("safety", "RUN", "--share", "1e-30"), "share must be at least 1e-06"),
        (("safety", "RUN", "--confidence", "inf"), "confidence must be a finite number"),
        (("plot", "RUN", "--out", "file/x"), "file is no folder"),
        (("methods", "--json"), "takes no options"),
    ],
)
def test_other_commands_refuse_before_they_begin(
    words: tuple[str, ...], says: str, refuses: Refuses, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    before = contents(finished)
    assert says in refuses(*(str(finished) if word == "RUN" else word for word in words))
    assert contents(finished) == before and [path.name for path in tmp_path.iterdir()] == ["file"]


VALUES = (
    "0", "1", "2", "3", "0.5", "-1", "-0.1", "7", "1.0", "1e-3", "1e-320", "nan", "inf", "-inf", "1e23", "1e300",
    "100000000000000000000000", "1000000000000", "None", "x", "", "True", "time>=-6", "treasure>=1", "time<=-3", "cpu",
    "meta", "linear", "ppo", "deep-sea-treasure-v0", "no-such-env", "a=b=c", "--", "-", "0 0", "é", "runs/../x",
)  # fmt: skip


def drawn(chance: random.Random, finished: Path) -> list[str]:
    """A command with a few options of its own and values of all kinds."""
    command = chance.choices(("train", "evaluate", "safety", "diagnose", "plot", "benchmark"), (12, 2, 1, 1, 1, 2))[0]
    if command == "train":
        method = chance.choice(list(METHODS))
        own = [f"--{name.replace('_', '-')}" for name in leaves(METHODS[method]())]
        words = [command, method, *SEA]
        words += ["--limit", "time>=-20..-3" if "conditioned" in method else "time>=-6"] if "--limit" in own else []
        own += ["--threads", "--out", "--cost", "--quiet", "--lr"]
    else:
        own = [
            "--weights",
            "--minimum",
            "--episodes",
            "--seed",
            "--limit",
            "--share",
            "--policies",
            "--out",
            "--methods",
        ]
        words = [command, "safe-small" if command == "benchmark" else str(finished)]
    for option in chance.sample(own, chance.randint(1, 3)):
        words += [option, *(chance.choice(VALUES) for _ in range(chance.choice((1, 1, 1, 2, 0))))]
    return words


@pytest.fixture
def nothing_trains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Runs are built and their folders claimed, then they are interrupted; evaluations play few episodes."""

    def stop(*arguments: Any, **named: Any) -> NoReturn:
        raise Interrupted("stopped; nothing is trained here")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tradeoff.run.complete", stop)
    monkeypatch.setattr("tradeoff.benchmark.run_all", stop)
    yield


def check_many(count: int, seed: int, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every combination ends with 0, 2 or 130, without a traceback, and whoever is refused leaves nothing."""
    chance = random.Random(seed)
    codes = []
    for _ in range(count):
        words = drawn(chance, finished)
        before = sorted(tmp_path.rglob("*"))
        try:
            codes.append(main(words))
        except BaseException as error:
            raise AssertionError(f"tradeoff {' '.join(map(repr, words))}") from error
        said = capsys.readouterr().err
        assert codes[-1] in (0, 2, 130) and "Traceback" not in said, words
        if codes[-1] == 2:
            last = said.splitlines()[-1]
            assert last.startswith("tradeoff: ") and len(last) < 1500, (words, said)
            assert sorted(tmp_path.rglob("*")) == before, words
    assert {2, 130} <= {*codes}


def test_sixty_drawn_combinations_of_options(
    nothing_trains: None, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_many(60, 1, finished, tmp_path, capsys)


@pytest.mark.slow
def test_five_hundred_drawn_combinations_of_options(
    nothing_trains: None, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_many(500, 2, finished, tmp_path, capsys)
