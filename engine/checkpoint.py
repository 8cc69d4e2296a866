"""Checkpoints: written whole, verified when read, loaded without executing code.

A file is one line of JSON (format, version, length, SHA-256), then tensors and plain values as `torch.save` has them.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from tradeoff.engine.files import write_atomically
from tradeoff.envs.errors import TradeoffError

FORMAT, VERSION = "tradeoff-checkpoint", 1
KEPT = 2  # files: the newest and, should that be damaged, the one before


class CheckpointError(TradeoffError, ValueError):
    """A file that is not a checkpoint of this version, or not whole."""


def save(path: Path | str, state: dict[str, Any]) -> None:
    """Write a state of tensors, numbers, strings, lists, tuples and dicts to `path`, atomically."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    body = buffer.getvalue()
    head = {"format": FORMAT, "version": VERSION, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    write_atomically(path, json.dumps(head).encode() + b"\n" + body)


def load(path: Path | str) -> dict[str, Any]:
    """Read what `save` wrote.

    Raises: CheckpointError when the file is truncated, altered, of another version or of another kind.
    """
    head_line, _, body = Path(path).read_bytes().partition(b"\n")
    try:
        head = json.loads(head_line)
        kind, version = head["format"], head["version"]
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path} is not a checkpoint of this program") from None
    if kind != FORMAT or version != VERSION:
        raise CheckpointError(
            f"{path} is a {kind} of version {version}, this program reads version {VERSION}; "
            "resume with the release that wrote it, or train anew"
        )
    if len(body) != head.get("bytes") or hashlib.sha256(body).hexdigest() != head.get("sha256"):
        raise CheckpointError(
            f"{path} is damaged: its content does not match its checksum; remove it to go on from the one before"
        )
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(body), weights_only=True)
    except UnpicklingError:
        raise CheckpointError(f"{path} holds more than tensors and plain values; it was not loaded") from None
    return state


def save_numbered(folder: Path | str, number: int, state: dict[str, Any]) -> Path:
    """Write checkpoint `number` of a run and remove all but the newest KEPT."""
    path = Path(folder) / f"checkpoint-{number:012d}.pt"
    save(path, state)
    for old in _numbered(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def load_newest(folder: Path | str) -> dict[str, Any]:
    """The newest whole checkpoint of a run; warns when a newer one had to be passed over.

    Raises: CheckpointError when there is none.
    """
    failures: list[str] = []
    for path in reversed(_numbered(folder)):
        try:
            state = load(path)
        except CheckpointError as error:
            failures.append(str(error))
            continue
        for failure in failures:
            warnings.warn(f"{failure}; going on from {path.name}", stacklevel=2)
        return state
    raise CheckpointError("; ".join(failures) or f"{folder} holds no checkpoint")


def _numbered(folder: Path | str) -> list[Path]:
    return sorted(Path(folder).glob("checkpoint-*.pt"))
