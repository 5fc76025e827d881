//! How much memory the process may take.
//!
//! Owns: what the machine and its control groups allow, and the share that is taken of it. May not touch: who takes it.

use super::{Quantity, bytes};
use clino_domain::Fault;
use clino_domain::budget::size;
use std::fs;
use std::path::Path;

/// Where nothing is said, this share of what is there.
const USUAL_PERCENT: f64 = 50.0;
/// And no less, if there is as much.
const LEAST: u64 = 256 << 20;

/// A limit, and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Most bytes that are claimed at once for all that clients send and for measuring.
    pub bytes: u64,
    /// Such as `50% of the 8192 MiB of control group /a`.
    pub origin: String,
}

/// Memory that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Available {
    bytes: u64,
    source: String,
}

impl MemoryLimit {
    /// What is meant by a setting: bytes, a size, a percentage of what is there, or the usual share of it.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming `memory`.
    pub(super) fn read(raw: Option<Quantity>) -> Result<Self, Fault> {
        Self::within(raw, || available(Path::new("/proc"), Path::new("/sys/fs/cgroup")))
    }

    fn within(raw: Option<Quantity>, there: impl Fn() -> Option<Available>) -> Result<Self, Fault> {
        let percent = match &raw {
            None => None,
            Some(Quantity::Text(text)) => text.trim().strip_suffix('%').map(str::to_owned),
            Some(Quantity::Number(_)) => None,
        };
        match (raw, percent) {
            (None, _) => Ok(usual(there())),
            (Some(_), Some(percent)) => share(&percent, there()),
            (raw, None) => {
                let bytes = bytes("memory", raw, LEAST)?;
                Ok(Self { bytes, origin: "as set".into() })
            }
        }
    }
}

fn usual(there: Option<Available>) -> MemoryLimit {
    match there {
        None => MemoryLimit { bytes: LEAST, origin: "the system does not tell how much there is".into() },
        Some(there) => {
            let limit = of(&there, USUAL_PERCENT);
            match limit.bytes < LEAST {
                true => MemoryLimit {
                    bytes: there.bytes.min(LEAST),
                    origin: format!("the least that is usual, of {}", there.source),
                },
                false => limit,
            }
        }
    }
}

fn share(percent: &str, there: Option<Available>) -> Result<MemoryLimit, Fault> {
    let number = percent.trim().parse().ok().filter(|percent| (f64::MIN_POSITIVE..=100.0).contains(percent));
    let Some(number) = number else {
        let description = format!("found \"{percent}%\", expected a size such as 512MiB, or 1% to 100%");
        return Err(Fault::invalid("memory", description));
    };
    let unknown = "found a percentage, but the system does not tell how much memory there is: name a size";
    there.map(|there| of(&there, number)).ok_or_else(|| Fault::invalid("memory", unknown))
}

fn of(there: &Available, percent: f64) -> MemoryLimit {
    let bytes = (there.bytes as f64 * percent / 100.0) as u64;
    MemoryLimit { bytes, origin: format!("{percent}% of {}", there.source) }
}

/// What the machine has, or what the control groups of this process allow if that is less.
fn available(proc: &Path, groups: &Path) -> Option<Available> {
    let machine = fs::read_to_string(proc.join("meminfo")).ok().and_then(|text| machine(&text));
    let limits = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    let limits = limits.lines().filter_map(|line| limit(line, groups));
    machine.into_iter().chain(limits).min_by_key(|there| there.bytes)
}

fn machine(text: &str) -> Option<Available> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let bytes = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10;
    Some(Available { bytes, source: format!("the machine's {}", size(bytes)) })
}

/// The least limit of a control group and of those that it is in. `line` is one of /proc/self/cgroup: `0::PATH` in version
/// 2, `NUMBER:CONTROLLERS:PATH` in version 1. Within a container the path may be one of the host, which is not there: the
/// container's own group is then the topmost.
fn limit(line: &str, groups: &Path) -> Option<Available> {
    let mut parts = line.splitn(3, ':').skip(1);
    let controllers = parts.next()?;
    let path = parts.next()?.trim_start_matches('/');
    let (folder, file) = match controllers {
        "" => (groups.to_owned(), "memory.max"),
        names if names.split(',').any(|name| name == "memory") => {
            (groups.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let within = Path::new(path).ancestors().map(|path| (path, folder.join(path).join(file)));
    let limits = within.filter_map(|(path, file)| {
        // "max" where there is none.
        let bytes = fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()?;
        let source = format!("the {} of control group /{}", size(bytes), path.display());
        Some(Available { bytes, source })
    });
    limits.min_by_key(|there| there.bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::PathBuf;

    const GIB: u64 = 1 << 30;

    struct System(tempfile::TempDir);

    impl System {
        fn new(cgroup: &str) -> Self {
            let system = Self(tempfile::tempdir().unwrap());
            system.write("proc/meminfo", "MemTotal:       16777216 kB\nMemFree:  1 kB\n");
            system.write("proc/self/cgroup", cgroup);
            system
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn folder(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn available(&self) -> Available {
            available(&self.folder("proc"), &self.folder("groups")).unwrap()
        }
    }

    #[test]
    fn the_least_limit_of_all_groups_counts() {
        let system = System::new("0::/a.slice/b.service\n");
        assert_eq!(system.available().source, "the machine's 16384 MiB");
        system.write("groups/a.slice/b.service/memory.max", "max\n");
        assert_eq!(system.available().bytes, 16 * GIB);
        system.write("groups/a.slice/memory.max", "1073741824\n");
        let expected = Available { bytes: GIB, source: "the 1024 MiB of control group /a.slice".into() };
        assert_eq!(system.available(), expected);
        system.write("groups/a.slice/b.service/memory.max", "536870912\n");
        assert_eq!(system.available().bytes, GIB / 2);
    }

    #[test]
    fn version_1_and_paths_of_the_host_are_understood() {
        let system = System::new("9:cpu,memory:/docker/0123\n4:pids:/x\n0::/\n");
        system.write("groups/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(system.available().bytes, 16 * GIB, "no limit is a large one there");
        system.write("groups/memory/memory.limit_in_bytes", "2147483648\n");
        assert_eq!(system.available().bytes, 2 * GIB, "the container's own group is the topmost");
        system.write("groups/memory.max", "1073741824\n");
        assert_eq!(system.available().bytes, GIB);
        system.write("groups/pids/x/memory.limit_in_bytes", "1\n");
        assert_eq!(system.available().bytes, GIB, "of another controller");
    }

    #[test]
    fn a_setting_is_a_size_a_share_or_left_to_the_usual() {
        let there = |bytes| move || Some(Available { bytes, source: "the machine".into() });
        let text = |text: &str| Some(Quantity::Text(text.into()));
        let read = |raw, bytes| MemoryLimit::within(raw, there(bytes)).unwrap();
        assert_eq!(read(None, 8 * GIB).bytes, 4 * GIB);
        assert_eq!(read(None, 8 * GIB).origin, "50% of the machine");
        assert_eq!(read(None, 300 << 20).bytes, 256 << 20);
        assert_eq!(read(None, 100 << 20).bytes, 100 << 20);
        assert_eq!(read(text("25%"), 8 * GIB).bytes, 2 * GIB);
        assert_eq!(read(text(" 100 % "), 8 * GIB).bytes, 8 * GIB);
        assert_eq!(read(text("512MiB"), 0).bytes, 512 << 20);
        assert_eq!(read(Some(Quantity::Number(7.0)), 0), MemoryLimit { bytes: 7, origin: "as set".into() });
        for wrong in ["0%", "101%", "-1%", "x%", "much", "NaN%"] {
            let fault = MemoryLimit::within(text(wrong), there(GIB)).unwrap_err();
            assert_eq!(fault.violations[0].field, "memory", "{wrong}");
        }
        assert_eq!(MemoryLimit::within(None, || None).unwrap().bytes, LEAST);
        assert!(MemoryLimit::within(text("5%"), || None).is_err());
    }
}
