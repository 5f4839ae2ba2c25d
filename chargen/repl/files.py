"""Files of the session: the history of lines, and a text while it is edited."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from chargen.config import ReadConfig
from chargen.data.dataset import read_like
from chargen.errors import ConfigError, StorageError
from chargen.storage.files import cache_folder, make_folder
from chargen.tokenizers.byte import bytes_of

EDITORS = ("editor", "nano", "vi")  # of the system, if the user names none


def history() -> History:
    """Return the lines of earlier sessions, from a file that only the user can read."""
    path = cache_folder() / "history"
    try:
        make_folder(path.parent)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
    except (OSError, StorageError):
        return InMemoryHistory()
    return _FileHistory(path)


class _FileHistory(FileHistory):
    """A history file; a failure to write to it is ignored."""

    def store_string(self, string: str) -> None:
        with contextlib.suppress(OSError):
            super().store_string(string)


def _editor() -> str:
    """Return the command of the user's editor, or else of the system's."""
    chosen = os.environ.get("VISUAL", "").strip() or os.environ.get("EDITOR", "").strip()
    editor = chosen or next(filter(shutil.which, EDITORS), None)
    if editor is None:
        tried = ", ".join(EDITORS)
        raise ConfigError(f"no editor was found ({tried}); set EDITOR, or use /save and /load")
    return editor


def edited(text: str, own: ReadConfig) -> str | None:
    """Open a text in the user's editor and return the result; None if it is unchanged.

    Args:
        text: what is edited.
        own: how the corpus of the model was read; the result is read alike.

    Raises:
        ConfigError: there is no editor, or it cannot be started, or it fails.
        CorpusError: the result is not text.
    """
    editor = _editor()
    descriptor, name = tempfile.mkstemp(prefix="chargen-", suffix=".txt")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(bytes_of(text))
        if subprocess.call([*shlex.split(editor), name]):
            raise ConfigError(f"the editor {editor!r} failed")
        after = read_like(replace(own, documents="raw"), name, least=0).whole()
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot edit with {editor!r}: {error}; set VISUAL or EDITOR") from None
    finally:
        path.unlink(missing_ok=True)
    if not text.endswith("\n"):  # editors end the last line
        after = after.removesuffix("\n")
    return None if after == text else after
