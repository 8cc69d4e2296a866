"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from tradeoff.envs.errors import TradeoffError


class DiskFull(TradeoffError, OSError):
    """There was no room to write; what stood there before is untouched."""


def write_atomically(path: Path | str, content: bytes) -> None:
    """Write `content` so that a reader, or a crash at any moment, finds the old file or the new one, never a part.

    Raises: DiskFull when there is no room; the old file stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"no room left for {path} ({len(content)} bytes); what stood there is untouched: free some space, "
                "then resume"
            ) from error
        raise
    finally:
        Path(name).unlink(missing_ok=True)


def _umask() -> int:
    """The permissions that new files go without; reading them means setting them for a moment."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
