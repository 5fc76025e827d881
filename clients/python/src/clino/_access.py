"""Who asks, and which daemons are trusted.

Owns: the environment (CLINO_TOKEN, CLINO_TOKEN_FILE, CLINO_CA, CLINO_CERT, CLINO_KEY), the files that it names, what
goes with every call. May not touch: the network. A token is shown to the daemon and to nobody else.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

VERSION = "0.1.0"
# The oldest daemon that understands this client.
OLDEST_DAEMON = "0.1.0"

Metadata = tuple[tuple[str, str], ...]


class Token:
    """A secret that is given, or kept in a file."""

    def __init__(self, value: str | None, file: Path | None = None) -> None:
        self._file = file
        self._last = _checked("token", value) if value is not None else None
        if file is not None:
            self._last = _checked("CLINO_TOKEN_FILE", _text(file))

    def __bool__(self) -> bool:
        return self._last is not None

    def current(self) -> str | None:
        """The token as its file has it now: tokens in files are replaced. The last good one where it has none."""
        if self._file is not None:
            try:
                self._last = _checked("CLINO_TOKEN_FILE", _text(self._file))
            except (OSError, ValueError):
                # It is being written, or gone: the daemon will tell when the last one is no longer good.
                return self._last
        return self._last


@dataclass(frozen=True)
class Access:
    """What is shown and trusted."""

    token: Token = field(repr=False)
    # PEM: authorities, and a certificate with its key.
    ca: bytes | None = field(default=None, repr=False)
    cert: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)

    @staticmethod
    def of(token: str | None) -> Access:
        """Take `token`, else CLINO_TOKEN, else the file that CLINO_TOKEN_FILE names; and the files of TLS."""
        given = token if token is not None else os.environ.get("CLINO_TOKEN") or None
        file = os.environ.get("CLINO_TOKEN_FILE") if given is None else None
        ca, cert, key = (_file_of(name) for name in ("CLINO_CA", "CLINO_CERT", "CLINO_KEY"))
        if (cert is None) != (key is None):
            missing, other = ("CLINO_KEY", "CLINO_CERT") if key is None else ("CLINO_CERT", "CLINO_KEY")
            raise ValueError(f"{missing}: found none, expected the file that belongs to {other}")
        return Access(Token(given, Path(file) if file else None), ca, cert, key)

    def metadata(self) -> Metadata:
        """What goes with every call."""
        versions = (("clino-client-version", VERSION), ("clino-min-daemon-version", OLDEST_DAEMON))
        token = self.token.current()
        return versions if token is None else (*versions, ("authorization", f"Bearer {token}"))


NOBODY = Access(Token(None))


def _checked(name: str, value: object) -> str:
    token = value.strip() if isinstance(value, str) else ""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{name}: found an empty token, or characters that a token cannot have")
    return token


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _file_of(variable: str) -> bytes | None:
    path = os.environ.get(variable)
    return Path(path).read_bytes() if path else None
