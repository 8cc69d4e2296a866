"""Pictures and pages: the files hold what was asked for, and a browser answers as arithmetic does."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tradeoff.evaluation import InvalidPoints, InvalidWeights, front_page, plot_front, plot_indicator
from tradeoff.evaluation.plots import write_whole

FRONT = np.array([[0.0, 3.0], [1.0, 2.0], [4.0, 0.0]])


def size(path):
    """Width and height in pixels out of a PNG's header."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


@pytest.mark.parametrize(("objectives", "pixels"), [(2, (1050, 750)), (3, (1650, 1350)), (6, (1440, 750))])
def test_fronts_of_every_kind(tmp_path, objectives, pixels):
    points = np.random.default_rng(0).normal(size=(9, objectives))
    names = [f"objective {k}" for k in range(objectives)]
    path = plot_front(points, names, tmp_path / "deep" / "front.png", exact=points + 1, errors=np.abs(points) / 9)
    assert size(path) == pixels
    plain = plot_front(points[:1], names, tmp_path / "one.png", labels=["a"])
    assert size(plain) == pixels
    assert [p.name for p in tmp_path.glob("**/*.part*")] == []


def test_a_picture_says_what_it_shows(tmp_path):
    path = plot_front(FRONT, ["treasure", "time"], tmp_path / "f.svg", exact=FRONT, labels=["p0", "p1", "p2"])
    text = path.read_text()
    found = [word for word in ("treasure", "time", "exact front", "found", "p2") if f"<!-- {word} -->" in text]
    assert len(found) == 5
    runs = [[1.0, 2.0], [3.0, 5.0], [2.0, 4.0], [2.0, 3.0]]
    few, enough = (
        plot_indicator(
            [0, 10], runs[:count], tmp_path / "i.svg", "hypervolume", exact=6.5, title="above", caption="below " * 30
        ).read_text()
        for count in (2, 4)
    )
    shown = ("hypervolume", "environment steps", "exact 6.5", "above")
    assert [word for word in shown if f"<!-- {word} -->" not in few or f"<!-- {word} -->" not in enough] == []
    assert few.count("below") == enough.count("below") == 30, "long captions are wrapped, not cut"
    assert "<!-- 2 seeds -->" in few and "middle half" not in few
    assert "<!-- 4 seeds: median and middle half -->" in enough


def test_no_window_and_no_early_import(tmp_path):
    heavy = "{'matplotlib', 'pymoo', 'mo_gymnasium', 'pygame', 'cvxpy', 'plotly', 'torch'} & set(sys.modules)"
    code = (
        f"import sys, tradeoff.evaluation; print(len({heavy}));"
        "tradeoff.evaluation.plot_front([[1., 2.]], ['a', 'b'], sys.argv[1]); "
        "print(int('matplotlib.pyplot' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.png")], capture_output=True, text=True)
    assert done.stdout.split() == ["0", "0"]
    assert size(tmp_path / "x.png") == (1050, 750)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "f.png"
    target.write_bytes(b"old")

    def fail(part):
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(target, fail)
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1
    old = target.open("rb")  # a reader that began before the write still reads the old file to its end
    write_whole(target, lambda part: part.write_bytes(b"new"))
    assert (old.read(), target.read_bytes()) == (b"old", b"new")
    old.close()


def page_data(path):
    return json.loads(re.search(r"const data = (\{.*?\});\n", path.read_text()).group(1))


def test_the_page_carries_the_numbers_and_asks_nobody(tmp_path):
    names = ["</script><b>", "time"]
    path = front_page(FRONT, names, tmp_path / "f.html", exact=FRONT + 1, preferences=[[3, 1], [1, 1], [0, 2]])
    data = page_data(path)
    np.testing.assert_array_equal(data["points"], FRONT)
    np.testing.assert_array_equal(data["exact"], FRONT + 1)
    np.testing.assert_array_equal(data["preferences"], [[0.75, 0.25], [0.5, 0.5], [0, 1]])
    assert (data["names"], data["errors"]) == (names, None)
    text = path.read_text()
    assert text.count("</script>") == 1
    assert re.findall(r"(?:src|href|import|fetch)\s*[=(]", text) == []
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {"http://www.w3.org/2000/svg"}  # a name, not an address


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a browser")
def test_the_page_finds_the_best_policy(tmp_path):
    # Utilities at (1/4, 3/4): 2.25, 1.75, 1. In shares of the ranges 4 and 3: .75, 1/16 + 1/2, 1/4.
    # At (1, 0): 0, 1, 4. Untouched, at (1/2, 1/2): 1.5, 1.5, 2.
    path = front_page(FRONT, ["treasure", "time"], tmp_path / "f.html", errors=FRONT / 10)
    moves = """<script>
    const heard = [at("bestname").textContent];
    const slide = (k, v) => { at("s" + k).value = v; at("s" + k).dispatchEvent(new Event("input")); };
    slide(0, 0.25); slide(1, 0.75); heard.push(at("bestname").textContent);
    at("scaled").click(); heard.push(at("bestname").textContent); at("scaled").click();
    slide(0, 1); slide(1, 0); heard.push(at("bestname").textContent, at("best").textContent);
    document.querySelector("circle[data-policy='1']").dispatchEvent(new PointerEvent("pointermove", {clientX: 9}));
    heard.push(at("tip").textContent, document.querySelectorAll(".over").length);
    document.body.innerHTML = "<pre>" + JSON.stringify(heard) + "</pre>";</script>"""
    path.write_text(path.read_text().replace("</body>", moves + "</body>"))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"file://{path}"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    assert json.loads(re.search(r"<pre>(.*)</pre>", answer).group(1)) == [
        "Best: policy 2, utility 2",
        "Best: policy 0, utility 2.25",
        "Best: policy 0, utility 0.75",
        "Best: policy 2, utility 4",
        "treasure4 ± 0.4time0 ± 0",
        "policy 1treasure1 ± 0.1time2 ± 0.2",
        1,
    ]


def test_bad_input_is_refused(tmp_path):
    for arguments in ({"errors": [[1, 1]]}, {"labels": ["a"]}, {"exact": [[1, 2, 3]]}):
        with pytest.raises(InvalidPoints):
            plot_front(FRONT, ["a", "b"], tmp_path / "f.png", **arguments)
    with pytest.raises(InvalidPoints, match=r"3 points of 1 objectives"):
        plot_front(FRONT[:, :1], ["a"], tmp_path / "f.png")
    with pytest.raises(InvalidPoints, match="seeds, steps"):
        plot_indicator([0, 1, 2], [[1.0, 2.0]], tmp_path / "f.png", "x")
    with pytest.raises(InvalidPoints, match="at least two"):
        front_page(FRONT[:, :1], ["a"], tmp_path / "f.html")
    with pytest.raises(InvalidPoints, match="errors has 1 rows for 3"):
        front_page(FRONT, ["a", "b"], tmp_path / "f.html", errors=FRONT[:1])
    with pytest.raises(InvalidWeights):
        front_page(FRONT, ["a", "b"], tmp_path / "f.html", preferences=[[1, -1]] * 3)
    assert len(list(tmp_path.iterdir())) == 0
