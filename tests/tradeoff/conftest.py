"""A small finished run, trained once, and helpers to call the program as a user does."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tradeoff.cli import main

SMALL = [
    *("--env", "deep-sea-treasure-v0", "--steps", "5500", "--seed", "3", "--policies", "3", "--environments", "4"),
    *("--evaluate-every", "3", "--extension-iterations", "4", "--select", "2", "--extension", "0.4", "--episodes", "1"),
    *("--rollout-steps", "32", "--epochs", "4", "--minibatches", "4", "--learning-rate", "0.002", "--entropy", "0.05"),
]
"""Twelve iterations, from the ninth on in stage 2; evaluations, and with them checkpoints, at least every third."""
RESULTS = ("config.json", "front.csv", "indicators.json", "metrics.csv")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The program sets torch's threads; later tests get theirs back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of SMALL, trained without interruption. Read only: see `copied`."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["train", "c-morl", *SMALL, "--out", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


Refuses = Callable[..., str]


@pytest.fixture
def refuses(capsys: pytest.CaptureFixture[str]) -> Refuses:
    """Call the program and return its complaint, having checked exit code 2, one line, and no traceback."""

    def call(*words: object) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and err.startswith("tradeoff: ")
        return err

    return call


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def assert_same_results(a: Path, b: Path) -> None:
    """The files that an interruption must not change are equal byte for byte."""
    for name in RESULTS:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def leaves(config: Any) -> list[str]:
    """Names of all fields, those of nested settings included."""
    nested = ((f.name, getattr(config, f.name)) for f in fields(config))
    return [name for key, value in nested for name in (leaves(value) if is_dataclass(value) else [key])]
