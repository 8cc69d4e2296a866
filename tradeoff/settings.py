"""config.json: what a run was asked to do, written once and read strictly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from tradeoff.engine.files import CannotRead, lies, read_whole, write_atomically
from tradeoff.engine.run import RunConfig
from tradeoff.engine.unread import as_written
from tradeoff.envs.errors import UnknownName
from tradeoff.errors import BadInput, as_bad_input, not_a_run
from tradeoff.registry import METHODS

FILE, VERSION = "config.json", 2
KEYS = {"version", "method", "threads", "settings"}  # of version 1; the second adds those below
LATER = {"init", "history", "digest"}
CHANGEABLE = ("steps", "horizon", "evaluate_every", "episodes", "final_episodes")
"""Settings that `resume` can change: the learning before the change is as it would have been without."""


class Settings(NamedTuple):
    """All that a run's bytes depend on."""

    config: RunConfig
    threads: int  # of torch: sums differ in their last bits with another number
    init: dict[str, str] | None = None  # run whose policies it began with, and the digest of its file
    history: tuple[dict[str, Any], ...] = ()  # changes since: at which step, and settings before and after

    def record(self) -> dict[str, Any]:
        """As plain values, for files."""
        values = json.loads(json.dumps(asdict(self.config)))
        return {"method": self.config.name, "threads": self.threads, "settings": values, "init": self.init}

    def stages(self) -> Iterator[dict[str, Any]]:
        """`record` as it is now, and as it was before each change, the latest first."""
        record = self.record()
        yield record
        for change in reversed(self.history):
            record = record | {"settings": record["settings"] | change["before"]}
            yield record


def write_settings(folder: Path, settings: Settings) -> None:
    """Write config.json into a run folder."""
    record = {"version": VERSION, **settings.record(), "history": list(settings.history)}
    record["digest"] = digest(record)
    write_atomically(folder / FILE, (json.dumps(record, indent=2) + "\n").encode())


def digest(record: dict[str, Any]) -> str:
    """SHA-256 of everything in a record besides its own digest."""
    rest = {key: value for key, value in record.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_settings(folder: Path) -> Settings:
    """Read config.json. Raises NotARun without one; BadInput naming the key that is unknown, missing or ill-typed, or
    when it is not as it was written."""
    path = folder / FILE
    if not lies(path):
        raise not_a_run(folder)
    record = _parsed(path)
    version = record.get("version") if isinstance(record, dict) else None
    if version is not None and version not in (1, VERSION):
        raise BadInput(f"{path} has version {version!r}, this program reads {VERSION}; resume with its release")
    later = LATER if version == VERSION else set()
    check_keys(record, KEYS | later, str(path))
    if not isinstance(record["method"], str) or record["method"] not in METHODS:
        raise UnknownName("method", str(record["method"]), METHODS)
    kind, given = METHODS[record["method"]], record["settings"]
    with as_bad_input(), as_written():
        config = build(kind, kind.completed(given) if isinstance(given, dict) else given, f"{path}: settings")
        threads = read_value(int, record["threads"], f"{path}: threads")
    if later and record["digest"] != digest(record):
        raise BadInput(
            f"{path} was altered after the program wrote it; put the old one back (`tradeoff resume --steps`, "
            "--horizon, ... change settings), or train anew into another folder"
        )
    _check_past(record, path)
    return Settings(config, threads, record.get("init"), tuple(record.get("history", ())))


def _check_past(record: dict[str, Any], path: Path) -> None:
    """Raise BadInput unless what a record says of its run's beginning and changes can be."""
    init, history = record.get("init"), record.get("history", [])
    known = init is None or (isinstance(init, dict) and all(type(x) is str for x in init.values()))
    if not known or set(init or ()) - {"run", "sha256"}:
        raise BadInput(
            f"{path}: init is {str(init)[:80]}, expected null or a run and its sha256; put the old file back"
        )
    if not (isinstance(history, list) and all(map(_is_change, history))):
        raise BadInput(
            f"{path}: history is {str(history)[:80]}, expected changes of {', '.join(CHANGEABLE)}; put the old file "
            "back"
        )


def _is_change(entry: Any) -> bool:
    """Whether an entry of the history is a change that `resume` can have made."""
    if not isinstance(entry, dict) or set(entry) != {"at", "before", "after"} or type(entry["at"]) is not int:
        return False
    before, after = entry["before"], entry["after"]
    return isinstance(before, dict) and isinstance(after, dict) and set(before) == set(after) <= set(CHANGEABLE)


def _parsed(path: Path) -> Any:
    try:
        return json.loads(read_whole(path))
    except CannotRead as error:
        raise BadInput(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON ({str(error)[:80]}); train anew into another folder") from None


def check_belongs(settings: Settings, stamp: dict[str, Any] | None, folder: Path) -> dict[str, Any]:
    """The stage of a run in which a checkpoint was written, by the record that it carries.

    stamp: what `Settings.record` said then; None for files from before there were any: they are taken as they are.
    Raises: BadInput naming a setting in which the checkpoint is another run's.
    """
    stages = list(settings.stages())
    if stamp is None:
        return stages[-1]
    for stage in stages:
        if not differences(stamp, stage):
            return stage
    there, here = differences(stamp, stages[0])[0]
    raise BadInput(
        f"the checkpoints of {folder} belong to another run ({there}, {FILE} says {here}); put those of this run back, "
        "or train anew into another folder"
    )


def check_result(settings: Settings, stamp: dict[str, Any] | None, known: dict[str, Any], folder: Path) -> None:
    """Raise BadInput naming a setting in which the result of a folder is not that of its config.json.

    stamp: the record that the result carries; None where an older release wrote it: then `known` of its settings.
    """
    found = differences({"settings": known} if stamp is None else stamp, settings.record())
    if found:
        there, here = found[0]
        raise BadInput(
            f"the result in {folder} was trained with {there}, {FILE} says {here}; put the {FILE} of the run back, or "
            "train anew into another folder"
        )


def differences(stamp: dict[str, Any], stage: dict[str, Any], where: str = "") -> Sequence[tuple[str, str]]:
    """Pairs of what two records say, for every value of the first that the second does not have."""
    found: list[tuple[str, str]] = []
    for key, value in stamp.items():
        other = stage.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            found += differences(value, other, f"{where}{key}.")
        elif value != other:
            found.append((f"{where}{key} {value!r}", repr(other)))
    return found


def build(kind: type, values: Any, where: str) -> Any:
    """A dataclass from what `asdict` and JSON made of it; fields that are newer than a file have their defaults.

    Where older releases did something else than the default, `RunConfig.completed` has said so before.
    """
    known = fields(kind)
    usual = {f.name for f in known if f.default is not MISSING or f.default_factory is not MISSING}
    there = set(values) if isinstance(values, dict) else set()
    check_keys(values, {f.name for f in known} - (usual - there), where)
    hints = get_type_hints(kind)
    return kind(**{name: read_value(hints[name], value, f"{where}.{name}") for name, value in values.items()})


def check_keys(values: Any, expected: set[str], where: str) -> None:
    """Raise BadInput unless `values` is a dict with exactly the expected keys."""
    if not isinstance(values, dict):
        raise BadInput(f"{where} is {type(values).__name__}, expected a table of settings")
    wrong = [f"unknown {key!r}" for key in values if key not in expected]
    wrong += [f"missing {key!r}" for key in sorted(expected) if key not in values]
    if wrong:
        raise BadInput(f"{where}: {', '.join(wrong)}; resume with the release that wrote it, or train anew")


def read_value(hint: Any, value: Any, where: str) -> Any:
    """A JSON value as its type hint wants it: numbers, strings, None, tuples and dataclasses."""
    if is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    if get_origin(hint) is Literal and value in get_args(hint):
        return value
    for option in get_args(hint) if isinstance(hint, UnionType) else (hint,):
        if type(value) is option or (option is NoneType and value is None):
            return value
        if option is float and type(value) is int:
            return float(value)
        if get_origin(option) is tuple and isinstance(value, list):
            return tuple(read_value(get_args(option)[0], x, f"{where}[{i}]") for i, x in enumerate(value))
    known = f"one of {', '.join(map(str, get_args(hint)))}" if get_origin(hint) is Literal else None
    raise BadInput(f"{where} is {value!r}, expected {known or getattr(hint, '__name__', hint)}")
