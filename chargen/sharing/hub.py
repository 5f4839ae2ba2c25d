"""The Hugging Face hub, by its own library, which is imported when it is needed.

The library answers which files there are and under which address, and uploads. What it names is
downloaded like anything else (``download``), with the same limits.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from chargen import __version__
from chargen.errors import ChargenError, ConfigError, DownloadError, StorageError
from chargen.sharing.download import TIMEOUT, check_address, one_line, shown_address

PREFIX = "hf:"
LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
REFUSED = (401, 403)
NAMED = {"library_name": "chargen", "library_version": __version__}  # in its requests


class Repository(NamedTuple):
    """A model on the hub.

    Attributes:
        owner: a user or an organization.
        name: of the model.
        revision: branch, tag or commit; None for the newest.
    """

    owner: str
    name: str
    revision: str | None = None

    @property
    def id(self) -> str:
        """Its name on the hub."""
        return f"{self.owner}/{self.name}"


def is_repository(place: str) -> bool:
    """Tell whether a place is one on the hub."""
    return place.startswith(PREFIX)


def parse(place: str) -> Repository:
    """Return the model on the hub that a user names.

    Raises:
        ConfigError: it is no such name.
    """
    part = r"([A-Za-z0-9][\w.-]*)"
    found = re.fullmatch(rf"{PREFIX}{part}/{part}(?:@([\w./-]+))?", place, re.ASCII)
    if not found:
        raise ConfigError(f"{one_line(place)!r} is no model on the hub; allowed: hf:OWNER/NAME")
    return Repository(*found.groups())


def find(repository: Repository) -> tuple[Callable[[str], str], dict[str, str]]:
    """Return a function that gives the addresses of the files, and the headers to ask with.

    All addresses are of one commit, so that the files belong together.

    Raises:
        ChargenError: the library is not installed.
        DownloadError: there is no such model, or it cannot be asked for.
    """
    library = _library()
    with _one_line(DownloadError, f"cannot pull {PREFIX}{repository.id}"):
        api = library.HfApi(**NAMED)
        commit = api.model_info(repository.id, revision=repository.revision, timeout=TIMEOUT).sha
        headers = importlib.import_module("huggingface_hub.utils").build_hf_headers(**NAMED)
    return lambda file: str(library.hf_hub_url(repository.id, file, revision=commit)), headers


def upload(repository: Repository, folder: Path, *, public: bool, force: bool) -> str:
    """Upload the files of a folder in one commit; return the address of the model.

    Args:
        repository: where to; a new one is made if it is not there.
        folder: the files.
        public: let everybody see a new one.
        force: replace files that are there; the hub keeps the old ones in its history.

    Raises:
        ChargenError: the library is not installed.
        StorageError: it cannot be written, or has a model already.
    """
    library = _library()
    where = f"{PREFIX}{repository.id}"
    names = sorted(path.name for path in folder.iterdir())
    importlib.import_module("huggingface_hub.utils").disable_progress_bars()
    with _one_line(StorageError, f"cannot push to {where}"):
        api = library.HfApi(**NAMED)
        url = api.create_repo(repository.id, private=not public, exist_ok=True)
        held = api.model_info(repository.id, timeout=TIMEOUT).siblings or ()
        there = sorted({file.rfilename for file in held} & {*names})
        if there and not force:
            raise StorageError(f"{where} has {', '.join(there)}; replace them with --force")
        adds = [library.CommitOperationAdd(name, str(folder / name)) for name in names]
        api.create_commit(repository.id, adds, commit_message=f"chargen {__version__} push")
    return str(url)


def _library() -> ModuleType:
    """Import the library, and check the server that it speaks to.

    Raises:
        ChargenError: it is not installed.
        ConfigError: the server would get the token of the user without encryption.
    """
    try:
        library = importlib.import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise ChargenError(
            "hf: needs huggingface_hub, which is not installed: pip install 'chargen[hub]'"
        ) from None
    endpoint = str(importlib.import_module("huggingface_hub.constants").ENDPOINT)
    try:
        check_address(endpoint)
    except ConfigError:
        shown = shown_address(endpoint)
        raise ConfigError(f"HF_ENDPOINT is {shown!r}; allowed: https://HOST") from None
    return library


@contextlib.contextmanager
def _one_line(kind: type[ChargenError], what: str) -> Iterator[None]:
    """Turn an error of the library into one of ours, and keep its warnings from the user."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ChargenError:
        raise
    except Exception as found:  # its own and those of its HTTP library have no class in common
        error = found.__cause__ or found  # an upload wraps what went wrong
        code = getattr(getattr(error, "response", None), "status_code", None)
        words = f"the hub says {code}" if code else one_line(str(error) or type(error).__name__)
        if code in (404, *REFUSED):
            words += f"; check the name, and if it is private, {LOGIN}"
        raise kind(f"{what}: {words}") from None
