//! Texts that people chose: bounded where they are stored, escaped where they are shown.
//!
//! Owns: what a name or a sentence may hold, and the one way in which what is hidden in a text is made visible.
//! May not touch: which texts there are.
//!
//! A text is kept as it was sent. [`check_name`] and [`sentence`] are the two ways by which it is stored; [`shown`],
//! [`harmless`], [`shown_json`] and [`quoted`] are those by which it reaches a terminal, a log, a page or a message.

use super::Fault;
use std::fmt::Write;

/// Longest accepted name of a run, project, experiment, tag or probe group, and text of a tag, in bytes.
pub const MAX_NAME: usize = 128;
/// Most characters of a foreign text that a message repeats.
const MOST_QUOTED: usize = 64;

/// Checks a name that people chose: 1 to [`MAX_NAME`] bytes of any script and any signs, without line breaks, control
/// characters and those that turn the direction of writing, with something that can be seen, and without `..` between
/// slashes.
///
/// # Errors
/// [`super::FaultKind::Invalid`] naming `field`.
pub fn check_name(field: &str, name: &str) -> Result<(), Fault> {
    check_text(field, name)?;
    let expected = if name.chars().all(|c| c.is_whitespace() || is_hidden(c)) {
        format!("1 to {MAX_NAME} bytes with at least one visible character")
    } else if name.split(['/', '\\']).any(|part| part.trim() == "..") {
        "a name without \"..\", because it is not a path".into()
    } else {
        return Ok(());
    };
    Err(Fault::invalid(field, format!("found {}, expected {expected}", quoted(name))))
}

/// Checks a name beside which others mean something of their own.
///
/// # Errors
/// Those of [`check_name`], and one of the reserved names.
pub fn check_free_name(field: &str, name: &str, reserved: &[(&str, &str)]) -> Result<(), Fault> {
    check_name(field, name)?;
    match reserved.iter().find(|(taken, _)| *taken == name) {
        None => Ok(()),
        Some((_, meaning)) => {
            let description = format!(
                "found {}, which is reserved and means {meaning}, expected another name",
                quoted(name)
            );
            Err(Fault::invalid(field, description))
        }
    }
}

/// Checks the text of a tag, which may be empty.
///
/// # Errors
/// [`super::FaultKind::Invalid`] naming `field`.
pub fn check_text(field: &str, text: &str) -> Result<(), Fault> {
    let expected = if text.len() > MAX_NAME {
        format!("at most {MAX_NAME} bytes")
    } else if text.chars().any(is_refused) {
        "no line breaks, control characters or marks that change the text direction".into()
    } else {
        return Ok(());
    };
    Err(Fault::invalid(field, format!("found {}, expected {expected}", quoted(text))))
}

/// A sentence of 1 to `most` bytes in one line, as it is to be stored: without the space around it.
///
/// # Errors
/// [`super::FaultKind::Invalid`] naming `field`. What counts is what was sent, so that nothing longer is ever stored.
pub fn sentence(field: &str, text: &str, most: usize) -> Result<String, Fault> {
    let kept = text.trim();
    let found = if text.len() > most {
        format!("{} bytes", text.len())
    } else if kept.is_empty() || kept.chars().any(is_line_break) {
        quoted(text)
    } else {
        return Ok(kept.to_owned());
    };
    Err(Fault::invalid(field, format!("found {found}, expected 1 to {most} bytes of text on one line")))
}

/// A text that nobody could check before, such as a name in a certificate: cut to [`MAX_NAME`] bytes.
pub fn cut(text: &str) -> String {
    match text.len() > MAX_NAME {
        false => text.to_owned(),
        true => format!("{}…", &text[..text.floor_char_boundary(MAX_NAME - '…'.len_utf8())]),
    }
}

/// What ends a line, or is a control character.
fn is_line_break(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// What no name has: control characters, line breaks, and the controls of bidirectional writing that reorder what
/// stands around them. The marks that Arabic and Hebrew need (U+200E, U+200F, U+061C) reorder nothing else.
fn is_refused(c: char) -> bool {
    is_line_break(c) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What no terminal or page should get as it is: control characters, line and paragraph separators, interlinear
/// annotations, and what is not drawn at all (`Default_Ignorable_Code_Point` of Unicode 16, which also has the controls of
/// bidirectional writing, zero widths, tags and variation selectors).
pub fn is_hidden(c: char) -> bool {
    let ignorable = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}');
    ignorable || is_line_break(c) || matches!(c, '\u{fff9}'..='\u{fffb}')
}

/// One text in one line, with what is hidden in it as `\u{…}`. Different texts are shown differently: a backslash that
/// would look like the beginning of such a sign is one itself.
pub fn shown(text: &str) -> String {
    harmless(&text.replace("\\u{", r"\u{5c}u{"))
}

/// A text in one line that may be made of several which have been shown already.
pub fn harmless(text: &str) -> String {
    escaped(text, |_| false)
}

/// [`harmless`] for several lines, whose ends stay.
pub fn harmless_lines(text: &str) -> String {
    escaped(text, |c| c == '\n')
}

/// [`harmless`] but for the characters that `stays` lets through.
pub fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_hidden(c) && !stays(c) {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    out
}

/// Written JSON with what is hidden in its texts as `\uXXXX`, which JSON reads as the same text.
pub fn shown_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        // Between the texts JSON may have line breaks and tabs; within them a writer of JSON has escaped these.
        match is_hidden(c) && !matches!(c, '\n' | '\r' | '\t') {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(out, "\\u{unit:04x}");
            }),
            false => out.push(c),
        }
    }
    out
}

/// `text` in quotes for a message: shortened, and with what is hidden in it escaped.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars().take(MOST_QUOTED) {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if is_hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    if text.chars().nth(MOST_QUOTED).is_some() {
        out.push('…');
    }
    out.push('"');
    out
}

/// Names in a row, the first `most` of many: `a, b and 3 more`.
pub fn listed(names: impl ExactSizeIterator<Item = String>, most: usize) -> String {
    let more = names.len().saturating_sub(most);
    let told: Vec<String> = names.take(most).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", told.join(", "))
}

/// A whole text in quotes, as it is typed where other signs mean something: `\"` is a quote and `\\` a backslash.
pub fn in_quotes(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The text in the quotes with which `typed` begins, and what follows them; `None` without quotes or their end.
pub fn unquoted(typed: &str) -> Option<(String, &str)> {
    let inner = typed.strip_prefix('"')?;
    let mut text = String::new();
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match (std::mem::take(&mut escaped), c) {
            (false, '"') => return Some((text, &inner[at + 1..])),
            (false, '\\') => escaped = true,
            _ => text.push(c),
        }
    }
    None
}

/// How alike two words are, at least, that are taken for the same one misspelled; 1 is equal.
const NEAR: f64 = 0.6;

/// The known word that `found` was probably meant to be; `None` where none is near. A word that was cut short counts:
/// `hessian` for `hessian_top`.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found: String = found.chars().take(MAX_NAME).flat_map(char::to_lowercase).collect();
    let alike = |word: &'a str| {
        let cut = found.len() > 2 && (word.starts_with(&found) || found.starts_with(word));
        let alike = strsim::normalized_damerau_levenshtein(&found, word);
        (if cut { alike.max(NEAR) } else { alike }, word)
    };
    let near = known.into_iter().map(alike).filter(|(alike, _)| *alike >= NEAR);
    near.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, word)| word)
}

/// What follows an unknown word in a message, before long lists that may be cut: ` (did you mean loss?)`, or nothing where
/// no known word is near.
pub fn suggestion<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(found, known).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_word_that_is_nearly_known_is_suggested() {
        let known = ["loss", "sharpness", "sharpness_profile", "hessian_top", "hessian_trace"];
        let near = |found: &str| nearest(found, known);
        assert_eq!(near("sharpnes"), Some("sharpness"));
        assert_eq!(near("Losss"), Some("loss"));
        assert_eq!(near("hessian-trace"), Some("hessian_trace"));
        assert_eq!(near("sharpness_profle"), Some("sharpness_profile"));
        assert!(near("hessian").is_some_and(|near| near.starts_with("hessian_")));
        assert_eq!((near("perplexity"), near(""), near("x")), (None, None, None));
        assert_eq!(suggestion("los", known), " (did you mean loss?)");
        assert_eq!(suggestion(&"é".repeat(1 << 20), known), "");
    }

    /// Of each kind of what is hidden, one or two.
    const HIDDEN: &str = "\0\x07\x1b\x7f\u{85}\u{9b}\u{ad}\u{34f}\u{61c}\u{3164}\u{200b}\u{200d}\u{200e}\u{202e}\u{2028}\u{2029}\
                          \u{2060}\u{2066}\u{2069}\u{fe0f}\u{feff}\u{fff9}\u{e0001}\u{e0041}\u{e007f}\u{e0100}";

    #[test]
    fn row_32_what_is_hidden_is_shown_escaped() {
        assert_eq!(shown("a\x1b[2J\u{202e}b\n日本 'é'"), r"a\u{1b}[2J\u{202e}b\u{a}日本 'é'");
        assert_eq!(harmless_lines("a\x1b\nb"), "a\\u{1b}\nb");
        for c in HIDDEN.chars() {
            let text = format!("x{c}y");
            for shown in
                [shown(&text), harmless(&text), harmless_lines(&text), shown_json(&text), quoted(&text)]
            {
                assert!(!shown.chars().any(is_hidden), "{shown:?}");
            }
        }
        for plain in ["a b", "日本語", "ⴰⵎⴰⵣⵉⵖ", "हिन्दी", "عربي", "🎉", "C:\\new", "e\u{301}"]
        {
            assert_eq!((shown(plain), shown_json(plain)), (plain.to_owned(), plain.to_owned()));
        }
        // What has been shown passes the next function as it is.
        let once = format!("{} {}", shown(HIDDEN), quoted(HIDDEN));
        assert_eq!((harmless(&once), harmless_lines(&once)), (once.clone(), once));
    }

    #[test]
    fn different_texts_are_shown_differently() {
        let texts = ["a\u{200b}", r"a\u{200b}", r"a\u{5c}u{200b}", "a\\", "a\\u", "a\u{5c}\u{200b}"];
        for (i, one) in texts.iter().enumerate() {
            for other in &texts[i + 1..] {
                assert_ne!(shown(one), shown(other));
                assert_ne!(quoted(one), quoted(other));
            }
        }
    }

    #[test]
    fn json_stays_the_same_to_whoever_reads_it() {
        let text: String = HIDDEN.chars().chain(r#" "\ 日本 "#.chars()).collect();
        let value = serde_json::json!({ &text: [&text] });
        for written in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()]
        {
            let shown = shown_json(&written);
            assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n'), "{shown:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }

    #[test]
    fn names_are_data() {
        let good = [
            "en",
            "run 1",
            "zh-Hans",
            "日本語",
            "xlm-r/en",
            "lr=1e-3",
            "a+b",
            "run #7 (final)",
            "CON",
            "-x",
            "_other",
            "a,b;c",
            "\"q\"",
            "v1..2",
            "…",
            "می\u{200c}خواهم",
            "👩\u{200d}💻",
            "*",
            " padded ",
        ];
        for good in good {
            assert_eq!(check_name("name", good), Ok(()), "{good}");
        }
        assert!(check_name("name", &"é".repeat(64)).is_ok());
    }

    #[test]
    fn row_32_names_that_are_refused() {
        let long = "x".repeat(10_000);
        for bad in [
            "",
            " ",
            "\u{200b}",
            "..",
            "../../etc/x",
            "a/../b",
            "a\\..",
            ".. ",
            "a\0b",
            long.as_str(),
            "a\u{202e}b",
            "a\u{2066}b",
            "a\x1b[31m",
            "a\nb",
            "a\r",
            "a\tb",
            "a\u{85}b",
            "a\u{2028}b",
            "a\u{2029}b",
            "\u{7f}",
        ] {
            let fault = check_name("name", bad).expect_err(bad);
            assert_eq!(fault.violations[0].field, "name");
            assert!(fault.message.len() < 300 && !fault.message.chars().any(is_hidden), "{fault:?}");
        }
        let reserved = [("pooled", "all groups together")];
        let fault = check_free_name("name", "pooled", &reserved).unwrap_err();
        assert!(fault.message.contains("all groups together"), "{fault}");
        assert!(check_free_name("name", "pooled 2", &reserved).is_ok());
    }

    #[test]
    fn row_56_a_sentence_is_stored_as_it_was_checked() {
        assert_eq!(sentence("reason", " why\n", 9).unwrap(), "why");
        assert_eq!(sentence("reason", "\u{202e}evil", 9).unwrap(), "\u{202e}evil");
        let spaces = format!("x{}", " ".repeat(4_000_000));
        for bad in ["", " \n", "a\nb", "a\u{2028}b", "a\0b", spaces.as_str(), "0123456789"] {
            let fault = sentence("reason", bad, 9).unwrap_err();
            assert!(fault.message.len() < 300, "{}", fault.message);
        }
    }

    #[test]
    fn what_is_typed_in_quotes_comes_back() {
        for text in ["a", "", "a\"b", "\\", "\\\"", "a=b,c"] {
            let typed = format!("{}=rest\"", in_quotes(text));
            assert_eq!(unquoted(&typed), Some((text.to_owned(), "=rest\"")), "{typed}");
        }
        assert_eq!((unquoted("a"), unquoted("\"a"), unquoted("\"a\\\"")), (None, None, None));
    }

    #[test]
    fn what_nobody_could_check_is_cut() {
        assert_eq!(cut("short"), "short");
        let long = cut(&"é".repeat(10_000));
        assert!(long.len() <= MAX_NAME && long.ends_with("é…"), "{long}");
    }
}
