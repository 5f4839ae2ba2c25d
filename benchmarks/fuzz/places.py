"""Places to write to: what is written is whole and where it was meant, or nothing has changed.

A case is a command that writes, and a place: a file, a link, a dangling link, a loop of links, a
FIFO with or without a reader, a device, a folder, a name that is too long or not UTF-8, a missing
or read-only folder, a full disk. After it the folder is compared with what it was.
"""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shutil
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.fuzz.cases import BrokenError, Outcome, call
from benchmarks.fuzz.readings import model_file, save_model_of
from chargen.engine import export
from chargen.sampling import sampler

NAME = "char-fold-None-line"
MODEL = str(model_file(NAME))
OLD = b"what stood here before\n"
ROOM = 5  # bytes that fit on the full disk
NAMES = ("page.html", "a b", "caf\u00e9", "\udce9t\udce9", "-x", "x" * 255, "x" * 256, "x" * 300)
MODES = (0o600, 0o400, 0o644, 0o755, 0o666)
FILES, FOLDERS = ("html", "onnx", "save", "save!"), ("runs", "board")
TRAINED = 0.02  # of the cases train a model, which takes longer
KINDS = (
    *("new", "new", "file", "file", "link", "dangling", "loop", "folder", "linked folder"),
    *("fifo", "read fifo", "null", "full", "missing parent", "file as parent", "read-only parent"),
)


@dataclass(frozen=True)
class Target:
    """A place, and who writes to it.

    Attributes:
        way: which command writes.
        kind: what is there.
        name: of the file.
        mode: of the file that is there.
        force: with ``--force``.
        cut: the disk is full after a few bytes.
    """

    way: str
    kind: str
    name: str
    mode: int
    force: bool
    cut: bool


class Places:
    """Random places that commands write to."""

    def __init__(self) -> None:
        save_model_of(NAME)
        loaded = sampler.load(MODEL)
        graph = export.to_onnx
        known: dict[bool, bytes] = {}

        def to_onnx(saved: Any, *, int8: bool) -> bytes:
            return known.get(int8) or known.setdefault(int8, graph(saved, int8=int8))

        mock.patch.object(sampler, "load", lambda *_, **__: loaded).start()
        mock.patch.object(export, "to_onnx", to_onnx).start()
        Path("text").write_text("some words\n" * 3)
        self._wanted = {way: _written(way) for way in FILES}
        _obey_modes()

    def make(self, chosen: random.Random) -> list[Target]:
        """Return a command and its place."""
        way = chosen.choice(FOLDERS if chosen.random() < TRAINED else FILES)
        return [
            Target(
                way,
                chosen.choice(KINDS),
                chosen.choice(NAMES),
                chosen.choice(MODES),
                chosen.random() < 0.6,
                chosen.random() < 0.1,
            )
        ]

    def check(self, case: list[Target]) -> None:
        """Write to the place and compare the folder with what it was."""
        (place,) = case
        shutil.rmtree("there", ignore_errors=True)
        Path("there").mkdir()
        path = _lay(place)
        if path is None:
            return  # such a name cannot be there
        before = _tree()
        with ExitStack() as around:
            fifo = place.kind == "read fifo"
            read = around.enter_context(_reader(path)) if fifo else []
            if place.cut and place.way != "board":
                around.enter_context(_full_disk())
            done = _write(place.way, str(path), force=place.force)
        _restore(place)
        after = _tree()
        if place.way in FOLDERS:
            _check_folder(place, path, done, before, after)
            return
        wanted = self._wanted[place.way]
        refused = bool(done.code) or (place.way.startswith("save") and " saved in " not in done.err)
        if refused and done.code == 0 and done.err.count("\n") != 1:
            raise BrokenError(f"not one line: {done.err!r}")
        if refused:
            if after != before:
                raise BrokenError(f"refused ({done.err!r}), but {_differences(before, after)}")
            _check_refused(place, done)
            return
        if place.kind == "read fifo":
            if b"".join(read) != wanted or after != before:
                raise BrokenError(f"the FIFO gave {len(b''.join(read))} bytes of {len(wanted)}")
        elif place.kind == "null":
            if after != before:
                raise BrokenError(f"written to /dev/null, but {_differences(before, after)}")
        else:
            _check_written(place, before, after, wanted)

    def told(self, case: list[Target]) -> str:
        """Return the place."""
        return str(case[0])


# -- writing --------------------------------------------------------------------------------


def _write(way: str, path: str, *, force: bool) -> Outcome:
    more = ["--force"] * force
    if way == "html":
        return call("heat", "text", "-m", MODEL, "--html", path, *more)
    if way == "onnx":
        return call("export", "-m", MODEL, "--onnx", path, *more)
    if way in FOLDERS:
        return _train(way, path)
    command = "/save!" if way == "save!" or force else "/save"
    lines = f"a line\n{command} {path}\n"
    done = call("repl", "-n", "0", stdin=os.fsencode(lines))
    told = [line for line in done.err.splitlines() if not line.endswith("(UNK)")]
    return Outcome(done.code, done.out, "\n".join([*told, ""]))


def _train(way: str, path: str) -> Outcome:
    """Train a tiny model in a folder of runs, or with a log for TensorBoard."""
    more = ["--tensorboard", path] if way == "board" else []
    size = ("--hidden", "2", "--layers", "1", "--embedding", "2", "--threads", "1")
    folder = {"CHARGEN_CHECKPOINTS": path if way == "runs" else "runs"}
    with mock.patch.dict(os.environ, folder):
        return call("train", "text", "--name", "r", "--force", "-q", "--steps", "1", *size, *more)


def _written(way: str) -> bytes:
    """Return what a command writes where nothing is in its way."""
    done = _write(way, "new", force=True)
    assert done.code == 0, done.err
    data = Path("new").read_bytes()
    Path("new").unlink()
    return data


# -- places ---------------------------------------------------------------------------------


def _lay(place: Target) -> Path | None:
    """Make what is at the place; return its path, or None if it cannot be."""
    path = Path("there", place.name)
    try:
        return _laid(place, path)
    except OSError:
        return None


def _laid(place: Target, path: Path) -> Path:
    other = Path("there/other")
    match place.kind:
        case "file":
            path.write_bytes(OLD)
            path.chmod(place.mode)
        case "link":
            other.write_bytes(OLD)
            other.chmod(place.mode)
            path.symlink_to("other")
        case "dangling":
            path.symlink_to("other")
        case "loop":
            path.symlink_to(path.name)
        case "folder":
            path.mkdir()
        case "linked folder":
            other.mkdir()
            path.symlink_to("other")
        case "fifo" | "read fifo":
            os.mkfifo(path, 0o600)
        case "null" | "full":
            return Path("/dev", place.kind)
        case "missing parent":
            return Path("there/gone", place.name)
        case "file as parent":
            other.write_bytes(OLD)
            return other / place.name
        case "read-only parent":
            other.mkdir(mode=0o500)
            return other / place.name
    return path


def _restore(place: Target) -> None:
    if place.kind == "read-only parent":
        Path("there/other").chmod(0o700)


@contextmanager
def _reader(path: Path) -> Iterator[list[bytes]]:
    """Read a FIFO beside the command; the reader ends with the block."""
    read: list[bytes] = []
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    keep = os.open(path, os.O_WRONLY)  # so that the end comes when the block ends

    def follow() -> None:
        while data := os.read(descriptor, 1 << 16):
            read.append(data)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield read
    finally:
        os.close(keep)
        thread.join(10)
        os.close(descriptor)


@contextmanager
def _full_disk() -> Iterator[None]:
    """Let every write fail after a few bytes of a file, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def _obey_modes() -> None:
    """Let root obey the modes of files, as everybody else does (Linux)."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    libc.capget(header, sets)
    sets[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    assert libc.capset(header, sets) == 0


# -- comparing ------------------------------------------------------------------------------

Tree = dict[bytes, tuple[int, bytes]]


def _tree() -> Tree:
    """Return mode and content, or target, of all that is in the folder."""
    found: Tree = {}
    for place, folders, files in os.walk(b"there"):
        for name in (*folders, *files):
            path = os.path.join(place, name)  # noqa: PTH118 (names that are not UTF-8)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found[path] = mode, os.readlink(path)  # noqa: PTH115
            elif stat.S_ISREG(mode):
                found[path] = mode, _content(path)
            else:
                found[path] = (mode if not stat.S_ISDIR(mode) else stat.S_IFDIR), b""
    return found


def _content(path: bytes) -> bytes:
    mode = stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116
    os.chmod(path, 0o600)  # noqa: PTH101
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read()
    finally:
        os.chmod(path, mode)  # noqa: PTH101


def _differences(before: Tree, after: Tree) -> str:
    names = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    return f"{sorted(names)!r} changed"


def _check_refused(place: Target, done: Outcome) -> None:
    """A place where nothing is in the way must not be refused."""
    free = place.kind in ("new", "dangling", "null") or (place.kind == "read fifo")
    forced = place.force or place.way == "save!"
    free = free or (place.kind in ("file", "link") and forced)
    exists = "exists" in done.err and not forced and place.kind in ("null", "read fifo")
    if free and not exists and not place.cut and len(os.fsencode(place.name)) <= 255:
        raise BrokenError(f"refused for no reason: {done.err!r}")


def _check_written(place: Target, before: Tree, after: Tree, wanted: bytes) -> None:
    """Exactly the file is new or replaced; links and modes are as they were."""
    linked = place.kind in ("link", "dangling")
    name = os.fsencode(Path("there", "other" if linked else place.name))
    if place.kind in ("fifo", "full", "folder", "linked folder", "loop") or place.cut:
        raise BrokenError("written where nothing can be written")
    if place.kind in ("file", "link") and not (place.force or place.way == "save!"):
        raise BrokenError("an old file is replaced without --force")
    mode = before[name][0] if name in before else stat.S_IFREG | 0o644
    if after != {**before, name: (mode, wanted)}:
        raise BrokenError(f"{_differences({**before, name: (mode, wanted)}, after)}")


def _check_folder(place: Target, path: Path, done: Outcome, before: Tree, after: Tree) -> None:
    """A folder of runs or of logs holds whole files of one run, or nothing but itself is new."""
    new = {name: what for name, what in after.items() if before.get(name) != what}
    files = {os.fsdecode(os.path.basename(name)) for name in new}  # noqa: PTH119
    usable = place.kind in ("new", "folder", "linked folder", "missing parent")
    fits = len(os.fsencode(place.name)) <= 255 and not place.cut
    if done.code:
        left = [name for name, (mode, _) in new.items() if not stat.S_ISDIR(mode)]
        if left or before.keys() - after.keys():
            raise BrokenError(f"refused ({done.err!r}), but {left!r} are left")
        if usable and fits:
            raise BrokenError(f"refused for no reason: {done.err!r}")
        return
    if place.kind in ("file", "link", "fifo", "loop", "null", "full", "file as parent"):
        raise BrokenError("trained where no folder can be")
    written = {"model.safetensors"} if place.way == "runs" else {"events.out.tfevents."}
    if any(not any(name.startswith(start) for name in files) for start in written):
        raise BrokenError(f"trained, but {path} holds {sorted(files)!r}")
    known = ("model.", "resume.", "metrics.", ".lock", "events.", "r", "gone", "other", place.name)
    if strange := [name for name in files if not name.startswith(known)]:
        raise BrokenError(f"left behind: {strange!r}")
