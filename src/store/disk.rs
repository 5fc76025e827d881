//! How much space is left on disks.
//!
//! Owns: the watermark. May not touch: what lies there.

use clino_domain::{Fault, FaultKind};
use std::path::PathBuf;

/// Directories, and the bytes that must be free in them before more is accepted.
#[derive(Debug, Clone, Default)]
pub struct Watermark {
    folders: Vec<PathBuf>,
    reserve: u64,
}

impl Watermark {
    /// Of some directories; 0 bytes: of none.
    pub fn new(folders: Vec<PathBuf>, reserve: u64) -> Self {
        Self { folders, reserve }
    }

    /// Whether there is room.
    ///
    /// # Errors
    /// [`FaultKind::Exhausted`] naming the directory.
    pub fn check(&self) -> Result<(), Fault> {
        for folder in self.folders.iter().filter(|_| self.reserve > 0) {
            // What cannot be asked will fail by itself when it is written to.
            let Ok(found) = rustix::fs::statvfs(folder) else { continue };
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            if free < self.reserve {
                let folder = folder.display();
                let reserve = self.reserve;
                let message = format!(
                    "{} MiB are free in {folder}, expected at least {} MiB (--reserve): nothing new is accepted until \
                    there is more; free space there, keep less (--retain), or start the daemon with another --data",
                    free >> 20,
                    reserve >> 20
                );
                return Err(Fault::new(FaultKind::Exhausted, message));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn row_38_below_the_watermark_nothing_is_taken_on() {
        let here = || vec![std::env::temp_dir()];
        let fault = Watermark::new(here(), u64::MAX).check().unwrap_err();
        assert_eq!(fault.kind, FaultKind::Exhausted);
        assert!(fault.message.contains(std::env::temp_dir().to_str().unwrap()), "{fault}");
        assert!(Watermark::new(here(), 0).check().is_ok());
        assert!(Watermark::new(here(), 1).check().is_ok());
    }
}
