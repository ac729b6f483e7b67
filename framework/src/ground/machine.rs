//! What a number was computed on, as far as that decides how it is rounded.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::Device;

use super::{counted, device};

/// A device with what decides how sums on it are rounded. On another one the same work gives other
/// bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Model of the processor or of the GPU; empty where nothing names it.
    pub hardware: String,
    /// Threads of libtorch.
    pub threads: i64,
    /// Version of libtorch; empty where nothing names it.
    pub libtorch: String,
}

impl Machine {
    /// This process, working on a device.
    pub fn here(device: Device) -> Machine {
        Machine {
            device: device::name(device),
            hardware: device::hardware(device),
            threads: i64::from(tch::get_num_threads()),
            libtorch: device::libtorch(),
        }
    }
}

impl fmt::Display for Machine {
    /// `cpu (A processor), 2 threads, libtorch 2.13.0`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.device)?;
        if !self.hardware.is_empty() {
            write!(f, " ({})", self.hardware)?;
        }
        match usize::try_from(self.threads) {
            Ok(threads @ 1..) => write!(f, ", {}", counted(threads, "thread"))?,
            _ => f.write_str(", several numbers of threads")?,
        }
        match self.libtorch.as_str() {
            "" => Ok(()),
            version => write!(f, ", libtorch {version}"),
        }
    }
}

/// Several machines as one: each field names every one of them once, joined by ` + `. Where the
/// numbers of threads differ, `threads` is 0.
pub fn together(machines: &[Machine]) -> Machine {
    let joined = |field: fn(&Machine) -> &str| {
        let mut values: Vec<&str> = Vec::new();
        for value in machines.iter().map(field) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values.join(" + ")
    };
    let mut threads: Vec<i64> = machines.iter().map(|machine| machine.threads).collect();
    threads.dedup();
    Machine {
        device: joined(|machine| &machine.device),
        hardware: joined(|machine| &machine.hardware),
        threads: if let [threads] = threads[..] { threads } else { 0 },
        libtorch: joined(|machine| &machine.libtorch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_together_name_each_one_once() {
        let machine = |hardware: &str, threads| Machine {
            device: "cpu".into(),
            hardware: hardware.into(),
            threads,
            libtorch: "2.13.0".into(),
        };
        let (a, b) = (machine("A", 2), machine("B", 2));
        assert_eq!(together(&[a.clone(), b.clone(), a.clone()]).to_string(), "cpu (A + B), 2 threads, libtorch 2.13.0");
        assert_eq!(together(std::slice::from_ref(&a)), a);
        let both = together(&[a.clone(), machine("A", 1)]);
        assert_eq!(
            (both.threads, both.to_string()),
            (0, "cpu (A), several numbers of threads, libtorch 2.13.0".into())
        );
        assert_eq!(machine("", 1).to_string(), "cpu, 1 thread, libtorch 2.13.0");
    }
}
