"""A pull ends with a whole run, or with one line and nothing left: on servers of every manner."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from chargen.errors import ConfigError, DownloadError
from chargen.model.saved import load_weights, read_model
from chargen.sharing import download, pull
from chargen.sharing.download import check_address, opened
from chargen.sharing.origins import run_name
from chargen.sharing.pull import pull_model
from tests.cli.test_terminal import Terminal
from tests.conftest import Run, needs_torch
from tests.processes import finish
from tests.sharing.servers import (
    Page,
    Web,
    claims,
    drips,
    endless,
    endless_redirect,
    half_then_waits,
    header_drips,
    redirect,
    serving,
)

MODEL, README, SUMS = "model.safetensors", "README.md", "SHA256SUMS"
RUN = Path("checkpoints/small")
AT = "/models/small"


def refused(chargen: Run, source: str, *options: str, code: int = 1) -> str:
    """Pull what cannot be pulled; return the one line about it."""
    done = chargen("pull", source, *options)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("chargen: ")
    assert done.stderr.count("\n") == 1
    assert not Path("checkpoints").exists()
    return done.stderr[len("chargen: ") : -1]


# -- where from ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source", ["{web}", "{web}/", "{web}/model.safetensors?token=x", "pushed", "pushed/" + MODEL]
)
def test_a_pushed_model_becomes_a_run(
    chargen: Run, pushed: Path, web: Web, source: str, with_model: Path
) -> None:
    address = web.share(pushed)
    web.pages[f"{AT}/{MODEL}?token=x"] = (pushed / MODEL).read_bytes()
    os.environ["CHARGEN_CHECKPOINTS"] = "checkpoints"
    done = chargen("pull", source.format(web=address), "--name", "new name")
    assert done.stdout == "checkpoints/new name/model.safetensors\n", done.stderr
    assert done.stderr == "chargen: generate with: chargen sample -m 'new name'\n"
    run = Path("checkpoints/new name")
    assert (run / MODEL).read_bytes() == (pushed / MODEL).read_bytes()
    if "safetensors" not in source:
        assert (run / "card.md").read_bytes() == (pushed / README).read_bytes()
    assert sorted({*os.listdir(run)} - {"card.md"}) == [".lock", MODEL]
    sample = chargen("sample", "-m", "new name", "-n", "40", "--seed", "1", "-t", "0")
    assert sample.returncode == 0
    assert len(sample.stdout) > 30


def test_a_pulled_run_is_shown_as_what_it_is(chargen: Run, pushed: Path) -> None:
    done = chargen("pull", "pushed", "--name", "got", "--json")
    saved = read_model(Path("checkpoints/got") / MODEL)
    path = str(Path("checkpoints/got") / MODEL)
    assert json.loads(done.stdout) == {"run": "got", "file": path, "sha256": saved.sha256}
    listed = chargen("runs").stdout.splitlines()[1]
    assert re.match(r"got +lstm:48 +- +60 +\d\.\d{4} +model only", listed)
    assert "no counts" in chargen("info", "got").stdout


@needs_torch
def test_a_pulled_run_does_not_resume_and_says_how_to_go_on(chargen: Run, pushed: Path) -> None:
    assert chargen("pull", "pushed", "--name", "got").returncode == 0
    done = chargen("train", "--resume", "--name", "got")
    assert done.returncode == 1
    assert done.stderr == (
        "chargen: run 'got' is a model without files to resume from; go on from it with a text: "
        "chargen train TEXT --base got\n"
    )


def test_the_name_is_that_of_the_source(chargen: Run, pushed: Path, web: Web) -> None:
    address = web.share(pushed)
    assert chargen("pull", address).returncode == 0
    assert RUN.is_dir()
    assert "run 'small' exists; give another --name, or replace it with --force" in (
        chargen("pull", f"{address}/{MODEL}").stderr
    )
    assert chargen("pull", "pushed").returncode == 0
    assert Path("checkpoints/pushed").is_dir()


def test_torch_is_not_needed(pushed: Path) -> None:
    program = "import sys; sys.modules['torch'] = None; from chargen.cli import main; main()"
    for arguments in (("pull", "pushed", "--name", "a"), ("push", "a", "again")):
        finish([sys.executable, "-W", "error", "-c", program, *arguments])


def test_python_is_told_how_far_it_is(pushed: Path, web: Web) -> None:
    told: list[tuple[int, int | None]] = []
    path = pull_model(web.share(pushed), progress=lambda *far: told.append(far))
    assert path == RUN / MODEL
    size = (pushed / MODEL).stat().st_size
    assert told[-1] == (size, size)
    assert [have for have, _ in told] == sorted(have for have, _ in told)


def test_a_terminal_shows_a_bar(pushed: Path, web: Web) -> None:
    address = web.share(pushed)
    web.pages[f"{AT}/{MODEL}"] = half_then_waits((pushed / MODEL).read_bytes(), 1.0)
    terminal = Terminal("pull", address)
    terminal.wait_for("━")
    terminal.wait_for("generate with")
    assert terminal.end() == 0
    shown = re.sub(r"\x1b\[[\d;?]*\w", "", terminal.shown)
    assert re.search(r"model.safetensors ━+ +[\d.]+/[\d.]+ kB", shown)


# -- servers that are wrong ---------------------------------------------------------------


def flipped(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 4]) + data[-8:]


def newer(data: bytes) -> bytes:
    return data.replace(b'\\"format\\":4', b'\\"format\\":9')


def foreign(data: bytes) -> bytes:
    return safetensors.numpy.save({"x": np.zeros(3)})


MODELS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a bit is wrong": (flipped, "model.safetensors is damaged: its checksum does not match"),
    "half is there": (lambda d: d[: len(d) // 2], "is truncated or not a safetensors file"),
    "a newer format": (newer, "has format 9, this chargen reads format 4: it was written by a"),
    "another program's": (foreign, "was written by another program, not by chargen train"),
    "a web page": (lambda d: b"<!DOCTYPE html><p>no", "it is a web page, not a model file"),
    "something else": (lambda d: b"PK\3\4" + bytes(99), "it is not a model file"),
    "nothing": (lambda d: b"", "is truncated or not a safetensors file"),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("source", ["{web}", "pushed", "pushed/" + MODEL])
def test_what_is_no_whole_model_is_refused(
    chargen: Run, pushed: Path, web: Web, kind: str, source: str
) -> None:
    """Also where the checksums beside it are right."""
    change, words = MODELS[kind]
    (pushed / MODEL).write_bytes(change((pushed / MODEL).read_bytes()))
    sums = (
        f"{hashlib.sha256((pushed / n).read_bytes()).hexdigest()}  {n}\n" for n in (MODEL, README)
    )
    (pushed / SUMS).write_text("".join(sums))
    source = source.format(web=web.share(pushed))
    told = refused(chargen, source)
    assert told.startswith(f"cannot pull {source!r}: {MODEL}")
    assert words in told


ANSWERS: dict[str, tuple[str, Page | None, str]] = {
    "no list": (SUMS, None, "SHA256SUMS: the server says 404 Not Found; is it what `chargen push`"),
    "page for a list": (SUMS, b"<html>" * 99, "its SHA256SUMS does not name model.safetensors"),
    "huge list": (SUMS, b"x" * 70_000, "SHA256SUMS: it has 70,000 bytes; allowed: up to 65,536"),
    "endless list": (SUMS, endless, "SHA256SUMS: it does not end after 65,536 bytes"),
    "names with a path": (SUMS, b"0" * 64 + b"  ../../model.safetensors\n", "does not name model"),
    "no model": (MODEL, None, "model.safetensors: the server says 404 Not Found"),
    "another model": (MODEL, b"0" * 8 + b"{}", "has sha256 "),
    "another card": (README, b"mine", "README.md has sha256 "),
    "huge card": (README, claims(1 << 21), "README.md: it has 2,097,152 bytes; allowed: up to 1,0"),
    "too large": (MODEL, claims((1 << 31) + 1), "it has 2,147,483,649 bytes; allowed: up to 2,147"),
    "cut": (MODEL, claims(9999, b"0" * 8 + b"{"), "it stopped after 9 of 9,999 bytes"),
    "odd length": (MODEL, claims(-5, b""), "has sha256 "),
    "to a file": (MODEL, redirect("file:///etc/passwd"), "it redirects to 'file:///etc/passwd', "),
    "to ftp": (SUMS, redirect("ftp://localhost/x"), "it redirects to 'ftp://localhost/x', "),
    "to http": (MODEL, redirect("http://example.org/x"), "it redirects to 'http://example.org/x'"),
    "to nowhere": (MODEL, redirect("http://["), "which is not allowed"),
    "round and round": (MODEL, redirect(f"{AT}/{MODEL}"), "the server redirects more than 5 times"),
    "endless redirect": (MODEL, endless_redirect(f"{AT}/x"), "the server says 404 Not Found"),
    "no answer": (MODEL, lambda handler: None, "Remote end closed connection without response"),
    "no HTTP": (MODEL, lambda handler: handler.wfile.write(b"hello\x1b[2J\n"), "hello"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_wrong_answer_is_one_clear_line(chargen: Run, pushed: Path, web: Web, kind: str) -> None:
    name, page, words = ANSWERS[kind]
    address = web.share(pushed)
    web.pages.pop(f"{AT}/{name}")
    if page is not None:
        web.pages[f"{AT}/{name}"] = page
    told = refused(chargen, address)
    assert told.startswith(f"cannot pull '{address}': ")
    assert words in told
    assert "\x1b" not in told


def test_an_error_has_no_end(chargen: Run, web: Web) -> None:
    def answer(handler: object) -> None:
        handler.send_response(500, "no\x1b[2J " + "n" * 999)  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]
        while True:
            handler.wfile.write(b" " * 65536)  # type: ignore[attr-defined]

    web.pages[f"{AT}/{SUMS}"] = answer
    told = refused(chargen, web.address + AT)
    assert "SHA256SUMS: the server says 500 no" in told
    assert len(told) < 400
    assert "\x1b" not in told


def slow(patch: pytest.MonkeyPatch) -> None:
    """Let a minute and a time-out be short."""
    patch.setattr(download, "TIMEOUT", 0.5)
    patch.setattr(download, "ANSWER", 1.0)
    patch.setattr(download, "MINUTE", 0.5)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (drips(b"0" * 8 + b"{" + b" " * 999, 0.1), "it comes too slowly: "),
        (half_then_waits(b"0" * 8 + b"{" * 999), "nothing came for 0.5 seconds"),
        (lambda handler: time.sleep(1.5), "nothing came for 0.5 seconds"),
        (header_drips, None),  # cut: what came of the header counts as all of it
    ],
)
def test_a_slow_server_is_given_up(
    pushed: Path, web: Web, monkeypatch: pytest.MonkeyPatch, page: Page, words: str | None
) -> None:
    slow(monkeypatch)
    address = web.share(pushed)
    web.pages[f"{AT}/{MODEL}"] = page
    began = time.monotonic()
    with pytest.raises(DownloadError, match=words):
        pull_model(address)
    assert time.monotonic() - began < 10
    assert not Path("checkpoints").exists()


def test_an_endless_model_is_given_up(
    pushed: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "LARGEST", 1 << 20)
    address = web.share(pushed)
    web.pages[f"{AT}/{MODEL}"] = endless
    with pytest.raises(DownloadError, match="it does not end after 1,048,576 bytes"):
        pull_model(address)
    assert not Path("checkpoints").exists()


def test_without_a_network_it_is_one_clear_line(chargen: Run) -> None:
    with serving() as server:
        address = server.address
    assert "SHA256SUMS: Connection refused" in refused(chargen, f"{address}/x")
    told = refused(chargen, "https://no-such-host.invalid/x")
    assert re.fullmatch(r"cannot pull '.*': SHA256SUMS: .+", told)


# -- addresses ----------------------------------------------------------------------------

WRONG = [
    (["http://example.org/x"], 2, "what comes from 'http://example.org/x' can be changed on the "
     "way; use https://, or give the checksum of the model with --sha256"),
    (["ftp://example.org/x"], 2, "address is 'ftp://example.org/x'; allowed: https://HOST/PATH"),
    (["file:///etc/passwd"], 2, "address is 'file:///etc/passwd'; allowed: https://HOST/PATH"),
    (["https://me:secret@example.org/x"], 2, "the address has a user name or a password; leave "
     "them out"),
    (["https://[/x"], 2, "'https://[/x' is not a valid address"),
    (["https://example.org:99999/x"], 2, "'https://example.org:99999/x' is not a valid address"),
    (["https:///x"], 2, "address is 'https:///x'; allowed: https://HOST/PATH"),
    (["https://example.org/x?y"], 2, "'https://example.org/x' with a query is not a folder; name "
     "its model.safetensors"),
    (["https://example.org/"], 2, "'https://example.org/' gives the run no name; give it one with "
     "--name"),
    (["https://example.org/a/%2e%2e"], 2, "'https://example.org/a/%2e%2e' gives the run no name; "
     "give it one with --name"),
    (["nowhere"], 1, "no model at 'nowhere'; give a folder that `chargen push` wrote, a model "
     "file, an https:// address or hf:OWNER/NAME"),
    ([""], 1, "no model at ''; give a folder that `chargen push` wrote, a model "
     "file, an https:// address or hf:OWNER/NAME"),
    (["empty"], 1, "cannot pull 'empty': SHA256SUMS: there is no such file; is it what `chargen "
     "push` wrote?"),
    (["pushed", "--name", "../x"], 2, "name is '../x'; allowed: letters, digits, '-', '_', '.', "
     "spaces"),
    (["pushed", "--name", ""], 2, "'pushed' gives the run no name; give it one with --name"),
    (["pushed", "--sha256", "abc"], 2, "sha256 is 'abc'; allowed: 64 hexadecimal digits"),
    (["hf:me"], 2, "'hf:me' is no model on the hub; allowed: hf:OWNER/NAME"),
    (["hf:me/../x"], 2, "'hf:me/../x' is no model on the hub; allowed: hf:OWNER/NAME"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG)
def test_a_wrong_source_is_one_clear_line(
    chargen: Run, pushed: Path, arguments: list[str], code: int, message: str
) -> None:
    Path("empty").mkdir()
    assert refused(chargen, *arguments, code=code) == message


def test_addresses_are_quoted() -> None:
    assert check_address("https://example.org/a b/é?q=ü#x") == (
        "https://example.org/a%20b/%C3%A9?q=%C3%BC"
    )
    assert check_address("HTTPS://EXAMPLE.org:8/a%20b") == "https://example.org:8/a%20b"
    assert check_address("https://bücher.example/x") == "https://xn--bcher-kva.example/x"
    assert check_address("http://[::1]:80/x") == "http://[::1]:80/x"
    assert check_address("http://127.0.0.2/x") == "http://127.0.0.2/x"
    assert check_address("http://example.org/x", pinned=True) == "http://example.org/x"
    for odd in ("http://localhost.example.org/", "http://127.0.0.1.example.org/", "http://0/"):
        with pytest.raises(ConfigError, match="can be changed on the way"):
            check_address(odd)


def test_names_are_made_harmless() -> None:
    assert run_name("../../etc/passwd") == "etc-passwd"
    assert run_name("..") == ""
    assert run_name("a\x1b[2Jb c") == "a-2Jb-c"
    assert run_name("-rf") == "rf"
    assert len(run_name("é" * 500).encode()) <= 80


def test_a_token_stays_with_its_server(web: Web) -> None:
    with serving() as other:
        web.pages |= {"/a": redirect("/b"), "/b": redirect(f"{other.address}/c")}
        other.pages["/c"] = b"it"
        with opened(f"{web.address}/a", {"Authorization": "Bearer secret"}) as stream:
            assert stream.read(9) == b"it"
    got = [headers.get("Authorization") for _, headers in web.asked + other.asked]
    assert got == ["Bearer secret", "Bearer secret", None]


def test_what_is_for_this_computer_does_not_go_to_a_proxy(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.pages["/a"] = b"it"
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:9")
    with opened(f"{web.address}/a") as stream:
        assert stream.read(9) == b"it"


# -- checksums ----------------------------------------------------------------------------


def test_a_checksum_told_otherwise_is_compared(chargen: Run, pushed: Path, web: Web) -> None:
    address = f"{web.share(pushed)}/{MODEL}"
    right = read_model(pushed / MODEL).sha256
    told = refused(chargen, address, "--sha256", "0" * 64)
    assert told == (
        f"cannot pull '{address}': {MODEL} has sha256 {right}, not {'0' * 64}; it was changed, or "
        "pushed in part: pull again, or ask who pushed it"
    )
    assert chargen("pull", address, "--sha256", right.upper()).returncode == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost and its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    finish([*command.split(), *names, "-keyout", folder / "key", "-out", folder / "own"])
    (folder / "both").write_text((folder / "own").read_text() + (folder / "key").read_text())
    return folder / "both"


def test_https(chargen: Run, pushed: Path, web: Web, certificate: Path) -> None:
    with serving(certificate=certificate) as server:
        address = server.share(pushed)
        told = refused(chargen, address)
        assert re.search("SHA256SUMS: its certificate is not valid: self.signed certificate", told)
        trusting = {**os.environ, "SSL_CERT_FILE": str(certificate)}
        server.pages[f"{AT}/{MODEL}"] = redirect(f"{web.share(pushed)}/{MODEL}")
        done = chargen("pull", address, env=trusting)  # even to this computer
        assert "it redirects to 'http://localhost:" in done.stderr
        server.share(pushed)
        done = chargen("pull", address, env=trusting)
        assert done.returncode == 0, done.stderr
    assert load_weights(RUN / MODEL)
