"""Curves as text and as pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargen.display.charts import Chart, Series, as_text, check_picture, save, sparkline
from chargen.display.output import visible
from chargen.errors import ChargenError, ConfigError

FALLING = Series("falling", (1, 2, 3, 4), (8, 4, 2, 1))
RISING = Series("rising", (1, 2, 3, 4), (1, 2, 4, 8))


def chart(*series: Series, log_y: bool = False) -> Chart:
    return Chart("title", "steps", "loss in nats", series, log_y=log_y)


def test_curves_go_where_their_values_are() -> None:
    text = as_text(chart(FALLING, RISING, log_y=True), width=40, height=8)
    lines = text.splitlines()
    assert lines[:2] == ["title", "loss in nats"]
    field = [line.partition("│")[2] for line in lines[2:10]]
    assert field[0].startswith("●") and field[-1].endswith("●")
    assert field[-1].startswith("○") and field[0].endswith("○")
    assert lines[2].split() == ["8", *lines[2].split()[1:]] and lines[9].split()[0] == "1"
    assert lines[-2].split() == ["1", "steps", "4"]
    assert lines[-1].split() == ["●", "falling", "○", "rising"]


def test_many_names_take_several_lines() -> None:
    many = (Series(f"a model of name {n}", (1, 2), (n, n)) for n in range(8))
    lines = as_text(chart(*many, Series("x" * 99, (1, 2), (1, 2))), width=60).splitlines()
    assert max(map(len, lines)) <= 60
    assert [line.split("of name ")[-1] for line in lines[-4:]] == ["1", "3", "5", "7"]


def test_points_are_not_joined() -> None:
    points = Series("points", (0, 1), (0, 1), points=True)
    assert as_text(chart(points)).count("●") == 3  # two, and the one beside the name


def test_what_has_no_place_on_the_axes_is_left_out() -> None:
    odd = Series("odd", (1, 2, 3), (0, float("nan"), 5), points=True)
    assert as_text(chart(odd, log_y=True)).count("●") == 2
    assert "no data" in as_text(chart(Series("none", (), ())))


FLOATS = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1), st.booleans(), st.booleans())
def test_any_values_fit_the_width(
    pairs: list[tuple[float, float]], points: bool, log_y: bool
) -> None:
    x, y = zip(*pairs, strict=True)
    text = as_text(chart(Series("any", x, y, points=points), log_y=log_y))
    assert max(map(len, text.splitlines())) <= 78


def test_sparkline_shows_highest_and_lowest() -> None:
    assert sparkline([3, 2, 1]) == "█▅▁"  # halfway rounds to the even block
    assert sparkline([5]) == "▁" and sparkline([]) == ""
    assert len(sparkline(range(1000), 20)) == 20


@pytest.mark.parametrize("name", ["curve.png", "curve.svg", "curve.pdf"])
def test_the_same_chart_is_the_same_picture(name: str) -> None:
    save(chart(FALLING, RISING), Path(name))
    first = Path(name).read_bytes()
    save(chart(FALLING, RISING), Path(name))
    assert Path(name).read_bytes() == first
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert first.startswith(starts[name[-3:]])


@pytest.mark.parametrize("name", ["_hidden", "half a $", "$\\frac$", "漢字", "a\x1b[31m"])
def test_any_name_of_a_model_can_stand_beside_its_curve(name: str) -> None:
    odd = Series(name, (1, 2), (1, 2))
    save(Chart(name, name, name, (odd, RISING)), Path("curve.svg"))
    words = [(part.text or "").strip() for part in ElementTree.parse("curve.svg").iter()]
    assert words.count(visible(name)) == 4
    assert "\x1b" not in as_text(chart(odd, RISING))


def test_other_pictures_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'curve.gif'; allowed: a name that ends in .png, .svg"):
        check_picture(Path("curve.gif"))


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ChargenError, match=r"pip install 'chargen\[plot\]'"):
        save(chart(FALLING), Path("curve.png"))
