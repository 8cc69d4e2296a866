"""config.json: what a run was asked to do, written once and read strictly."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from tradeoff.engine.run import RunConfig
from tradeoff.envs.errors import UnknownName
from tradeoff.errors import BadInput, as_bad_input, not_a_run
from tradeoff.registry import METHODS

FILE, VERSION = "config.json", 1
KEYS = {"version", "method", "threads", "settings"}


class Settings(NamedTuple):
    """All that a run's bytes depend on."""

    config: RunConfig
    threads: int  # of torch: sums differ in their last bits with another number


def write_settings(folder: Path, settings: Settings) -> None:
    """Write config.json into a run folder."""
    from tradeoff.engine.files import write_atomically

    config = settings.config
    record = {"version": VERSION, "method": config.name, "threads": settings.threads, "settings": asdict(config)}
    write_atomically(folder / FILE, (json.dumps(record, indent=2) + "\n").encode())


def read_settings(folder: Path) -> Settings:
    """Read config.json. Raises NotARun without one; BadInput naming the key that is unknown, missing or ill-typed."""
    path = folder / FILE
    if not path.is_file():
        raise not_a_run(folder)
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise BadInput(f"{path} is not JSON ({error}); train anew into another folder") from None
    check_keys(record, KEYS, str(path))
    if record["version"] != VERSION:
        raise BadInput(
            f"{path} has version {record['version']!r}, this program reads {VERSION}; resume with its release"
        )
    if not isinstance(record["method"], str) or record["method"] not in METHODS:
        raise UnknownName("method", str(record["method"]), METHODS)
    kind, given = METHODS[record["method"]], record["settings"]
    with as_bad_input():
        config = build(kind, kind.completed(given) if isinstance(given, dict) else given, f"{path}: settings")
        return Settings(config, read_value(int, record["threads"], f"{path}: threads"))


def build(kind: type, values: Any, where: str) -> Any:
    """A dataclass from what `asdict` and JSON made of it; every field must be there, and no other.

    What older releases did not write is in the class's `BEFORE`: the setting that says what they did.
    """
    if isinstance(values, dict):
        values = {**getattr(kind, "BEFORE", {}), **values}
    check_keys(values, {f.name for f in fields(kind)}, where)
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
