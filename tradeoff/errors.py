"""What can be wrong with what a user hands to the program."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tradeoff.envs.errors import TradeoffError


class BadInput(TradeoffError, ValueError):
    """A value that no run can be made of."""


class NotARun(TradeoffError, FileNotFoundError):
    """A folder in which no run lies."""


class FolderTaken(TradeoffError, FileExistsError):
    """A folder that holds something already; nothing in it is touched."""


def check_place(path: Path, option: str = "--out") -> None:
    """Raise BadInput unless a folder can be made at a path, or written into where it is there already."""
    way_out = f"; {option} names another folder"
    for part in (path, *path.parents):
        try:
            part.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:  # names too long, a null byte
            raise BadInput(
                f"{str(path)[:100]!r} cannot be made ({getattr(error, 'strerror', error)}){way_out}"
            ) from None
        if part.is_dir():
            if os.access(part, os.W_OK | os.X_OK):
                return
            raise BadInput(f"{path} cannot be made: {part} is not writable{way_out}")
        what = "a link that leads nowhere" if part.is_symlink() and not part.exists() else "no folder"
        raise BadInput(f"{path} cannot be made: {part} is {what}{way_out}")


@contextmanager
def as_bad_input(about: str = "") -> Iterator[None]:
    """Turn a ValueError about what a user gave into BadInput, so that a ValueError elsewhere stays a bug.

    about: what the complaint begins with.
    """
    try:
        yield
    except TradeoffError:
        raise
    except ValueError as error:
        raise BadInput(f"{about}{error}") from error


@contextmanager
def as_disk_full(folder: Path) -> Iterator[None]:
    """Turn an operating system's "no space left" into DiskFull that names the way out."""
    from tradeoff.engine.files import DiskFull

    try:
        yield
    except TradeoffError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(f"no room left in {folder}; free some space, then `tradeoff resume {folder}`") from error


def check_run(folder: Path) -> None:
    """Raise NotARun for a folder that holds neither a run nor a result, before anything is loaded."""
    from tradeoff.engine.files import lies

    if not any(lies(folder / name) for name in ("config.json", "front.pt", "policies.pt")):
        raise not_a_run(folder)


def not_a_run(folder: Path) -> NotARun:
    """Name the runs that lie beside a folder that is none."""
    here = sorted(str(path.parent) for path in folder.parent.glob("*/config.json"))
    way_out = f"runs there: {', '.join(here[:5])}" if here else "`tradeoff train` makes one"
    return NotARun(f"{folder} is not a run folder (no config.json in it); {way_out}")
