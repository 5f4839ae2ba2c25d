"""Writing on the page of the server: grey text, branches, surprisal, files and keys."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser import expect
from tests.labelled import LINES, save_labelled
from tests.server.page.writer import Server, Writer, until

# -- ghost text ---------------------------------------------------------------------------

WATCH = """() => {
  window.delays = [];
  const ghost = document.getElementById("ghost");
  let since = 0;
  document.addEventListener("keydown", () => { since = performance.now(); }, true);
  new MutationObserver(() => {
    if (ghost.hidden || !since) return;
    const begun = since;
    since = 0;
    requestAnimationFrame(() => setTimeout(() => window.delays.push(performance.now() - begun)));
  }).observe(ghost, {attributes: true, childList: true});
}"""


def test_ghost_text_follows_the_keys_at_once(writer: Writer) -> None:
    """The time is from a key to the frame with the grey text, which the server was asked for."""
    writer.type("And the LORD said unto ")
    writer.page.evaluate(WATCH)
    for character in "Moses, and the children of Israel":
        writer.press("Escape")  # or a key that matches the grey text would not ask
        with writer.page.expect_response("**/v1/ghost"):
            writer.type(character)
    delays = writer.page.evaluate("delays")
    assert len(delays) > 2  # on a busy machine the server finds less in its time
    print(f"ghost text after {statistics.median(delays):.1f} ms, {max(delays):.1f} at most")
    assert statistics.median(delays) < 1000


def test_tab_takes_a_word_shift_tab_all_and_escape_hides(writer: Writer) -> None:
    writer.tempt("And the LORD said unto Mos", "es")
    ghost = writer.page.locator("#ghost")
    before, grey = writer.text, ghost.inner_text()
    beside = ghost.locator("span").bounding_box()["y"] - line_of(writer, len(before))
    assert abs(beside) < 2  # on the line of the text
    assert writer.page.locator("#ghost-words").inner_text() == f"Tab adds: {grey.strip()}"
    writer.press("Tab")
    assert writer.text == before + "es" + "," * grey.startswith("es,")
    writer.tempt(" and the L", "ORD")
    before, grey = writer.text, ghost.text_content() or ""
    writer.press("Shift+Tab")
    assert writer.text == before + grey
    writer.tempt(" unto the L", "ORD")
    writer.press("Escape")
    expect(ghost).to_be_hidden()
    writer.press("Tab")
    assert writer.focused() == "generate"  # the text area is no trap


def line_of(writer: Writer, place: int) -> float:
    """Return the top of the character before a place, as the copy of the text has it."""
    return float(
        writer.page.locator("#copy").evaluate(
            """(copy, n) => { const range = document.createRange();
              range.setStart(copy.firstChild.firstChild, n - 1);
              range.setEnd(copy.firstChild.firstChild, n);
              return range.getBoundingClientRect().top }""",
            place,
        )
    )


def test_an_input_method_is_left_alone(writer: Writer) -> None:
    writer.type("And the LORD said unto Mo")
    expect(writer.page.locator("#ghost")).to_be_visible()
    session = writer.page.context.new_cdp_session(writer.page)
    session.send("Input.imeSetComposition", {"text": "に", "selectionStart": 1, "selectionEnd": 1})
    expect(writer.page.locator("#ghost")).to_be_hidden()
    assert writer.text.endswith("Moに")
    session.send("Input.insertText", {"text": "日本"})
    assert writer.text.endswith("Mo日本")
    writer.press("Control+z")
    assert not writer.text.endswith("日本")


# -- generating and branches --------------------------------------------------------------


def test_generate_in_the_middle_undo_and_redo(writer: Writer) -> None:
    writer.put("The king said AND THE END.", cursor=len("The king said "))
    writer.set("max_chars", 40)
    writer.press("Control+Enter")
    writer.finish()
    made = writer.text
    assert made.startswith("The king said ")
    assert made.endswith("AND THE END.")
    assert len(made) == len("The king said AND THE END.") + 40
    writer.type("X")
    assert writer.text == made[:-12] + "X" + made[-12:]
    writer.press("Control+z")
    assert writer.text == made
    writer.press("Control+z")
    assert writer.text == "The king said AND THE END."
    writer.press("Control+y", "Control+Shift+z")
    assert writer.text == made[:-12] + "X" + made[-12:]


def test_stop_keeps_the_text_and_frees_the_rows(writer: Writer, server: Server) -> None:
    writer.page.locator("[name=max_chars]").evaluate("s => { s.max = 20000 }")
    writer.set("max_chars", 20_000)  # a busy browser must not come too late to stop it
    writer.type("It was")
    for stop in (lambda: writer.press("Escape"), lambda: writer.type("!")):
        writer.page.locator("#text").focus()
        writer.press("Control+Enter")
        expect(writer.page.locator("#generate")).to_have_text("Stop")
        until(lambda: len(writer.text) > 30, "nothing was generated")
        stop()
        writer.finish()
        assert len(writer.text) < 19_000
        until(lambda: server.metric("chargen_rows") == 0, "rows were not freed")


def test_branches_are_siblings_and_can_be_walked(writer: Writer) -> None:
    writer.set("max_chars", 30)
    writer.type("In the beginning ")
    writer.press("Control+Enter")
    writer.finish()
    first = writer.text
    writer.see("#rank", "1 of 3")
    writer.press("Alt+ArrowRight")
    second = writer.text
    writer.see("#rank", "2 of 3")
    assert second.startswith("In the beginning ")
    assert second != first
    writer.type(" mine")  # a branch of its own below the second
    writer.press("Alt+ArrowUp", "Alt+ArrowUp")
    assert writer.text == "In the beginning "
    writer.press("Alt+ArrowDown", "Alt+ArrowDown")
    assert writer.text == second + " mine"
    writer.press("Alt+ArrowUp", "Alt+ArrowLeft")
    assert writer.text == first
    writer.press("Control+Shift+Enter")
    writer.finish()
    writer.see("#rank", "4 of 6")
    expect(writer.page.locator(".branch")).to_have_count(9)  # with the beginning
    writer.press("Alt+ArrowLeft", "Alt+ArrowLeft", "Alt+ArrowLeft")
    assert writer.text == first


def test_the_tree_is_walked_by_pointer_and_keys(writer: Writer) -> None:
    writer.set("max_chars", 20)
    writer.type("Then ")
    writer.press("Control+Enter")
    writer.finish()
    first = writer.text
    writer.page.locator(".branch").nth(4).click()
    writer.see("#rank", "3 of 3")
    assert writer.text.startswith("Then ")
    writer.press("ArrowUp", "ArrowUp", "Enter")
    assert writer.text == first
    writer.press("ArrowLeft", "Enter")
    assert writer.text == "Then "
    writer.press("ArrowRight", "ArrowDown", "Delete")
    expect(writer.page.locator(".branch")).to_have_count(4)
    assert writer.text == "Then "
    writer.page.locator("[data-command=new]").click()
    assert writer.text == ""
    writer.press("Control+z")
    assert writer.text == "Then "


# -- alternatives and surprisal -----------------------------------------------------------


def test_alternatives_have_probabilities_and_are_taken_by_key(writer: Writer) -> None:
    writer.type("And the LORD said unto M")
    writer.press("Control+Space")
    rows = writer.page.locator("#alternatives .row")
    expect(rows).to_have_count(8)
    writer.see("#alternatives .row >> nth=0", "oses")
    assert writer.focused() == "alternatives"
    assert rows.first.get_attribute("aria-selected") == "true"
    percents = writer.page.locator("#alternatives .percent").all_inner_texts()
    assert percents[0].endswith(" %")
    writer.press("ArrowDown", "ArrowUp", "Enter")
    assert writer.text == "And the LORD said unto Moses"
    assert writer.focused() == "text"
    writer.press("Alt+a")
    expect(rows).to_have_count(8)
    writer.press("Escape")
    expect(writer.page.locator("#alternatives")).to_be_hidden()


def test_surprisal_is_a_colour_with_guesses(writer: Writer) -> None:
    text = "And the LORD said unto Moses, xqj.\n\nThe third line."
    writer.put(text)
    height = writer.page.locator("#copy").evaluate("c => c.clientHeight")
    writer.press("Alt+s")
    hot = writer.page.locator("#copy i.heat4")
    expect(hot.first).to_be_attached()
    assert writer.page.locator("#copy").evaluate("c => c.textContent") == text.replace("\n", "")
    assert writer.page.locator("#copy").evaluate("c => c.clientHeight") == height
    writer.see("#bits", "bits per character")
    place = writer.page.locator("#copy i", has_text="q").bounding_box()
    writer.page.mouse.move(place["x"] + 2, place["y"] + 5)
    writer.see("#guesses", "q: ")
    expect(writer.page.locator("#guesses .row")).to_have_count(5)
    writer.page.mouse.move(5, 5)
    expect(writer.page.locator("#guesses")).to_be_hidden()
    writer.press("Control+Home", "ArrowRight")
    writer.see("#guesses", "n: ")
    writer.page.keyboard.type("!")  # colours after a change are made anew
    writer.see("#copy", "A!nd")
    expect(writer.page.locator("#copy i", has_text="!")).to_be_attached()
    writer.press("Alt+s")
    expect(writer.page.locator("#copy i")).to_have_count(0)


# -- files, keyboard, looks ---------------------------------------------------------------


def test_save_and_open_a_file(writer: Writer, tmp_path: Path) -> None:
    choosers: list[Any] = []

    def choose(chooser: Any) -> None:
        choosers.append(chooser)

    writer.page.on("filechooser", choose)  # it takes a moment until they are caught
    writer.put("Grüße, Welt\n")
    with writer.page.expect_download() as saved:
        writer.press("Control+s")
    saved.value.save_as(tmp_path / "saved.txt")
    assert (tmp_path / "saved.txt").read_text(encoding="utf-8") == "Grüße, Welt\n"
    assert saved.value.suggested_filename == "grüße-welt.txt"
    (tmp_path / "other.txt").write_bytes("\ufeffone\r\ntwo".encode())
    writer.press("Control+o")
    until(lambda: bool(writer.text and choosers), "no file could be chosen")
    choosers[0].set_files(tmp_path / "other.txt")
    until(lambda: writer.text == "one\ntwo", "the file was not read")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    writer.page.locator("#file").set_input_files(tmp_path / "bad.txt")
    writer.see("#message", "not a text in UTF-8")
    writer.press("Control+z", "Control+z")
    assert writer.text == "Grüße, Welt\n"


def test_the_keyboard_reaches_everything(writer: Writer) -> None:
    writer.press("F1")
    writer.see("#help", "next sibling")
    writer.press("Escape")
    expect(writer.page.locator("#help")).to_be_hidden()
    reached = set()
    for _ in range(60):
        writer.press("Tab")
        reached.add(
            writer.page.evaluate(
                """() => { const e = document.activeElement, s = getComputedStyle(e);
                  const ring = s.outlineStyle !== "none" || e.id === "text";
                  if (!ring && e !== document.body) return e.outerHTML.slice(0, 80);
                  return (e.dataset.command || e.name || e.role || e.id || e.tagName) }"""
            )
        )
    controls = {"generate", "undo", "alternatives", "surprisal", "new", "open", "save", "theme"}
    controls |= {"help", "model", "treeitem", "remove", "max_chars", "n", "temperature", "until"}
    controls |= {"SUMMARY", "ghost", "face", "text"}
    assert controls - reached <= {"undo", "redo"}  # those have nothing to do yet
    assert not [name for name in reached if name.startswith("<")]
    writer.press("Alt+p", "ArrowRight")
    assert writer.page.input_value("[name=temperature]") == "0.85"
    assert writer.page.locator("output[for=set-temperature]").inner_text() == "0.85"
    unnamed = writer.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea")].filter(e =>
          !(e.labels?.length || e.ariaLabel || e.textContent.trim())).map(e => e.outerHTML)"""
    )
    assert unnamed == []


def test_a_phone_and_both_themes(make_writer: Callable[..., Writer], server: Server) -> None:
    size = {"width": 360, "height": 640}
    writer = make_writer(viewport=size, color_scheme="dark", has_touch=True).open(server.url)
    writer.set("max_chars", 20)
    writer.tempt("And the LORD said unto Mos", "es")
    writer.page.locator("#ghost span").tap()
    assert writer.text.startswith("And the LORD said unto Moses")
    writer.press("Control+Enter")
    writer.finish()
    assert writer.page.evaluate("document.documentElement.scrollWidth") == 360
    writer.page.locator("#surprisal").tap()
    writer.see("#bits", "bits per character")
    legend, tools = (writer.page.locator(id).bounding_box() for id in ("#legend", "#tools"))
    assert legend["y"] + legend["height"] <= tools["y"]
    assert legend["x"] >= 0
    assert legend["x"] + legend["width"] <= 360
    side = writer.page.locator("#side")
    expect(side).to_be_hidden()
    writer.page.locator("[data-command=branches]").tap()
    expect(side).to_be_visible()
    writer.page.locator("#close").tap()
    expect(side).to_be_hidden()
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = writer.page.evaluate(colour)
    writer.page.locator("[data-command=theme]").tap()
    assert writer.page.evaluate(colour) != dark
    writer.expected = ("ERR_FAILED",)
    writer.page.route("**/main.js", lambda route: route.abort())
    writer.page.reload()
    assert writer.page.evaluate(colour) != dark  # from the first paint on


# -- labels -------------------------------------------------------------------------------


def test_a_label_is_chosen_where_the_model_has_some(
    server: Server, make_writer: Callable[..., Writer]
) -> None:
    save_labelled(server.folder / "lines/model.safetensors", **LINES)
    until(lambda: "lines" in server.get("/v1/models").body.decode(), "no model lines")
    writer = make_writer().open(server.url)
    label = writer.page.locator("#label")
    expect(label).to_be_hidden()
    writer.page.select_option("#model", "lines")
    expect(label).to_be_visible()
    for name, letters in {"b": "vwxyz", "a": "abcde"}.items():
        label.select_option(name)
        writer.put("ab\n")  # the last of the lines is the one that the model reads
        writer.press("Control+Enter")
        until(lambda: len(writer.text) > 3 or None, "nothing is written")
        writer.finish()
        assert set(writer.text[3:]) <= set(letters)
        with writer.page.expect_response("**/v1/next") as found:
            writer.page.click("[data-command=alternatives]")
        assert {row["text"] for row in found.value.json()["next"][:5]} <= {*letters, "\n"}
        writer.press("Escape")
    writer.page.select_option("#model", "english")
    expect(label).to_be_hidden()
    shutil.rmtree(server.folder / "lines")
