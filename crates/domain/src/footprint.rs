//! What a run takes of memory, worked out before any of it is taken.
//!
//! Owns: the sum and its sentence. May not touch: how the parts are worked out, limits.

use std::fmt::{Display, Formatter};

/// Bytes for one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPart {
    /// What they are for, as a sentence names it: "the gradient".
    pub name: &'static str,
    /// How many there are.
    pub bytes: u64,
}

/// Bytes that a run takes on the CPU, by part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFootprint {
    /// From its opening until it is closed and measured.
    pub kept: Vec<MemoryPart>,
    /// Besides, while one of its snapshots is measured.
    pub working: Vec<MemoryPart>,
}

impl RunFootprint {
    /// Bytes from its opening until it is closed and measured.
    pub fn kept_bytes(&self) -> u64 {
        sum(&self.kept)
    }

    /// Bytes besides, while one of its snapshots is measured.
    pub fn working_bytes(&self) -> u64 {
        sum(&self.working)
    }
}

/// Saturates: what is too much stays too much.
fn sum(parts: &[MemoryPart]) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(part.bytes))
}

impl Display for RunFootprint {
    /// The sum, and its parts from the greatest: `310 MiB (200 MiB for the gradient, 110 MiB for probes)`.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
        let mut parts: Vec<_> = self.kept.iter().chain(&self.working).filter(|part| part.bytes > 0).collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
        let parts: Vec<_> =
            parts.iter().map(|part| format!("{} for {}", mib(part.bytes), part.name)).collect();
        let total = self.kept_bytes().saturating_add(self.working_bytes());
        write!(f, "{} ({})", mib(total), parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_told_by_part() {
        let part = |name, mib: u64| MemoryPart { name, bytes: mib << 20 };
        let footprint = RunFootprint {
            kept: vec![part("probes", 110), part("nothing", 0)],
            working: vec![part("the gradient", 200)],
        };
        assert_eq!(footprint.to_string(), "310 MiB (200 MiB for the gradient, 110 MiB for probes)");
        assert_eq!((footprint.kept_bytes() >> 20, footprint.working_bytes() >> 20), (110, 200));
        assert_eq!(sum(&[part("a", u64::MAX >> 20), MemoryPart { name: "b", bytes: u64::MAX }]), u64::MAX);
    }
}
