"""Files that are either whole or absent, and reading that ends whatever lies at a path."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from pathlib import Path

from tradeoff.envs.errors import TradeoffError

PART = re.compile(r"\..+\.(?P<pid>\d+)\.part.*")  # the name of a file that a process is writing
OLD_PART = re.compile(r"\.(checkpoint-\d+\.pt|\w+\.(pt|csv|json))\.\w{8}")  # as earlier releases named it


class DiskFull(TradeoffError, OSError):
    """There was no room to write; what stood there before is untouched."""


class CannotWrite(TradeoffError, OSError):
    """A path that cannot be written, for another reason than a full disk."""


class CannotRead(TradeoffError, OSError):
    """A path that is no regular file, or that may not be read."""


def write_atomically(path: Path | str, content: bytes) -> None:
    """Write `content` so that a reader, or a crash at any moment, finds the old file or the new one, never a part.

    Raises: DiskFull when there is no room, CannotWrite where nothing can be written; the old file stays.
    """
    path = Path(path)
    try:
        _write(path, content)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"no room left for {path} ({len(content)} bytes); what stood there is untouched: free some space, "
                "then resume"
            ) from error
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> CannotWrite:
    """What the operating system says of a path, and the way out."""
    found = CannotWrite(f"cannot write {path}: {error.strerror or error}; make it writable, or name another folder")
    found.errno = error.errno
    return found


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def read_whole(path: Path | str) -> bytes:
    """The content of a regular file. A pipe, a folder or a device is refused without waiting for it.

    Raises: CannotRead.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            if not stat.S_ISREG(mode := os.fstat(handle).st_mode):
                raise CannotRead(
                    f"{path} is no regular file but {_kind(mode)}; put the file back, or name another folder"
                )
            with open(handle, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(handle)
    except CannotRead:
        raise
    except OSError as error:
        nowhere = error.errno == errno.ENOENT and os.path.lexists(path)
        said = "it is a link that leads nowhere" if nowhere else error.strerror or error
        raise CannotRead(f"{path} cannot be read: {said}; put the file back, or name another folder") from error


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe (FIFO)", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def lies(path: Path) -> bool:
    """Whether anything lies at a path: a file, a folder, a pipe, a link that leads nowhere.

    Raises: OSError where that cannot be told.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def clear_parts(folder: Path) -> None:
    """Remove what killed processes had begun to write into a folder, but nothing that a living one writes."""
    for path in folder.glob(".*"):
        found = PART.fullmatch(path.name)
        if (found and not _alive(int(found["pid"]))) or (OLD_PART.fullmatch(path.name) and path.is_file()):
            try:
                path.unlink()
            except OSError:
                continue  # it harms nobody


def _alive(pid: int) -> bool:
    if os.name == "nt":  # asking a process there ends it
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return pid != os.getpid()  # nothing of our own is being written now


def _umask() -> int:
    """The permissions that new files go without; reading them means setting them for a moment."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
