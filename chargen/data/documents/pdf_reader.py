"""Reader of a PDF: a script that writes a line of JSON for each page of the file on its stdin."""

import contextlib
import json
import sys

MEMORY = 1 << 31  # bytes
LARGEST = 1 << 24  # characters of a page


def main() -> None:
    """Write the pages, and at the end that all is done or what went wrong."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows has no such limits
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = min([MEMORY, *({soft, hard} - {resource.RLIM_INFINITY})])
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        write_pages()
        say(done=True)
    except MemoryError:
        say(error="it takes too much memory")
    except Exception as error:  # pypdf raises whatever a damaged file leads to
        words = " ".join(str(error).split())[:120]
        say(error=f"it is damaged: {words or type(error).__name__}")


def write_pages() -> None:
    """Write the text of all pages."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    reader = PdfReader(sys.stdin.buffer)
    try:
        locked = reader.is_encrypted and not reader.decrypt("")
    except DependencyError:  # for AES pypdf needs another library
        locked = True
    if locked:
        say(error="it is encrypted")
        return
    for page in reader.pages:
        say(page=page.extract_text()[:LARGEST])


def say(**words: object) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
