"""The measuring itself: summaries, verdicts, and programs that take turns."""

import json
import sys

import pytest

from benchmarks.report import emit, shown, spread, verdict
from benchmarks.turns import Contestant, alternate, fastest

# Answers every line with 1, 2, 3, ... units in half a second: rates 2, 4, 6, ...
COUNTER = """
import json, sys
for i, _ in enumerate(sys.stdin, 1):
    print(json.dumps({"units": FACTOR * i, "seconds": 0.5}), flush=True)
"""


def counter(factor: int) -> list[str]:
    return [sys.executable, "-c", COUNTER.replace("FACTOR", str(factor))]


def test_a_spread_is_median_and_extremes():
    assert spread([4.0, 1.0, 3.0, 10.0]) == {"median": 3.5, "min": 1.0, "max": 10.0, "repetitions": 4}
    assert shown(spread([1000.0, 3000.0]), 1) == "2,000.0 (1,000.0 to 3,000.0)"
    with pytest.raises(ValueError, match="at least one repetition"):
        spread([])


def test_verdicts_look_the_right_way():
    assert verdict(5.0, 5.0) == "met: at least 5"
    assert verdict(4.9, 5.0) == "missed: at least 5"
    assert verdict(2.9, 3.0, at_least=False) == "met: at most 3"
    assert verdict(3.1, 3.0, at_least=False) == "missed: at most 3"


def test_contestants_take_turns_and_rates_are_units_per_second():
    first, second = alternate(Contestant("one", counter(1)), Contestant("ten", counter(10)), 3)
    assert first == [2.0, 4.0, 6.0]
    assert second == [20.0, 40.0, 60.0]


def test_the_fastest_setting_is_kept_and_goes_on():
    best = fastest({"slow": counter(1), "fast": counter(3)}, trials=1)
    assert best.setting == "fast"
    assert best.turn() == 18.0  # its third turn, after one to warm up and one trial
    best.close()


def test_a_program_that_dies_is_quoted():
    broken = Contestant("broken", [sys.executable, "-c", "raise SystemExit('no such body')"])
    with pytest.raises(RuntimeError, match="no such body"):
        broken.turn()
    broken.close()
    assert broken.process.returncode == 1


def test_a_report_ends_with_one_line_of_json(capsys):
    emit("name", [{"a": "1", "b": "2"}], {"x": 0.5}, quick=True)
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["results"] == {"x": 0.5}
    assert record["settings"] == {"quick": True}
    assert record["machine"]["cores"] >= 1
