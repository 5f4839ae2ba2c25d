"""The command as a fork of a process that has imported everything: quick to start.

Starting Python and torch takes a second, and hundreds of tests run the command. A fork has streams,
a working directory, an environment and an exit of its own, as a process that is started has. What
depends on the start itself (encodings and closed streams, imports, memory, signals) is tested with
processes that are started.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import pkgutil
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.processes import LIMIT, reap

FILES = ("out", "err")
LONGEST = 10 * LIMIT  # the test has given up long before
MEASURING = {name: os.environ[name] for name in os.environ if name.startswith("COVERAGE_PROCESS")}
PROGRAMS = ("chargen.__main__", "chargen.data.documents.pdf_reader")


class Forks:
    """A process that runs the command in forks of itself, one after the other.

    Args:
        folder: for what the commands read and write on their streams.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._places = folder, [str(folder / name) for name in FILES]
        self._process: subprocess.Popen[str] | None = None

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-m", "tests.forked", *self._places]
        own = {"OPENBLAS_NUM_THREADS": "1"}  # a fork has no threads but its own
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
            env={**os.environ, **MEASURING, **own},
            text=True,
            start_new_session=True,
        )

    def run(
        self,
        arguments: Sequence[str],
        input: str | bytes | None = None,
        *,
        text: bool = True,
        timeout: float = LIMIT,
    ) -> subprocess.CompletedProcess[Any]:
        """Run the command in a fork, with the working directory and environment of now."""
        place = os.devnull if input is None else self._piped(input)
        settings = {"folder": str(Path.cwd()), "environment": dict(os.environ), "stdin": place}
        job = {"arguments": arguments, **settings}
        code = self._ask(job, timeout)
        streams: list[Any] = [Path(place).read_bytes() for place in self._places]
        if text:
            streams = [data.decode().replace("\r\n", "\n") for data in streams]
        return subprocess.CompletedProcess(["chargen", *arguments], code, *streams)

    def _ask(self, job: dict[str, Any], timeout: float) -> int:
        """Return the exit code of a fork; where it does not end in time, end all."""
        self._process = process = self._process or self._start()
        assert process.stdin and process.stdout
        process.stdin.write(f"{json.dumps(job)}\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], timeout)[0]:
            self._kill()
            raise AssertionError(f"chargen {job['arguments']} took longer than {timeout:g} s")
        return int(process.stdout.readline())

    def _piped(self, input: str | bytes) -> str:
        """Return a pipe from which a text can be read."""
        pipe = self._folder / "in"
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)

        def write() -> None:
            with contextlib.suppress(BrokenPipeError):
                pipe.write_bytes(input.encode() if isinstance(input, str) else input)

        threading.Thread(target=write, daemon=True).start()
        return str(pipe)

    def close(self) -> None:
        """End the process, and a fork that still runs."""
        self._kill()
        shutil.rmtree(self._folder)

    def _kill(self) -> None:
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate(timeout=30)
            self._process = None


def main(places: Sequence[str]) -> None:
    """Fork for each line of standard input; answer with the exit code."""
    _import_all()
    while line := sys.stdin.readline():
        job = json.loads(line)
        fork = os.fork()
        if not fork:
            _become(job, places)
        code = os.waitstatus_to_exitcode(reap(fork, LONGEST))
        print(code, flush=True)


def _import_all() -> None:
    package = importlib.import_module("chargen")  # first: it tells libraries what to leave alone
    for name in ("torch", "onnxruntime", "onnx", "sentencepiece", "prompt_toolkit", "rich.table"):
        if find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, "chargen."):
        if module.name not in PROGRAMS and not module.name.startswith("chargen.server"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                if error.name is None or error.name.startswith("chargen"):
                    raise


def _become(job: dict[str, Any], places: Sequence[str]) -> None:
    """Become the command."""
    for number, place in enumerate((job["stdin"], *places)):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC if number else os.O_RDONLY
        file = os.open(place, flags)
        os.dup2(file, number)
        os.close(file)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    main = Path(find_spec("chargen.__main__").origin)  # type: ignore[union-attr, arg-type]
    sys.argv = [str(main), *job["arguments"]]
    sys.modules["__main__"].__package__ = "chargen"  # its name in a usage
    from chargen.cli import common
    from chargen.cli import main as command

    common.BEGAN = time.monotonic()
    code: object = 0
    try:
        command()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)  # libraries wait for threads a fork has not


if __name__ == "__main__":
    main(sys.argv[1:])
