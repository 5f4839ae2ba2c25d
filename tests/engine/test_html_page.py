"""The page of an exported model in a real browser: from disk, without network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chargen.engine.html import to_html
from chargen.model.saved import SavedModel, open_model, read_model
from tests.browser import chromium, expect
from tests.engine.parrot import parrot
from tests.labelled import LINES, save_labelled

PATIENCE = 10_000  # milliseconds until something must have happened
HOSTILE = (
    "</script><img src=x onerror=alert(1)><!--\x1b[31m\x07\u202e & é\U0001f469 𝔘\x7f\x85\ufeff "
)
TALE = "The old man went home to bed\nNobody saw his boat\n"


class Writer:
    """An exported page that is open, and what a writer does with it."""

    def __init__(self, page: Any) -> None:
        self.page, self.problems, self.asked = page, list[str](), set[str]()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("dialog", lambda dialog: self.problems.append("a dialog"))
        page.on("request", lambda request: self.asked.add(request.url.split(":")[0]))

    def open(self, model: SavedModel) -> Writer:
        file = Path("page.html").resolve()
        file.write_bytes(to_html(model).page)
        self.page.goto(file.as_uri())
        self.until_idle()
        return self

    def until_idle(self) -> None:
        """Wait until the model is open and nothing is generated."""
        expect(self.page.locator("#generate")).to_be_enabled()
        expect(self.page.locator("#generate")).to_have_text("Generate")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def generate(self, length: int, **settings: float) -> str:
        """Let the model write at the cursor; return what it wrote."""
        before = self.text
        self.set(length=length, **settings)
        self.press("Control+Enter")
        self.until_idle()
        return self.text.removeprefix(before)

    def set(self, **settings: float) -> None:
        for name, value in settings.items():
            self.page.fill(f"#{name}", str(value))
        self.page.focus("#text")

    @property
    def text(self) -> str:
        return str(self.page.input_value("#text"))

    @property
    def ghost(self) -> str:
        """The ghost text, when there is some and no question is under way."""
        self.page.wait_for_timeout(30)
        return str(self.page.text_content(".ahead #ghost"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def writer(browser: Any) -> Iterator[Writer]:
    """Open a page without network; at the end nothing may have gone wrong, or been asked for."""
    context = browser.new_context(offline=True)
    writer = Writer(context.new_page())
    yield writer
    context.close()
    assert not writer.problems
    assert writer.asked <= {"file", "blob"}


def test_it_writes_from_disk(writer: Writer) -> None:
    writer.open(parrot(TALE))
    assert "characters/s" in writer.page.inner_text("#facts")
    writer.page.keyboard.type("The old man went")
    assert writer.ghost == " home to bed"
    writer.press("Tab")
    assert (writer.text, writer.ghost) == ("The old man went home", " to bed")
    writer.page.keyboard.type(" t")
    assert writer.ghost == "o bed"
    assert writer.page.text_content("#words") == "Tab adds: o bed"
    writer.press("Shift+Tab")
    assert writer.generate(24, temperature=0) == "\nNobody saw his boat\nThe"
    assert "24 characters" in writer.page.inner_text("#status")
    assert "characters/s" in writer.page.inner_text("#status")
    writer.press("Control+z")  # the browser's own: one step back
    assert writer.text == "The old man went home to bed"
    writer.page.reload()
    writer.until_idle()
    assert writer.text == "The old man went home to bed"


def test_it_writes_in_the_middle_and_what_it_wrote_is_undone(writer: Writer) -> None:
    writer.open(parrot(TALE))
    writer.page.keyboard.type("The old, he said")
    writer.press("Home", *["ArrowRight"] * 7)
    assert not writer.page.locator(".ahead").count()
    writer.generate(9, temperature=0)
    assert writer.text == "The old man went, he said"
    writer.page.keyboard.type("!")
    expect(writer.page.locator("#undo")).to_be_disabled()
    writer.press("Backspace")
    writer.page.click("#undo")
    assert writer.text == "The old, he said"


def test_a_seed_gives_the_same_text_and_stop_stops(writer: Writer, with_model: Path) -> None:
    writer.open(open_model("small"))
    one, other = (writer.generate(60, seed=seed, temperature=1) for seed in (1, 2))
    assert len(one) == 60
    assert one != other
    writer.page.fill("#text", "")
    assert writer.generate(60, seed=1) == one
    for stop in (lambda: writer.press("Escape"), lambda: writer.page.click("#generate")):
        before = len(writer.text)
        writer.set(length=100_000)
        writer.press("Control+Enter")
        expect(writer.page.locator("#ghost")).not_to_be_empty()
        assert writer.page.inner_text("#generate") == "Stop"
        stop()
        writer.until_idle()
        assert before < len(writer.text) < 100_000
        writer.page.keyboard.type("a")
        assert writer.text.endswith("a")


def test_half_a_file_says_so(writer: Writer) -> None:
    page = to_html(parrot(TALE)).page
    Path("half.html").write_bytes(page[: page.rindex(b"weights") + 100])
    writer.page.goto(Path("half.html").resolve().as_uri())
    expect(writer.page.locator("#status")).to_contain_text("is not whole; get the file again")
    writer.page.keyboard.type("Written all the same")
    assert writer.text == "Written all the same"


def test_hostile_text_does_no_harm(writer: Writer) -> None:
    writer.open(parrot(HOSTILE))
    count: Callable[[], Any] = lambda: writer.page.locator("script, img").count()  # noqa: E731
    before = count()
    writer.page.keyboard.insert_text(HOSTILE[:12])
    assert writer.generate(2 * len(HOSTILE), temperature=0) == (HOSTILE * 3)[12:][
        : 2 * len(HOSTILE)
    ]  # fmt: skip
    assert count() == before


def test_a_narrow_phone_has_no_sideways_scrolling(browser: Any) -> None:
    size = {"width": 360, "height": 640}
    context = browser.new_context(viewport=size, has_touch=True, is_mobile=True, offline=True)
    writer = Writer(context.new_page()).open(parrot(TALE))
    writer.page.tap("#text")
    writer.page.keyboard.type("The old man")
    assert writer.ghost == " went home to bed"
    writer.page.tap("#word")
    writer.page.tap("#all")
    assert writer.text == "The old man went home to bed"
    assert writer.page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


def test_it_writes_lines_of_a_label(writer: Writer) -> None:
    writer.open(read_model(save_labelled(Path("lines/model.safetensors"), **LINES)))
    for label, letters in {"a": "abcde", "b": "vwxyz"}.items():
        writer.page.select_option("#label", label=label)
        for _ in range(3):  # each ends by itself
            written = writer.generate(300)
            assert written.endswith("\n")
            assert set(written) <= {*letters, "\n"}
    assert writer.text.count("\n") == 6


def test_without_labels_there_is_no_choice_of_one(writer: Writer) -> None:
    writer.open(parrot(TALE))
    assert not writer.page.is_visible("#label")
