"""HTML page of a scored text: its content, and its behaviour in a browser."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargen.cli.page import make_page
from chargen.display.output import visible
from chargen.evaluation.surprisal import Guess, ScoredText, ScoredToken, score_text
from tests.hashing import hashing
from tests.processes import run
from tests.sampling.constraints.walks import tokenizer

NASTY = "</script><!-- &lt; <b>\0\r\x1b[31m\t é e\u0301 👩\u200d👧 \u202eabc שלום\n\n$title"


class Parsed(HTMLParser):
    """The text, the data and the elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.within, self.text, self.data, self.attributes = "", "", "", list[Any]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        self.within = dict(attrs).get("id") or self.within

    def handle_endtag(self, tag: str) -> None:
        if tag in ("pre", "script"):
            self.within = ""

    def handle_data(self, data: str) -> None:
        if self.within == "text":
            self.text += data
        if self.within == "data":
            self.data += data


def scored(text: str) -> ScoredText:
    return score_text(hashing(tokenizer("byte")), text, guesses=5)


def page_of(*tokens: ScoredToken, title: str = "t") -> str:
    return make_page(ScoredText(tokens), title)


def decoded(page: str) -> list[tuple[int, list[tuple[str, int]]]]:
    """Return hundredths of a bit and the guesses of each token, as the script of the page does."""
    data = json.loads(Parsed(page).data)
    numbers, found = iter(data["tokens"]), []
    for bits in numbers:
        guesses = [(data["names"][next(numbers)], next(numbers)) for _ in range(next(numbers))]
        found.append((bits, guesses))
    return found


@given(text=st.text(min_size=1) | st.text("<>&\"'/$\0\n\r", min_size=1))
def test_any_text_is_on_the_page_as_a_whole(text: str) -> None:
    for tokens in ([ScoredToken(text, 1.0)], [ScoredToken(character, 1.0) for character in text]):
        page = page_of(*tokens, title=f"{text} & co")
        assert Parsed(page).text == visible(text)


def test_the_data_are_the_surprisal_and_the_guesses() -> None:
    page = page_of(
        ScoredToken("<", 1.234, (Guess(1, "</script>", 0.5), Guess(2, "\x1b", 0.0004))),
        ScoredToken("ab", 9.0, ()),
    )
    assert decoded(page) == [(123, [("</script>", 500), ("␛", 0)]), (900, [])]
    assert page.count("</script>") == 2  # the data's, and the program's
    assert "<title>t: 3.41 bits per character</title>" in page


def test_nothing_comes_from_elsewhere() -> None:
    page = make_page(scored(NASTY), NASTY)
    names = {name for name, _ in Parsed(page).attributes}
    assert not names & {"src", "href", "onclick", "style"}
    assert "://" not in page
    assert "default-src 'none'" in page
    assert "\0" not in page
    assert "\x1b" not in page


def test_colours_are_levels_and_a_character_takes_few_bytes() -> None:
    page = page_of(*(ScoredToken("a", bits) for bits in (0, 2, 4, 6, 8)))
    classes = re.findall("<i(.*?)>a</i>", page)
    assert classes == ["", *(f' class="h{level}"' for level in (1, 2, 3, 4))]
    assert '<i class="h1 n">\n</i>' in page_of(ScoredToken("\n", 2.0))
    long = make_page(scored("abc Ab " * 300), "t")
    assert (len(long) - len(page)) / 2100 < 60


# -- in a browser -------------------------------------------------------------------------

DRIVE = """<script>
const at = () => document.querySelector(".chosen").number + "=" +
  box.querySelector(".actual").textContent + "|" +
  box.querySelectorAll("tr").length + "|" + box.querySelector("tr.actual").textContent;
const seen = [at()];
document.body.click();
seen.push(box.hidden);
cells[2].dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
seen.push(at());
cells[2].click();
cells[4].dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
seen.push(at());
text.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
seen.push(at(), location.hash);
text.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
seen.push(box.hidden);
getSelection().selectAllChildren(text);
seen.push(getSelection().toString());
document.title = JSON.stringify(seen);
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    return found


def test_a_browser_shows_the_guesses(browser: str, isolated: Path) -> None:
    """A link to a place, the pointer, a click that stays, keys, and the text that is copied."""
    tokens = [
        replace(token, guesses=(*token.guesses[:4], Guess(0, token.text, 0.0123)))
        for token in scored("a <b>\n\ncab").tokens
    ]
    page = page_of(*tokens)
    Path("page.html").write_text(page.replace("</html>", DRIVE + "</html>"))
    done = run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=800,600"),
            *(
                f"--user-data-dir={isolated / 'profile'}",
                "--virtual-time-budget=2000",
                "--dump-dom",
            ),
            f"{(isolated / 'page.html').as_uri()}#2",
        ],
        text=True,
        timeout=60,
    )
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title, done.stderr[-2000:]

    def shown(number: int, name: str) -> str:
        return f"{number}={name}: {tokens[number].bits:.2f} bits|5|{name}1.2 %"

    text = title[1].replace("&lt;", "<").replace("&gt;", ">")
    assert json.loads(text) == [
        shown(1, "space"),
        *(True, shown(2, "<"), shown(2, "<"), shown(3, "b"), "#4", True),
        "a <b>\n\ncab",
    ]
