//! Where the engine computes, as people write it.
//!
//! Owns: the form of the choice. May not touch: devices.

use super::Fault;
use std::fmt::{Display, Formatter};
use std::path::PathBuf;
use std::str::FromStr;

/// Most GPUs of one engine.
const MOST: usize = 64;

/// Where an engine computes, and with what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnginePlace {
    /// Threads on the CPU, at least one.
    pub threads: usize,
    /// Devices on which the engine computes.
    pub devices: Devices,
    /// Folders in which NVIDIA's libraries are looked for before the system's.
    pub libraries: Vec<PathBuf>,
}

/// Where the engine computes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Devices {
    /// On the CPU only, even if there are GPUs.
    #[default]
    Cpu,
    /// On the first GPU if it can be used, else on the CPU.
    Auto,
    /// On these GPUs, by their numbers; draws are spread over them.
    Cuda(Vec<usize>),
}

impl FromStr for Devices {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = || {
            let expected = "auto, cpu, or one or more cuda:N separated by commas";
            Fault::invalid("device", format!("found {}, expected {expected}", super::text::quoted(text)))
        };
        match text.trim() {
            "cpu" => return Ok(Self::Cpu),
            "auto" => return Ok(Self::Auto),
            "cuda" => return Ok(Self::Cuda(vec![0])),
            _ => {}
        }
        let number = |word: &str| word.trim().strip_prefix("cuda:")?.parse::<usize>().ok();
        let numbers: Vec<usize> = text.split(',').map(number).collect::<Option<_>>().ok_or_else(wrong)?;
        let twice = numbers.iter().enumerate().any(|(i, number)| numbers[..i].contains(number));
        if twice || numbers.len() > MOST || numbers.iter().any(|number| *number >= MOST) {
            return Err(wrong());
        }
        Ok(Self::Cuda(numbers))
    }
}

impl Display for Devices {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Auto => f.write_str("auto"),
            Self::Cuda(numbers) => {
                let words: Vec<String> = numbers.iter().map(|number| format!("cuda:{number}")).collect();
                f.write_str(&words.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        for (text, expected) in [
            ("cpu", Devices::Cpu),
            ("auto", Devices::Auto),
            ("cuda:0", Devices::Cuda(vec![0])),
            ("cuda:1,cuda:0", Devices::Cuda(vec![1, 0])),
        ] {
            assert_eq!(text.parse::<Devices>().unwrap(), expected);
            assert_eq!(expected.to_string(), text);
        }
        assert_eq!("cuda".parse::<Devices>().unwrap(), Devices::Cuda(vec![0]));
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:0,cuda:0", "cuda:0,cpu", "cuda:-1", "cuda:99"] {
            let fault = text.parse::<Devices>().unwrap_err();
            assert_eq!(fault.violations[0].field, "device", "{text}");
        }
    }
}
