"""Brings grpc in as quiet as its documentation says that it is.

Owns: GRPC_VERBOSITY while grpc is imported. May not touch: what the user set, or a grpc that is there already.

Without it grpc writes a line for every child that a data loader forks, "Other threads are currently calling into gRPC":
it does not prepare such a child, which does not use it (`_fork`).
"""

from __future__ import annotations

import os
import sys

_NAME = "GRPC_VERBOSITY"

if "grpc" not in sys.modules and _NAME not in os.environ:
    os.environ[_NAME] = "ERROR"
    try:
        import grpc as grpc
    finally:
        # It is read once; programs that are started from here are not concerned.
        del os.environ[_NAME]
