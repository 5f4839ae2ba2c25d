"""Pushing a model: its file, a model card and their checksums, to a folder or to the hub.

What names the computer or holds the training text stays here: folders of texts always, n-gram
counts unless they are asked for. The file that is pushed is then a copy without them.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chargen.errors import ConfigError, StorageError
from chargen.model.counts import PREFIX
from chargen.model.saved import KIND, OWN, SavedModel, open_model, read_model
from chargen.model.summary import number
from chargen.sharing import hub
from chargen.sharing.card import check_licence, licence_of, model_card
from chargen.sharing.origins import README, SCHEME, SUMS
from chargen.storage.checkpoint import MODEL, damaged, read_tensors, write_tensors
from chargen.storage.files import (
    cannot_write,
    file_sha256,
    is_folder,
    make_folder,
    write_whole,
    writing,
)
from chargen.storage.runs import CARD

STAGE = ".push"  # folder in the destination, until the files are whole
KEPT = ("kind", "format", "model", "tokenizer", "training", "mixture", "checksum")  # of a header
OF_RUN = ("folder", "kept")  # where its texts were
MIXED = ("final_test_loss", "final_stateless_loss")  # by the network with its counts

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Pushed:
    """What was pushed.

    Attributes:
        destination: the folder, or the address on the hub.
        sha256: of the model file; whoever pulls it can ask for exactly this.
        bytes: of the model file.
    """

    destination: str
    sha256: str
    bytes: int


def push_model(
    model: str,
    destination: str,
    *,
    licence: str | None = None,
    with_text: bool = False,
    public: bool = False,
    force: bool = False,
    tell: Tell = lambda words: None,
) -> Pushed:
    """Push a model.

    Args:
        model: a run, its folder, a model file or a base model.
        destination: a folder, or ``hf:OWNER/NAME``.
        licence: under which it is published.
        with_text: push the n-gram counts too, which hold the training text.
        public: let everybody see a new model on the hub; else it is private.
        force: replace a model that is there.
        tell: is told what a user should know, before anything is written.

    Raises:
        ConfigError: the destination or the licence is not one.
        CheckpointError: there is no such model, or its file is damaged.
        StorageError: the destination cannot be written, or has a model already.
    """
    saved = open_model(model)
    licence = _licence(saved, licence)
    repository = _repository(destination, public=public)
    with _hub_stage() if repository else _folder_stage(saved, destination, force=force) as stage:
        for words in _notes(saved, licence, with_text=with_text):
            tell(words)
        _write_files(saved, stage, licence, with_text=with_text)
        file = stage / MODEL
        where, sha256, size = destination, file_sha256(file), file.stat().st_size
        if repository:
            where = hub.upload(repository, stage, public=public, force=force)
    return Pushed(where, sha256, size)


def _repository(destination: str, *, public: bool) -> hub.Repository | None:
    """Return where on the hub a destination is; None if it is a folder."""
    if not hub.is_repository(destination):
        if public:
            raise ConfigError("--public is for hf:OWNER/NAME; a folder has no such setting")
        return None
    repository = hub.parse(destination)
    if repository.revision is not None:
        raise ConfigError(f"{destination!r} names a revision; push to hf:{repository.id}")
    return repository


def _licence(saved: SavedModel, licence: str | None) -> str | None:
    """Return the licence as given, or as the card states with which the model was pulled."""
    if licence is not None:
        return check_licence(licence)
    with contextlib.suppress(OSError, UnicodeDecodeError, ConfigError):
        stated = licence_of((saved.path.parent / CARD).read_text("utf-8"))
        return stated and check_licence(stated)
    return None


def _notes(saved: SavedModel, licence: str | None, *, with_text: bool) -> Iterator[str]:
    """Yield what to know before a model is pushed."""
    if saved.mixture and with_text:
        yield "warning: the n-gram counts go with it: whoever has the file has the training text"
    elif saved.mixture:
        yield (
            f"pushing a copy without the n-gram counts{_cost(saved)}: they hold the training text "
            "(--with-text pushes them too); the weights can still repeat passages of it"
        )
    if licence is None:
        yield "the card says that the licence is not stated; state it with --licence"


def _cost(saved: SavedModel) -> str:
    """Return how much worse a model is without its counts, if that is known."""
    names = "final_val_loss", "final_network_loss"
    whole, network = (number(saved.training.get(name)) for name in names)
    if whole is None or network is None:
        return ""
    return f" (validation {network:.4f} instead of {whole:.4f} nats)"


# -- where to -----------------------------------------------------------------------------


@contextlib.contextmanager
def _hub_stage() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="chargen-push-") as name:
        yield Path(name)


@contextlib.contextmanager
def _folder_stage(saved: SavedModel, destination: str, *, force: bool) -> Iterator[Path]:
    """Make a folder in the destination; at the end its files take their places there.

    The checksums come last: a push that is killed before is found out by whoever pulls.
    """
    folder = Path(destination)
    _check_folder(saved, destination, force=force)
    made, stage = not folder.exists(), folder / STAGE
    make_folder(folder)
    try:
        shutil.rmtree(stage, ignore_errors=True)  # of a push that was killed
        make_folder(stage)
        yield stage
        for name in (README, MODEL, SUMS):
            (stage / name).replace(folder / name)
    except OSError as error:
        raise cannot_write(folder, error) from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        with contextlib.suppress(OSError):
            if made:
                folder.rmdir()  # it stays when something is in it


def _check_folder(saved: SavedModel, destination: str, *, force: bool) -> None:
    folder = Path(destination)
    if not destination or SCHEME.match(destination):
        raise ConfigError(
            f"destination is {destination!r}; allowed: a folder, which can then be copied to a web "
            "server, or hf:OWNER/NAME"
        )
    if folder.exists() and not is_folder(folder):
        raise StorageError(f"{destination!r} is a file; name a folder")
    if folder.resolve() == saved.path.resolve().parent:
        raise ConfigError(f"{destination!r} is the folder of the model itself; name another")
    there = [name for name in (README, MODEL, SUMS) if (folder / name).exists()]
    if there and not force:
        raise StorageError(
            f"{destination!r} has {', '.join(there)}; name another folder, or add --force"
        )


# -- what ---------------------------------------------------------------------------------


def _write_files(saved: SavedModel, folder: Path, licence: str | None, *, with_text: bool) -> None:
    """Write a model without what stays here, its card and the checksums of both."""
    _write_model(saved, folder / MODEL, with_text=with_text)
    whole = with_text or not saved.mixture
    card = model_card(read_model(folder / MODEL), saved.name, licence, whole=whole)
    write_whole(folder / README, card.encode())
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in (MODEL, README)]
    write_whole(folder / SUMS, "".join(lines).encode())


def _write_model(saved: SavedModel, target: Path, *, with_text: bool) -> None:
    """Write a model file as it is, or a copy without what stays here, if it has such."""
    tensors, header = read_tensors(saved.path, KIND)
    told = {key: header[key] for key in KEPT if key in header}
    try:
        told["training"] = _without_places(saved.training)
    except RecursionError:
        raise damaged(saved.path, "is damaged: its header is nested too deep") from None
    held = {n: array for n, array in tensors.items() if with_text or not n.startswith(PREFIX)}
    if saved.mixture and not with_text:
        told |= {"training": _of_network(told["training"]), "mixture": None}
    if told == header and len(held) == len(tensors):
        with writing(target) as file, saved.path.open("rb") as same:
            shutil.copyfileobj(same, file)
    else:
        write_tensors(target, held, told)


def _of_network(training: dict[str, Any]) -> dict[str, Any]:
    """Return what a file says of its training, with the losses of the network alone."""
    names = "final_val_loss", "final_network_loss", "final_val_bits_per_char"
    whole, network, bits = (number(training.get(name)) for name in names)
    known = whole and network is not None and bits is not None
    losses = {
        "final_val_loss": network,
        "final_val_bits_per_char": bits * network / whole if known else None,  # type: ignore[operator]
        **dict.fromkeys(MIXED),
    }
    return training | {name: loss for name, loss in losses.items() if name in training}


def _without_places(said: Any) -> Any:
    """Return what a file says, with files and folders named without the folders above them."""
    match said:
        case dict():
            return {
                key: part if key in OWN else _without_places(part)  # a separator may be a slash
                for key, part in said.items()
                if key not in OF_RUN
            }
        case list():
            return [_without_places(part) for part in said]
        case str() if "://" not in said:
            return _own_name(said)
    return said


def _own_name(path: str) -> str:
    """Return the last part of a path; the name of a home folder is that of a user."""
    name = re.split(r"[\\/]", path.rstrip("\\/"))[-1]
    with contextlib.suppress(RuntimeError):  # there is no home
        if name and name == Path.home().name:
            return "home"
    return name
