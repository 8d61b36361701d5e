//! The limits of a process's control groups, version 1 and 2, and how long its tasks were held back by them.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{Buffer, Missing, Source};

/// Groups nest; a path deeper than this is not followed.
const LEVELS_MAX: usize = 32;

/// Version 1 writes "no limit" as the largest multiple of the page size; nothing near it is a limit.
const MEMORY_UNLIMITED_BYTES: u64 = 1 << 60;

/// What holds a process and its children, its own group and all groups above it taken together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cgroup {
    /// The group whose processor time is limited, as `/proc/PID/cgroup` names it.
    pub path: String,
    /// The tightest limit of processor time in cores; none where there is no limit.
    pub cpu_limit_cores: Option<f64>,
    /// The tightest limit of memory in bytes; none where there is no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Periods in which a group had used up its processor time, since the groups were made.
    pub throttled_periods: Option<u64>,
    /// Time in which runnable tasks of the groups were held back, summed over processors.
    pub throttled_seconds: Option<f64>,
}

/// One group's files of the processor controller.
#[derive(Debug)]
enum CpuLevel {
    One { quota: Source, period: Source, statistics: Source },
    Two { limit: Source, statistics: Source },
}

impl CpuLevel {
    fn limit_cores(&mut self, buffer: &mut Buffer) -> Option<f64> {
        match self {
            Self::One { quota, period, .. } => {
                let quota = quota.parse_optional(buffer, |text| text.trim().parse::<u64>().ok())?;
                let period = period.parse_optional(buffer, |text| text.trim().parse::<u64>().ok())?;
                cores(quota, period)
            }
            Self::Two { limit, .. } => limit.parse_optional(buffer, parse_cpu_max),
        }
    }

    fn throttled(&mut self, buffer: &mut Buffer) -> Option<(u64, f64)> {
        let (Self::One { statistics, .. } | Self::Two { statistics, .. }) = self;
        statistics.parse_optional(buffer, parse_throttled)
    }
}

/// Follows a process through its groups; the files stay open until it is moved to another group.
#[derive(Debug)]
pub(crate) struct CgroupSampler {
    root: PathBuf,
    membership: Source,
    membership_text: String,
    path: String,
    cpu: Vec<CpuLevel>,
    memory: Vec<Source>,
}

impl CgroupSampler {
    /// `process` is a pid or `self`.
    pub(crate) fn new(root: &Path, process: &str) -> Self {
        Self {
            root: root.to_owned(),
            membership: Source::new(root, &format!("proc/{process}/cgroup")),
            membership_text: String::new(),
            path: String::new(),
            cpu: Vec::new(),
            memory: Vec::new(),
        }
    }

    pub(crate) fn sample(&mut self, buffer: &mut Buffer, missing: &mut Missing) -> Option<Cgroup> {
        let known = &self.membership_text;
        let moved_to = self
            .membership
            .parse(buffer, missing, "control groups", |text| Some((text != known.as_str()).then(|| text.to_owned())))?;
        if let Some(membership) = moved_to {
            self.membership_text = membership;
            self.locate(buffer, missing);
        }
        let mut cgroup = Cgroup { path: self.path.clone(), ..Cgroup::default() };
        for level in &mut self.cpu {
            cgroup.cpu_limit_cores = tightest(cgroup.cpu_limit_cores, level.limit_cores(buffer), f64::min);
            if let Some((periods, seconds)) = level.throttled(buffer) {
                cgroup.throttled_periods = Some(cgroup.throttled_periods.unwrap_or(0).saturating_add(periods));
                cgroup.throttled_seconds = Some(cgroup.throttled_seconds.unwrap_or(0.0) + seconds);
            }
        }
        for level in &mut self.memory {
            let limit = level.parse_optional(buffer, parse_memory_limit);
            cgroup.memory_limit_bytes = tightest(cgroup.memory_limit_bytes, limit, u64::min);
        }
        Some(cgroup)
    }

    /// Finds the folders of the process's groups and of those above them.
    fn locate(&mut self, buffer: &mut Buffer, missing: &mut Missing) {
        self.cpu.clear();
        self.memory.clear();
        let mounts = buffer.read(&self.root.join("proc/self/mountinfo"));
        let mounts = mounts.map(|text| parse_mounts(&text)).unwrap_or_default();
        let cpu = find(&self.membership_text, &mounts, "cpu");
        let memory = find(&self.membership_text, &mounts, "memory");
        self.path = cpu.as_ref().or(memory.as_ref()).map(|found| found.path.clone()).unwrap_or_default();
        match cpu {
            None => missing.note("processor limit of the control group", "no such controller is mounted"),
            Some(found) => {
                let source = |folder: &str, file: &str| Source::new(&self.root, &format!("{folder}/{file}"));
                self.cpu.extend(found.folders.iter().map(|folder| match found.version {
                    1 => CpuLevel::One {
                        quota: source(folder, "cpu.cfs_quota_us"),
                        period: source(folder, "cpu.cfs_period_us"),
                        statistics: source(folder, "cpu.stat"),
                    },
                    _ => CpuLevel::Two { limit: source(folder, "cpu.max"), statistics: source(folder, "cpu.stat") },
                }));
            }
        }
        match memory {
            None => missing.note("memory limit of the control group", "no such controller is mounted"),
            Some(found) => {
                let file = if found.version == 1 { "memory.limit_in_bytes" } else { "memory.max" };
                let sources = found.folders.iter().map(|folder| Source::new(&self.root, &format!("{folder}/{file}")));
                self.memory.extend(sources);
            }
        }
    }
}

fn tightest<T>(one: Option<T>, other: Option<T>, smaller: impl Fn(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(smaller(one, other)),
        (one, other) => one.or(other),
    }
}

/// A hierarchy of groups that is mounted.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    version: u8,
    /// The group that is seen at the mount point.
    group: String,
    /// Without its leading slash.
    folder: String,
    /// Version 1: the controllers among other options.
    options: String,
}

/// Reads the control-group lines of `/proc/self/mountinfo` (proc(5)).
fn parse_mounts(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (place, kind) = line.split_once(" - ")?;
        let mut kind = kind.split_ascii_whitespace();
        let version = match kind.next()? {
            "cgroup" => 1,
            "cgroup2" => 2,
            _ => return None,
        };
        let mut place = place.split_ascii_whitespace().skip(3);
        let group = unescape(place.next()?);
        let folder = unescape(place.next()?).trim_start_matches('/').to_owned();
        Some(Mount { version, group, folder, options: kind.nth(1).unwrap_or_default().to_owned() })
    };
    text.lines().filter_map(mount).collect()
}

/// The kernel writes blanks in paths as `\040`.
fn unescape(path: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(path.to_owned(), |path, (escape, plain)| path.replace(escape, plain))
}

/// Where the files of one controller are: the process's own group first, then those above it.
struct Found {
    version: u8,
    path: String,
    folders: Vec<String>,
}

/// A controller belongs to a hierarchy of version 1 that names it, else to version 2.
fn find(membership: &str, mounts: &[Mount], controller: &str) -> Option<Found> {
    let named = |list: &str| list.split(',').any(|name| name == controller);
    let groups = || {
        membership.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.split_once(':')
        })
    };
    let one = || {
        let (_, path) = groups().find(|(controllers, _)| named(controllers))?;
        Some((mounts.iter().find(|mount| mount.version == 1 && named(&mount.options))?, path))
    };
    let two = || {
        let (_, path) = groups().find(|(controllers, _)| controllers.is_empty())?;
        Some((mounts.iter().find(|mount| mount.version == 2)?, path))
    };
    let (mount, path) = one().or_else(two)?;
    Some(Found { version: mount.version, path: path.to_owned(), folders: folders(mount, path) })
}

/// The group's folder and those above it up to the mount point. A group outside of what is mounted (a container
/// without a namespace of its own for groups) is seen at the mount point itself.
fn folders(mount: &Mount, path: &str) -> Vec<String> {
    let below = Path::new(path).strip_prefix(&mount.group).unwrap_or(Path::new(""));
    let plain = below.components().all(|component| matches!(component, Component::Normal(_)));
    let below = if plain { below } else { Path::new("") };
    let folder = |below: &Path| match below.to_string_lossy() {
        empty if empty.is_empty() => mount.folder.clone(),
        below => format!("{}/{below}", mount.folder),
    };
    below.ancestors().take(LEVELS_MAX).map(folder).collect()
}

/// `50000 100000`, or `max 100000` for no limit.
fn parse_cpu_max(text: &str) -> Option<f64> {
    let mut fields = text.split_ascii_whitespace();
    cores(fields.next()?.parse().ok()?, fields.next()?.parse().ok()?)
}

fn cores(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

fn parse_memory_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < MEMORY_UNLIMITED_BYTES)
}

/// Reads `cpu.stat`: `throttled_time` in nanoseconds is version 1, `throttled_usec` version 2.
fn parse_throttled(text: &str) -> Option<(u64, f64)> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse::<u64>().ok()
    };
    let nanoseconds = value("throttled_time").map(|time| time as f64 / 1e9);
    let seconds = nanoseconds.or_else(|| value("throttled_usec").map(|time| time as f64 / 1e6))?;
    Some((value("nr_throttled")?, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it lies below the root")).expect("the folder is ours");
            std::fs::write(path, text).expect("the folder is ours");
        }
        root
    }

    fn sample(root: &tempfile::TempDir) -> (Option<Cgroup>, Vec<String>) {
        let mut missing = Missing::default();
        let cgroup = CgroupSampler::new(root.path(), "self").sample(&mut Buffer::default(), &mut missing);
        (cgroup, missing.to_vec())
    }

    #[test]
    fn version_2_takes_the_tightest_limit_on_the_way_up() {
        let root = tree(&[
            ("proc/self/cgroup", "0::/lab/client\n"),
            ("proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/lab/client/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/lab/client/memory.max", "1073741824\n"),
            (
                "sys/fs/cgroup/lab/client/cpu.stat",
                "usage_usec 5\nnr_periods 9\nnr_throttled 1\nthrottled_usec 500000\n",
            ),
            ("sys/fs/cgroup/lab/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/lab/memory.max", "536870912\n"),
            ("sys/fs/cgroup/lab/cpu.stat", "nr_throttled 2\nthrottled_usec 1000000\n"),
        ]);
        let expected = Cgroup {
            path: "/lab/client".to_owned(),
            cpu_limit_cores: Some(1.5),
            memory_limit_bytes: Some(512 << 20),
            throttled_periods: Some(3),
            throttled_seconds: Some(1.5),
        };
        assert_eq!(sample(&root), (Some(expected), Vec::new()));
    }

    #[test]
    fn version_1_beside_an_empty_version_2() {
        let root = tree(&[
            ("proc/self/cgroup", "4:memory:/box/a b\n1:cpu,cpuacct:/box\n0::/\n"),
            (
                "proc/self/mountinfo",
                "1 1 0:1 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n1 1 0:1 /box /sys/fs/cgroup/cpu\\040acct rw - cgroup none rw,cpu,cpuacct\n1 1 0:1 / /sys/fs/cgroup/memory rw shared:1 - cgroup none rw,memory\n",
            ),
            ("sys/fs/cgroup/cpu acct/cpu.cfs_quota_us", "10000\n"),
            ("sys/fs/cgroup/cpu acct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu acct/cpu.stat", "nr_periods 4\nnr_throttled 3\nthrottled_time 2500000000\n"),
            ("sys/fs/cgroup/memory/box/a b/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        let expected = Cgroup {
            path: "/box".to_owned(),
            cpu_limit_cores: Some(0.1),
            memory_limit_bytes: None,
            throttled_periods: Some(3),
            throttled_seconds: Some(2.5),
        };
        assert_eq!(sample(&root), (Some(expected), Vec::new()));
    }

    #[test]
    fn no_hierarchy_is_said() {
        let root = tree(&[("proc/self/cgroup", "0::/\n"), ("proc/self/mountinfo", "1 1 0:1 / / rw - ext4 none rw\n")]);
        let (cgroup, missing) = sample(&root);
        assert_eq!(cgroup, Some(Cgroup::default()));
        assert_eq!(missing.len(), 2, "{missing:?}");
        let (cgroup, missing) = sample(&tree(&[]));
        assert_eq!(cgroup, None);
        assert_eq!(missing, ["control groups: /proc/self/cgroup is not there"]);
    }

    #[test]
    fn a_process_that_moves_is_followed_and_a_path_never_leaves_the_hierarchy() {
        let root = tree(&[
            ("proc/self/cgroup", "0::/a\n"),
            ("proc/self/mountinfo", "31 23 0:28 / /groups rw,relatime - cgroup2 cgroup2 rw\n"),
            ("groups/a/cpu.max", "100000 100000\n"),
            ("groups/b/cpu.max", "20000 100000\n"),
            ("cpu.max", "10 100000\n"),
        ]);
        let (mut buffer, mut missing) = (Buffer::default(), Missing::default());
        let mut sampler = CgroupSampler::new(root.path(), "self");
        let mut limit = |membership: &str| {
            std::fs::write(root.path().join("proc/self/cgroup"), membership).expect("the folder is ours");
            sampler.sample(&mut buffer, &mut missing).expect("the file is there").cpu_limit_cores
        };
        assert_eq!(limit("0::/a\n"), Some(1.0));
        assert_eq!(limit("0::/b\n"), Some(0.2));
        assert_eq!(limit("0::/../..\n"), None);
    }
}
