"""The README's Python, run as it stands with fewer steps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tradeoff.engine.trained import Trained
from tradeoff.envs import make
from tradeoff.morl import Front

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_readme_has_a_front_and_a_limit() -> None:
    assert len(SNIPPETS) == 2
    assert all("from tradeoff import recommended" in snippet for snippet in SNIPPETS)


@pytest.mark.parametrize("index", range(2))
def test_readme_python_runs(index: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200,000 steps find 15 units of treasure; the few of a test find the nearest unit."""
    monkeypatch.chdir(tmp_path)
    quick = SNIPPETS[index].replace("steps=200_000", "steps=12_000").replace("[15.0, None]", "[0.5, None]")
    assert quick.count("12_000") == 1
    names: dict[str, Any] = {"observation": make("deep-sea-treasure-v0").reset(seed=0)[0].numpy()}
    exec(quick, names)
    assert int(names["action"]) in range(4)
    kind, folder = ((Front, "my_front"), (Trained, "my_policies"))[index]
    assert kind.load(tmp_path / folder).env == "deep-sea-treasure-v0"
