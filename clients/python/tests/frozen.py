"""A daemon in a process of its own, which can be stopped as by SIGSTOP: ADDRESS."""

from __future__ import annotations

import sys

from fake import FakeDaemon

if __name__ == "__main__":
    daemon = FakeDaemon(sys.argv[1])
    print("up", flush=True)
    sys.stdin.read()
