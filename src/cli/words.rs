//! Texts that must fit into some columns of a terminal: shortened, wrapped between words, and counted.
//!
//! Owns: how wide a text is, and where it may be cut. May not touch: what a text says.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// What stands where there is nothing.
pub const NOTHING: &str = "–";
/// What stands for what was left out.
const ELLIPSIS: &str = "…";

/// Columns that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// A text of at most `most` columns: the middle of a longer one is left out, for names often differ at their ends.
pub fn shortened(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub(1);
    let head = fitting(text.graphemes(true), room.div_ceil(2));
    let mut tail = fitting(text.graphemes(true).rev(), room - width(&head.concat()));
    tail.reverse();
    format!("{}{ELLIPSIS}{}", head.concat(), tail.concat())
}

fn fitting<'a>(graphemes: impl Iterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let mut taken = 0;
    let fits = |grapheme: &&str| {
        taken += width(grapheme);
        taken <= most
    };
    graphemes.take_while(fits).collect()
}

/// The beginning of an id that tells it from the others, with an ellipsis; the id itself where that is no shorter.
pub fn beginning(id: &str, length: usize) -> String {
    match id.char_indices().nth(length) {
        Some((end, _)) if width(id) > length + 1 => format!("{}{ELLIPSIS}", &id[..end]),
        _ => id.to_owned(),
    }
}

/// What somebody typed, who may have copied the beginning of an id with its ellipsis.
pub fn without_ellipsis(text: &str) -> &str {
    text.strip_suffix(ELLIPSIS).or_else(|| text.strip_suffix("...")).unwrap_or(text)
}

/// Lines of at most `most` columns, cut between words; a longer word has a line of its own.
pub fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A text of several lines, each wrapped to `most` columns where there is a limit.
pub fn within(text: &str, most: Option<usize>) -> String {
    let Some(most) = most else { return text.to_owned() };
    let line = |line: &str| wrapped(line, most).join("\n");
    let end = if text.ends_with('\n') { "\n" } else { "" };
    text.lines().map(line).collect::<Vec<_>>().join("\n") + end
}

/// `1 daemon`, `2 daemons`.
pub fn count(number: impl Into<u64>, one: &str) -> String {
    match number.into() {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_long_name_is_left_out() {
        assert_eq!(shortened("bert", 8), "bert");
        assert_eq!(shortened("bert-large-lr-1e-4", 9), "bert…1e-4");
        assert_eq!(shortened("bert-large-lr-1e-4", 8), "bert…e-4");
        // Wide characters take two columns, and what belongs to a character stays with it.
        assert_eq!(shortened("日本語日本語", 7), "日…本語");
        assert_eq!(width(&shortened("日本語日本語", 8)), 7);
        assert_eq!(shortened("e\u{301}e\u{301}e\u{301}e\u{301}", 3), "e\u{301}…e\u{301}");
        assert_eq!(shortened("👩‍👩‍👧‍👦abcdef", 5), "👩‍👩‍👧‍👦…ef");
    }

    #[test]
    fn lines_are_cut_between_words() {
        assert_eq!(wrapped("a bb ccc dddd", 4), ["a bb", "ccc", "dddd"]);
        assert_eq!(wrapped("0.123456 ± 1.0e-5", 8), ["0.123456", "± 1.0e-5"]);
        assert_eq!(wrapped("longer than", 3), ["longer", "than"]);
        assert_eq!(within("one two\nthree\n", Some(3)), "one\ntwo\nthree\n");
        assert_eq!(within("one two\n", None), "one two\n");
    }

    #[test]
    fn ids_keep_their_beginning() {
        assert_eq!(beginning("01a213d0-4951-773d", 8), "01a213d0…");
        assert_eq!(beginning("01a213d0", 8), "01a213d0");
        assert_eq!(beginning("01a213d04", 8), "01a213d04");
        assert_eq!(without_ellipsis("01a213d0…"), "01a213d0");
    }

    #[test]
    fn one_is_no_plural() {
        let all = [0u64, 1, 2].map(|number| count(number, "daemon"));
        assert_eq!(all, ["0 daemons", "1 daemon", "2 daemons"]);
    }
}
