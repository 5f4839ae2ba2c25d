"""Small documents of every kind, made by hand."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable

TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Override '
    'PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.'
    'wordprocessingml.document.main+xml"/></Types>'
)
WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
OASIS = "urn:oasis:names:tc:opendocument:xmlns"
HEADER = "From: Anna <a@x.org>\nTo: Bob <b@x.org>\nMessage-ID: <1@x.org>\nMIME-Version: 1.0\n"
POSTMARK = "From a@x.org Sat Nov 28 08:22:49 2026\n"


def packed(members: dict[str, str | bytes]) -> bytes:
    """Return a zip archive; a member ``mimetype`` comes first and is not compressed."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            stored = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name), content, stored)
    return data.getvalue()


def docx(body: str, before: str = "") -> bytes:
    """Return a Word document of paragraphs that are already XML."""
    document = f"{before}<w:document {WORD}><w:body>{body}</w:body></w:document>"
    return packed({"[Content_Types].xml": TYPES, "word/document.xml": document})


def word_paragraph(text: str) -> str:
    return f'<w:p><w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def odt(body: str, **members: str) -> bytes:
    """Return an OpenDocument text of paragraphs that are already XML."""
    content = (
        f'<office:document-content xmlns:office="{OASIS}:office:1.0" xmlns:text="{OASIS}:text:1.0">'
        f"<office:body><office:text>{body}</office:text></office:body></office:document-content>"
    )
    mimetype = "application/vnd.oasis.opendocument.text"
    return packed({"mimetype": mimetype, "content.xml": content, **members})


def epub(chapters: dict[str, str], order: Iterable[str], **members: str) -> bytes:
    """Return a book with a table of contents; chapters are the insides of a body."""
    container = (
        f'<container xmlns="{OASIS}:container"><rootfiles><rootfile full-path="in/book.opf"/>'
        "</rootfiles></container>"
    )
    items = "".join(f'<item id="{name}" href="{name}.xhtml"/>' for name in chapters)
    spine = "".join(f'<itemref idref="{name}"/>' for name in ("nav", *order))
    book = (
        '<package xmlns="http://www.idpf.org/2007/opf"><manifest>'
        f'<item id="nav" href="nav.xhtml" properties="nav"/>{items}</manifest>'
        f"<spine>{spine}</spine></package>"
    )
    pages = {
        f"in/{name}.xhtml": '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html><html '
        f'xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body>{body}</body></html>'
        for name, body in {"nav": "Contents", **chapters}.items()
    }
    mimetype = "application/epub+zip"
    return packed(
        {
            "mimetype": mimetype,
            "META-INF/container.xml": container,
            "in/book.opf": book,
            **pages,
            **members,
        }
    )


def pdf(*pages: str, trailer: str = "") -> bytes:
    """Return a PDF of lines of ASCII in Helvetica."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, page in enumerate(pages):
        shown = " ".join(f"({line}) Tj T*" for line in page.split("\n"))
        content = f"BT /F1 12 Tf 72 720 Td 14 TL {shown} ET"
        objects += [
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources "
            f"<< /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>",
            f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        ]
    return pdf_of([text.encode() for text in objects], trailer)


def pdf_of(objects: list[bytes], trailer: str = "") -> bytes:
    """Return a PDF of objects, the first of which is the catalogue."""
    data, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    rows = b"".join(b"%010d 00000 n \n" % place for place in places)
    table = b"xref\n0 %d\n0000000000 65535 f \n%b" % (len(objects) + 1, rows)
    ends = f"trailer << /Size {len(objects) + 1} /Root 1 0 R {trailer}>>\nstartxref\n{len(data)}\n"
    return data + table + ends.encode() + b"%%EOF\n"


def telegram(*messages: tuple[str | None, object], kind: str = "personal_chat") -> str:
    """Return the export of one chat: names and texts."""
    rows = [
        {"id": number, "type": "message", "date": "2026-11-28T08:22:49", "from": name, "text": text}
        for number, (name, text) in enumerate(messages)
    ]
    service = {"id": 99, "type": "service", "actor": "Anna", "action": "phone_call", "text": "no"}
    chat = {"name": "Bob", "type": kind, "id": 7, "messages": [service, *rows]}
    return json.dumps(chat, indent=1, ensure_ascii=False)
