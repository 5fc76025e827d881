//! What the environment asks for.
//!
//! Owns: the names and defaults of all `CUDA_SIM_*` variables. May not touch: what they bring about.

use std::path::PathBuf;

/// Which kernels are checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checks {
    /// Those whose names begin with `clino_`.
    Own,
    All,
    Nothing,
}

impl Checks {
    pub fn of(self, kernel: &str) -> bool {
        match self {
            Self::Own => kernel.starts_with("clino_"),
            Self::All => true,
            Self::Nothing => false,
        }
    }
}

/// The order of warps between barriers, and of blocks. A right kernel does not depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    Forward,
    Reverse,
    Shuffled,
}

impl Order {
    /// The numbers below `count`, each once.
    pub fn of(self, count: u64, seed: u64) -> Box<dyn Iterator<Item = u64>> {
        match self {
            Self::Forward => Box::new(0..count),
            Self::Reverse => Box::new((0..count).rev()),
            Self::Shuffled => {
                let mut all: Vec<u64> = (0..count).collect();
                let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
                for n in (1..all.len()).rev() {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    all.swap(n, (random % (n as u64 + 1)) as usize);
                }
                Box::new(all.into_iter())
            }
        }
    }
}

/// What is made to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    Launch,
    Allocation,
    Copy,
    Product,
    Lost,
}

/// The `number`th event of a kind on a device fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    pub what: What,
    pub device: usize,
    pub number: u64,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub devices: usize,
    pub memory: u64,
    pub checks: Checks,
    pub order: Order,
    pub failures: Vec<Failure>,
    pub report: Option<PathBuf>,
    pub host: Option<PathBuf>,
    /// Whether devices say that they have memory pools.
    pub pools: bool,
}

impl Options {
    pub fn from_environment() -> Self {
        Self::from(|name| std::env::var(format!("CUDA_SIM_{name}")).ok())
    }

    pub fn from(get: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str| get(name).and_then(|text| text.parse::<u64>().ok());
        Self {
            devices: number("DEVICES").unwrap_or(1) as usize,
            memory: number("MEMORY").unwrap_or(4 << 30),
            checks: match get("CHECKS").as_deref() {
                Some("all") => Checks::All,
                Some("none" | "0") => Checks::Nothing,
                _ => Checks::Own,
            },
            order: match get("WARP_ORDER").as_deref() {
                Some("reverse") => Order::Reverse,
                Some("shuffled") => Order::Shuffled,
                _ => Order::Forward,
            },
            failures: get("FAIL").map(|text| failures(&text)).unwrap_or_default(),
            report: get("REPORT").map(PathBuf::from),
            host: get("HOST").map(PathBuf::from),
            pools: get("POOLS").as_deref() != Some("0"),
        }
    }
}

/// Reads `what:device:number`, several with commas between. What cannot be read is said, not passed over.
fn failures(text: &str) -> Vec<Failure> {
    let one = |text: &str| {
        let mut words = text.trim().split(':');
        let what = match words.next()? {
            "launch" => What::Launch,
            "alloc" => What::Allocation,
            "copy" => What::Copy,
            "product" => What::Product,
            "lost" => What::Lost,
            _ => return None,
        };
        let (device, number) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Failure { what, device, number })
    };
    let words = text.split(',').filter(|word| !word.trim().is_empty());
    words
        .filter_map(|word| {
            let failure = one(word);
            if failure.is_none() {
                eprintln!("cuda-sim: CUDA_SIM_FAIL: {word:?} is not what:device:number");
            }
            failure
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_read() {
        let options =
            Options::from(|name| (name == "FAIL").then(|| "launch:0:100, lost:1:7,nonsense".to_owned()));
        assert_eq!(
            options.failures,
            [
                Failure { what: What::Launch, device: 0, number: 100 },
                Failure { what: What::Lost, device: 1, number: 7 },
            ]
        );
    }

    #[test]
    fn an_order_has_every_number_once() {
        for order in [Order::Forward, Order::Reverse, Order::Shuffled] {
            let mut all: Vec<_> = order.of(9, 5).collect();
            all.sort_unstable();
            assert_eq!(all, (0..9).collect::<Vec<_>>());
        }
        assert_ne!(Order::Shuffled.of(9, 5).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
    }
}
