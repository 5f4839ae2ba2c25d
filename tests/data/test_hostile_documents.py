"""Hostile documents are refused in one line, with little memory and in little time."""

from __future__ import annotations

import io
import random
import resource
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargen.config import ReadConfig
from chargen.data.dataset import read_text
from chargen.data.documents import markup, packages, richtext
from chargen.errors import CorpusError
from tests.conftest import Run, write
from tests.data.document_files import (
    HEADER,
    POSTMARK,
    TYPES,
    WORD,
    docx,
    epub,
    odt,
    packed,
    pdf,
    pdf_of,
    telegram,
    word_paragraph,
)
from tests.data.test_documents import ANDROID, KINDS

MB = 1 << 20
MEMORY = 1 << 30  # bytes of address space; numpy alone takes a third
LONG_LINE = "x" * 99 + "\n"
SECONDS = 60  # of a process, on a busy machine

ENTITIES = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
BOMB = f'<!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">{ENTITIES}]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a9 SYSTEM "file:///etc/passwd">]>'
ENTITY = "<w:p><w:r><w:t>&a9;</w:t></w:r></w:p>"
ENCRYPTED = (
    "/Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -4 /O <{}> /U <{}> >> /ID [<41><41>]"
)
PAGES = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"


SPACES = '<text:s text:c="999999999999"/>'


def noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


def large_docx() -> bytes:
    """2 GB of spaces in 2 MB, and a good text before them."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", TYPES)
        with archive.open("word/document.xml", "w", force_zip64=True) as part:
            part.write(f"<w:document {WORD}><w:body>{word_paragraph('text')}".encode())
            for _ in range(300):
                part.write(b" " * MB)
    return data.getvalue()


def lying_docx() -> bytes:
    """A member that is larger than it says."""
    body = word_paragraph("text" * 9000)
    size = len(f"<w:document {WORD}><w:body>{body}</w:body></w:document>").to_bytes(4, "little")
    data = docx(body)
    assert data.count(size) == 2
    return data.replace(size, (100).to_bytes(4, "little"))


def many_members() -> bytes:
    return packed({f"{number:0200}": "" for number in range(20_000)})


def stream(content: bytes, more: bytes = b"") -> bytes:
    return b"<< %b /Length %d >>\nstream\n%b\nendstream" % (more, len(content), content)


def forms_pdf() -> bytes:
    """Each form shows the next one ten times."""
    shown = b"/Type /XObject /Subtype /Form /Resources << /XObject << /X %d 0 R >> >>"
    page = (
        b"<< /Type /Page /Parent 2 0 R /Resources << /XObject << /X 5 0 R >> >> /Contents 4 0 R >>"
    )
    forms = [stream(b"/X Do " * 10, shown % (6 + number)) for number in range(12)]
    return pdf_of([CATALOG, PAGES, page, stream(b"/X Do "), *forms, stream(b"", shown % 99)])


def tree_pdf() -> bytes:
    """Each node has the next one as a child ten times."""
    nodes = [b"<< /Type /Pages /Kids [%b] >>" % (b"%d 0 R " % (4 + n) * 10) for n in range(12)]
    return pdf_of([CATALOG, PAGES, *nodes, b"<< /Type /Page /Parent 2 0 R >>"])


def flate_pdf() -> bytes:
    page = b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>"
    content = zlib.compress(zlib.compress(b" " * (200 * MB)))
    packed_twice = stream(content, b"/Filter [/FlateDecode /FlateDecode]")
    return pdf_of([CATALOG, PAGES, page, packed_twice])


def nested_mail() -> str:
    parts = (f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(3000))
    return HEADER + "".join(parts) + "\ntext\n"


Content = Callable[[], bytes | str]
HOSTILE: dict[str, tuple[Content, str]] = {
    "bomb.docx": (large_docx, "unpacks to 314,572,"),
    "lying.docx": (lying_docx, "is damaged: "),
    "members.docx": (many_members, "it is damaged or too large; save it again"),
    "entities.docx": (lambda: docx(ENTITY, BOMB), "it declares entities"),
    "outside.docx": (lambda: docx(ENTITY, OUTSIDE), "it declares entities"),
    "deep.docx": (lambda: docx("<w:p>" * 2000), "it is nested more than 1,000 levels deep"),
    "headless.docx": (
        lambda: packed({"[Content_Types].xml": TYPES}),
        "no part 'word/document.xml'",
    ),
    "typeless.docx": (
        lambda: packed({"[Content_Types].xml": "no XML"}),
        "it is damaged or too large",
    ),
    "nested.docx": (
        lambda: packed({"[Content_Types].xml": TYPES, "word/document.xml": docx("")}),
        "its XML is malformed",
    ),
    "half.docx": (lambda: docx(word_paragraph("text"))[:-40], "it is damaged or too large"),
    "cut.docx": (lambda: docx("</w:body><w:p>"), "its XML is malformed"),
    "empty.docx": (lambda: docx("<w:p/>"), "it holds no text"),
    "bomb.odt": (lambda: odt(f"<text:p>{' ' * (100 * MB)}</text:p>"), "unpacks to 104,857,"),
    "locked.odt": (
        lambda: odt("", **{"META-INF/manifest.xml": "<encryption-data/>"}),
        "it is encrypted",
    ),
    "headless.epub": (lambda: packed({"mimetype": "application/epub+zip"}), "no list of chapters"),
    "gone.epub": (
        lambda: epub({"a": "text"}, "a").replace(b"in/a.xhtml", b"in/b.xhtml"),
        "no part",
    ),
    "entities.epub": (
        lambda: epub({"a": "x"}, "a", **{"in/a.xhtml": f"{BOMB}<html><body>&a9;"}),
        "it declares entities",
    ),
    "locked.epub": (
        lambda: epub(
            {"a": "text"},
            "a",
            **{"META-INF/encryption.xml": '<e><CipherReference URI="in/a.xhtml"/></e>'},
        ),
        "it is protected (DRM)",
    ),
    "large.html": (lambda: b"<html><body>" + b"<b>" * (34 * MB), "it has more than 33,554,432 b"),
    "entities.html": (
        lambda: f"{BOMB}<html><body>&a9;</html>".replace(" x ", " html "),
        "declares e",
    ),
    "comment.html": (
        lambda: "<html><body>" + "<!-- " * (5 * MB),
        "a tag or comment has more than 16",
    ),
    "attributes.html": (
        lambda: "<html><body>" + "<a b=c " * (3 * MB),
        "more than 100,000 attributes",
    ),
    "empty.html": (lambda: "<html><head></head><body></body>", "it holds no text"),
    "braces.rtf": (lambda: rb"{\rtf1 " + b"{" * (100 * MB), "nested more than 1,000 levels deep"),
    "large.rtf": (lambda: rb"{\rtf1 " + b"x" * (129 * MB), "it has more than 134,217,728 bytes"),
    "long.rtf": (lambda: rb"{\rtf1 " + b"x" * (17 * MB), "a paragraph has more than 16,777,216"),
    "half.pdf": (lambda: pdf("text")[:-200], "it is damaged: "),
    "noise.pdf": (lambda: b"%PDF-1.4\n" + noise(MB), "it is damaged: "),
    "loop.pdf": (lambda: pdf("text").replace(b"/Kids [4", b"/Kids [2"), "it is damaged: "),
    "locked.pdf": (
        lambda: pdf("text", trailer=ENCRYPTED.format("41" * 32, "42" * 32)),
        "is encrypted",
    ),
    "forms.pdf": (forms_pdf, ""),
    "tree.pdf": (tree_pdf, "it is damaged: "),
    "flate.pdf": (flate_pdf, ""),
    "scan.pdf": (lambda: pdf(""), "it holds no text (a scan needs OCR first)"),
    "brackets.json": (lambda: telegram().partition("[")[0] + "[" * (20 * MB), "nested too deeply"),
    "cut.json": (lambda: telegram(("Anna", "hello " * MB))[:-9], "its JSON is damaged: "),
    "chat.txt": (lambda: ANDROID + LONG_LINE * (MB // 5), "a message has more than 16,777,216"),
    "line.txt": (lambda: ANDROID + "x" * (17 * MB), "a line has more than 16,777,216"),
    "parts.eml": (nested_mail, "it holds no text"),
    "empty.mbox": (lambda: f"{POSTMARK}{HEADER}\n" * 3, "it holds no text"),
}


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_one_line(
    name: str, chargen: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, words = HOSTILE[name]
    write(name, make())
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # each thread takes address space
    done = chargen("corpus", "stats", name, preexec_fn=limited, timeout=SECONDS)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert done.stderr.startswith(f"chargen: corpus '{name}' ")
    assert words in done.stderr


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("subject.eml", HEADER + "Subject: " + "=?utf-8?q?a?= " * MB + "\n\ntext and more of it\n"),
        ("long.mbox", POSTMARK + HEADER + "\ntext and more of it\n" + "x" * (50 * MB)),
        ("spaces.odt", odt("<text:p>text" + SPACES * 99 + ".</text:p>")),
        ("again.epub", epub({"a": "text and more of it " * 999}, "a" * 9999)),
        ("skipped.rtf", rb"{\rtf1 text and more of it\bin99999999999999999999 x}"),
    ],
)
def test_what_is_only_long_is_read_in_bounds(name: str, data: bytes | str, chargen: Run) -> None:
    write(name, data)
    done = chargen("corpus", "stats", name, timeout=SECONDS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("module", "limit", "name", "words"),
    [
        (markup, "MOST_TAGS", "page.html", "it has more than 9 tags"),
        (richtext, "MOST_TOKENS", "letter.rtf", "it has more than 9 control words"),
        (packages, "MOST_ELEMENTS", "letter.docx", "it has more than 9 elements"),
    ],
)
def test_markup_is_counted(
    module: object, limit: str, name: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, limit, 9)
    write(name, KINDS[name][0])
    with pytest.raises(CorpusError, match=words):
        read_text(ReadConfig((name,)))


@pytest.mark.parametrize("name", [name for name in KINDS if name != "paper.pdf"])
@given(data=st.data())
def test_a_damaged_document_is_a_text_or_one_error(name: str, data: st.DataObject) -> None:
    """Bytes are changed, cut out or put in; PDF is read by another process and takes too long."""
    content = KINDS[name][0]
    whole = bytearray(content if isinstance(content, bytes) else content.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        cut = data.draw(st.sampled_from((0, 1, 1, 2, 50)))
        whole[at : at + cut] = data.draw(st.binary(max_size=4) | st.sampled_from(SPLINTERS))
    write("t", bytes(whole) or b"x")
    for encoding in (None, "latin-1"):
        try:
            text = read_text(ReadConfig(("t",), encoding=encoding), least=0)
        except CorpusError as error:
            assert "\n" not in str(error)
        else:
            assert "".join(map(str, text.pieces())) is not None


SPLINTERS = [
    b"<",
    b">",
    b"<![CDATA[",
    b"<!x[",
    b"&#",
    b"&#xD800;",
    b"{",
    b"}",
    b"\\u",
    b"\\bin9",
    b'"',
]
