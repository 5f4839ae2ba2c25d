"""PDF: the text of its pages, read by pypdf in a process of its own.

A small hostile file can make any reader of PDF compute for hours or fill the memory. The process
has a limit of both, and it ends without harm to the command that reads the text.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from chargen.data.documents.words import DocumentError

SILENCE = 30.0  # seconds without another page
LONGEST_TIME = 600.0  # seconds for all pages
READER = Path(__file__).with_name("pdf_reader.py")


def has_library() -> bool:
    """Tell whether PDF can be read."""
    return importlib.util.find_spec("pypdf") is not None


def pdf_pages(file: BinaryIO) -> Iterator[str]:
    """Yield the text of each page, with a blank line behind it.

    Args:
        file: one with a descriptor, which the process inherits.

    Raises:
        DocumentError: it is damaged, encrypted or hostile, or has no text.
    """
    os.lseek(file.fileno(), 0, os.SEEK_SET)  # the position of the process, whatever was read here
    process = subprocess.Popen(
        [sys.executable, "-P", str(READER)],
        stdin=file.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        yield from _pages(process)
    finally:
        process.kill()
        process.communicate()


def _pages(process: subprocess.Popen[bytes]) -> Iterator[str]:
    assert process.stdout is not None
    ends, has_text = time.monotonic() + LONGEST_TIME, False
    while True:
        left = ends - time.monotonic()
        watchdog = threading.Timer(max(0.0, min(SILENCE, left)), process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            line = process.stdout.readline()
        finally:
            watchdog.cancel()
        said = json.loads(line) if line.endswith(b"\n") else {"error": _why(process)}
        if "error" in said:
            raise DocumentError(said["error"])
        if said.get("done"):
            break
        if text := said["page"].strip():
            has_text = True
            yield f"{text}\n\n"
    if not has_text:
        raise DocumentError("it holds no text (a scan needs OCR first)")


def _why(process: subprocess.Popen[bytes]) -> str:
    """Return why the process has ended without a word."""
    process.kill()
    process.wait()
    return f"it takes more than {SILENCE:g} s a page, {LONGEST_TIME:g} s in all, or much memory"
