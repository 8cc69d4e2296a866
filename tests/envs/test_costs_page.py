"""The page on environments with costs does what it says."""

from __future__ import annotations

import re
from pathlib import Path

from tradeoff.envs import registry

PAGE = Path(__file__).parents[2] / "docs" / "adding_an_environment.md"


def test_the_snippets_run_as_they_stand() -> None:
    """Each asserts its own numbers; they build on one another, as a reader would type them."""
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(snippets) == 5 and sum(text.count("assert") for text in snippets) >= 8
    try:
        exec("\n".join(snippets), {"__name__": "page"})
        assert registry._own.keys() >= {"kiln-v0", "guarded-v0"}
    finally:
        for id in ("kiln-v0", "guarded-v0"):
            registry._own.pop(id, None)
