"""Sets of tasks with limits that methods are compared on."""

from __future__ import annotations

from typing import NamedTuple


class Task(NamedTuple):
    """An environment with its limits."""

    env: str
    limit: tuple[str, ...]  # as --limit reads them


BODIES = ("HalfCheetah", "Hopper", "Walker2d", "Ant", "Swimmer", "Humanoid")
AGENTS, AIMS = ("Point", "Car"), ("Goal", "Button", "Push", "Circle")

TABULAR = ("two-states", "paradox-same", "paradox-cycle", "grid", "random", "queue")
SMALL = ("resource-gathering", "four-room", "minecart", "server-queues")

SUITES: dict[str, tuple[Task, ...]] = {
    "safe-velocity": tuple(Task(f"Safety{body}Velocity-v1", ("25",)) for body in BODIES),
    "safe-navigation": tuple(Task(f"Safety{agent}{aim}1-v0", ()) for aim in AIMS for agent in AGENTS),
    "safe-tabular": tuple(Task(f"safe-{name}-v0", ()) for name in TABULAR),
    "safe-small": (
        *(Task(f"deep-sea-treasure{kind}-v0", ("time>=-6",)) for kind in ("", "-concave")),
        *(Task(f"safe-{name}-v0", ()) for name in SMALL),
    ),
}
"""Without limits an environment's own ones hold."""
