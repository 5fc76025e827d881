"""Where the daemon is and whether to speak to it.

Owns: the environment (CLINO_ADDR, CLINO_MODE), the form of addresses, the options of a channel.
May not touch: the network.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from clino._access import NOBODY, Access

Mode = Literal["online", "disabled"]

DEFAULT_ADDR = "http://127.0.0.1:7411"

# Keepalive finds a peer that is gone without a word; the reconnect backoff is short because the sender has its
# own, which it can interrupt. Proxies are off: a daemon is on this machine or in this cluster.
_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Despite its name this is also how long a connection may take to be made.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True)
class Settings:
    """What a channel is made from."""

    target: str
    options: tuple[tuple[str, str | int], ...]
    access: Access = NOBODY
    secure: bool = False
    # Whether what is sent can be read on its way.
    exposed: bool = False

    @staticmethod
    def of(addr: str | None, token: str | None = None) -> Settings:
        """Take `addr`, else CLINO_ADDR, else the daemon's default address; ValueError for any other form."""
        access = Access.of(token)
        text = addr or os.environ.get("CLINO_ADDR") or DEFAULT_ADDR
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            path = path.removeprefix("//") if path.startswith("//") else path
            if not path:
                raise ValueError(f"addr: found {text!r}, expected a path after unix://")
            # Without this, grpc sends the percent-encoded path as :authority, which strict servers refuse.
            return Settings(f"unix:{path}", (*_OPTIONS, ("grpc.default_authority", "localhost")), access)
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"addr: found {text!r}, expected http://HOST:PORT, https://HOST:PORT or unix:///PATH")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        secure = parts.scheme == "https"
        exposed = not secure and not _on_this_machine(parts.hostname)
        return Settings(f"{host}:{parts.port or 7411}", _OPTIONS, access, secure, exposed)


def _on_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def mode_of(mode: str | None) -> Mode:
    """Take `mode`, else CLINO_MODE, else online."""
    found = mode or os.environ.get("CLINO_MODE") or "online"
    if found == "online":
        return "online"
    if found == "disabled":
        return "disabled"
    raise ValueError(f"mode: found {found!r}, expected online or disabled")
