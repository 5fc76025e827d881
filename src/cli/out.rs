//! Standard output and standard error of the commands, and how wide a reader's screen is.
//!
//! Owns: what becomes of a command whose output nobody reads any more. May not touch: what is printed.

use clino_domain::text::{harmless_lines, shown_json};
use clino_domain::{Fault, FaultKind};
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Standard output. Where its reader has gone (`clino runs | head -1`) the command ends without a word, as filters do.
#[derive(Debug)]
pub struct Out(io::Stdout);

/// Standard output of this process.
pub fn out() -> Out {
    Out(io::stdout())
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        read(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        read(self.0.flush())
    }
}

fn read<T>(written: io::Result<T>) -> io::Result<T> {
    if written.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
        std::process::exit(0);
    }
    written
}

/// Writes text for people to standard output, at once and without anything hidden.
///
/// # Errors
/// Those of [`put`].
pub fn print(text: &str) -> Result<(), Fault> {
    put(&harmless_lines(text))
}

/// Writes a line of JSON to standard output, at once and without anything hidden.
///
/// # Errors
/// Those of [`put`].
pub fn print_json(json: &str) -> Result<(), Fault> {
    put(&format!("{}\n", shown_json(json)))
}

/// Writes to standard output at once, as it stands.
///
/// # Errors
/// [`FaultKind::Internal`] when it cannot be written, such as on a full disk.
pub fn put(text: &str) -> Result<(), Fault> {
    let mut out = out();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| unwritten(&error))
}

/// What is told where standard output cannot be written.
pub fn unwritten(error: &io::Error) -> Fault {
    Fault::new(FaultKind::Internal, format!("standard output: {error}"))
}

/// A line on standard error. One that nobody reads stops no command.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Columns that tables may take: those that COLUMNS in the environment names, else those of the terminal; `None` in a
/// pipe or a file, where nothing is shortened.
pub fn columns() -> Option<usize> {
    let terminal = || {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    };
    crate::config::columns().or_else(|| io::stdout().is_terminal().then(terminal).flatten())
}

/// Lines of the terminal behind standard output; `None` where there is none.
pub fn lines() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_row)).filter(|lines| *lines > 0)
}
