from __future__ import annotations

import os
from pathlib import Path

import pytest

from chargen.errors import StorageError
from chargen.storage import files as storage
from chargen.storage.files import append_line, make_folder, write_whole


def test_a_file_is_replaced_whole_and_nothing_is_left_aside() -> None:
    path = Path("file")
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir() == ["file"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~storage._umask()


@pytest.mark.parametrize("failing", ["fsync", "fdopen"])
def test_a_failed_write_leaves_the_old_file(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("file")
    write_whole(path, b"old")

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(StorageError, match="cannot write 'file': No space left on device; make"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir() == ["file"]


def test_a_folder_that_cannot_be_made_is_explained() -> None:
    Path("file").touch()
    with pytest.raises(StorageError, match="cannot write 'file/folder': Not a directory"):
        make_folder(Path("file/folder"))
    with pytest.raises(StorageError, match="cannot write 'nowhere/log': No such file"):
        append_line(Path("nowhere/log"), "line")


def test_settings_move_runs_and_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    assert storage.runs_folder() == Path("checkpoints")
    monkeypatch.setenv("CHARGEN_CHECKPOINTS", "/elsewhere")
    assert storage.runs_folder() == Path("/elsewhere")
    monkeypatch.delenv("CHARGEN_CACHE")
    assert storage.cache_folder().name == "chargen"
