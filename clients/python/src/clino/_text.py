"""Texts that others chose, as they are shown: in one line, with what is hidden in them escaped, of bounded length.

Owns: which characters are hidden (crates/domain/src/text.rs has the same), how long a sentence may be. May not touch:
texts that are only kept.
"""

from __future__ import annotations

import re

# Control characters, line separators, interlinear annotations, and what Unicode does not draw at all
# (Default_Ignorable_Code_Point): controls of bidirectional writing, zero widths, tags, variation selectors.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)

# Most characters of a sentence; the daemon's are a tenth of it.
MOST_SENTENCE = 4_000

_REPEATED = re.compile(r"'[^']*'|\"[^\"]*\"|0x[0-9a-f]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def harmless(text: str) -> str:
    """Write what is hidden as its number; what has been escaped before stays as it is."""
    return _HIDDEN.sub(lambda found: f"\\u{{{ord(found.group()):x}}}", text)


def bounded(text: str) -> str:
    """Leave out the middle of what is far too long: its beginning says what is wrong, its end what to do."""
    if len(text) <= MOST_SENTENCE:
        return text
    half = (MOST_SENTENCE - 3) // 2
    return f"{text[:half]} … {text[-half:]}"


def kind(sentence: str) -> str:
    """Give what two sentences have in common that differ only in the numbers and names that they repeat."""
    return _REPEATED.sub("_", sentence)
