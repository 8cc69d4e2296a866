"""Checkpoints: written whole, verified when read, loaded without executing code.

A file is one line of JSON (format, version, length, SHA-256), then tensors and plain values as `torch.save` has them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import torch
from torch import Tensor

from tradeoff.engine.files import CannotRead, cannot_write, read_whole, write_atomically
from tradeoff.envs.errors import TradeoffError

T = TypeVar("T")

FORMAT, VERSION = "tradeoff-checkpoint", 1
NAME = re.compile(r"checkpoint-(\d{1,20})\.pt")
KEPT = 2  # files: the newest and, should that be damaged, the one before


class CheckpointError(TradeoffError, ValueError):
    """A file that is not a checkpoint of this version, or not whole."""


def save(path: Path | str, state: dict[str, Any]) -> None:
    """Write a state of tensors, numbers, strings, lists, tuples and dicts to `path`, atomically.

    Equal states give equal bytes, whichever of their parts are one object in memory.
    """
    buffer = io.BytesIO()
    torch.save(_unshared(state, {}, set()), buffer)
    body = buffer.getvalue()
    head = {"format": FORMAT, "version": VERSION, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    write_atomically(path, json.dumps(head).encode() + b"\n" + body)


def _unshared(x: Any, words: dict[str, str], storages: set[int]) -> Any:
    """The same values, one object per string and one storage per tensor: pickles tell shared from equal parts."""
    if isinstance(x, str):
        return words.setdefault(x, x)
    if isinstance(x, dict):
        return {_unshared(key, words, storages): _unshared(value, words, storages) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        parts = [_unshared(value, words, storages) for value in x]
        return parts if isinstance(x, list) else tuple(parts)
    if isinstance(x, Tensor):
        storage = x.untyped_storage()
        if storage.nbytes() != x.nbytes or storage._cdata in storages:
            x = x.clone()
        storages.add(x.untyped_storage()._cdata)
    return x


def load(path: Path | str) -> dict[str, Any]:
    """Read what `save` wrote.

    Raises: CheckpointError when the file cannot be read, is truncated, altered, of another version or of another kind.
    """
    try:
        head_line, _, body = read_whole(path).partition(b"\n")
    except CannotRead as error:
        raise CheckpointError(str(error)) from None
    _check_head(path, head_line, body)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(io.BytesIO(body), weights_only=True)
    except UnpicklingError:
        raise CheckpointError(f"{path} holds more than tensors and plain values; it was not loaded") from None
    except Exception as error:  # a body that fits its checksum and is none of ours
        raise CheckpointError(f"{path} holds no state that can be read ({type(error).__name__})") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, expected a table of tensors and plain values")
    return state


def _check_head(path: Path | str, line: bytes, body: bytes) -> None:
    """Raise CheckpointError unless the first line of a file describes the rest."""
    try:
        head = json.loads(line)
        kind, version = head["format"], head["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError(f"{path} is not a checkpoint of this program") from None
    if kind != FORMAT or version != VERSION:
        raise CheckpointError(
            f"{path} is a {str(kind)[:40]} of version {str(version)[:40]}, this program reads version {VERSION}; "
            "resume with the release that wrote it, or train anew"
        )
    if len(body) != head.get("bytes") or hashlib.sha256(body).hexdigest() != head.get("sha256"):
        raise CheckpointError(
            f"{path} is damaged: its content does not match its checksum; remove it to go on from the one before"
        )


@contextmanager
def as_damage(what: object = "") -> Iterator[None]:
    """Turn what a state that does not fit raises where it is used into CheckpointError, whatever it is."""
    try:
        yield
    except TradeoffError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        said = " ".join(str(error).split())[:80]
        raise CheckpointError(f"{what} holds a state that does not fit ({type(error).__name__}: {said})") from error


def save_numbered(folder: Path | str, number: int, state: dict[str, Any]) -> Path:
    """Write checkpoint `number` of a run; of those before it, keep the newest KEPT - 1.

    A directory that lies at its path is renamed to a free name beside; other things there are replaced. What is no
    regular file, or is numbered higher, neither counts nor is removed: a state that could be used would have been.
    Raises: DiskFull, CannotWrite.
    """
    path = Path(folder) / f"checkpoint-{number:012d}.pt"
    if path.is_dir() and not path.is_symlink():
        _set_aside(path)
    save(path, state)
    before = [old for old in numbered(folder) if old.is_file() and _number(old) < number]
    for old in before[: len(before) - (KEPT - 1)]:
        with suppress(OSError):
            old.unlink(missing_ok=True)
    return path


def _set_aside(folder: Path) -> None:
    """Rename a directory that lies where a file belongs."""
    free = (folder.with_name(f"not-{folder.name}.{i}" if i else f"not-{folder.name}") for i in count())
    try:
        folder.rename(next(path for path in free if not os.path.lexists(path)))
    except OSError as error:
        raise cannot_write(folder, error) from error


def load_newest(folder: Path | str) -> dict[str, Any]:
    """The newest whole checkpoint of a run; warns when a newer one had to be passed over.

    Raises: CheckpointError when there is none.
    """
    return newest(folder, lambda state: state)


def newest(folder: Path | str, use: Callable[[dict[str, Any]], T]) -> T:
    """What `use` makes of the newest checkpoint that is whole; warns when a newer one had to be passed over.

    use: may raise CheckpointError for a state that it cannot use.
    Raises: CheckpointError when there is none.
    """
    failures: list[str] = []
    for path in reversed(numbered(folder)):
        try:
            made = use(load(path))
        except CheckpointError as error:
            failures.append(str(error) if str(path) in str(error) else f"{path}{error}")
            continue
        for failure in failures:
            warnings.warn(f"{failure}; going on from {path.name}", stacklevel=2)
        return made
    raise CheckpointError("; ".join(failures) or f"{folder} holds no checkpoint")


def numbered(folder: Path | str) -> list[Path]:
    """The paths of a run's checkpoints, whatever lies there, the oldest first."""
    return sorted((path for path in Path(folder).glob("checkpoint-*.pt") if NAME.fullmatch(path.name)), key=_number)


def _number(path: Path) -> int:
    found = NAME.fullmatch(path.name)
    assert found is not None
    return int(found[1])
