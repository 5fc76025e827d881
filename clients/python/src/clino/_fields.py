"""The daemon's names of fields in those of this package.

Owns: which of them differ. May not touch: what else a sentence says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAMES = {"config_json": "config", "idempotency_key": "resume", "budget_seconds": "budget"}
# Not within quotes: what stands there was given by the user.
_FIELD = re.compile(rf'(?<![\w"])({"|".join(_NAMES)})(?![\w"])')
_GROUP = re.compile(r'(?<![\w"])groups(?:\[(\d+)\]|(?=[:.]))')
_PARAMETER = re.compile(r"((?:measures|rules)\[\d+\])\.parameters\.")


def named(sentence: str, groups: Sequence[str] = ()) -> str:
    """Say a sentence of the daemon with the arguments of `clino.init`: groups by their names."""

    def group(found: re.Match[str]) -> str:
        if found.group(1) is None:
            return "probes"
        index = int(found.group(1))
        return f"probes[{groups[index]!r}]" if index < len(groups) else found.group()

    renamed = _FIELD.sub(lambda found: _NAMES[found.group()], sentence)
    return _GROUP.sub(group, _PARAMETER.sub(r"\1.", renamed))
