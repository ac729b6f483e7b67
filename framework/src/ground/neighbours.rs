//! Other programs on this machine: how many of its cores they keep busy.

use std::time::{Duration, Instant};

use super::device::processor_seconds;

/// How long the cores are watched. The kernel counts hundredths of a second.
pub const WINDOW: Duration = Duration::from_millis(250);

/// Cores that other processes keep busy, of those that this process may use; `None` where the kernel
/// does not tell. Takes [`WINDOW`].
pub fn busy_cores() -> Option<f64> {
    let cores = own_cores(&status()?)?;
    let ((before, own), begin) = ((busy_ticks(&stat()?, &cores), processor_seconds()), Instant::now());
    std::thread::sleep(WINDOW);
    let all = busy_ticks(&stat()?, &cores).saturating_sub(before) as f64 / ticks_per_second();
    let seconds = begin.elapsed().as_secs_f64();
    Some(((all - (processor_seconds() - own)) / seconds).clamp(0.0, cores.len() as f64))
}

fn stat() -> Option<String> {
    std::fs::read_to_string("/proc/stat").ok()
}

fn status() -> Option<String> {
    std::fs::read_to_string("/proc/self/status").ok()
}

fn ticks_per_second() -> f64 {
    // SAFETY: sysconf reads a number.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) as f64 }
}

/// The cores that a process may run on, of its `/proc/self/status`: `Cpus_allowed_list: 0-3,8`.
fn own_cores(status: &str) -> Option<Vec<usize>> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut cores = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cores.extend(first.parse().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(cores)
}

/// Ticks that the cores were busy, of `/proc/stat`: `cpu0 user nice system idle iowait irq softirq
/// steal`. A program that runs at a lower priority (`nice`) is no hindrance, and what a host takes
/// away (`steal`) is one.
fn busy_ticks(stat: &str, cores: &[usize]) -> u64 {
    let of_line = |line: &str| {
        let mut fields = line.strip_prefix("cpu")?.split_ascii_whitespace();
        let core = fields.next()?.parse().ok()?;
        let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
        let busy = [0, 2, 5, 6, 7].iter().filter_map(|field| ticks.get(*field)).sum::<u64>();
        cores.contains(&core).then_some(busy)
    };
    stat.lines().filter_map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cores_of_this_process_are_counted_and_no_others() {
        assert_eq!(own_cores("Name:\tx\nCpus_allowed_list:\t0-2,8\n"), Some(vec![0, 1, 2, 8]));
        assert_eq!(own_cores("Cpus_allowed_list:\t3\n"), Some(vec![3]));
        assert_eq!(own_cores("Name:\tx\n"), None);
    }

    /// Of a machine with 11 busy ticks on core 0 and 210 on core 2: waiting and nice ones are none.
    #[test]
    fn ticks_are_busy_where_a_program_of_usual_priority_ran() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 100 2 1000 50 0 3 5 0 0\ncpu1 7 0 0 0 0 0 0 0 0 0\n\
                    cpu2 200 0 10 5 0 0 0 0 0 0\nintr 5\n";
        assert_eq!(busy_ticks(stat, &[0]), 11);
        assert_eq!(busy_ticks(stat, &[0, 2]), 221);
    }

    /// This process keeps a core busy itself, and is no neighbour of its own.
    #[test]
    fn what_others_do_is_between_nothing_and_all_cores() {
        let cores = own_cores(&status().unwrap()).unwrap().len() as f64;
        let busy = busy_cores().unwrap();
        assert!((0.0..=cores).contains(&busy), "{busy}");
    }
}
