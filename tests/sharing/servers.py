"""Servers on this computer: one of pages and manners, with or without TLS, and one like the hub."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SUMS = "SHA256SUMS"
Handler = http.server.BaseHTTPRequestHandler
Page = bytes | Callable[[Handler], None]


class Web(http.server.ThreadingHTTPServer):
    """Server of pages by their paths.

    Attributes:
        pages: bytes, or what answers.
        asked: paths and headers of the requests.
        ended: set when the server ends, for manners that wait.
    """

    daemon_threads = True

    def __init__(self, handler: type[Handler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.ended = threading.Event()
        self.scheme = "http"

    @property
    def address(self) -> str:
        return f"{self.scheme}://localhost:{self.server_address[1]}"

    def share(self, folder: Path, path: str = "/models/small") -> str:
        """Serve the files of a folder; return its address."""
        self.pages |= {f"{path}/{file.name}": file.read_bytes() for file in folder.iterdir()}
        return self.address + path

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hang up."""


class Pages(Handler):
    """Answers from the pages of its server."""

    server: Web

    def do_GET(self) -> None:  # noqa: N802 (its name in http.server)
        self.server.asked.append((self.path, dict(self.headers)))
        page = self.server.pages.get(self.path)
        if page is None:
            self.send_error(404)
        elif callable(page):
            with suppress(OSError):  # the client has hung up
                page(self)
        else:
            self.send_bytes(page)

    def send_bytes(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: type[Handler] = Pages, certificate: Path | None = None) -> Iterator[Web]:
    """Run a server while the context is open; a certificate file, with its key, makes it TLS."""
    with Web(handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.scheme = "https"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.ended.set()
        server.shutdown()
        thread.join(10)


# -- manners ------------------------------------------------------------------------------


def redirect(target: str, status: int = 302) -> Page:
    def answer(handler: Handler) -> None:
        handler.send_response(status)
        handler.send_header("Location", target)
        handler.end_headers()

    return answer


def endless(handler: Handler) -> None:
    """Send a body that has no end."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write((1000).to_bytes(8, "little") + b"{")
    while True:
        handler.wfile.write(b" " * 65536)


def endless_redirect(target: str) -> Page:
    def answer(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()
        while True:
            handler.wfile.write(b" " * 65536)

    return answer


def claims(length: int, body: bytes = b"") -> Page:
    """Send fewer bytes than the header says."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def drips(body: bytes, seconds: float) -> Page:
    """Send a byte now and then, with the header at once."""

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        for byte in body:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            if handler.server.ended.wait(seconds):
                return

    return answer


def header_drips(handler: Any) -> None:
    """Send a header that has no end, a byte now and then."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not handler.server.ended.wait(0.05):
        handler.wfile.write(b"x")
        handler.wfile.flush()


def half_then_waits(body: bytes, seconds: float = 60) -> Page:
    """Send half of a body, and the rest later, unless the server ends."""

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.wfile.flush()
        if not handler.server.ended.wait(seconds):
            handler.wfile.write(body[len(body) // 2 :])

    return answer


# -- the hub ------------------------------------------------------------------------------


class Hub(Pages):
    """Answers like the hub, as far as pushing and pulling need it; everything is in ``repos``.

    The files of a repository are by commit, so that what was replaced can still be asked for.
    """

    repos: dict[str, dict[str, Any]] = {}  # noqa: RUF012 (emptied by the fixture)
    uploaded: dict[str, bytes] = {}  # noqa: RUF012

    def send_json(self, data: object, status: int = 200, **headers: str) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.send_json({"error": code}, status, X_Error_Code=code, X_Error_Message=code)

    def do_GET(self) -> None:  # noqa: N802 (its name in http.server)
        self.server.asked.append((self.path, dict(self.headers)))
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._info("/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
        elif parts[2:3] == ["resolve"]:
            self._file("/".join(parts[:2]), parts[3], parts[4])
        elif self.path in self.server.pages:
            super().do_GET()
        else:
            self.refuse(404, "EntryNotFound")

    def _info(self, repo: str, revision: str) -> None:
        known = self.repos.get(repo)
        if known is None:
            self.refuse(401, "RepoNotFound")
        elif revision not in ("main", *known["commits"]):
            self.refuse(404, "RevisionNotFound")
        else:
            sha = known["head"] if revision == "main" else revision
            names = [{"rfilename": name} for name in known["commits"].get(sha, {})]
            self.send_json({"id": repo, "modelId": repo, "sha": sha, "siblings": names})

    def _file(self, repo: str, sha: str, name: str) -> None:
        body = self.repos[repo]["commits"][sha].get(name)
        if body is None:
            self.refuse(404, "EntryNotFound")
        else:
            place = f"/cdn/{hashlib.sha256(body).hexdigest()}"
            self.server.pages[place] = body
            redirect(place)(self)  # type: ignore[operator]

    def do_POST(self) -> None:  # noqa: N802 (its name in http.server)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.path, dict(self.headers)))
        if not self.headers.get("Authorization"):
            self.refuse(401, "Unauthorized")
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self.send_json({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = {True: "lfs", False: "regular"}
            told = [
                {
                    "path": file["path"],
                    "uploadMode": modes[file["path"].endswith(".safetensors")],
                    "shouldIgnore": False,
                }
                for file in files
            ]
            self.send_json({"files": told})
        elif self.path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif "/commit/" in self.path:
            self._commit("/".join(self.path.split("/")[3:5]), body)
        else:
            self.refuse(404, "NotFound")

    def _create(self, wanted: dict[str, Any]) -> None:
        repo = "/".join(filter(None, (wanted.get("organization") or "me", wanted["name"])))
        url = f"{self.server.address}/{repo}"
        if repo in self.repos:
            self.send_json({"error": "You already created this model repo", "url": url}, 409)
            return
        self.repos[repo] = {"created": wanted, "head": "0" * 40, "commits": {"0" * 40: {}}}
        self.send_json({"url": url, "name": repo, "id": repo})

    def _batch(self, wanted: dict[str, Any]) -> None:
        objects = [
            {
                "oid": each["oid"],
                "size": each["size"],
                "actions": {"upload": {"href": f"{self.server.address}/lfs/{each['oid']}"}},
            }
            for each in wanted["objects"]
        ]
        self.send_json({"transfer": "basic", "objects": objects})

    def do_PUT(self) -> None:  # noqa: N802 (its name in http.server)
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.uploaded[self.path.rsplit("/", 1)[1]] = data
        self.send_bytes(b"")

    def _commit(self, repo: str, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        known = self.repos[repo]
        files = dict(known["commits"][known["head"]])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.uploaded[value["oid"]]
        sha = hashlib.sha1(body + known["head"].encode()).hexdigest()
        known["commits"][sha], known["head"] = files, sha
        url = f"{self.server.address}/{repo}/commit/{sha}"
        self.send_json({"success": True, "commitOid": sha, "commitUrl": url})
