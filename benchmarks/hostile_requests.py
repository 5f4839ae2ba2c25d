"""Hostile requests to a server: what it answers, and whether it keeps memory or rows.

    python -m benchmarks.hostile_requests [--count 10000] [--seed 1] [--schemathesis 0.4]

Starts ``chargen serve`` with the built-in model, sends requests of all kinds that should be
refused or dropped, and prints how many were answered with which status, and the memory and the
rows in use before and after. A part of the requests is made by schemathesis from /openapi.json.
A refusal that is no error object, a status 500, and an answer that names a folder are wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import socket
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.serving import serving

SECONDS = 20.0  # for an answer
OPTIONS = ("--max-length", "100", "--max-prompt", "20000", "--batch-size", "8", "--timeout", "5")
HERE = str(Path(__file__).parents[1])  # folder of the package, in which the base models are
THREADS, PARTS = 16, 5
FEW = 3  # requests to a route without fields
ROUTES: dict[str, dict[str, Any]] = {
    "completions": {"prompt": "The", "max_tokens": 9},
    "chat/completions": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9},
    "score": {"text": "The end."},
    "surprisal": {"text": "The end."},
    "next": {"prompt": "The"},
    "ghost": {"text": "The en"},
}
VALUES: list[Any] = [
    *(None, True, "", "x", "The end", 0, 1, -1, 0.5, 1e308, -1e308, 10**30, 10**400, [], {}, [[]]),
    *({"a": 1}, [1, 2], ["a", "b"], "\ud800", "a\udfffb", "\0", "\u202e", "x" * 30_000),
]
FIELDS = (
    *("model", "prompt", "max_tokens", "max_chars", "temperature", "top_p", "top_k", "n", "stop"),
    *("seed", "echo", "logprobs", "logit_bias", "presence_penalty", "stream", "stream_options"),
    *("regex", "words", "no_copy", "until", "ban", "mirostat", "dry_multiplier", "suffix"),
    *("messages", "text", "top", "max_new", "\ud800", "best_of", "typical", "min_p"),
)


class Target:
    """A server and what it answered.

    Args:
        port: on which it listens on this machine.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []

    def send(self, kind: str, *parts: bytes, pause: float = 0.0, read: bool = True) -> None:
        """Send bytes on a connection of its own, and count what comes back."""
        with contextlib.suppress(OSError), self._connect() as connection:
            try:
                for part in parts:
                    connection.sendall(part)
                    time.sleep(pause)
            except OSError:  # the server had enough; its answer may still be there
                pass
            self._count(kind, _all(connection) if read else b"")
            return
        self.answers["closed"] += 1

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)

    def _count(self, kind: str, answer: bytes) -> None:
        found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
        status = found[1].decode() if found else "closed"
        self.answers[status if status < "500" or status == "closed" else f"{status} {kind}"] += 1
        refused = status[0] in "45"
        if status == "500" or (refused and not _is_error(answer)) or _tells(answer):
            self.wrong.append(f"{kind}: {answer[:300]!r}")

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        with self._connect() as connection:
            connection.sendall(_request("GET", "/metrics", b""))
            text = _all(connection).decode()
        return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)\s*$", text, re.M)))


def _all(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes, or until an answer is whole."""
    got = b""
    with contextlib.suppress(OSError):
        while part := connection.recv(65536):
            got += part
            head, _, body = got.partition(b"\r\n\r\n")
            size = re.search(rb"content-length: (\d+)", head)
            if (size and len(body) >= int(size[1])) or body.endswith(b"0\r\n\r\n"):
                break
    return got


def _tells(answer: bytes) -> bool:
    """Tell whether an answer names a folder of the machine, or shows code."""
    return any(words in answer for words in (b"Traceback", HERE.encode(), b"checkpoints/"))


def _is_error(answer: bytes) -> bool:
    body = answer.partition(b"\r\n\r\n")[2]
    with contextlib.suppress(ValueError):
        error = json.loads(body)["error"]
        return set(error) == {"message", "type", "param", "code"}
    return False


def _request(method: str, path: str, body: bytes, **headers: str) -> bytes:
    own = {"host": "localhost", "content-type": "application/json", "connection": "close"}
    own |= {"content-length": str(len(body))} if body else {}
    own |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in own.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


# -- kinds of hostile requests ------------------------------------------------------------


def target_of(rng: random.Random) -> tuple[str, dict[str, Any]]:
    """Return a path and fields of a request to it, right and wrong ones."""
    route = rng.choice(list(ROUTES))
    odd = {rng.choice(FIELDS): rng.choice(VALUES) for _ in range(rng.randrange(5))}
    return f"/v1/{route}", ROUTES[route] | odd


def path(rng: random.Random) -> str:
    """Return the path of a route."""
    return target_of(rng)[0]


def fields(rng: random.Random) -> dict[str, Any]:
    """Return fields of some route."""
    return target_of(rng)[1]


def odd_fields(target: Target, rng: random.Random) -> None:
    """Send fields of wrong types, values and names."""
    where, given = target_of(rng)
    target.send("odd fields", _request("POST", where, json.dumps(given).encode()))


def bad_json(target: Target, rng: random.Random) -> None:
    """Send JSON with a few bytes changed."""
    where, given = target_of(rng)
    body = bytearray(json.dumps(given).encode())
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(len(body))
        body[place : place + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
    target.send("bad JSON", _request("POST", where, bytes(body)))


def huge_values(target: Target, rng: random.Random) -> None:
    """Send numbers of many digits, deep lists, lone surrogates."""
    size = rng.randrange(1, 200_000)
    values = [b"9" * size, b"-0." + b"3" * size, b"1e" + b"9" * min(size, 400), b"[" * size]
    values += [b'{"a":' * size, b"NaN", b"-Infinity", b'"' + b"\\ud800" * min(size, 3000) + b'"']
    value = rng.choice(values)
    name = rng.choice(FIELDS).encode("utf-8", "replace")
    body = b'{"prompt":"The","' + name + b'":' + value + b"}"
    target.send("huge values", _request("POST", path(rng), body))


def endless_body(target: Target, rng: random.Random) -> None:
    """Send a body without an end."""
    head = _request("POST", path(rng), b"", transfer_encoding="chunked")
    chunk = b"10000\r\n" + b'{"a":"' + b"x" * 65_530 + b"\r\n"
    target.send("endless body", head, *[chunk] * rng.randrange(1, 60))


def wrong_length(target: Target, rng: random.Random) -> None:
    """Send a body that is not as long as it says."""
    length = rng.choice(["-1", "abc", "99999999999999999999", "5", "0", "300000", "1, 2"])
    body = json.dumps(fields(rng)).encode()
    target.send(
        "wrong length", _request("POST", path(rng), body, content_length=length), read=False
    )


def slow_writes(target: Target, rng: random.Random) -> None:
    """Send a part of a request slowly, and leave."""
    whole = _request("POST", path(rng), json.dumps(fields(rng)).encode())
    step = max(1, len(whole) // 20)
    parts = [whole[n : n + step] for n in range(0, rng.randrange(len(whole)), step)]
    target.send("slow writes", *parts, pause=0.01, read=False)


def early_close(target: Target, rng: random.Random) -> None:
    """Leave in the header, in the body, or while a text is streamed."""
    body = json.dumps({"prompt": "The", "max_tokens": 100, "n": 8, "stream": True}).encode()
    whole = _request("POST", "/v1/completions", body)
    sent = whole[: rng.choice([rng.randrange(len(whole)), len(whole)])]
    target.send("early close", sent, pause=rng.choice([0, 0.02, 0.1]), read=False)


def wrong_host(target: Target, rng: random.Random) -> None:
    """Send a request of a foreign name or page."""
    host = rng.choice(
        ["evil.example", "", "localhost.evil", "127.0.0.1@x", "a b", "\xff", "[::1", "*"]
    )
    origin = rng.choice(["https://evil.example", "null", "file://", ""])
    header = {"host": host} if rng.random() < 0.7 else {"origin": origin}
    target.send("wrong host", _request("POST", path(rng), b"{}", **header))


def odd_path(target: Target, rng: random.Random) -> None:
    """Ask for what is not there, with any method."""
    names = ["/../../etc/passwd", "/page/..%2f..%2fapp.py", "/v1/models/%00", "//", "/%ff", "*"]
    names += ["/v1/models/../models", "/" + "a" * 20_000, "/page/", "/v1/models/" + "%2e" * 50]
    method = rng.choice(["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "X" * 50])
    target.send("odd path", _request(method, rng.choice(names), b"{}"))


def no_http(target: Target, rng: random.Random) -> None:
    """Send what is not HTTP, or a header without an end."""
    head = b"GET /health HTTP/1.1\r\nhost: localhost\r\n"
    sent = [rng.randbytes(rng.randrange(1, 2000)) + b"\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n\r\n"]
    sent += [
        head + b"a: b\r\n" * 5000 + b"\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        head + b" \r\n: x\r\n\r\n",
    ]
    sent += [head + b"host: localhost\r\n\r\n", (head + b"\r\n") * 50, b"PRI * HTTP/2.0\r\n\r\n"]
    target.send("no HTTP", rng.choice(sent), read=rng.random() < 0.2)


def deep_rules(target: Target, rng: random.Random) -> None:
    """Send regular expressions that are hard to build."""
    rules = [
        "(a|b)*a(a|b){300}",
        "((a{1,99}){1,99}){1,99}",
        "(" * 400,
        "[^",
        ".{0,999}" * 50,
        "(a*)*b",
    ]
    given = {"prompt": "The", "regex": rng.choice(rules), "max_tokens": 20}
    target.send("deep rules", _request("POST", "/v1/completions", json.dumps(given).encode()))


Kind = Callable[[Target, random.Random], None]
OFTEN: list[Kind] = [odd_fields, bad_json, huge_values, wrong_host, odd_path, no_http]
SOMETIMES: list[Kind] = [wrong_length, slow_writes, early_close, deep_rules]
KINDS: list[Kind] = [*OFTEN * 8, *SOMETIMES * 4, endless_body]


def fuzz(target: Target, count: int, seed: int) -> None:
    """Send hostile requests of all kinds, many at the same time."""

    def one(number: int) -> None:
        rng = random.Random(f"{seed} {number}")
        rng.choice(KINDS)(target, rng)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, range(count)))


def by_schema(target: Target, count: int, seed: int) -> None:
    """Send requests that schemathesis makes of the description, right and wrong ones."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from schemathesis.generation import GenerationMode

    url = f"http://127.0.0.1:{target.port}"
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    found = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    each = max(1, count // (2 * sum(bool(operation.body) for operation in found)))
    for operation in found:
        for mode in modes if operation.body else modes[:1]:

            @seeded(seed)
            @settings(
                max_examples=each if operation.body else FEW,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def send(case: Any) -> None:
                answer = case.call(base_url=url, timeout=SECONDS)
                target.answers[str(answer.status_code)] += 1
                if answer.status_code == 500 or (
                    answer.status_code >= 400
                    and case.method != "HEAD"
                    and "error" not in answer.json()
                ):
                    target.wrong.append(f"{case.method} {case.path}: {answer.text[:300]}")

            send()


# -- the server ---------------------------------------------------------------------------


def report(target: Target, title: str) -> None:
    """Print the memory and the rows in use."""
    memory = target.metric("process_resident_memory_bytes") / 1e6
    rows, users = target.metric("chargen_rows"), target.metric("chargen_requests_running")
    files = target.metric("process_open_fds")
    print(f"{title:24} {memory:7.1f} MB  {rows:.0f} rows  {users:.0f} requests  {files:.0f} files")


def settle(target: Target) -> None:
    """Wait until no request is left, at most a few seconds."""
    deadline = time.monotonic() + 15
    while target.metric("chargen_requests_running") and time.monotonic() < deadline:
        time.sleep(0.1)


def main() -> None:
    """Send the requests, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--schemathesis", type=float, default=0.4, help="fraction made by it")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    with serving("english", *OPTIONS) as (port, process):
        assert process.stderr
        process.stderr.readline()  # the second of its two lines at the start
        target = Target(port)
        report(target, "at the start")
        fuzz(target, 500, args.seed - 1)
        settle(target)
        report(target, "after 500 to warm up")
        target.answers.clear()
        began, described = time.perf_counter(), int(args.count * args.schemathesis)
        if described:
            by_schema(target, described, args.seed)
        report(target, f"after {target.answers.total():,} of schemathesis")
        rest = args.count - target.answers.total()
        for part in range(PARTS):
            fuzz(target, rest // PARTS, PARTS * args.seed + part)
            settle(target)
            report(target, f"after {target.answers.total():,}")
        seconds = time.perf_counter() - began
        print(f"{target.answers.total():,} requests in {seconds:.0f} s")
        for status, count in sorted(target.answers.items()):
            print(f"{count:7,}  {status}")
        process.terminate()
        said = process.stderr.read()
        print(f"on stderr: {len(said.splitlines())} lines\n{said[:2000]}")
        print(f"{len(target.wrong)} wrong answers", *target.wrong[:5], sep="\n")


if __name__ == "__main__":
    main()
