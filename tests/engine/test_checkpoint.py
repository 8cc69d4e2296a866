"""Checkpoints survive whatever happens to files."""

from __future__ import annotations

import builtins
import errno
import hashlib
import io
import json
import os
from pathlib import Path

import pytest
import torch

from tradeoff.engine import checkpoint
from tradeoff.engine.checkpoint import CheckpointError
from tradeoff.engine.files import DiskFull, write_atomically
from tradeoff.envs.errors import TradeoffError

STATE = {
    "theta": torch.arange(6, dtype=torch.float64).view(2, 3) / 7,
    "flags": torch.tensor([True, False]),
    "steps": 12,
    "names": ("up", ["down", None]),
    "nested": {"rate": 0.1, "bits": torch.arange(3, dtype=torch.uint8)},
}


def _same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    return a == b


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "x.pt"
    checkpoint.save(path, STATE)
    assert _same(checkpoint.load(path), STATE)
    assert [p.name for p in path.parent.iterdir()] == ["x.pt"], "no litter"


@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "x.pt"
    checkpoint.save(path, STATE)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(CheckpointError, match="not a checkpoint" if keep < 0.1 else "damaged"):
        checkpoint.load(path)


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    checkpoint.save(path, STATE)
    content = path.read_bytes()
    start = content.index(b"\n") + 1
    refused = 0
    for place in range(start, len(content), 37):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(CheckpointError, match="checksum"):
            checkpoint.load(path)
        refused += 1
    assert refused == len(range(start, len(content), 37)) > 50


def _with_head(path: Path, body: bytes, **changes: object) -> None:
    head = {"format": "tradeoff-checkpoint", "version": 1, "bytes": len(body)}
    head |= {"sha256": hashlib.sha256(body).hexdigest()} | changes
    path.write_bytes(json.dumps(head).encode() + b"\n" + body)


def test_another_version_or_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(STATE, buffer)
    _with_head(tmp_path / "x.pt", buffer.getvalue())
    assert checkpoint.load(tmp_path / "x.pt")["steps"] == 12, "the layout of a file is as documented"
    _with_head(tmp_path / "x.pt", buffer.getvalue(), version=7)
    with pytest.raises(CheckpointError, match=r"of version 7, this program reads version 1; resume with the release"):
        checkpoint.load(tmp_path / "x.pt")
    _with_head(tmp_path / "x.pt", buffer.getvalue(), format="recipe")
    with pytest.raises(CheckpointError, match="is a recipe"):
        checkpoint.load(tmp_path / "x.pt")
    _with_head(tmp_path / "x.pt", buffer.getvalue(), bytes=len(buffer.getvalue()) - 1)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "content", [b"", b"hello\nworld", b"[1, 2]\n", b"3\n", b'{"format": "x"}\n', b"\xff\xfe\n", b"{}"]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.pt is not a checkpoint") as caught:
        checkpoint.load(path)
    assert isinstance(caught.value, TradeoffError) and isinstance(caught.value, ValueError)


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return builtins.open, (str(self.target), "w")


def test_code_in_a_checkpoint_is_not_executed(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "x.pt", {"innocent": 1, "bomb": _Bomb(tmp_path / "boom")})
    with pytest.raises(CheckpointError, match="more than tensors and plain values"):
        checkpoint.load(tmp_path / "x.pt")
    assert len(list(tmp_path.iterdir())) == 1


def test_the_two_newest_are_kept_and_damage_falls_back_with_a_warning(tmp_path: Path) -> None:
    for number in (1, 2, 30):
        checkpoint.save_numbered(tmp_path, number, {"number": number})
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["checkpoint-000000000002.pt", "checkpoint-000000000030.pt"]
    assert checkpoint.load_newest(tmp_path) == {"number": 30}
    newest = tmp_path / names[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=r"030\.pt is damaged.*going on from checkpoint-000000000002\.pt"):
        assert checkpoint.load_newest(tmp_path) == {"number": 2}
    (tmp_path / names[0]).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"030\.pt is damaged.*002\.pt is not a checkpoint"):
        checkpoint.load_newest(tmp_path)


def test_what_is_no_checkpoint_of_the_run_costs_none(tmp_path: Path) -> None:
    """Other names, folders in place of an older and of a later one, and a file with a higher number."""
    for name in ("checkpoint-notes.pt", "checkpoint-000000000003.pt", "checkpoint-000000000009.pt"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-000000000010.pt").write_bytes(b"none")
    for number in (1, 2, 4, 9):
        checkpoint.save_numbered(tmp_path, number, {"number": number})
        whole = [x for x in (1, 2, 4, 9) if x <= number][-2:]
        assert [p.name for p in checkpoint.numbered(tmp_path) if p.is_file()] == [
            f"checkpoint-{x:012d}.pt" for x in (*whole, 10)
        ]
    with pytest.warns(UserWarning, match=r"0010\.pt is not a checkpoint.*going on from checkpoint-000000000009\.pt"):
        assert checkpoint.load_newest(tmp_path) == {"number": 9}
    assert (tmp_path / "not-checkpoint-000000000009.pt").is_dir()


def test_checkpoints_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10**12 - 1, 10**12, 2 * 10**12):  # the last two have a digit more than the others
        checkpoint.save_numbered(tmp_path, number, {"number": number})
    assert checkpoint.load_newest(tmp_path) == {"number": 2 * 10**12}
    assert len(checkpoint.numbered(tmp_path)) == 2


def test_a_folder_without_checkpoints_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        checkpoint.load_newest(tmp_path)


def test_a_crash_before_the_last_moment_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "x.pt", []
    write_atomically(path, b"old")

    def crash(source: str, target: Path) -> None:
        seen.append((Path(source).read_bytes(), Path(source).parent, Path(target).read_bytes()))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new, and longer")
    # At the moment of the crash the new content stood complete under another name in the same folder.
    assert seen == [(b"new, and longer", tmp_path, b"old")]
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_and_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    path = tmp_path / "x.pt"
    checkpoint.save(path, {"number": 1})

    def full(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match=r"no room left for .*x\.pt \(5 bytes\).*free some space") as caught:
        write_atomically(path, b"12345")
    assert isinstance(caught.value, OSError) and isinstance(caught.value, TradeoffError)
    assert checkpoint.load(path) == {"number": 1} and len(list(tmp_path.iterdir())) == 1


def test_other_trouble_of_the_disk_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(handle: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="broken") as caught:
        write_atomically(tmp_path / "x.pt", b"new")
    assert caught.value.errno == errno.EIO and not isinstance(caught.value, DiskFull)
    assert list(tmp_path.iterdir()) == []
