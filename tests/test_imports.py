"""Arrows between the packages go one way, and nothing heavy is loaded before it is needed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
MAY_IMPORT = {
    "envs": set(),
    "evaluation": set(),
    "engine": {"envs"},
    "safe": {"engine", "evaluation", "envs"},
    "morl": {"engine", "evaluation", "safe", "envs"},
    "tradeoff": {"engine", "evaluation", "safe", "morl", "envs"},
}
HEAVY = ("wandb", "pygame", "matplotlib", "cvxpy", "mujoco", "plotly", "tensorboard")


def _package(module: str) -> str:
    """The folder that a module lies in: `tradeoff.envs.registry` in envs, `tradeoff.run` in tradeoff."""
    first, second = [*module.split("."), ""][:2]
    return second if first == "tradeoff" and second in MAY_IMPORT else first


def _arrows(source: str) -> set[str]:
    """Packages that a module imports, inside functions and type-checking blocks too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {_package(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            found |= {_package(f"{node.module}.{alias.name}") for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            first = node.args[0]
            text = first.values[0] if isinstance(first, ast.JoinedStr) else first
            if isinstance(text, ast.Constant):
                found.add(_package(str(text.value)))
    return found


def test_arrows_are_read_from_every_kind_of_import() -> None:
    source = "import a.b\nfrom c.d import e\ndef f():\n    import g\nimport_module('h.i')\nimport_module(f'j.{k}')"
    ours = "import tradeoff.envs.registry\nfrom tradeoff import morl\nfrom tradeoff.safe.duals import Gain"
    assert _arrows(source) == {"a", "c", "g", "h", "j"} and _arrows(ours) == {"envs", "morl", "safe"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package: str) -> None:
    files = sorted((HOUSE / package).rglob("*.py"))
    back = {
        f"{file.relative_to(HOUSE)} -> {arrow}"
        for file in files
        for arrow in _arrows(file.read_text()) & MAY_IMPORT.keys() - {package} - MAY_IMPORT[package]
    }
    assert len(files) > 0 and back == set()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_the_permitted_arrows_make_no_circle(package: str) -> None:
    seen, waiting = set(), [*MAY_IMPORT[package]]
    while waiting:
        seen.add(waiting[-1])
        waiting += MAY_IMPORT[waiting.pop()] - seen
    assert package not in seen and len(seen) == len(MAY_IMPORT[package])


def _fresh(code: str) -> str:
    """What a new interpreter prints, our packages on its path."""
    path = os.pathsep.join([str(HOUSE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_every_package_loads_nothing_heavy() -> None:
    code = "import sys\n"
    for package in MAY_IMPORT:
        module = package if package == "tradeoff" else f"tradeoff.{package}"
        code += f"import {module}\nprint('{package}', [m for m in {HEAVY} if m in sys.modules])\n"
    assert _fresh(code).splitlines() == [f"{package} []" for package in MAY_IMPORT]


def test_a_project_with_folders_of_the_same_names_imports_its_own(tmp_path: Path) -> None:
    for name in ("envs", "engine", "safe", "morl"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"WHOSE = 'mine: {name}'\n")
    (tmp_path / "evaluation.py").write_text("WHOSE = 'mine: evaluation'\n")
    (tmp_path / "script.py").write_text(
        "import engine, envs, evaluation, morl, safe\nfrom tradeoff import make, recommended\n"
        "from tradeoff.evaluation import front_page\nmake('fruit-tree-v0')\n"  # reads a file of its package
        "front_page([[1.0, 2.0]], ['a', 'b'], 'front.html')\n"
        "print(recommended('c-morl', 'deep-sea-treasure-v0').name, *(x.WHOSE[6:] for x in (envs, evaluation, safe)))\n"
    )
    path = os.pathsep.join([str(HOUSE), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, str(tmp_path / "script.py")]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, timeout=120
    )
    assert done.stdout.split() == ["c-morl", "envs", "evaluation", "safe"], done.stderr


@pytest.mark.slow
def test_importing_the_house_costs_little_more_than_torch() -> None:
    # Best of three each, taken in turns, seconds inside the interpreter.
    code = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    times: dict[str, list[float]] = {"torch": [], "tradeoff.morl": []}
    for _ in range(3):
        for name, taken in times.items():
            taken.append(float(_fresh(code.format(name))))
    assert min(times["tradeoff.morl"]) < 2.5 * min(times["torch"]), times
