"""Sources of a corpus: files, folders, patterns, pipes, built-in and published texts.

They become a list of files, each of which can be read again and again: what can be read only
once, such as standard input, is spooled to a temporary file first.
"""

from __future__ import annotations

import atexit
import bz2
import codecs
import contextlib
import errno
import glob
import gzip
import io
import itertools
import lzma
import os
import stat
import sys
import sysconfig
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from chargen.data.catalogue import catalogue, fetch
from chargen.data.documents.kinds import kind_of
from chargen.data.documents.words import DocumentError
from chargen.errors import CorpusError
from chargen.storage.files import cache_folder, runs_folder
from chargen.storage.runs import FILES

BUILTIN = ("builtin:pydoc", "builtin:stdlib")
PIECE = 1 << 20  # bytes per read
IN_MEMORY = 1 << 26  # bytes of standard input in memory; the rest is spooled to disk
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
ONCE = ("/dev/fd/", "/dev/stdin", "/proc/")  # names that mean another file in another process

HIDDEN, LINKED = "hidden files or folders", "linked folders"  # left out of a folder
SPECIAL, RUNS, CACHE = "pipes or dead links", "folders of runs", "folders of the cache"

BYTE_ORDER_MARKS = (  # longer ones first: that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
TEXT_CONTROLS = b"\t\n\f\r\x1b"


@dataclass(frozen=True)
class Source:
    """One file of a corpus, or a text in memory.

    Attributes:
        name: path of the file, or the name that the user gave.
        data: the bytes of a text that is not in a file.
        spooled: whether the data came through a pipe and cannot be found again by its name.
        found: whether it was found in a folder, and not named.
        encoding: of its text, where that does not depend on settings.
    """

    name: str
    data: BinaryIO | None = None
    spooled: bool = False
    found: bool = False
    encoding: str | None = None

    @property
    def kind(self) -> str:
        """The file extension in lower case, without that of a compression format."""
        path = Path(self.name.lower())
        return (path.with_suffix("") if path.suffix in OPENERS else path).suffix

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open it for reading from the beginning, decompressed."""
        if self.data is not None:
            self.data.seek(0)
            yield self.data
            return
        opener = OPENERS.get(Path(self.name).suffix.lower(), open)
        with opener(self.name, "rb") as file:
            yield file

    def blocks(self) -> Iterator[bytes]:
        """Yield its bytes in blocks.

        Raises:
            CorpusError: it cannot be read, or its compression does not match its extension.
        """
        with self._readable(), self.open() as file:
            while block := file.read(PIECE):
                yield block

    @contextlib.contextmanager
    def seekable(self, largest: int) -> Iterator[BinaryIO]:
        """Open it, decompressed, as a file that can be read at any place.

        Args:
            largest: bytes that it may have.

        Raises:
            CorpusError: it has more, or as ``blocks``.
        """
        with contextlib.ExitStack() as held, self._readable():
            if self.data is None and Path(self.name).suffix.lower() in OPENERS:
                file: Any = held.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY))
                for block in self.blocks():
                    with keeping(self.name):
                        file.write(block)
                    _check_size(file.tell(), largest)
            else:
                file = held.enter_context(self.open())
            _check_size(file.seek(0, os.SEEK_END), largest)
            file.seek(0)
            yield file

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn what goes wrong with reading into errors that name the file."""
        try:
            yield
        except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
            raise self._damaged(error) from None
        except OSError as error:
            if error.errno is None:  # raised by bz2 on damaged data
                raise self._damaged(error) from None
            _cannot_read(self.name, error)

    def _damaged(self, error: Exception) -> CorpusError:
        return CorpusError(f"{self.name!r} is damaged or not {Path(self.name).suffix[1:]}: {error}")


def _check_size(size: int, largest: int) -> None:
    if size > largest:
        raise DocumentError(f"it has more than {largest:,} bytes")


@contextlib.contextmanager
def keeping(name: str) -> Iterator[None]:
    """Say what could not be kept in a temporary file."""
    try:
        yield
    except OSError as error:
        raise CorpusError(
            f"cannot keep {name!r} in a temporary file: {error.strerror}; make room, or set "
            "TMPDIR to another folder"
        ) from None


def _cannot_read(name: object, error: OSError) -> NoReturn:
    raise CorpusError(
        f"cannot read {str(name)!r}: {error.strerror}; name a file that you can read"
    ) from None


# -- which files --------------------------------------------------------------------------


def find_sources(
    names: Iterable[str], *, documents: bool = False
) -> tuple[list[Source], list[str]]:
    """Return the files for a list of names, in order, and notes for the user.

    Args:
        names: of files, folders, patterns, pipes and known texts.
        documents: take documents out of folders as well.

    Raises:
        CorpusError: a name matches nothing, or what cannot be read.
    """
    notes: list[str] = []
    pipes: dict[str, Source] = {}
    return [source for name in names for source in _find(name, notes, pipes, documents)], notes


def _find(
    name: str, notes: list[str], pipes: dict[str, Source], documents: bool
) -> Iterator[Source]:
    mode = _mode(name)
    if name == "-" or (mode is not None and _is_pipe(name, mode)):
        pipes[name] = pipes.get(name) or _spooled(name)
        yield pipes[name]
    elif mode is not None and stat.S_ISDIR(mode):
        yield from _in_folder(Path(name), notes, documents)
    elif mode is not None:
        yield Source(name)
    elif name == "builtin:pydoc":
        from pydoc_data.topics import topics

        yield Source(name, io.BytesIO("\n".join(topics[key] for key in sorted(topics)).encode()))
    elif name == "builtin:stdlib":
        yield Source(name, io.BytesIO(_standard_library()))
    elif name in catalogue():
        yield Source(str(fetch(catalogue()[name], lambda _: None)))
    else:
        yield from _matching(name, notes)


def _mode(name: str | Path) -> int | None:
    """Return the file mode of a path, or None if there is no such file."""
    if name == "":
        raise CorpusError(
            "corpus is '', an empty argument; give a file, a folder, a pattern or - for standard "
            "input (the folder you are in is .)"
        )
    try:
        return os.stat(name).st_mode  # noqa: PTH116 (Path("") would be the folder we are in)
    except ValueError:  # a NUL
        return None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return None
        _cannot_read(name, error)


def check_not_empty(source: Source) -> None:
    """Refuse an empty source, from which nothing can be learned.

    Raises:
        CorpusError: it holds no bytes.
    """
    if not next(source.blocks(), b""):
        raise CorpusError(
            f"corpus {source.name!r} is empty; give a text of a few thousand characters"
        )


def _standard_library() -> bytes:
    """Return the source of Python's standard library, without its tests."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
    paths = [p for p in sorted(root.rglob("*.py")) if not skipped & set(p.relative_to(root).parts)]
    return b"\n".join(data for path in paths if _decodes(data := path.read_bytes()))


# -- pipes --------------------------------------------------------------------------------


def _is_pipe(name: str, mode: int) -> bool:
    """Tell whether a file can be read only once, or only by this process.

    Raises:
        CorpusError: it is a device, which may have no end.
    """
    if stat.S_ISDIR(mode):
        return False
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise CorpusError(
            f"corpus {name!r} is a device; give a file, a folder, a pipe or - for standard input"
        )
    return not stat.S_ISREG(mode) or str(Path(name).absolute()).startswith(ONCE)


def _spooled(name: str) -> Source:
    """Read a pipe to its end, decompressed, into a temporary file that can be read again."""
    spool = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (read several times)
    atexit.register(spool.close)
    shown = "standard input" if name == "-" else name
    for block in _standard_input() if name == "-" else Source(name).blocks():
        with keeping(shown):
            spool.write(block)
            spool.flush()
    return Source(shown, cast(BinaryIO, spool), spooled=True)


def _standard_input() -> Iterator[bytes]:
    if sys.stdin is None:
        raise CorpusError("standard input is closed; pipe a text in, or name a file")
    try:
        yield from iter(lambda: sys.stdin.buffer.read(PIECE), b"")
    except OSError as error:
        _cannot_read("standard input", error)


# -- folders and patterns -----------------------------------------------------------------


def _in_folder(folder: Path, notes: list[str], documents: bool) -> Iterator[Source]:
    """Yield the text files below a folder, and perhaps documents, in order of their names."""
    left_out: Counter[str] = Counter()
    files = [Source(str(path), found=True) for path in sorted(_below(folder, left_out))]
    texts = [file for file in files if _is_text(file) or (documents and _is_document(file))]
    if not texts:
        raise CorpusError(
            f"folder {str(folder)!r} holds no text file ({len(files)} others); "
            "name the files, with --tokenizer byte to train on their bytes"
        )
    if len(texts) < len(files):
        skipped = len(files) - len(texts)
        notes.append(f"{skipped} of {len(files)} files of {str(folder)!r} skipped: no text")
    notes.extend(_left_out_words(str(folder), left_out))
    yield from texts


def _below(folder: Path, left_out: Counter[str]) -> Iterator[Path]:
    """Yield the files below a folder, and count what is left out by its kind."""

    def refuse(error: OSError) -> None:
        _cannot_read(error.filename, error)

    for place, folders, names in os.walk(folder, onerror=refuse):
        kinds = {name: _kind_of_folder(Path(place, name)) for name in folders}
        folders[:] = [name for name in folders if kinds[name] is None]
        left_out.update(kind for kind in kinds.values() if kind)
        for name in names:
            if name.startswith("."):
                left_out[HIDDEN] += 1
            elif stat.S_ISREG(_mode(Path(place, name)) or 0):
                yield Path(place, name)
            else:
                left_out[SPECIAL] += 1


def _kind_of_folder(path: Path) -> str | None:
    """Return why a folder is left out of another one; None if it is read."""
    if path.name.startswith("."):
        return HIDDEN
    if path.is_symlink():
        return LINKED
    if path.resolve() == cache_folder().resolve():
        return CACHE
    is_run = any(os.path.isfile(path / name) for name in FILES)  # noqa: PTH113 (never raises)
    return RUNS if is_run or path.resolve() == runs_folder().resolve() else None


def _left_out_words(name: str, left_out: Counter[str]) -> list[str]:
    """Return the note about what is left out, if anything is."""
    words = ", ".join(f"{kind} ({count})" for kind, count in sorted(left_out.items()))
    return [f"left out of {name!r}: {words}"] * bool(left_out)


def _matching(pattern: str, notes: list[str]) -> list[Source]:
    """Return the files that a pattern matches, without those of runs."""
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (takes absolute patterns)
    files = [file for file in found if os.path.isfile(file)]  # noqa: PTH113 (never raises)
    root = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    kept = [file for file in files if not _in_run(Path(file), root)]
    if not kept:
        known = ", ".join([*BUILTIN, *catalogue()])
        raise CorpusError(
            f"corpus {pattern!r} does not exist; give a file, a folder, a pattern, - for standard "
            f"input, or a known text ({known})"
        )
    if len(kept) < len(files):
        notes.append(f"left out of {pattern!r}: files of runs ({len(files) - len(kept)})")
    return [Source(file) for file in kept]


def _in_run(file: Path, root: Path) -> bool:
    """Tell whether a file below a folder is one of a run or of the cache."""
    if root.resolve().is_relative_to(runs_folder().resolve()):
        return False  # asked for by name
    between = file.relative_to(root).parents
    return any(_kind_of_folder(root / part) in (RUNS, CACHE) for part in between if part.name)


# -- text or not --------------------------------------------------------------------------


def _is_text(source: Source) -> bool:
    head = next(source.blocks(), b"")
    return bool(head) and not looks_binary(head)


def _is_document(source: Source) -> bool:
    kind = kind_of(source)
    return kind is not None and not kind.advice


def _decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start > len(data) - 4  # an incomplete character at the end of a block
    return True


def looks_binary(head: bytes) -> bool:
    """Tell whether bytes are binary: many control characters, or some and invalid UTF-8.

    A single NUL does not make a text binary. More than 30 % of control characters do, or more than
    2 % if the bytes are not valid UTF-8 either.
    """
    if any(head.startswith(bom) for bom, _ in BYTE_ORDER_MARKS):
        return False
    head = head[:65536]
    controls = sum(head.count(byte) for byte in range(32) if byte not in TEXT_CONTROLS)
    return controls > (0.3 if _decodes(head) else 0.02) * len(head)
