"""Where the daemon is and whether to speak to it.

Owns: the environment (CLINO_ADDR, CLINO_MODE, CLINO_CHECK), the form of addresses, the socket of an address that nobody
told, the options of a channel. May not touch: the network.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Literal
from urllib.parse import quote, urlsplit

from clino._access import NOBODY, Access

Mode = Literal["online", "disabled"]

# Where anybody may have put a folder first.
_SHARED = "/tmp"

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
    # Beyond a soft limit of 8 KiB grpc refuses some of the messages of errors, by chance.
    ("grpc.max_metadata_size", 64 << 10),
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
    # As people write it.
    address: str = ""

    def apart(self) -> Settings:
        """The same, by a connection that is shared with nothing."""
        return replace(self, options=(*self.options, ("grpc.use_local_subchannel_pool", 1)))

    @staticmethod
    def of(addr: str | None, token: str | None = None) -> Settings:
        """Take `addr`, else CLINO_ADDR, else this user's socket; ValueError for any other form or a foreign folder."""
        access = Access.of(token)
        text = addr or os.environ.get("CLINO_ADDR") or _own_socket()
        if text.startswith("unix:"):
            path = text.removeprefix("unix:").removeprefix("//")
            if not path:
                raise ValueError(f"addr: found {text!r}, expected a path after unix://")
            # Without this, grpc sends the percent-encoded path as :authority, which strict servers refuse.
            options = (*_OPTIONS, ("grpc.default_authority", "localhost"))
            # A path is taken as it stands; of a target grpc decodes %20 and drops what follows ? and #.
            return Settings(f"unix:{quote(path)}", options, access, address=text)
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"addr: found {text!r}, expected http://HOST:PORT, https://HOST:PORT or unix:///PATH")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        secure = parts.scheme == "https"
        exposed = not secure and not _on_this_machine(parts.hostname)
        return Settings(f"{host}:{parts.port or 7411}", _OPTIONS, access, secure, exposed, text)


def standard_socket(runtime: str | None, uid: int) -> str:
    """Say where `clino serve` of a user listens by default, as crates/client/src/endpoint.rs does."""
    if runtime is not None and runtime.startswith("/"):
        return f"{runtime.rstrip('/')}/clino/clino.sock"
    return "/run/clino/clino.sock" if uid == 0 else f"{_SHARED}/clino-{uid}/clino.sock"


def check_folder(folder: str, uid: int) -> None:
    """ValueError for a folder that is not this user's alone to change; one that is not there is fine."""
    try:
        found = os.lstat(folder)
    except FileNotFoundError:
        return
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        why = "found a link or a file, expected a folder"
    elif found.st_uid != uid:
        why = f"found a folder of user {found.st_uid}, expected one of user {uid}"
    elif mode & 0o022:
        why = f"found mode {mode:04o}, expected a folder that no one else can write (0700)"
    else:
        return
    raise ValueError(f"addr: {folder}: {why}; remove it, or choose another path with --socket and CLINO_ADDR")


def _own_socket() -> str:
    uid = os.geteuid()
    socket = standard_socket(os.environ.get("XDG_RUNTIME_DIR"), uid)
    folder = os.path.dirname(socket)
    # Another user may have been there first, and would get snapshots and tokens.
    if os.path.dirname(folder) == _SHARED:
        check_folder(folder, uid)
    return f"unix://{socket}"


def _on_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_of(check: bool | None) -> bool:
    """Take `check`, else CLINO_CHECK, else True: whether the trainer's model is compared with its configuration."""
    if check is not None:
        return bool(check)
    found = os.environ.get("CLINO_CHECK", "1").strip().lower()
    if found in ("1", "true", "yes", "on", ""):
        return True
    if found in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"CLINO_CHECK: found {found!r}, expected 1 or 0")


def mode_of(mode: str | None) -> Mode:
    """Take `mode`, else CLINO_MODE, else online."""
    found = mode or os.environ.get("CLINO_MODE") or "online"
    if found == "online":
        return "online"
    if found == "disabled":
        return "disabled"
    raise ValueError(f"mode: found {found!r}, expected online or disabled")
