//! On what host a run was made: two results may be compared only if this is the same, or the difference is the point.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cgroup::{Cgroup, CgroupSampler};
use crate::files::{Buffer, Missing, absence};
use crate::memory::parse_meminfo;

/// No host has more processors; a list that says so is malformed.
const CORES_MAX: u64 = 1 << 20;

/// Names of container engines as they show up in the path of a control group.
const CONTAINER_GROUPS: [&str; 6] = ["docker", "kubepods", "containerd", "libpod", "lxc", "crio"];

/// The host of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Release of the kernel, `6.1.0-18-amd64`.
    pub kernel: Option<String>,
    /// Instruction set this program was built for, `x86_64`.
    pub architecture: String,
    /// Model of the first processor.
    pub cpu_model: Option<String>,
    /// Processors in use.
    pub cores_online: Option<u64>,
    /// Processors on which this program may run.
    pub cores_allowed: Option<u64>,
    /// Memory of the host in bytes.
    pub memory_bytes: Option<u64>,
    /// Name of the distribution, `Debian GNU/Linux 12 (bookworm)`.
    pub distribution: Option<String>,
    /// What the host seems to be when it is a virtual machine, none when nothing says so.
    pub virtualisation: Option<String>,
    /// In which kind of container this program seems to run, none when nothing says so.
    pub container: Option<String>,
    /// How the processors' clock rate is governed, `performance`; several where processors differ.
    pub cpu_governor: Option<String>,
    /// Whether processors may exceed their nominal clock rate.
    pub cpu_turbo: Option<bool>,
    /// What the kernel takes the time from, `tsc`.
    pub clocksource: Option<String>,
    /// Transparent huge pages: `always`, `madvise` or `never`.
    pub transparent_huge_pages: Option<String>,
    /// Limits of this program's control group.
    pub cgroup: Option<Cgroup>,
    /// What is not known and why.
    pub missing: Vec<String>,
}

impl Provenance {
    /// This host.
    pub fn read() -> Self {
        Self::read_in(Path::new("/"))
    }

    /// The host whose `/proc`, `/sys` and `/etc` lie below `root`.
    pub fn read_in(root: &Path) -> Self {
        let mut reader = Reader { root, buffer: Buffer::default(), missing: Missing::default() };
        let cpuinfo = reader.required("cpu model", "proc/cpuinfo").unwrap_or_default();
        let cgroup = CgroupSampler::new(root, "self").sample(&mut reader.buffer, &mut reader.missing);
        Self {
            kernel: reader.required("kernel", "proc/sys/kernel/osrelease"),
            architecture: std::env::consts::ARCH.to_owned(),
            cpu_model: cpu_model(&cpuinfo).or_else(|| reader.optional("proc/device-tree/model")),
            cores_online: reader
                .required("cores online", "sys/devices/system/cpu/online")
                .and_then(|list| count_list(&list)),
            cores_allowed: reader.required("cores allowed", "proc/self/status").and_then(|text| cores_allowed(&text)),
            memory_bytes: reader
                .required("memory", "proc/meminfo")
                .and_then(|text| parse_meminfo(&text))
                .map(|memory| memory.total_bytes),
            distribution: reader
                .optional("etc/os-release")
                .or_else(|| reader.required("distribution", "usr/lib/os-release"))
                .and_then(|text| pretty_name(&text)),
            virtualisation: reader.virtualisation(&cpuinfo),
            container: reader.container(),
            cpu_governor: reader.governor(),
            cpu_turbo: reader.turbo(),
            clocksource: reader
                .required("clocksource", "sys/devices/system/clocksource/clocksource0/current_clocksource"),
            transparent_huge_pages: reader
                .required("transparent huge pages", "sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|text| chosen(&text)),
            cgroup,
            missing: reader.missing.to_vec(),
        }
    }
}

/// Reads small files below a root.
struct Reader<'r> {
    root: &'r Path,
    buffer: Buffer,
    missing: Missing,
}

impl Reader<'_> {
    fn read(&mut self, relative: &str) -> std::io::Result<String> {
        // Strings of the device tree end in a zero byte.
        let plain = |text: &str| text.trim_matches(|end: char| end == '\0' || end.is_whitespace()).to_owned();
        self.buffer.read(&self.root.join(relative)).map(|text| plain(&text))
    }

    fn optional(&mut self, relative: &str) -> Option<String> {
        self.read(relative).ok().filter(|text| !text.is_empty())
    }

    fn required(&mut self, what: &str, relative: &str) -> Option<String> {
        let shown = format!("/{relative}");
        match self.read(relative) {
            Ok(text) if !text.is_empty() => return Some(text),
            Ok(_) => self.missing.note(what, format!("{shown} is empty")),
            Err(error) => self.missing.note(what, absence(&shown, &error)),
        }
        None
    }

    /// The `hypervisor` flag says that there is one; the firmware or Xen says which.
    fn virtualisation(&mut self, cpuinfo: &str) -> Option<String> {
        let flagged = cpuinfo
            .lines()
            .filter(|line| line.starts_with("flags"))
            .any(|line| line.split_ascii_whitespace().any(|flag| flag == "hypervisor"));
        let kind = self.optional("sys/hypervisor/type");
        if !flagged && kind.is_none() {
            return None;
        }
        let firmware = ["sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_name"];
        let words: Vec<String> =
            kind.into_iter().chain(firmware.iter().filter_map(|file| self.optional(file))).collect();
        Some(if words.is_empty() { "hypervisor".to_owned() } else { words.join(" ") })
    }

    fn container(&mut self) -> Option<String> {
        for (file, engine) in [(".dockerenv", "docker"), ("run/.containerenv", "podman")] {
            if self.root.join(file).exists() {
                return Some(engine.to_owned());
            }
        }
        let named = self.optional("run/systemd/container");
        let group = self.optional("proc/self/cgroup").unwrap_or_default();
        named.or_else(|| CONTAINER_GROUPS.iter().find(|engine| group.contains(**engine)).map(|&name| name.to_owned()))
    }

    fn governor(&mut self) -> Option<String> {
        let policies = std::fs::read_dir(self.root.join("sys/devices/system/cpu/cpufreq"));
        let names = policies.into_iter().flatten().flatten().map(|entry| entry.file_name());
        let files =
            names.map(|name| format!("sys/devices/system/cpu/cpufreq/{}/scaling_governor", name.to_string_lossy()));
        let governors: BTreeSet<String> = files.filter_map(|file| self.optional(&file)).collect();
        if governors.is_empty() {
            // Mostly a virtual machine, whose host decides.
            self.missing.note("cpu governor", "/sys/devices/system/cpu/cpufreq has no policy");
            return None;
        }
        Some(governors.into_iter().collect::<Vec<_>>().join(", "))
    }

    fn turbo(&mut self) -> Option<bool> {
        let no_turbo = self.optional("sys/devices/system/cpu/intel_pstate/no_turbo").map(|value| value == "0");
        let turbo =
            no_turbo.or_else(|| self.optional("sys/devices/system/cpu/cpufreq/boost").map(|value| value == "1"));
        if turbo.is_none() {
            self.missing.note("cpu turbo", "neither intel_pstate/no_turbo nor cpufreq/boost is there");
        }
        turbo
    }
}

/// The name is under another key on each architecture.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    ["model name", "Model", "cpu model", "uarch", "cpu", "Processor", "Hardware"].iter().find_map(|wanted| {
        let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(name, value)| name.trim() == *wanted && !value.trim().is_empty())?;
        Some(value.trim().to_owned())
    })
}

/// How many numbers a list such as `0-3,8` has.
fn count_list(list: &str) -> Option<u64> {
    let mut count = 0_u64;
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    (count <= CORES_MAX).then_some(count)
}

fn cores_allowed(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).and_then(count_list)
}

fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// The kernel puts the choice in brackets: `always [madvise] never`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// Every parser of this file on one text; for the test that none of them panics.
#[cfg(test)]
pub(crate) fn parse_all(text: &str) {
    let _ = (cpu_model(text), count_list(text), cores_allowed(text), pretty_name(text), chosen(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_counted() {
        for (list, expected) in [
            ("0", Some(1)),
            ("0-1\n", Some(2)),
            ("0-3,8,10-11", Some(7)),
            ("", None),
            ("3-1", None),
            ("0-18446744073709551615", None),
            ("a", None),
        ] {
            assert_eq!(count_list(list), expected, "{list:?}");
        }
    }

    #[test]
    fn a_host_describes_itself_and_says_what_it_does_not_know() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in [
            ("proc/cpuinfo", "processor\t: 0\nmodel name\t: Example 9000\nflags\t\t: fpu hypervisor\n"),
            ("proc/sys/kernel/osrelease", "3.10.0\n"),
            ("proc/self/status", "Cpus_allowed:\t5\nCpus_allowed_list:\t0,2\n"),
            ("proc/meminfo", "MemTotal: 4 kB\n"),
            ("sys/devices/system/cpu/online", "0-3\n"),
            ("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave\n"),
            ("sys/devices/system/cpu/cpufreq/policy1/scaling_governor", "performance\n"),
            ("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("sys/class/dmi/id/sys_vendor", "QEMU\n"),
            ("usr/lib/os-release", "ID=x\nPRETTY_NAME=\"Example Linux 1\"\n"),
            (".dockerenv", ""),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("it lies below the root")).expect("the folder is ours");
            std::fs::write(path, text).expect("the folder is ours");
        }
        let some = |text: &str| Some(text.to_owned());
        let expected = Provenance {
            kernel: some("3.10.0"),
            architecture: std::env::consts::ARCH.to_owned(),
            cpu_model: some("Example 9000"),
            cores_online: Some(4),
            cores_allowed: Some(2),
            memory_bytes: Some(4096),
            distribution: some("Example Linux 1"),
            virtualisation: some("QEMU"),
            container: some("docker"),
            cpu_governor: some("performance, powersave"),
            cpu_turbo: Some(false),
            clocksource: None,
            transparent_huge_pages: some("madvise"),
            cgroup: None,
            missing: vec![
                "control groups: /proc/self/cgroup is not there".to_owned(),
                "clocksource: /sys/devices/system/clocksource/clocksource0/current_clocksource is not there".to_owned(),
            ],
        };
        assert_eq!(Provenance::read_in(root.path()), expected);
    }
}
