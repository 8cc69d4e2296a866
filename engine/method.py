"""Methods that are a base with the settings of one solver or rule: their config classes, made from a table."""

from __future__ import annotations

from dataclasses import field, fields, make_dataclass
from importlib import import_module
from typing import Any, TypeVar

from tradeoff.engine.run import RunConfig

C = TypeVar("C", bound=RunConfig)


def method_class(base: type[C], name: str, part: str, settings: Any, *more: tuple[str, Any, Any]) -> type[C]:
    """A config class like `base` whose field `part` holds `settings`, which also says what the method does.

    Args:
        base: its module lists the class in METHODS under `name`; pickles find it there.
        part: "solver" or "rule".
        settings: the dataclass of that field.
        more: further fields, (name, type, `dataclasses.field`).
    """
    about = {
        "name": name, "__doc__": settings.__doc__, "__module__": base.__module__, "__reduce__": _reduced,
        "__qualname__": base.__qualname__,  # help looks there for what stands beside the fields
    }  # fmt: skip
    own = (part, settings, field(default_factory=settings))
    return make_dataclass(
        f"{settings.__name__}{base.__name__}", [own, *more], bases=(base,), frozen=True, kw_only=True, namespace=about
    )


def _reduced(config: Any) -> tuple[Any, ...]:
    return _rebuilt, (config.__module__, config.name, {f.name: getattr(config, f.name) for f in fields(config)})


def _rebuilt(module: str, name: str, values: dict[str, Any]) -> Any:
    return import_module(module).METHODS[name](**values)
