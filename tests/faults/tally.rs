//! The counts that the suite ends with.

use std::collections::BTreeMap;
use std::sync::Mutex;

static COUNTS: Mutex<BTreeMap<(&str, String), u64>> = Mutex::new(BTreeMap::new());

pub const KILLS: &str = "kills survived";
pub const FAULTS: &str = "faults injected";
pub const INPUTS: &str = "bad inputs tried";
const RESULTS: &str = "results compared";
const LOST: &str = "lost results";

pub fn count(section: &'static str, kind: impl Into<String>, number: u64) {
    *COUNTS.lock().unwrap().entry((section, kind.into())).or_default() += number;
}

/// A result was compared with that of a run that nothing happened to.
pub fn compared(same: bool) {
    count(RESULTS, if same { "identical to the bit" } else { "different" }, 1);
    count(LOST, "", u64::from(!same));
}

pub fn report() -> String {
    let counts = COUNTS.lock().unwrap();
    let mut lines = Vec::new();
    for section in [KILLS, FAULTS, INPUTS, RESULTS, LOST] {
        let of_section: Vec<_> = counts.iter().filter(|((name, _), _)| *name == section).collect();
        let sum: u64 = of_section.iter().map(|(_, number)| **number).sum();
        lines.push(format!("{section}: {sum}"));
        let kinds = of_section.into_iter().filter(|((_, kind), _)| !kind.is_empty());
        lines.extend(kinds.map(|((_, kind), number)| format!("  {number:>6}  {kind}")));
    }
    lines.join("\n")
}
