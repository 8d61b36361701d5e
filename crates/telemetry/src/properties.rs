//! Laws: no file, however malformed, makes a parser or a sampler panic, and no rate is negative or infinite.

use std::path::Path;

use proptest::prelude::*;

use crate::disk::Devices;
use crate::network::Interfaces;
use crate::{
    GeneratorSampler, GeneratorSummary, HostSampler, HostSummary, ProcessSampler, ProcessSummary, Provenance, cpu,
    disk, listener, listener_in, memory, network, pressure, process_files, provenance,
};

/// Words of which the kernel's files are made, so that arbitrary text gets past the first check.
fn text() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "cpu",
        "cpu0",
        "intr",
        "ctxt",
        "some",
        "full",
        "total=",
        "total=18446744073709551615",
        "MemTotal:",
        "pgfault",
        "pgmajfault",
        "Tcp:",
        "RetransSegs",
        "OutSegs",
        "0::/",
        "1:cpu:/a",
        " - cgroup2 x y",
        " - cgroup x cpu",
        "max",
        "Cpus_allowed_list:",
        "lo:",
        "eth0:",
        "sda",
        "sda1",
        "(",
        ")",
        "S",
        "Z",
        ":",
        "\n",
        "\n",
        "\t",
        " ",
        "-",
        ",",
        "0",
        "1",
        "-1",
        "18446744073709551615",
        "99999999999999999999",
        "Pss:",
        "read_bytes:",
        "voluntary_ctxt_switches:",
        "nonvoluntary_ctxt_switches:",
        "0100007F:1538",
        "0A",
        "[a]",
        "é",
        "\u{0}",
    ]);
    prop_oneof![
        any::<String>(),
        prop::collection::vec(words.clone().prop_map(str::to_owned), 0..60).prop_map(|words| words.join(" ")),
        prop::collection::vec(words, 0..60).prop_map(|words| words.concat()),
        prop::collection::vec(any::<u64>(), 0..60)
            .prop_map(|numbers| numbers.iter().fold("1 (a) S".to_owned(), |line, number| format!("{line} {number}"))),
        prop::collection::vec(any::<u64>(), 0..60)
            .prop_map(|numbers| numbers.iter().fold("8 0 sda".to_owned(), |line, number| format!("{line} {number}"))),
        prop::collection::vec(any::<u64>(), 0..60)
            .prop_map(|numbers| numbers.iter().fold("cpu".to_owned(), |line, number| format!("{line} {number}"))),
    ]
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("it lies below the root")).expect("the folder is ours");
    std::fs::write(path, text).expect("the folder is ours");
}

const FILES: [&str; 22] = [
    "proc/stat",
    "proc/loadavg",
    "proc/meminfo",
    "proc/vmstat",
    "proc/diskstats",
    "proc/net/dev",
    "proc/net/snmp",
    "proc/net/tcp",
    "proc/pressure/cpu",
    "proc/pressure/io",
    "proc/self/cgroup",
    "proc/self/mountinfo",
    "proc/self/stat",
    "proc/self/status",
    "proc/self/task/7/status",
    "proc/self/task/7/schedstat",
    "proc/7/cgroup",
    "proc/7/status",
    "proc/7/io",
    "proc/7/smaps_rollup",
    "proc/cpuinfo",
    "sys/devices/system/cpu/online",
];

/// No number of the value is negative or infinite; the debug form shows all of them.
fn is_sound(value: &impl std::fmt::Debug) -> bool {
    let shown = format!("{value:?}");
    !shown.contains("NaN") && !shown.contains("inf,") && !shown.contains("inf)") && !shown.contains(": -")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsers_take_any_text(text in text()) {
        let nowhere = Path::new("/nonexistent");
        let _ = (cpu::parse_stat(&text, 100.0), cpu::parse_load(&text));
        let _ = (memory::parse_meminfo(&text), memory::parse_vmstat(&text), memory::kibibytes(&text));
        let _ = disk::parse_diskstats(&text, &mut Devices::new(nowhere));
        let _ = network::parse_interfaces(&text, &mut Interfaces::new(nowhere));
        let _ = (network::parse_tcp(&text), pressure::parse_pressure(&text));
        let _ = (process_files::parse_process_stat(&text), process_files::parse_status(&text));
        let _ = (process_files::parse_io(&text), process_files::parse_schedstat(&text));
        let _ = (process_files::parse_proportional_bytes(&text), listener::listening_sockets(&text, 5432));
        provenance::parse_all(&text);
    }
}

proptest! {
    // A case writes and reads dozens of files.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn samplers_take_any_tree(
        before in prop::collection::vec(text(), FILES.len()),
        after in prop::collection::vec(text(), FILES.len()),
    ) {
        let root = tempfile::tempdir().expect("a temporary folder");
        let stat = "7 (server) S 1 1 1 0 -1 0 0 0 0 0 9 9 9 9 20 0 1 0 55 0 100 0\n";
        write(root.path(), "proc/7/stat", stat);
        let mut host = HostSampler::with_root(root.path());
        let mut process = ProcessSampler::with_root(root.path(), 7);
        let mut generator = GeneratorSampler::with_root(root.path());
        let (mut hosts, mut processes, mut generators) = (Vec::new(), Vec::new(), Vec::new());
        for texts in [before, after] {
            for (file, text) in FILES.iter().zip(&texts) {
                write(root.path(), file, text);
            }
            hosts.push(host.sample());
            processes.extend(process.sample());
            generators.push(generator.sample());
            let _ = (Provenance::read_in(root.path()), listener_in(root.path(), 5432));
        }
        prop_assert_eq!(processes.len(), 2);
        prop_assert!(is_sound(&HostSummary::of(&hosts)), "{:?}", HostSummary::of(&hosts));
        prop_assert!(is_sound(&hosts[1].since(&hosts[0])));
        prop_assert!(is_sound(&ProcessSummary::of(&processes)));
        prop_assert!(is_sound(&processes[1].since(&processes[0])));
        prop_assert!(is_sound(&GeneratorSummary::of(&generators)));
    }
}
