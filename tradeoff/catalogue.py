"""What there is to choose from: environments."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from tradeoff.envs import list_environments, make
from tradeoff.envs.errors import MissingExtra, UnknownName
from tradeoff.morl.truth import EXACT, PUBLISHED

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


def environments(pattern: str = "") -> list[dict[str, Any]]:
    """A row per environment whose id contains `pattern`.

    Raises: UnknownName with near matches when there is none.
    """
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # originals that draw look for a screen and a sound card
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    listed = list_environments()
    found = [entry for entry in listed if pattern.lower() in entry.id.lower()]
    if not found:
        raise UnknownName("environment", pattern, (entry.id for entry in listed), "`tradeoff envs` lists all")
    return [{"id": entry.id, "backend": entry.backend, **_details(entry.id)} for entry in found]


def _details(id: str) -> dict[str, Any]:
    try:
        with warnings.catch_warnings(action="ignore"):
            env = make(id)
    except MissingExtra as error:
        return {"problem": str(error)}
    except Exception as error:  # an original that does not start must not hide the others
        return {"problem": f"does not start here: {type(error).__name__}: {' '.join(str(error).split())[:80]}"}
    spec = env.spec
    env.close()
    known = "exact" if id in EXACT else "published" if id in PUBLISHED else None
    return {
        "objectives": list(spec.objectives), "costs": list(spec.costs), "discount": spec.discount,
        "horizon": spec.horizon, "reference_point": spec.reference_point and list(spec.reference_point),
        "known_front": known,
    }  # fmt: skip


def environment_table(rows: list[dict[str, Any]]) -> Table:
    """The rows of `environments` for a person."""
    from rich.table import Table

    table = Table("environment", "objectives", "backend", "reference point", "known front", title="environments")
    for row in rows:
        if "problem" in row:
            table.add_row(*plain(row["id"], row["problem"], row["backend"], "", ""))
            continue
        reference = row["reference_point"]
        shown = "from random actions" if reference is None else ", ".join(f"{x:g}" for x in reference)
        cells = row["id"], ", ".join(row["objectives"]), row["backend"], shown, row["known_front"] or ""
        table.add_row(*plain(*cells))
    return table


def plain(*texts: str) -> list[Text]:
    """Cells whose brackets are brackets, not markup."""
    from rich.text import Text

    return [Text(text) for text in texts]
