"""The folder of a run: whose it is, one process at a time, and what finished runs leave behind when they go on."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tradeoff.engine.files import cannot_write, clear_parts
from tradeoff.engine.run import RunConfig
from tradeoff.errors import FolderTaken, check_place
from tradeoff.settings import FILE

LOCK = ".lock"  # file that is locked where folders cannot be; it may stay behind, and says nothing then


class Busy(FolderTaken):
    """Another process trains in the folder."""


def default_folder(config: RunConfig) -> Path:
    """Where a run lies unless told otherwise."""
    return Path("runs") / f"{config.name}-{re.sub(r'[^a-zA-Z0-9_.=-]+', '-', config.env)}-{config.seed}"


def claim(folder: Path) -> None:
    """Raise FolderTaken unless a folder is new or empty, and BadInput where none can be made."""
    check_place(folder)
    if (folder.is_dir() and all(path.name == LOCK for path in folder.iterdir())) or not folder.exists():
        return
    if (folder / FILE).is_file():
        raise FolderTaken(
            f"{folder} already holds a run: `tradeoff resume {folder}` goes on with it, --out names another folder"
        )
    raise FolderTaken(f"{folder} exists and is not an empty folder; --out names another one")


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold a folder, made where there is none, against other processes, and remove parts of files that a kill left.

    The lock is the operating system's, on the folder itself or, on Windows, on a file in it: it ends with the process,
    however that ends. Where there is no such lock (some network disks) nothing is held.
    Raises: Busy; CannotWrite where no folder can be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    let_go = _lock(folder)
    try:
        clear_parts(folder)
        yield
    finally:
        let_go()


_held: set[int] = set()  # locks of this process, which its children must not keep


def _lock(folder: Path) -> Callable[[], None]:
    """Lock a folder; what is returned lets it go."""
    try:
        import fcntl
    except ImportError:
        return _lock_file(folder)
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return lambda: None  # what is written there will say what is wrong
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise _busy(folder) from None
    except OSError:
        pass  # the disk knows no such lock
    _held.add(handle)

    def let_go() -> None:
        _held.discard(handle)
        os.close(handle)

    return let_go


def _lock_file(folder: Path) -> Callable[[], None]:
    """The same by a file, where folders cannot be opened (Windows)."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise _busy(folder) from None
    except (OSError, NotImplementedError):
        return lambda: None  # as above
    return lock.release


def _busy(folder: Path) -> Busy:
    return Busy(f"another process is training in {folder}; wait until it is done, or stop it, then resume")


def _let_go() -> None:
    """In a child: environments in processes of their own must not hold the folder of a parent that is gone."""
    for handle in _held:
        os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def set_aside(folder: Path, names: tuple[str, ...], steps: int) -> Path:
    """Move the results of a run that is to go on into a folder of their own, with its settings; the first name last.

    A kill on the way leaves a run that is finished or one that ends anew, with the same results.
    """
    target = folder / f"finished-{steps:012d}"
    try:
        target.mkdir(exist_ok=True)
        shutil.copyfile(folder / FILE, target / FILE)
        for name in reversed(names):
            if (folder / name).exists():
                os.replace(folder / name, target / name)
    except OSError as error:
        raise cannot_write(target, error) from error
    return target
