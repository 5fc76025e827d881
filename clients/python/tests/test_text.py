from __future__ import annotations

import logging

import pytest

from clino._notices import Notices
from clino._text import harmless

HIDDEN = "\0\x1b\x7f\x85\x9b\xad\u061c\u200b\u200d\u202e\u2028\u2029\u2066\ufe0f\ufeff\U000e0041\U000e007f"


def test_what_is_hidden_is_shown_escaped() -> None:
    assert harmless("a\x1b[2J\u202eb\n日本 'é'") == "a\\u{1b}[2J\\u{202e}b\\u{a}日本 'é'"
    for sign in HIDDEN:
        assert harmless(f"x{sign}y") == f"x\\u{{{ord(sign):x}}}y"
    for plain in ("a b", "日本語", "हिन्दी", "عربي", "🎉", "C:\\new"):
        assert harmless(plain) == plain


def test_what_has_been_shown_stays_as_it_is() -> None:
    assert harmless(harmless(HIDDEN)) == harmless(HIDDEN)


def test_row_56_a_warning_is_one_line_without_anything_hidden(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices(strict=False)
    with caplog.at_level(logging.WARNING, "clino"):
        notices.tell("a", "no daemon at a\nb\u202e%s")
        notices.tell_once("b", "\x1b[2J")
    assert caplog.messages == ["no daemon at a\\u{a}b\\u{202e}%s", "\\u{1b}[2J"]
