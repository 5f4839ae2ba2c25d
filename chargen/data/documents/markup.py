"""HTML: the visible text of a page, a paragraph at a time.

Paragraphs, headings, lists and tables are set apart by a blank line, their lines by a newline.
Scripts, styles and forms are no text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser

from chargen.data.documents.words import DocumentError, check_count, check_length

PARAGRAPHS = {
    *("address", "article", "aside", "blockquote", "dl", "fieldset", "figure", "footer", "form"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "nav", "ol", "p", "pre"),
    *("section", "table", "ul"),
}
LINES = {
    *("body", "caption", "center", "dd", "details", "div", "dt", "figcaption", "html", "li"),
    *("option", "summary", "tr"),
}
SKIPPED = {
    *("audio", "button", "canvas", "head", "iframe", "math", "noscript", "object", "rp", "rt"),
    *("script", "select", "style", "svg", "template", "textarea", "video"),
}
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
MOST_ATTRIBUTES = 100_000  # of one tag
MOST_TAGS = 5_000_000  # which take 15 s
STEP = 1 << 16  # characters that are parsed at once
SPACES = re.compile(r"[ \t\r\n\f]+")  # and not the no-break space


def page_paragraphs(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the paragraphs of a page, each with the line ends behind it.

    Raises:
        DocumentError: it declares entities, or has a tag or comment without an end.
    """
    page = _Page()
    try:
        for piece in pieces:
            at = 0
            while at < len(piece):
                step = max(STEP, len(page.rawdata))  # an open tag is looked through once more
                page.feed(piece[at : at + step])
                _check_open(page.rawdata)
                at += step
                yield from page.taken()
        page.close()
    except AssertionError as error:  # of html.parser, for a declaration that is none
        raise DocumentError(f"it is no HTML: {error}") from None
    page.end()
    yield from page.taken()


def _check_open(rest: str) -> None:
    """Refuse a tag, comment or script that has begun and does not end.

    The parser would keep a kilobyte for each attribute of a tag.
    """
    check_length(len(rest), "a tag or comment")
    if re.match("<[a-zA-Z]", rest):
        check_count(len(SPACES.findall(QUOTED.sub("", rest))), MOST_ATTRIBUTES, "attributes")


class _Page(HTMLParser):
    """Collects the paragraphs of a page."""

    def __init__(self) -> None:
        super().__init__()
        self._done: list[str] = []
        self._parts: list[str] = []  # of the paragraph
        self._ends = 0  # newlines behind it, once it has ended
        self._skipped, self._depth = "", 0  # the element that is left out, and those inside it
        self._pre = 0
        self._tags = 0

    def taken(self) -> list[str]:
        """Return the paragraphs that have come since."""
        done, self._done = self._done, []
        return done

    def end(self) -> None:
        """End the last paragraph."""
        self._break(1)
        self._finish()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tags += 1
        check_count(self._tags, MOST_TAGS, "tags")
        if self._skipped:
            if tag == "body" and self._skipped == "head":  # whose end may be left out
                self._skipped = ""
            else:
                self._depth += tag == self._skipped
                return
        if tag in SKIPPED:
            self._skipped, self._depth = tag, 1
        elif tag == "br":
            self._parts += ["\n"] * bool(self._parts and not self._ends)
        elif tag in ("td", "th"):
            self.handle_data(" ")
        else:
            self._pre += tag == "pre"
            self._break(2 if tag in PARAGRAPHS else tag in LINES)

    def handle_endtag(self, tag: str) -> None:
        if self._skipped:
            self._depth -= tag == self._skipped
            if not self._depth:
                self._skipped = ""
        else:
            self._pre = max(0, self._pre - (tag == "pre"))
            self._break(2 if tag in PARAGRAPHS else tag in LINES)

    def handle_data(self, data: str) -> None:
        if self._skipped:
            return
        if not self._pre:
            data = SPACES.sub(" ", data)
        if self._ends or not self._parts:
            data = data.lstrip("\n" if self._pre else " \n")
        if data:
            self._finish()
            self._parts.append(data)

    def handle_decl(self, decl: str) -> None:
        if "<!entity" in decl.lower():
            raise DocumentError("it declares entities, which no web page does")

    def _break(self, count: int) -> None:
        if self._parts:
            self._ends = max(self._ends, count)

    def _finish(self) -> None:
        """Begin a new paragraph, if the last one has ended."""
        if self._ends:
            lines = "".join(self._parts).rstrip().split("\n")
            text = "\n".join(line.rstrip() for line in lines)
            self._done += [text + "\n" * self._ends] * bool(text)
            self._parts, self._ends = [], 0
