"""A run and its folder: claimed, trained, interrupted, resumed, trained further, written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tradeoff.engine.checkpoint import as_damage, newest, numbered, save_numbered
from tradeoff.engine.files import write_atomically
from tradeoff.engine.run import Run, RunConfig, complete
from tradeoff.engine.unread import as_written
from tradeoff.envs.errors import UserCodeFailed
from tradeoff.errors import BadInput, as_bad_input, as_disk_full
from tradeoff.folder import claim, default_folder, owned, set_aside
from tradeoff.memory import check_memory
from tradeoff.metrics import Metrics, has_tensorboard
from tradeoff.results import Result, kind_in, kind_of, opened
from tradeoff.settings import Settings, check_belongs, read_settings, write_settings
from tradeoff.signals import stop_on_signals
from tradeoff.start import adopt, origin
from tradeoff.trust import check_trusted

LOG = "error.log"

MOST_THREADS = 1024  # many more than any machine has cores for; tens of thousands bring the process down


def train(
    config: RunConfig,
    out: Path | str | None = None,
    *,
    threads: int = 1,
    quiet: bool = False,
    init: Path | str | None = None,
) -> Result:
    """Run a method, leave everything in a run folder, and return the result: a front, or trained policies.

    Args:
        config: the method; `tradeoff.recommended` makes one.
        out: folder, new or empty; None: runs/<method>-<env>-<seed>.
        threads: of torch, for the whole process. Small networks run fastest on one.
        quiet: print nothing.
        init: folder of a finished run whose policies are the first ones; see `tradeoff.start.adopt`.

    Raises: BadInput, UnknownName, ScalarReward, MissingExtra, FolderTaken before anything starts; Interrupted after
    Ctrl-C; DiskFull; NumericalTrouble; UserCodeFailed, whose traceback is left in error.log
    once there is a folder.
    """
    folder = default_folder(config) if out is None else Path(out)
    settings = Settings(config, threads, None if init is None else origin(Path(init)))
    run = prepare(settings)
    if init is not None:
        adopt(run, Path(init))
    claim(folder)
    with as_disk_full(folder), owned(folder):
        claim(folder)  # nobody else came first
        write_settings(folder, settings)
        if init is not None:  # so that going on does not need the other run
            run.rest()
            save_numbered(folder, run.total, run.state_dict() | _stamp(settings))
        with _logged(folder):
            run.warn_endless()
        return _finish(run, folder, quiet, settings)


def resume(out: Path | str, *, quiet: bool = False, trust_code: bool = False, **changes: Any) -> Result:
    """Go on with a run from its newest checkpoint; of a finished run without changes, return the result.

    Args:
        trust_code: let a config.json that names code (`module:name`) import and run it.
        changes: new values of `settings.CHANGEABLE`. The results of a finished run are moved to finished-<steps>
            within its folder, and the run goes on from its last checkpoint.

    Raises: NotARun; BadInput for a config.json that is not as it was written, or changes that do not fit;
    CheckpointError when no checkpoint is whole; Busy while another process trains there; and as `train`.
    """
    folder = Path(out)
    read_settings(folder)
    with as_disk_full(folder), owned(folder):
        settings = read_settings(folder)
        check_trusted(settings.config.env, trust_code, folder)
        kind, before = kind_in(folder), {name: getattr(settings.config, name) for name in changes}
        changes = {name: value for name, value in changes.items() if value != before[name]}
        if kind is not None and not changes:
            return _finished(folder, settings.config, quiet)
        changed = settings
        if changes:
            with as_bad_input(), as_written():
                changed = settings._replace(config=replace(settings.config, **changes))
        with _logged(folder):
            run, metrics = restored(changed, settings, folder)
        if changes:
            changed = _change(run, folder, settings, changed, changes)
        say(quiet, f"going on with {changed.config.name} on {changed.config.env} at {run.total:,} steps")
        return _finish(run, folder, quiet, changed, metrics)


def prepare(settings: Settings, *, budget: bool = True) -> Run:
    """Build all of a run without touching the disk, so that whatever is wrong is known before anything starts.

    budget: whether its steps must suffice; False where it goes on from a checkpoint.
    """
    if not 1 <= settings.threads <= MOST_THREADS:
        raise BadInput(f"threads must lie between 1 and {MOST_THREADS}, got {settings.threads}")
    check_device(settings.config.device)
    check_memory(settings.config)
    torch.set_num_threads(settings.threads)
    with as_bad_input():
        run = settings.config.start()
        if budget:
            run.check_budget()
    return run


def restored(wanted: Settings, written: Settings, folder: Path) -> tuple[Run, dict[str, Any] | None]:
    """A run as its newest checkpoint left it, and what that says of metrics.csv; a fresh one where there is none.

    wanted: the settings to go on with. written: those of config.json, to which checkpoints must belong.
    Raises: BadInput for the checkpoint of another run; CheckpointError when none can be used.
    """
    if not numbered(folder):
        with as_written():
            return prepare(wanted), None

    def load(state: dict[str, Any]) -> tuple[Run, dict[str, Any] | None]:
        stage = check_belongs(written, state.get("settings"), folder)
        with as_written():
            run = prepare(wanted, budget=False)
        with as_damage():
            _load(run, state)
        if stage["settings"]["horizon"] != wanted.config.horizon:
            run.restart(run.draw_seed())
        return run, state.get("metrics")

    return newest(folder, load)


def _load(run: Run, state: dict[str, Any]) -> None:
    """Run.load_state_dict. Raises ValueError for policies of another shape, or with numbers that are not finite."""
    learner: Any = getattr(run, "learner", None)
    shape = None if learner is None else learner.population.theta.shape[1:]
    run.load_state_dict(state)
    counts = [run.iteration, *run.steps.values()]
    if not (all(type(x) is int for x in counts) and all(isinstance(row, dict) for row in run.history)):
        raise ValueError("counts or a history that are none")
    people = getattr(getattr(run, "learner", None), "population", None)
    if people is None:
        return
    if shape not in (None, people.theta.shape[1:]):
        raise ValueError(f"parameters {tuple(people.theta.shape)} where {tuple(shape)} are expected per policy")
    if not all(bool(torch.isfinite(x).all()) for x in (people.theta, *people.observations, *people.returns)):
        raise ValueError("parameters or normalisers that are not finite")


def _change(run: Run, folder: Path, old: Settings, new: Settings, changes: dict[str, Any]) -> Settings:
    """Note changed settings in config.json, once the results they outdate are out of the way."""
    if "steps" in changes:
        with as_bad_input():
            run.check_budget()
    before = {name: getattr(old.config, name) for name in changes}
    change = {"at": run.total, "before": before, "after": changes}
    kind = kind_in(folder)
    if kind is not None:
        result, _ = opened(folder, kind)
        set_aside(folder, kind.files_of(result), run.total)
    new = new._replace(history=(*old.history, change))
    write_settings(folder, new)
    return new


def check_device(device: str) -> None:
    """Raise BadInput for a device that is not here."""
    try:
        torch.ones(1, device=device).item()  # "meta" and the like hold no numbers
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"device {device!r} cannot be used ({str(error).splitlines()[0]}); cpu always can") from None


def say(quiet: bool, text: str) -> None:
    """Print for a person."""
    if not quiet:
        print(text, flush=True)


def _finish(run: Run, folder: Path, quiet: bool, settings: Settings, expected: dict[str, Any] | None = None) -> Result:
    if not has_tensorboard():
        say(quiet, "no TensorBoard events: pip install 'tradeoff-rl[tracking]' for them; metrics.csv has the numbers")
    metrics = Metrics(folder, run.columns, expected=expected)
    try:
        with _logged(folder), stop_on_signals() as stop:
            result: Result = complete(
                run, folder, progress=not quiet, log=metrics, stop=stop,
                stamp=lambda: {**_stamp(settings), "metrics": metrics.stamp()},
            )  # fmt: skip
    finally:
        metrics.close()
    kind, result.settings = kind_of(result), settings.record()
    kind.write(result, folder, run.config.horizon)
    say(quiet, kind.summary(result, folder))
    return result


def _stamp(settings: Settings) -> dict[str, Any]:
    """By what a checkpoint is known to belong to a run."""
    return {"settings": settings.record()}


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Leave the traceback of a user's own code in the folder, where the line on the screen says so."""
    with suppress(OSError):  # what is no file there stays, and the traceback lies elsewhere
        (folder / LOG).unlink(missing_ok=True)
    try:
        yield
    except UserCodeFailed as error:
        with suppress(OSError):
            write_atomically(folder / LOG, error.traceback.encode())
            error.logged(folder / LOG)
        raise


def _finished(folder: Path, config: RunConfig, quiet: bool) -> Result:
    kind = kind_in(folder)
    assert kind is not None
    result, _ = opened(folder, kind)
    missing = kind.missing(result, folder)
    if missing:
        kind.write(result, folder, config.horizon)
    again = f"; wrote {', '.join(missing)} again" if missing else ""
    say(quiet, f"{folder} is finished, nothing left to train{again}")
    return result
