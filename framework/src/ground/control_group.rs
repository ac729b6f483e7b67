//! Memory that the control groups of this process leave: those of a container, a batch job or a
//! user's session.
//!
//! A process is in a group of a hierarchy (`/proc/self/cgroup`), which lies below a mount
//! (`/proc/self/mountinfo`). The limits of all groups around a group hold for it too, in version 2
//! (`memory.max`, `memory.current`) as in version 1 (`memory.limit_in_bytes`,
//! `memory.usage_in_bytes`).

use std::path::{Path, PathBuf};

/// Bytes that the tightest of the groups leaves; `None` where none has a limit.
pub fn memory_left() -> Option<u64> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    left(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"), &|path| std::fs::read_to_string(path).ok())
}

/// The same for the text of both files and the content of others.
fn left(groups: &str, mounts: &str, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let number = |folder: &Path, name: &str| read(&folder.join(name))?.trim().parse::<u64>().ok();
    let leaves = |folder: &Path, version: Version| {
        let [most, used] = match version {
            Version::One => ["memory.limit_in_bytes", "memory.usage_in_bytes"],
            Version::Two => ["memory.max", "memory.current"],
        };
        // A group without a limit has `max`, or in version 1 a number beyond all memory.
        Some(number(folder, most)?.saturating_sub(number(folder, used)?))
    };
    let own = groups.lines().filter_map(own_group);
    own.filter_map(|(version, group)| {
        let (mount, below) = mounts.lines().find_map(|line| mounted(line, version, group))?;
        below.ancestors().filter_map(|group| leaves(&mount.join(group), version)).min()
    })
    .min()
}

#[derive(Clone, Copy, PartialEq)]
enum Version {
    One,
    Two,
}

/// A line `0::/user.slice` or `4:memory:/job/7`, where it is about memory.
fn own_group(line: &str) -> Option<(Version, &str)> {
    let mut fields = line.splitn(3, ':');
    let (number, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
    if controllers.split(',').any(|controller| controller == "memory") {
        return Some((Version::One, group));
    }
    (number == "0" && controllers.is_empty()).then_some((Version::Two, group))
}

/// The place of a mounted hierarchy of memory, and the group's folder below it, of a line such as
/// `42 32 0:39 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory`. The fourth field is the
/// group that the mount shows as its root: in a container that may be the container's own.
fn mounted(line: &str, version: Version, group: &str) -> Option<(PathBuf, PathBuf)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut fields = place.split(' ').skip(3);
    let (root, mount) = (fields.next()?, fields.next()?);
    let mut fields = kind.split(' ');
    let (name, options) = (fields.next()?, fields.nth(1)?);
    let fits = match version {
        Version::One => name == "cgroup" && options.split(',').any(|option| option == "memory"),
        Version::Two => name == "cgroup2",
    };
    // A group that the mount does not show is looked for as if it did: a container that sees its
    // own group as `/` has it at the mount's root.
    let below = Path::new(group).strip_prefix(root).unwrap_or(Path::new(group.trim_start_matches('/')));
    fits.then(|| (PathBuf::from(mount), below.strip_prefix("/").unwrap_or(below).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        let read =
            |path: &Path| files.iter().find(|(name, _)| path == Path::new(name)).map(|(_, text)| format!("{text}\n"));
        left(groups, mounts, &read)
    }

    const TWO: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
    const ONE: &str = "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                       34 23 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                       35 23 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

    /// Only the root was looked at: 24.7 GB were shown for a group of 150 MB.
    #[test]
    fn the_tightest_of_all_groups_around_the_process_holds() {
        let user = "/sys/fs/cgroup/user.slice";
        let mut files = vec![
            (format!("{user}/memory.max"), "1000"),
            (format!("{user}/memory.current"), "400"),
            (format!("{user}/job.scope/memory.max"), "900"),
            (format!("{user}/job.scope/memory.current"), "100"),
        ];
        let left = |files: &[(String, &str)]| {
            let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
            of("0::/user.slice/job.scope", TWO, &files)
        };
        assert_eq!(left(&files), Some(600));
        files[0].1 = "max";
        assert_eq!(left(&files), Some(800));
        files[2].1 = "max";
        assert_eq!(left(&files), None);
    }

    #[test]
    fn a_group_of_version_1_is_found_beside_those_of_other_controllers() {
        let groups = "5:cpu:/\n4:memory:/api/7\n0::/";
        let job = "/sys/fs/cgroup/memory/api";
        let files = [
            (format!("{job}/memory.limit_in_bytes"), "150"),
            (format!("{job}/memory.usage_in_bytes"), "30"),
            (format!("{job}/7/memory.limit_in_bytes"), "9223372036854771712"),
            (format!("{job}/7/memory.usage_in_bytes"), "20"),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        assert_eq!(of(groups, ONE, &files), Some(120));
        assert_eq!(of("5:cpu:/", "", &[]), None);
    }

    #[test]
    fn a_container_that_sees_its_own_group_as_the_root_of_the_mount_is_within_its_limit() {
        let mount = "34 23 0:29 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
        let files = [
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "500"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1"),
        ];
        assert_eq!(of("4:memory:/docker/abc", mount, &files), Some(499));
    }
}
