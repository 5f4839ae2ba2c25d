"""What may go wrong on the page of the server: no text is lost, and no text does harm."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from typing import Any

from tests.browser import expect
from tests.server.page.writer import Server, Writer, until

NASTY = "</script><img src=x onerror=hacked()>\0\x1b[31m\u202eabc\ud800 & <b>"
CLEAN = NASTY.replace("\ud800", "\ufffd")


def test_a_reload_loses_nothing(writer: Writer) -> None:
    writer.set("max_chars", 25)
    writer.set("temperature", 0.5)
    writer.page.select_option("#model", "python")
    writer.type("for line in ")
    writer.press("Control+Enter")
    writer.finish()
    writer.press("Alt+ArrowRight")
    writer.type("#")
    writer.page.locator("#branch-tree .branch").nth(4).wait_for()
    text, branches = writer.text, writer.branches()
    writer.page.reload()  # at once: what waits to be stored is stored before
    writer.page.locator("#model:not([disabled])").wait_for()
    assert writer.text == text
    assert writer.branches() == branches
    assert writer.page.input_value("#model") == "python"
    assert writer.page.input_value("[name=temperature]") == "0.5"
    writer.press("Alt+ArrowUp")
    assert writer.text == text[:-1]


def test_another_tab_and_a_full_storage_are_said(writer: Writer, server: Server) -> None:
    writer.type("here")
    stored = "localStorage.getItem('chargen.text')"
    until(lambda: writer.page.evaluate(stored) == "here", "the text was not stored")
    other = Writer(writer.page.context.new_page()).open(server.url)
    assert other.text == "here"
    other.type(" and there")
    writer.see("#message", "another tab")
    other.page.evaluate(
        "() => { Storage.prototype.setItem = () => { throw new DOMException('', 'Quota') } }"
    )
    other.type("!")
    other.see("#message", "storage is full")
    other.check()


def test_the_server_goes_and_comes_back(writer: Writer, server: Server) -> None:
    writer.expected = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")
    writer.expected += ("ERR_INCOMPLETE_CHUNKED_ENCODING",)
    writer.set("max_chars", 2000)
    writer.type("Once upon a time")
    writer.press("Control+Enter")
    until(lambda: len(writer.text) > 30, "nothing was generated")
    with server.away():
        writer.see("#message", "does not answer")
        writer.finish()
        kept = writer.text
        writer.type(" and still I write")
        writer.press("Control+Enter")  # without effect
        assert writer.text == kept + " and still I write"
    writer.see("#message", "The server is back")
    writer.tempt(". And the LORD said unto Mos", "es")


def test_a_long_text_stays_quick(writer: Writer) -> None:
    line = "And the children of Israel journeyed from Rameses to Succoth, on foot. " * 3
    text = "\n".join([line] * (100_000 // len(line)))
    writer.put(text)
    writer.page.evaluate(
        """() => { window.frames = []; document.addEventListener("keydown", () => {
          const since = performance.now();
          requestAnimationFrame(() => setTimeout(() => frames.push(performance.now() - since)));
        }, true) }"""
    )
    for place in (len(text), text.index("\n", 50_000)):
        writer.place(place)
        writer.tempt("And the LORD said unto Mos", "es")
    frames = writer.page.evaluate("frames")
    print(f"100 KB: a key takes {statistics.median(frames):.1f} ms, {max(frames):.1f} at most")
    assert statistics.median(frames) < 250
    copy, area = (
        writer.page.locator(name).evaluate("e => e.clientHeight") for name in ("#copy", "#sheet")
    )
    assert copy < area
    writer.page.locator("#text").evaluate("t => t.style.height = '0'")
    height = writer.page.locator("#text").evaluate("t => t.scrollHeight")
    assert abs(height - copy) < 2  # both wrap alike


def stream_of(*texts: str) -> str:
    events = [json.dumps({"choices": [{"index": 0, "text": text}]}) for text in texts]
    return "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"])


def test_hostile_output_does_no_harm(writer: Writer) -> None:
    def answer(route: Any) -> None:
        path = route.request.url.rsplit("/", 1)[-1]
        asked = route.request.post_data_json
        guess = {"text": NASTY, "token": 1, "probability": 0.5}
        told: Any = {
            "ghost": {"text": NASTY},
            "next": {"next": [guess]},
            "surprisal": {"tokens": [{"text": asked.get("text"), "bits": 9, "guesses": [guess]}]},
            "completions": {"choices": [{"index": 0, "text": NASTY}]},
        }[path]
        if asked.get("stream"):
            route.fulfill(body=stream_of(NASTY, "\r\n\u2028"), content_type="text/event-stream")
        else:
            route.fulfill(body=json.dumps(told), content_type="application/json")

    page = writer.page
    page.evaluate("window.hacked = () => { document.title = 'hacked' }")
    for path in ("ghost", "next", "surprisal", "completions"):
        page.route(f"**/v1/{path}", answer)
    writer.set("n", 1)
    writer.type("x ")
    writer.see("#ghost", "</script>")
    writer.press("Shift+Tab")
    assert writer.text == "x " + CLEAN
    writer.press("Control+Space")
    writer.see("#alternatives", "onerror")
    writer.press("Escape", "Control+Enter")
    writer.finish()
    text = "x " + CLEAN + CLEAN + "\n\u2028"
    until(lambda: writer.text == text, f"not the text: {writer.text!r}")
    writer.press("Alt+s")
    page.locator("#copy i").first.wait_for()
    writer.press("ArrowLeft")
    writer.see("#guesses", "onerror")
    writer.see("#branch-tree", "</script>")
    page.reload()
    assert writer.text == text
    assert page.locator("img").count() == 0
    assert page.title() == "chargen"


def test_a_key_is_asked_for_and_kept_in_the_tab(
    make_writer: Callable[..., Writer], server: Server
) -> None:
    writer = make_writer()
    writer.expected = ("401",)

    def guard(route: Any) -> None:
        if route.request.headers.get("authorization") == "Bearer secret-key":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": {"message": "the API key is wrong"}})

    writer.page.route("**/v1/**", guard)
    writer.page.goto(server.url)
    for key in ("wrong", "secret-key"):
        writer.page.locator("#locked[open]").wait_for()
        writer.page.locator("#key").fill(key)
        writer.press("Enter")
    writer.page.locator("#model:not([disabled])").wait_for()
    writer.page.reload()
    writer.page.locator("#model:not([disabled])").wait_for()


def test_a_refusal_is_said_in_the_words_of_the_server(writer: Writer) -> None:
    writer.expected = ("429",)
    refusal = {"error": {"message": "the queue is full; try again in 1 s"}}
    writer.page.route("**/v1/completions", lambda route: route.fulfill(status=429, json=refusal))
    writer.type("It was")
    writer.press("Control+Enter")
    writer.see("#message", "the queue is full")
    writer.finish()
    assert writer.text == "It was"
    expect(writer.page.locator(".branch")).to_have_count(2)
