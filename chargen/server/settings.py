"""Settings of the server: address, who may use it, and limits."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from chargen.config import check_types, documented, require
from chargen.errors import ConfigError

ACCESS, LIMITS = "Access", "Limits"
LOG_LEVELS = ("warning", "info")
KEY_VARIABLE = "CHARGEN_API_KEY"
KEY = re.compile(r"[!-~]{8,200}")  # printable ASCII, as it stands in a header
MOST = 1 << 24  # of any limit in characters


@dataclass(frozen=True)
class ServeConfig:
    """Where the server listens, who may use it, and what one client may ask for."""

    host: str = documented("127.0.0.1", "Address to listen on; any but this machine needs a key.")
    port: int = documented(8000, "Port to listen on; 0 takes a free one.")
    api_key: str | None = documented(
        None, "Key that every client must send; default: CHARGEN_API_KEY.", ACCESS, metavar="KEY"
    )
    allowed_host: tuple[str, ...] = documented(
        (), "Name by which clients reach the server, as in the Host header.", ACCESS
    )
    cors_origin: tuple[str, ...] = documented(
        (), "Origin of web pages that may use the server, as https://example.org.", ACCESS
    )
    models_in_memory: int = documented(2, "Models kept in memory at the same time.", LIMITS)
    batch_size: int = documented(128, "Texts generated at the same time, per model.", LIMITS)
    queue: int = documented(64, "Texts that wait for a row, per model.", LIMITS)
    max_prompt: int = documented(262_144, "Characters of the prompt or text of a request.", LIMITS)
    max_length: int = documented(65_536, "Characters or tokens that a text may have.", LIMITS)
    timeout: float = documented(600.0, "Seconds of a request at most.", LIMITS, metavar="SECONDS")
    grace: float = documented(
        10.0, "Seconds to finish requests when the server is stopped.", LIMITS, metavar="SECONDS"
    )
    log_level: str = documented("warning", "warning, or info for a line per request.")

    def __post_init__(self) -> None:
        if self.api_key is None and (key := os.environ.get(KEY_VARIABLE)):
            object.__setattr__(self, "api_key", key)
        check_types(self)
        require(0 <= self.port <= 65535, "port", self.port, "0 to 65535")
        require(self.log_level in LOG_LEVELS, "log-level", self.log_level, ", ".join(LOG_LEVELS))
        for name, most in (("models_in_memory", 64), ("batch_size", 4096)):
            value = getattr(self, name)
            require(1 <= value <= most, name.replace("_", "-"), value, f"1 to {most}")
        require(0 <= self.queue <= 65536, "queue", self.queue, "0 to 65536")
        for name in ("max_prompt", "max_length"):
            value = getattr(self, name)
            require(1 <= value <= MOST, name.replace("_", "-"), value, f"1 to {MOST}")
        require(0 < self.timeout <= 86400, "timeout", self.timeout, "more than 0, up to 86400")
        require(0 <= self.grace <= 3600, "grace", self.grace, "0 to 3600")
        self._check_access()

    def _check_access(self) -> None:
        key = self.api_key
        if key is not None and not KEY.fullmatch(key):  # its value is not shown
            raise ConfigError("api-key has a wrong form; allowed: 8 to 200 ASCII characters")
        if key is None and not is_loopback(self.host):
            raise ConfigError(
                f"host {self.host!r} can be reached from other machines, so it needs a key: set "
                "CHARGEN_API_KEY or --api-key, or leave --host out"
            )
        for name in self.allowed_host:
            require(host_name(name) == name.lower(), "allowed-host", name, "a name without a port")
        for origin in self.cors_origin:
            require(_is_origin(origin), "cors-origin", origin, "an origin as https://example.org")

    @property
    def max_body(self) -> int:
        """Bytes of a request: JSON may write a character in twelve, and there are other fields."""
        return 12 * self.max_prompt + (1 << 16)


def is_loopback(host: str) -> bool:
    """Tell whether an address is reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_address(host: str) -> bool:
    """Tell whether a host is an IP address, not a name."""
    try:
        return bool(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return False


def host_name(header: str) -> str | None:
    """Return the name or address in a Host header, in lower case; None if it has another form."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d{1,5})?", header, re.ASCII)
    return found[1].lower() if found else None


def _is_origin(text: str) -> bool:
    parts = urlsplit(text)
    plain = f"{parts.scheme}://{parts.netloc}" == text and "@" not in text
    return plain and parts.scheme in ("http", "https") and host_name(parts.netloc) is not None
