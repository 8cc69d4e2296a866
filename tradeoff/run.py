"""A run and its folder: claimed, trained, interrupted, resumed, written."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tradeoff.engine.checkpoint import load_newest
from tradeoff.engine.run import Run, RunConfig, complete
from tradeoff.errors import BadInput, FolderTaken, as_bad_input, as_disk_full, check_place
from tradeoff.memory import check_memory
from tradeoff.metrics import Metrics, has_tensorboard
from tradeoff.results import Result, kind_in, kind_of
from tradeoff.settings import Settings, read_settings, write_settings

MOST_THREADS = 1024  # many more than any machine has cores for; tens of thousands bring the process down


def train(config: RunConfig, out: Path | str | None = None, *, threads: int = 1, quiet: bool = False) -> Result:
    """Run a method, leave everything in a run folder, and return the result: a front, or trained policies.

    Args:
        config: the method; `tradeoff.recommended` makes one.
        out: folder, new or empty; None: runs/<method>-<env>-<seed>.
        threads: of torch, for the whole process. Small networks run fastest on one.
        quiet: print nothing.

    Raises: BadInput, UnknownName, ScalarReward, MissingExtra, FolderTaken before anything starts; Interrupted after
    Ctrl-C; DiskFull; NumericalTrouble.
    """
    folder = default_folder(config) if out is None else Path(out)
    run = prepare(Settings(config, threads))
    claim(folder)
    with as_disk_full(folder):
        write_settings(folder, Settings(config, threads))
        return _finish(run, folder, quiet)


def resume(out: Path | str, *, quiet: bool = False) -> Result:
    """Go on with a run from its newest checkpoint; of a finished run, return the result.

    Raises: NotARun; BadInput for a config.json that is not as it was written; CheckpointError when no checkpoint is
    whole; and as `train`.
    """
    folder = Path(out)
    settings = read_settings(folder)
    if kind_in(folder) is not None:
        with as_disk_full(folder):
            return _finished(folder, settings.config, quiet)
    run = prepare(settings)
    if any(folder.glob("checkpoint-*.pt")):
        run.load_state_dict(load_newest(folder))
    say(quiet, f"going on with {settings.config.name} on {settings.config.env} at {run.total:,} steps")
    with as_disk_full(folder):
        return _finish(run, folder, quiet)


def default_folder(config: RunConfig) -> Path:
    """Where a run lies unless told otherwise."""
    return Path("runs") / f"{config.name}-{re.sub(r'[^a-zA-Z0-9_.=-]+', '-', config.env)}-{config.seed}"


def prepare(settings: Settings) -> Run:
    """Build all of a run without touching the disk, so that whatever is wrong is known before anything starts."""
    if not 1 <= settings.threads <= MOST_THREADS:
        raise BadInput(f"threads must lie between 1 and {MOST_THREADS}, got {settings.threads}")
    check_device(settings.config.device)
    check_memory(settings.config)
    torch.set_num_threads(settings.threads)
    with as_bad_input():
        return settings.config.start()


def check_device(device: str) -> None:
    """Raise BadInput for a device that is not here."""
    try:
        torch.ones(1, device=device).item()  # "meta" and the like hold no numbers
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"device {device!r} cannot be used ({str(error).splitlines()[0]}); cpu always can") from None


def claim(folder: Path) -> None:
    """Raise FolderTaken unless a folder is new or empty, and BadInput where none can be made."""
    check_place(folder)
    if (folder.is_dir() and not any(folder.iterdir())) or not folder.exists():
        return
    if (folder / "config.json").is_file():
        raise FolderTaken(
            f"{folder} already holds a run: `tradeoff resume {folder}` goes on with it, --out names another folder"
        )
    raise FolderTaken(f"{folder} exists and is not an empty folder; --out names another one")


def say(quiet: bool, text: str) -> None:
    """Print for a person."""
    if not quiet:
        print(text, flush=True)


def _finish(run: Run, folder: Path, quiet: bool) -> Result:
    if not has_tensorboard():
        say(quiet, "no TensorBoard events: pip install 'tradeoff-rl[tracking]' for them; metrics.csv has the numbers")
    metrics = Metrics(folder, run.columns)
    try:
        with stop_on_signals() as stop:
            result: Result = complete(run, folder, progress=not quiet, log=metrics, stop=stop)
    finally:
        metrics.close()
    kind = kind_of(result)
    kind.write(result, folder, run.config.horizon)
    say(quiet, kind.summary(result, folder))
    return result


def _finished(folder: Path, config: RunConfig, quiet: bool) -> Result:
    kind = kind_in(folder)
    assert kind is not None
    result = kind.load(folder)
    missing = [name for name in kind.files if not (folder / name).is_file()]
    if missing:
        kind.write(result, folder, config.horizon)
    again = f"; wrote {', '.join(missing)} again" if missing else ""
    say(quiet, f"{folder} is finished, nothing left to train{again}")
    return result


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C and SIGTERM ask for a stop after the current iteration; a second Ctrl-C stops at once.

    Yields a function that says whether a stop was asked for. Outside the main thread signals are left as they are.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        print("stopping after this iteration; once more stops at once", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
