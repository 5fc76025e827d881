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

/// Bytes that runs hold together: those with the same key hold them once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedPart {
    /// Names them.
    pub key: String,
    /// How many they are, and what for.
    pub part: MemoryPart,
}

/// A measure that a run leaves out because it takes more than there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Which of the run's measures, in their order.
    pub measure: usize,
    /// What it takes, and what there is.
    pub reason: String,
}

/// Bytes that a run takes on the CPU, by part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFootprint {
    /// From its opening until it is closed and measured, for itself.
    pub kept: Vec<MemoryPart>,
    /// As long, and together with other runs.
    pub shared: Vec<SharedPart>,
    /// Besides, while one of its snapshots is measured.
    pub working: Vec<MemoryPart>,
    /// Measures that it leaves out: they are in no sum.
    pub left_out: Vec<LeftOut>,
}

impl RunFootprint {
    /// Bytes from its opening until it is closed and measured, with those that it shares.
    pub fn kept_bytes(&self) -> u64 {
        let shared = self.shared.iter().fold(0, |sum: u64, shared| sum.saturating_add(shared.part.bytes));
        sum(&self.kept).saturating_add(shared)
    }

    /// Bytes besides, while one of its snapshots is measured.
    pub fn working_bytes(&self) -> u64 {
        sum(&self.working)
    }

    /// Bytes of both.
    pub fn bytes(&self) -> u64 {
        self.kept_bytes().saturating_add(self.working_bytes())
    }

    /// All parts, those of the same name as one, from the greatest.
    pub fn parts(&self) -> Vec<MemoryPart> {
        let shared = self.shared.iter().map(|shared| &shared.part);
        let mut parts: Vec<MemoryPart> = Vec::new();
        for part in self.kept.iter().chain(shared).chain(&self.working).filter(|part| part.bytes > 0) {
            match parts.iter_mut().find(|known| known.name == part.name) {
                Some(known) => known.bytes = known.bytes.saturating_add(part.bytes),
                None => parts.push(*part),
            }
        }
        parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
        parts
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
        let parts = self.parts();
        let parts: Vec<_> =
            parts.iter().map(|part| format!("{} for {}", mib(part.bytes), part.name)).collect();
        write!(f, "{} ({})", mib(self.bytes()), parts.join(", "))
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
            ..RunFootprint::default()
        };
        assert_eq!(footprint.to_string(), "310 MiB (200 MiB for the gradient, 110 MiB for probes)");
        assert_eq!((footprint.kept_bytes() >> 20, footprint.working_bytes() >> 20), (110, 200));
        assert_eq!(sum(&[part("a", u64::MAX >> 20), MemoryPart { name: "b", bytes: u64::MAX }]), u64::MAX);
    }
}
