"""The page about exact tools prints what it says it prints."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "exact.md"


def test_every_snippet_prints_the_number_beside_it():
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL))
    wanted = re.findall(r"^ *print\(.*\)  # (.*)$", code, flags=re.MULTILINE)
    assert len(wanted) == code.count("print(") == 9
    printed = io.StringIO()
    names: dict = {}
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(PAGE), "exec"), names)
    assert printed.getvalue().splitlines() == wanted
    np.testing.assert_allclose(names["best"].value, 14.0253, atol=5e-5)
