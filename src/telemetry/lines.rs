//! Log lines on their way out: one event is one line, and nothing in it is hidden.
//!
//! Owns: the escaping of whole lines, regardless of who wrote them. May not touch: what is logged.

use crate::config::LogFormat;
use clino_domain::text::{escaped, shown_json};
use std::io::{Result, Write};
use tracing_subscriber::fmt::MakeWriter;

/// Begins the colours of a terminal. Those in what is logged have been escaped before by who formats.
const COLOUR: char = '\x1b';

/// A writer of lines that escapes what is hidden in them.
#[derive(Clone)]
pub(super) struct Lines<W> {
    inner: W,
    format: LogFormat,
    colours: bool,
}

impl<W> Lines<W> {
    /// Before `inner`; with colours where it is a terminal.
    pub fn new(inner: W, format: LogFormat, colours: bool) -> Self {
        Self { inner, format, colours }
    }

    fn line(&self, event: &str) -> String {
        match self.format {
            LogFormat::Json => shown_json(event),
            LogFormat::Text => escaped(event, |c| self.colours && c == COLOUR),
        }
    }
}

impl<W: Write> Write for Lines<W> {
    /// An event comes in one piece, with its line break.
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let event = String::from_utf8_lossy(bytes);
        let (event, end) = event.strip_suffix('\n').map_or((&*event, ""), |event| (event, "\n"));
        self.inner.write_all(format!("{}{end}", self.line(event)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.inner.flush()
    }
}

impl<W: Write + Clone> MakeWriter<'_> for Lines<W> {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn written(event: &str, format: LogFormat, colours: bool) -> String {
        let mut out = Vec::new();
        Lines::new(&mut out, format, colours).write_all(event.as_bytes()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn row_56_an_event_is_one_line_without_anything_hidden() {
        let event = "run=a\u{202e}b\nforged\u{e0041}\u{200b}\n";
        assert_eq!(
            written(event, LogFormat::Text, false),
            "run=a\\u{202e}b\\u{a}forged\\u{e0041}\\u{200b}\n"
        );
        let colours = "\x1b[32mINFO\x1b[0m a\u{9b}\n";
        assert_eq!(written(colours, LogFormat::Text, true), "\x1b[32mINFO\x1b[0m a\\u{9b}\n");
        assert!(!written(colours, LogFormat::Text, false).contains('\x1b'));
        let json = "{\"name\":\"a\u{202e}\u{7f}\u{e0041}\"}\n";
        assert_eq!(written(json, LogFormat::Json, false), "{\"name\":\"a\\u202e\\u007f\\udb40\\udc41\"}\n");
    }
}
