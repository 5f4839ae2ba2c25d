"""Documents become texts, and texts stay what they are."""

from __future__ import annotations

import gzip
import json
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargen.config import ReadConfig
from chargen.data.dataset import Text, read_like, read_text
from chargen.errors import ConfigError, CorpusError
from chargen.repl.files import edited
from tests.conftest import Run, content_of, write
from tests.data.document_files import (
    HEADER,
    POSTMARK,
    docx,
    epub,
    odt,
    packed,
    pdf,
    telegram,
    word_paragraph,
)
from tests.processes import run


def read(*names: str, **options: str) -> Text:
    return read_text(ReadConfig(names, **options), least=1)  # type: ignore[arg-type]


def text_in(name: str, data: bytes | str, **options: str) -> str:
    write(name, data)
    return content_of(read(name, **options))


# -- each kind ----------------------------------------------------------------------------

ANDROID = """\
12/31/20, 11:58 PM - Messages and calls are end-to-end encrypted. Tap to learn more.
12/31/20, 11:59 PM - Anna: Happy new year!
12/31/20, 11:59 PM - Bob Smith: You too,
and: all the best
12/31/20, 11:59\u202fPM - Anna: <Media omitted>
1/1/21, 12:01 AM - Bob Smith: IMG-20210101-WA0001.jpg (file attached)
1/1/21, 12:01 AM - +49 170 1234567: hi <3 https://x.org
1/1/21, 12:01 AM - Anna created group "Trip: 2021"
1/1/21, 12:02 AM - Anna: This message was deleted
"""
IOS = """\
\u200e[31.12.20, 23:58:01] Anna: \u200eMessages and calls are end-to-end encrypted.\r
[31.12.20, 23:59:01] Anna: Happy new year!\r
[31.12.20, 23:59:59] Bob: You too \u200e<This message was edited>\r
\u200e[01.01.21, 00:00:09] Bob: \u200eimage omitted\r
[01.01.21, 00:00:10] Anna: fine\r
"""
MAIL = (
    HEADER + "Subject: =?utf-8?q?Caf=C3=A9_?= =?utf-8?q?today?=\n"
    "Content-Type: multipart/alternative; boundary=XX\n\n"
    "--XX\nContent-Type: text/plain; charset=latin-1\nContent-Transfer-Encoding: quoted-printable\n"
    "\nHello, caf=E9 at five?\n\nOn Monday, Bob wrote:\n> Where?\n> Here.\n\nBye\n--=20\nAnna\n"
    "--XX\nContent-Type: text/html\n\n<p>no <b>page</b></p>\n--XX--\n"
)
PAGE_MAIL = HEADER + "Subject: News\nContent-Type: text/html\n\n<p>One<br>two</p><p>three</p>\n"
KINDS: dict[str, tuple[bytes | str, str, str]] = {
    "letter.docx": (
        docx(
            word_paragraph("Dear Anna &amp; Bob,")
            + "<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr><w:r><w:t>one</w:t><w:tab/>"
            "<w:t>two</w:t><w:br/><w:t>three</w:t></w:r><w:del><w:r><w:t>gone</w:t></w:r></w:del></w:p><w:p/>"
            + word_paragraph("  End.")
        ),
        "Dear Anna & Bob,\none\ttwo\nthree\n\n  End.\n",
        "1 x Word document (3 paragraphs)",
    ),
    "letter.odt": (
        odt(
            '<text:h>Head</text:h><text:p>one<text:s text:c="2"/>two<text:note><text:p>note'
            "</text:p></text:note> <text:span>three</text:span><text:line-break/>four\n  five"
            "</text:p>"
        ),
        "Head\none  two three\nfour five\n",
        "1 x OpenDocument text (2 paragraphs)",
    ),
    "book.epub": (
        epub({"b": "<h2>Two</h2>x&nbsp;y", "a": "<h2>One &eacute;</h2><p>Text.</p>"}, "aba"),
        "One é\n\nText.\n\nTwo\n\nx\xa0y\n\n",
        "1 x EPUB book (2 chapters)",
    ),
    "page.html": (
        "<!-- saved --><!DOCTYPE html><html><head><title>t</title><style>p {}</style><body>"
        "<h1>Head &amp; foot</h1><p>One <b>bold</b>\n word.<p>Two<br>lines<ul><li>a<li>b</ul>"
        "<script>if (a < b) '<p>no</p>'</script><pre> x\n  y</pre></html>",
        "Head & foot\n\nOne bold word.\n\nTwo\nlines\n\na\nb\n\n x\n  y\n\n",
        "1 x web page (6 paragraphs)",
    ),
    "letter.rtf": (
        rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0\fcharset0 Arial;}{\f1\fcharset204 Arial;}}"
        rb"{\*\generator x;}{\info{\title no}}Caf\'e9 \{\b bold\b0\} \u8364?5\u-10179?\u-8704?"
        rb"\par {\f1 \'cf\'f0\'e8}\line on\tab\ldblquote x\rdblquote{\pict 010203}"
        b"\\bin3 }}}\\par\r\nlast\\\nline}trash",
        "Café {bold} €5😀\nПри\non\t“x”\nlast\nline\n",
        "1 x rich text file (4 paragraphs)",
    ),
    "paper.pdf": (
        pdf("First page.\nIts second line.", "", "Last page."),
        "First page.\nIts second line.\n\nLast page.\n\n",
        "1 x PDF (2 pages)",
    ),
    "WhatsApp Chat with Bob.txt": (
        ANDROID,
        "Anna: Happy new year!\nBob Smith: You too,\nand: all the best\n"
        "+49 170 1234567: hi <3 https://x.org\n",
        "1 x WhatsApp chat (3 messages)",
    ),
    "_chat.txt": (
        IOS,
        "Anna: Happy new year!\nBob: You too\nAnna: fine\n",
        "1 x WhatsApp chat (3 messages)",
    ),
    "WhatsApp Chat - Bob.zip": (
        packed({"00000001-PHOTO.jpg": bytes(99), "_chat.txt": IOS}),
        "Anna: Happy new year!\nBob: You too\nAnna: fine\n",
        "1 x zipped WhatsApp chat (3 messages)",
    ),
    "result.json": (
        telegram(
            ("Anna", 'he said "messages": ['),
            ("Bob", ["see ", {"type": "link", "text": "x.org"}, " now\nplease"]),
            ("Anna", ""),
            (None, "gone"),
        ),
        'Anna: he said "messages": [\nBob: see x.org now\nplease\nDeleted Account: gone\n',
        "1 x Telegram export (3 messages)",
    ),
    "letter.eml": (
        MAIL,
        "Café today\n\nHello, café at five?\n\nBye\n\n",
        "1 x mail (1 message)",
    ),
    "box.mbox": (
        POSTMARK + MAIL + "\n" + POSTMARK + PAGE_MAIL + "\n" + POSTMARK + HEADER + "\n>From me\n",
        "Café today\n\nHello, café at five?\n\nBye\n\nNews\n\nOne\ntwo\n\nthree\n\nFrom me\n\n",
        "1 x mailbox (3 messages)",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_read_as_its_text(name: str, chargen: Run) -> None:
    data, text, summary = KINDS[name]
    assert text_in(name, data) == text
    write("renamed", data)  # content tells the kind, and a pipe has no name
    assert content_of(read("renamed")) == text
    with Path("renamed").open("rb") as stdin:
        done = chargen("corpus", "stats", "-", "--json", input=None, stdin=stdin)
    if len(text) >= 20:
        facts = json.loads(done.stdout)
        assert (facts["documents"], facts["characters"]) == (summary, len(text))
        kind, _, units = summary.removeprefix("1 x ").partition(" (")
        assert done.stderr == (
            f"chargen: 'standard input' is read as {kind}: {units.removesuffix(')')}\n"
        )


@pytest.mark.parametrize("name", KINDS)
def test_a_compressed_document_is_a_document(name: str) -> None:
    data, text, _ = KINDS[name]
    data = data if isinstance(data, bytes) else data.encode()
    assert text_in(f"{name}.gz", gzip.compress(data)) == text


@pytest.mark.parametrize("name", KINDS)
def test_raw_and_byte_models_read_what_stands_in_the_file(name: str) -> None:
    data = KINDS[name][0]
    write(name, data)
    content = data if isinstance(data, bytes) else data.encode()
    pieces = read(name, tokenizer="byte").pieces()
    assert b"".join(piece for piece in pieces if isinstance(piece, bytes)) == content
    if isinstance(data, str):
        assert content_of(read(name, documents="raw", newlines="keep")) == data.removeprefix(
            "\ufeff"
        )
    elif name not in ("letter.rtf", "paper.pdf"):  # their source is text
        with pytest.raises(CorpusError, match="is a binary file, not a text"):
            read(name, documents="raw")


@pytest.mark.parametrize(
    "line",
    [
        "[31/12/2020, 23:59:59] {}",
        "[12/31/20, 11:59:59\u202fPM] {}",
        "[2020-12-31, 11:59:59 p. m.] {}",
        "31.12.20, 23:59 - {}",
        "31/12/2020, 23:59 - {}",
        "31/12/20 à 23:59 - {}",
        "2020-12-31, 11:59 p.m. - {}",
        "31-12-2020 23:59 - {}",
    ],
)
def test_whatsapp_writes_dates_in_many_ways(line: str) -> None:
    said = ["Anna: one", "Bob: two", "Anna: <Medien ausgeschlossen>", "Bob: three"]
    chat = "".join(line.format(words) + "\n" for words in said)
    assert text_in("chat", chat) == "Anna: one\nBob: two\nBob: three\n"


def test_all_chats_of_telegram_are_read() -> None:
    chats = [json.loads(telegram((name, "hello"), kind="private_group")) for name in "AB"]
    export = {"about": "Here is the data you requested from Telegram.", "chats": {"list": chats}}
    assert text_in("result.json", json.dumps(export)) == "A: hello\nB: hello\n"


def test_a_long_telegram_export_is_read_in_pieces() -> None:
    messages = [("Anna", "x" * (number % 700)) for number in range(4000)]
    text = text_in("result.json", telegram(*messages))
    assert text == "".join(f"Anna: {words}\n" for _, words in messages if words)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (b"<html><head><meta charset=windows-1251><body>\xcf\xf0\xe8", "При\n"),
        (b"<html><head><meta charset=iso-8859-1><body>\x93x\x94", "“x”\n"),
        (b"<html><body>\x93x\x94", "“x”\n"),  # says nothing and is not UTF-8
        ("<html><body>größer".encode(), "größer\n"),
        ("<html><head><meta charset=utf-8><body>größer".encode("utf-16"), "größer\n"),
        (b"<html><head><meta charset=no-such-thing><body>abc", "abc\n"),
    ],
)
def test_a_page_says_its_encoding(page: bytes, text: str) -> None:
    assert text_in("page.html", page) == text


def test_a_named_encoding_is_that_of_pages_and_not_of_archives() -> None:
    page = "<html><body>größer".encode("cp437")
    assert text_in("page.html", page, encoding="cp437") == "größer\n"
    assert text_in("a.docx", docx(word_paragraph("größer")), encoding="cp437") == "größer\n"
    own = ReadConfig(encoding="cp437")
    assert content_of(read_like(own, "a.docx")) == "größer\n"
    assert content_of(read_like(own, "page.html", "cp437")) == "größer\n"


# -- texts stay texts ---------------------------------------------------------------------

TEXTS = [
    "<stage left> Enter Hamlet, and then speaks.\n",
    "<html> is the root element of a page, and <p> begins a paragraph.\n",
    "<3 you all\n",
    '{"name": "x", "type": "y", "id": 1}\n',
    '{"name": "x", "messages": ["hello"]}\n',
    "{\\it emphasis} is old LaTeX\n",
    "%PDF- is how a PDF begins\n",
    "PK is a brand\n",
    "From here to 12:30 in 1999\nNote: nothing\n",
    "From: Anna\nTo: Bob\nSubject: lunch\nDate: Monday\n\nShall we?\n",
    "Anna: hi\nBob: hi\nAnna: bye\n",
    "2026-11-28 08:22:49,123 - root - INFO - Server: started\n" * 9,
    "[2026-11-28 08:22:49] Server: started\n" * 9,
    "[2026-11-28, 08:22:49] worker: started\n" * 9,
    "28/11/2026 08:22 - INFO: started\n28/11/2026 08:22 - Server: is up\n" * 9,
    "11/28/26, 8:22 AM - server: started\n11/28/26, 8:22 AM - db: up\n" * 9,
    "28.11.26, 08:22 - I got up: it was late.\n",
    "Nov 28 08:22:49 host sshd[1]: Accepted\n" * 9,
    "\\documentclass{article}\n",
    "<?xml version='1.0'?><svg><text>x</text></svg>\n",
    "<?xml version='1.0'?><feed><title>html</title></feed>\n",
    "# Title\n<p align=center>\n<body>\n",
    "MIME-Version: 1.0\nContent-Type: text/plain\n\nno sender\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_stays_a_text(text: str) -> None:
    assert text_in("a.txt", text) == text
    assert text_in("noname", text) == text
    assert read("a.txt").notes == ()


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from("<{[%F"))
def test_any_text_stays_a_text(text: str, first: str) -> None:
    write("t", first + text)
    config = ReadConfig(("t",), encoding="utf-8", newlines="keep")
    assert content_of(read_text(config, least=1)) == first + text


def test_records_are_never_documents() -> None:
    for name in ("a.csv", "a.jsonl"):
        assert text_in(name, ANDROID) == ANDROID


# -- folders ------------------------------------------------------------------------------


def test_a_folder_gives_its_documents_as_well() -> None:
    write("d/a.docx", docx(word_paragraph("one")))
    write("d/b.txt", "two")
    write("d/c.pdf", pdf("three"))
    write("d/d.png", bytes(range(256)) * 9)
    write("d/e.docx", docx(word_paragraph("four"))[:-30])
    write("d/f.pdf", pdf("five").replace(b"/Kids [4", b"/Kids [2"))
    write("d/g.xlsx", packed({"[Content_Types].xml": "<Types/>"}))
    text = read("d")
    assert content_of(text) == "one\n\ntwo\nthree\n\n"
    skipped, taken, broken = text.notes
    assert skipped == "3 of 7 files of 'd' skipped: no text"
    assert taken == "read as their text: 1 x Word document (1 paragraph), 1 x PDF (1 page)"
    assert broken.startswith("left out: corpus 'd/f.pdf' cannot be read as PDF: it is damaged: ")
    assert content_of(read("d", documents="raw")).startswith("two\n%PDF-1.4")
    with pytest.raises(CorpusError, match=r"'d/f.pdf' cannot be read as PDF"):
        read("d/f.pdf")


def test_a_folder_of_unreadable_documents_is_an_error() -> None:
    write("d/a.pdf", pdf(""))
    with pytest.raises(CorpusError, match=r"'d/a.pdf' cannot be read as PDF: it holds no text"):
        read("d")


def test_pages_beside_code_are_source_code() -> None:
    page = "<html><head></head><body>{{ name }}</body></html>\n"
    write("site/index.html", page)
    assert content_of(read("site")) == "{{ name }}\n"
    write("site/app.py", "print(1)\n")
    text = read("site")
    assert content_of(text) == f"print(1)\n\n{page}"
    assert text.notes == (
        "web pages (1) are read as source code, as the files beside them; name the pages alone to "
        "read their text",
    )
    assert content_of(read("site/*.html")) == "{{ name }}\n"
    assert content_of(read("site/*")) == f"print(1)\n\n{page}"


# -- runs ---------------------------------------------------------------------------------

TRAIN = ("--steps", "4", "--hidden", "8", "--layers", "1", "--threads", "1", "--name", "a")


def letter(seed: int) -> bytes:
    words = random.Random(seed)
    lines = (" ".join(words.choices(("one", "two", "three", "four"), k=12)) for _ in range(40))
    return docx("".join(map(word_paragraph, lines)))


def test_a_run_from_a_document_can_resume(chargen: Run) -> None:
    write("a.docx", letter(1))
    done = chargen("train", "a.docx", *TRAIN)
    assert done.returncode == 0, done.stderr
    assert "'a.docx' is read as Word document: 40 paragraphs" in done.stderr
    more = chargen("train", "--resume", "--name", "a", "--steps", "2")
    assert more.returncode == 0, more.stderr
    assert chargen("eval", "-m", "a").returncode == 0
    alphabet = {*"onetwhrfu \n"}
    assert set(chargen("sample", "-m", "a", "-n", "99").stdout) <= alphabet
    write("a.docx", letter(2))
    refused = chargen("train", "--resume", "--name", "a", "--steps", "2")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "a.docx) has changed" in refused.stderr
    assert "chargen train --append --base a" in refused.stderr
    grown = chargen("train", "--append", "--base", "a", "--name", "b", "--steps", "2")
    assert grown.returncode == 0, grown.stderr


def test_a_run_from_a_document_in_a_pipe_can_resume(chargen: Run) -> None:
    page = "<html><body>" + "".join(f"<p>&lt;html&gt;&lt;body&gt; {n * n}</p>" for n in range(99))
    done = chargen("train", "-", *TRAIN, input=page)
    assert done.returncode == 0, done.stderr
    assert Path("checkpoints/a/corpus.txt").read_text().startswith("<html><body> 0\n")
    more = chargen("train", "--resume", "--name", "a", "--steps", "2")
    assert more.returncode == 0, more.stderr


def test_raw_source_is_read_again_as_it_was(chargen: Run) -> None:
    write("a.html", "<html><body>" + "".join(f"<p>{n * n}</p>\n" for n in range(99)))
    assert chargen("train", "a.html", "--documents", "raw", *TRAIN).returncode == 0
    more = chargen("train", "--resume", "--name", "a", "--steps", "2")
    assert more.returncode == 0, more.stderr
    assert '\ndocuments = "raw"\n' in chargen("info", "-m", "a", "--toml").stdout


def test_what_is_written_in_the_session_is_no_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "sed -i s/one/two/")
    assert edited("<html><body>one</body>", ReadConfig()) == "<html><body>two</body>"


# -- what cannot be read ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.xlsx", packed({"[Content_Types].xml": "<Types/>"}), "it has no text document; save"),
        (
            "a.doc",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99),
            "in the old format or encrypted",
        ),
        ("a.mobi", bytes(60) + b"BOOKMOBI" + bytes(99), "convert it to .epub"),
        (
            "a.ods",
            packed({"mimetype": "application/vnd.oasis.opendocument.spreadsheet"}),
            "no text d",
        ),
        ("a.zip", packed({"a.txt": "text"}), "zip archive: unpack it, and give the folder"),
    ],
)
def test_what_is_no_text_says_what_to_do(name: str, data: bytes, words: str) -> None:
    write(name, data)
    with pytest.raises(CorpusError) as error:
        read(name)
    assert words in str(error.value)


def test_a_pdf_without_its_library_says_what_to_install() -> None:
    write("a.pdf", pdf("one"))
    code = (
        "import sys; sys.modules['pypdf'] = None; "
        "sys.argv = ['chargen', 'corpus', 'stats', 'a.pdf']; from chargen.cli import main; main()"
    )
    done = run([sys.executable, "-c", code], text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "chargen: corpus 'a.pdf' is a PDF; to read it: pip install 'chargen[documents]'\n"
    )


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="documents is 'no'; allowed: text, raw"):
        ReadConfig(documents="no")
