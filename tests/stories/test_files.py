"""Work is never lost: texts found again, files replaced as asked, runs whole at every instant."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chargen.storage.files import write_whole
from chargen.storage.runs import find_model, locked, put_aside
from tests.conftest import Run, needs_torch, write
from tests.processes import LIMIT, finish, running, wait_for

QUICK = ("--steps", "4", "--hidden", "8", "--layers", "1", "--threads", "1", "--seed", "1")
CHARGEN = (sys.executable, "-m", "chargen")
FILES = ("model.safetensors", "resume.safetensors", "metrics.jsonl")

pytestmark = needs_torch


def good(chargen: Run, *args: str, **options: object) -> subprocess.CompletedProcess[str]:
    done = chargen(*args, **options)
    assert done.returncode == 0, done.stderr
    return done


def digests(run: Path) -> dict[str, str]:
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in FILES}


# -- texts found again --------------------------------------------------------------------


def test_a_published_text_is_found_again(chargen: Run, prose: str, isolated: Path) -> None:
    catalogue = (
        "import sys, chargen.data.catalogue as c, hashlib; from pathlib import Path\n"
        "data = Path('corpora/names.txt').read_bytes()\n"
        "entry = c.CatalogueEntry('names', '', 'http://x', len(data), '', "
        "hashlib.sha256(data).hexdigest())\n"
        "c.catalogue = lambda: {'names': entry}\n"
        "import chargen.data.sources as s, chargen.training.start as t\n"
        "s.catalogue = t.catalogue = c.catalogue\n"
        "import chargen.cli; chargen.cli.main()\n"
    )
    write("corpora/names.txt", prose)
    for arguments in (
        ("train", "names", "--name", "a", *QUICK),
        ("train", "--resume", "--name", "a", "--steps", "2"),
        ("eval", "-m", "a"),
    ):
        finish([sys.executable, "-c", catalogue, *arguments], text=True)


def test_a_pattern_in_a_folder_with_brackets_is_found_again(chargen: Run, prose: str) -> None:
    write("proj [draft]/one.txt", prose)
    write("proj [draft]/two*.txt", prose[:3000])
    here = {"cwd": "proj [draft]"}
    good(chargen, "train", "*.txt", "--name", "a", *QUICK, **here)
    write("proj [draft]/zzz.txt", "a later file, which the run has not read")
    good(chargen, "train", "--resume", "--name", "a", "--steps", "2", **here)
    good(chargen, "eval", "-m", "a", **here)


@pytest.mark.parametrize("source", ["text", "./texts", "texts/t*.txt", "../away/text"])
def test_a_project_can_be_moved(chargen: Run, prose: str, source: str) -> None:
    for place in ("old/project/text", "old/project/texts/two.txt", "old/away/text"):
        write(place, prose)
    good(chargen, "train", source, "--name", "a", *QUICK, cwd="old/project")
    Path("old").rename("new")
    Path("new/project/checkpoints/a").rename("new/project/checkpoints/b")
    here = {"cwd": "new/project"}
    good(chargen, "train", "--resume", "--name", "b", "--steps", "2", **here)
    assert f"{len(prose):,} characters" in good(chargen, "info", "-m", "b", **here).stdout
    good(chargen, "eval", "-m", "b", **here)


@pytest.mark.parametrize("letter", ["n", "長", "𝒳"])
def test_any_name_of_a_text_gives_a_run_its_name(chargen: Run, prose: str, letter: str) -> None:
    name = letter * (200 // len(letter.encode()))
    write(name, prose)
    good(chargen, "train", name, *QUICK)
    (run,) = Path("checkpoints").iterdir()
    assert run.name.startswith(letter)
    assert len(os.fsencode(run.name)) < 100


def test_the_commands_that_a_run_names_work(chargen: Run, prose: str) -> None:
    write("text", prose)
    run = "my run"  # two words
    told = good(chargen, "train", "text", "--name", run, *QUICK).stderr
    named = [
        line[line.index(": chargen ") + 2 :] for line in told.splitlines() if ": chargen " in line
    ]
    assert [command.split()[1] for command in named] == ["train", "sample"]
    for command in named:
        finish(["bash", "-c", command.replace("chargen", " ".join(CHARGEN), 1).replace("1m", "1s")])


@pytest.mark.parametrize("source", ["-", "<(cat text)"])
def test_a_run_from_a_pipe_can_be_renamed(chargen: Run, prose: str, source: str) -> None:
    write("text", prose.replace("\n", "\r\r\n"))
    command = f"cat text | {' '.join(CHARGEN)} train {source} --name a {' '.join(QUICK)}"
    finish(["bash", "-c", command])
    Path("text").unlink()
    Path("checkpoints/a").rename("checkpoints/b")
    good(chargen, "train", "--resume", "--name", "b", "--steps", "2")
    good(chargen, "eval", "-m", "b")


def test_a_text_with_a_lone_cr_before_crlf_is_folded_once(chargen: Run) -> None:
    text = b"a line\r\r\nanother line\r\r\n" * 300
    good(chargen, "train", "-", "--name", "a", *QUICK, input=text, text=False)
    assert Path("checkpoints/a/corpus.txt").read_bytes() == text.replace(b"\r\n", b"\n")
    good(chargen, "train", "--resume", "--name", "a", "--steps", "2")


# -- files replaced as asked --------------------------------------------------------------


def test_links_are_followed_and_modes_kept(chargen: Run, with_model: Path) -> None:
    write("real.onnx", "old").chmod(0o600)
    Path("link.onnx").symlink_to("real.onnx")
    good(chargen, "export", "--onnx", "link.onnx", "--force")
    assert Path("link.onnx").is_symlink()
    assert Path("real.onnx").stat().st_size > 1000
    assert Path("real.onnx").stat().st_mode & 0o777 == 0o600
    Path("away.png").symlink_to("not-yet.png")
    good(chargen, "compare", "-m", "small", "--plot", "away.png")
    assert Path("away.png").is_symlink()
    assert Path("not-yet.png").exists()


def test_a_device_or_a_pipe_is_written_to(chargen: Run, with_model: Path) -> None:
    os.mkfifo("fifo")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Path("fifo").read_bytes()), daemon=True)
    reader.start()
    good(chargen, "export", "--onnx", "fifo", "--force")
    reader.join(LIMIT)
    assert len(read[0]) > 1000
    assert Path("fifo").is_fifo()
    write_whole(Path("/dev/null"), b"x")
    assert Path("/dev/null").is_char_device()
    full = chargen("export", "--onnx", "/dev/full", "--force")
    assert full.returncode == 1
    assert full.stderr.startswith("chargen: cannot write '/dev/full': No space left on device")


@pytest.mark.parametrize("command", ["export --onnx", "heat line.txt --html"])
def test_a_pipe_that_has_no_path_is_written_to(with_model: Path, command: str) -> None:
    write("line.txt", "a line\n")
    for place in (">(cat > got)", "/dev/stdout | cat > got", "/dev/fd/3 --force 3> got"):
        line = f"{' '.join(CHARGEN)} {command} {place}; sleep 0.2"
        assert finish(["bash", "-c", line]).stderr.count(b"chargen: cannot") == 0
        assert Path("got").stat().st_size > 1000


@pytest.mark.parametrize("command", ["export --onnx", "compare --plot", "inspect gates --plot"])
def test_a_place_that_does_not_exist_is_refused_first(
    chargen: Run, with_model: Path, command: str
) -> None:
    write("folder.png/x", "")
    for place in ("gone/x.png", "folder.png"):
        done = chargen(*command.split(), place)
        assert (done.returncode, done.stdout) == (1, "")
        assert (
            done.stderr == f"chargen: cannot write '{place}'; name a file in a folder that exists\n"
        )


def test_a_pipe_that_nobody_reads_is_refused(chargen: Run, with_model: Path) -> None:
    os.mkfifo("fifo")
    done = chargen("export", "--onnx", "fifo", "--force")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("chargen: cannot write 'fifo': ")
    assert Path("fifo").is_fifo()


# -- the old run until there is a new one -------------------------------------------------


@pytest.fixture
def old(chargen: Run, prose: str) -> Iterator[Path]:
    write("text", prose)
    good(chargen, "train", "text", "--name", "good", *QUICK)
    yield Path("checkpoints/good")


@pytest.mark.parametrize(
    "failing",
    [
        ["--epochs", "inf"],
        ["--base", "gone"],
        ["--hidden", "16384", "--layers", "8", "--steps", "3"],
    ],
)
def test_a_failed_run_leaves_the_one_it_replaces(
    chargen: Run, old: Path, failing: list[str]
) -> None:
    before = digests(old)
    limited = ["bash", "-c", 'ulimit -v 8000000; exec "$@"', "-", *CHARGEN]
    command = [*limited, "train", "text", "--name", "good", "--force", "--threads", "1", *failing]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert digests(old) == before
    assert {path.name for path in old.iterdir()} <= {*FILES, "resume.previous.safetensors", ".lock"}


def test_a_killed_run_leaves_the_one_it_replaces(chargen: Run, old: Path) -> None:
    before = digests(old)
    command = [*CHARGEN, "train", "text", "--name", "good", "--force", "--steps", "100000"]
    with running([*command, "--hidden", "64", "--threads", "1"]) as process:
        wait_for(old / ".previous", process)
        assert find_model("good").exists()  # also while the new run trains
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=LIMIT)
    assert "good" in good(chargen, "runs").stdout
    assert digests(old) == before


def test_an_old_run_gives_way_to_a_new_model(chargen: Run, old: Path) -> None:
    before = digests(old)
    good(chargen, "train", "text", "--name", "good", "--force", *QUICK[:-1], "2")
    assert not set(before.values()) & set(digests(old).values())
    assert not list(old.glob(".prev*"))


def test_a_model_may_be_trained_anew_from_itself(chargen: Run, old: Path) -> None:
    good(chargen, "train", "text", "--name", "good", "--force", "--base", "good", *QUICK[:2])


class Killed(BaseException):
    """Stands for SIGKILL: nothing that follows in the process happens."""


@pytest.mark.parametrize("moment", range(1, 26))
def test_putting_aside_can_be_killed_at_any_moment(
    moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either run is whole after a kill at each change of the folder, also twice in a row."""
    run = Path("checkpoints/a")
    names = (*FILES, "resume.previous.safetensors")
    for name in names:
        write(f"{run}/{name}", f"old {name}")
    for count in (moment, max(1, moment // 2)):
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            _die_at(count, patch)
            with locked(run):
                put_aside(run)
                (run / "resume.safetensors").write_text("new")
                raise Killed
    find_model("a")
    assert {name: (run / name).read_text() for name in names} == {n: f"old {n}" for n in names}
    with locked(run):
        pass
    assert not list(run.glob(".prev*"))


def _die_at(count: int, patch: pytest.MonkeyPatch) -> None:
    """Let every change of files fail from the count-th on."""
    seen = 0

    def dying(change: object) -> object:
        def changed(*args: object, **options: object) -> object:
            nonlocal seen
            seen += 1
            if seen >= count:
                raise Killed
            return change(*args, **options)  # type: ignore[operator]

        return changed

    patch.setattr(os, "link", dying(os.link))
    patch.setattr(shutil, "rmtree", dying(shutil.rmtree))
    for name in ("unlink", "replace", "mkdir"):
        patch.setattr(Path, name, dying(getattr(Path, name)))


# -- a run that nobody reads, a folder that goes ------------------------------------------


def test_a_run_that_is_no_longer_read_is_saved(chargen: Run, prose: str) -> None:
    write("text", prose)
    train = f"{' '.join(CHARGEN)} train text --name a --json --hidden 32 --threads 1"
    command = f"set -o pipefail; {train} --steps 100000 | head -3"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 141
    assert "and saved; go on with: chargen train --resume --name a" in done.stderr
    assert Path("checkpoints/a/model.safetensors").exists()
    good(chargen, "train", "--resume", "--name", "a", "--steps", "2")


def test_a_folder_removed_while_it_trains_is_one_line(prose: str) -> None:
    write("text", prose)
    command = [*CHARGEN, "train", "text", "--name", "a", "--steps", "100000", "--hidden", "16"]
    with running([*command, "--threads", "1"]) as process:
        wait_for(Path("checkpoints/a/resume.safetensors"), process)
        shutil.rmtree("checkpoints/a", ignore_errors=True)
        shutil.rmtree("checkpoints/a", ignore_errors=True)
        _, told = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("chargen: cannot write 'checkpoints/a/")
