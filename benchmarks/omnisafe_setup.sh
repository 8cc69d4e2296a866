#!/bin/sh
# Makes a virtual environment in which OmniSafe 0.5.0 and Safety-Gymnasium 1.0.0 run on Python 3.11.
# Usage: benchmarks/omnisafe_setup.sh FOLDER [PYTHON]     (about 2 GB and a few minutes)
#
# As published neither installs: Safety-Gymnasium asks for pygame 2.1.0, which has no wheel for 3.11, and its
# dataclasses hold arrays as defaults, which 3.11 refuses. So both go in without their dependencies, and the defaults
# become factories. Nothing of their algorithms, tasks or physics is touched.
set -eu
folder=$1
"${2:-python3.11}" -m venv "$folder"
pip() { "$folder/bin/python" -m pip --disable-pip-version-check -q "$@"; }

pip install -U pip wheel "setuptools<81"
pip install torch==2.13.0
pip install "numpy<2" pandas==2.0.3 gymnasium==0.28.1 gymnasium-robotics==1.2.2 mujoco==2.3.3 pygame xmltodict \
    pyyaml imageio tensorboard wandb "moviepy<2" "typer[all]" seaborn matplotlib gdown
pip install --no-deps safety-gymnasium==1.0.0 omnisafe==0.5.0

"$folder/bin/python" - <<'PATCH'
import re
import sysconfig
from pathlib import Path

assets = Path(sysconfig.get_paths()["purelib"]) / "safety_gymnasium" / "assets"
for file in assets.rglob("*.py"):
    text = file.read_text()
    new = re.sub(
        r"(color: np\.array = )(COLOR\['\w+'\])$", r"\1field(default_factory=lambda: \2.copy())", text, flags=re.M
    )
    if new != text:
        if not re.search(r"from dataclasses import .*\bfield\b", new):
            new = new.replace("from dataclasses import dataclass", "from dataclasses import dataclass, field")
        file.write_text(new)
        print("patched", file.relative_to(assets))
PATCH
touch "$folder/installed"
