//! What a long command is at, as one line on a terminal that is written over again and again.
//!
//! Owns: that line and the thread that draws it. May not touch: what is computed.

use super::words::shortened;
use std::io::{IsTerminal, Write, stderr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Pause between two pictures.
const FRAME: Duration = Duration::from_millis(200);
/// Columns, where the terminal does not tell.
const COLUMNS: usize = 80;
/// To the beginning of the line, and what stands there away.
const CLEAR: &str = "\r\x1b[K";

/// What is done now.
#[derive(Debug, Clone)]
pub struct Now {
    /// In a few words.
    pub what: String,
    /// Which of them, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// Seconds from its beginning to the end of the last one, where they are known.
    pub left: Option<f64>,
    /// Start of the work.
    pub since: Instant,
}

impl Now {
    fn line(&self, elapsed: f64, columns: usize) -> String {
        let left = self.left.map(|left| match left - elapsed {
            left if left >= 0.5 => format!(", about {} left", span(left)),
            _ => ", nearly done".to_owned(),
        });
        let line = format!(
            "{} of {}: {}, {}{}",
            self.number,
            self.of,
            self.what,
            span(elapsed),
            left.unwrap_or_default()
        );
        shortened(&line, columns.saturating_sub(1))
    }
}

/// Seconds as people say them.
fn span(seconds: f64) -> String {
    match seconds.round() as u64 {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", (seconds + 30) / 60),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

#[derive(Debug, Default)]
struct ProgressState {
    now: Option<Now>,
    over: bool,
}

#[derive(Debug, Default)]
struct SharedProgress {
    state: Mutex<ProgressState>,
    woken: Condvar,
}

impl SharedProgress {
    fn state(&self) -> MutexGuard<'_, ProgressState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line; gone when this drops.
#[derive(Debug)]
pub struct ProgressLine {
    shared: Arc<SharedProgress>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressLine {
    /// On standard error, if that is a terminal; else nothing is ever drawn.
    pub fn begin() -> Self {
        let shared = Arc::new(SharedProgress::default());
        let seen = shared.clone();
        let drawing = move || draw_until_over(&seen);
        let thread = stderr().is_terminal().then(|| std::thread::spawn(drawing));
        Self { shared, thread }
    }

    /// Something else is done from now on.
    pub fn tell(&self, now: Now) {
        self.shared.state().now = Some(now);
        self.shared.woken.notify_one();
    }

    /// Does something that writes to the terminal, with the line away.
    pub fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        let _held = self.shared.state();
        if self.thread.is_some() {
            put(CLEAR);
        }
        work()
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.shared.state().over = true;
        self.shared.woken.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
            put(CLEAR);
        }
    }
}

fn draw_until_over(shared: &SharedProgress) {
    let mut state = shared.state();
    while !state.over {
        if let Some(now) = &state.now {
            let size = rustix::termios::tcgetwinsize(stderr()).map_or(0, |size| size.ws_col);
            let columns = if size == 0 { COLUMNS } else { usize::from(size) };
            put(&format!("{CLEAR}{}", now.line(now.since.elapsed().as_secs_f64(), columns)));
        }
        let waited = shared.woken.wait_timeout(state, FRAME);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// A terminal that is gone needs no line.
fn put(text: &str) {
    let mut err = stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_what_how_far_and_how_long() {
        let now =
            |left| Now { what: "sharpness on de".into(), number: 7, of: 22, left, since: Instant::now() };
        assert_eq!(now(None).line(3.2, 80), "7 of 22: sharpness on de, 3 s");
        assert_eq!(now(Some(90.0)).line(30.0, 80), "7 of 22: sharpness on de, 30 s, about 60 s left");
        assert_eq!(now(Some(2.0)).line(9.0, 80), "7 of 22: sharpness on de, 9 s, nearly done");
        assert!(super::super::words::width(&now(Some(9e4)).line(1.0, 30)) < 30);
    }

    #[test]
    fn spans_have_units() {
        assert_eq!([0.2, 119.4, 150.0, 7200.0].map(span), ["0 s", "119 s", "3 min", "2.0 h"]);
    }
}
