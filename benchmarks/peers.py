"""Makes the peers' own virtual environment, once; again when the pins below change.

The peers ask for packages that clash with nothing here but that nobody else needs, and for one that only builds with a
compiler; MOPPO and Envelope import none of the latter, so morl-baselines goes in without its dependencies.
"""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

PINS = (
    "torch==2.13.0", "numpy==2.4.6", "scipy==1.17.1", "gymnasium==1.4.0", "mo-gymnasium==1.3.2", "mujoco==3.15.0",
    "pymoo==0.6.2", "wandb==0.31.0", "imageio==2.38.1",
)  # fmt: skip
ALONE = ("morl-baselines==1.3.0",)  # without dependencies
FOLDER = Path("build/peers")


def interpreter(folder: Path = FOLDER) -> Path:
    """The peers' Python, installed on the first call (about a minute and 1.5 GB)."""
    folder = folder.absolute()
    python = folder / "bin" / "python"
    stamp = folder / f"installed-{zlib.crc32(repr((PINS, ALONE)).encode())}"
    if not stamp.exists():
        print(f"installing the peers into {folder} (about a minute) ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*install, *PINS], check=True)
        subprocess.run([*install, "--no-deps", *ALONE], check=True)
        stamp.touch()
    return python


def main(folder: Path = FOLDER) -> None:
    """Install the peers that the benchmarks compare with.

    Args:
        folder: of their virtual environment.
    """
    print(interpreter(folder))


if __name__ == "__main__":
    import tyro

    tyro.cli(main, description=__doc__)
