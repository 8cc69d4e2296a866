"""Files that name code: nothing in a run folder is imported unless the user says that it may be."""

from __future__ import annotations

from pathlib import Path

from tradeoff.envs.gymnasium_costs import split_costs
from tradeoff.envs.registry import registered
from tradeoff.errors import BadInput


class Untrusted(BadInput):
    """A run folder names code that would be imported and run."""


def code_in(env: str) -> list[str]:
    """What an environment's id would import: `module:name` of itself and of its costs; nothing for registered ids."""
    if registered(env):
        return []
    plain, costs = split_costs(env) if "?" in env else (env, ())
    named = [] if registered(plain) else [plain]
    return [text for text in (*named, *(cost.rpartition("=")[2] for cost in costs)) if ":" in text]


def check_trusted(env: str, trust_code: bool, folder: Path) -> None:
    """Raise Untrusted where the environment that a run folder names would import code, unless that is trusted.

    Ids that are registered, by gymnasium, its plugins or `register`, import nothing unasked.
    """
    code = [] if trust_code else code_in(env)
    if code:
        raise Untrusted(
            f"{folder} wants the code {', '.join(code)} imported and run; where you trust whoever wrote the folder, "
            "add --trust-code"
        )
