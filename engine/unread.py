"""Options that a combination of others leaves without effect: refused where somebody chose them.

A value other than the default counts as chosen. Settings of runs that exist are taken as they are: what has no effect
does them no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import MISSING, Field, fields
from typing import Any

from gymnasium import spaces

from tradeoff.engine.features import make_features
from tradeoff.envs.protocol import EnvSpec

_existing = ContextVar("existing", default=False)


@contextmanager
def as_written() -> Iterator[None]:
    """Take the settings of a run that exists, those without effect included."""
    before = _existing.set(True)
    try:
        yield
    finally:
        _existing.reset(before)


def existing() -> bool:
    """Whether settings are those of a run that exists."""
    return _existing.get()


def refuse_unread(settings: Any, names: Sequence[str], why: str, way_out: str = "leave it out") -> None:
    """Raise ValueError for the first of a dataclass's fields `names` that is not at its default.

    why: what leaves it without effect; fields that the class does not have are passed over.
    """
    if existing():
        return
    for f in fields(settings):
        value = getattr(settings, f.name)
        if f.name in names and value != default(f):
            raise ValueError(f"{f.name} {value!r} has no effect: {why}; {way_out}")


def default(f: Field[Any]) -> Any:
    """What a field is where nobody says anything."""
    return f.default if f.default_factory is MISSING else f.default_factory()


def refuse_unread_on(spec: EnvSpec, learner: Any) -> None:
    """Raise ValueError for settings of a learner that neither the actions nor the observations of `spec` read."""
    aims = hasattr(learner, "choice_entropy")  # at entropies, one for numbers and one for choices
    if isinstance(spec.action_space, spaces.Box):
        refuse_unread(learner, ["choice_entropy"], f"the actions of {spec.id} are numbers", "give entropy instead")
    elif aims:
        refuse_unread(learner, ["entropy"], f"the actions of {spec.id} are choices", "give choice_entropy instead")
    else:
        why = f"the actions of {spec.id} are choices, without standard deviation or bounds"
        refuse_unread(learner, ["squash", "spread", "calm"], why)
    if make_features(spec.observation_space, spec.near).one_hot:
        refuse_unread(learner, ["normalise"], f"the observations of {spec.id} are choices, coded one-hot")
