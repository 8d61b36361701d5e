//! The GitHub Action: its script outside GitHub, and that what it is told is what it asks for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Ended, Lab, text};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../action").join(name)
}

/// A job of a CI: a folder with what GitHub gives each step.
struct Job {
    lab: Lab,
}

impl Job {
    /// Runs the script with these inputs.
    fn run(&self, inputs: &[(&str, &str)]) -> Ended {
        for name in ["output", "step-summary"] {
            self.lab.write(name, "");
        }
        let mut command = Command::new("bash");
        command
            .arg(file("run.sh"))
            .current_dir(self.lab.path(""))
            .env("STORELAB_HOME", self.lab.path(""))
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_OUTPUT", self.lab.path("output"))
            .env("GITHUB_STEP_SUMMARY", self.lab.path("step-summary"))
            .env("INPUT_STORELAB", env!("CARGO_BIN_EXE_storelab"))
            .env("INPUT_RESULTS", "results")
            .envs(inputs.iter().copied());
        Ended::of(command.output().expect("bash is there"))
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.lab.path(name)).unwrap_or_default()
    }

    fn output(&self, name: &str) -> String {
        let outputs = self.read("output");
        let found = outputs.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no `{name}` in {outputs:?}")).to_owned()
    }
}

#[test]
fn the_first_run_is_the_baseline_of_the_next() {
    let job = Job { lab: Lab::new() };
    let plan = job.lab.write("plan.yaml", "target: 'null:?latency=1ms'\nload: { for: 5s, rate: 300/s }\n");
    // On a machine that does other things as well the second may well be slower.
    let inputs = [
        ("INPUT_PLAN", text(&plan)),
        ("INPUT_ARGUMENTS", "--accept-invalid"),
        ("INPUT_KEEP", "true"),
        ("INPUT_FAIL_ON", "never"),
    ];
    let mut runs = Vec::new();
    for is_first in [true, false] {
        let ended = job.run(&inputs);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!((job.output("verdict").as_str(), job.output("keep").as_str()), ("passed", "true"));
        assert_eq!(job.read("results/baseline/run").trim(), job.output("run"));
        let summary = job.read(&job.output("summary"));
        assert!(summary.contains("`ycsb:b on null`") && summary == job.read("step-summary"), "{summary}");
        assert_eq!(job.lab.path("results/comparison.md").is_file(), !is_first, "{ended:?}");
        assert!(summary.ends_with(&job.read("results/comparison.md")), "{summary}");
        assert!(job.lab.path(&job.output("report")).is_file());
        runs.push(job.output("run"));
    }
    assert_ne!(runs[0], runs[1]);
    // Nobody answers: nothing is measured, and the baseline stays.
    let ended = job.run(&[("INPUT_PLAN", "redis://127.0.0.1:1/0"), ("INPUT_KEEP", "true")]);
    assert_eq!((ended.code, job.output("verdict").as_str()), (Some(3), "failed"), "{ended:?}");
    assert!(ended.stdout.contains("::error title=Storelab::failed (exit code 3)"), "{ended:?}");
    assert!(job.read("step-summary").contains("Nothing was measured"), "{ended:?}");
    assert_eq!(job.read("results/baseline/run").trim(), runs[1]);
}

#[test]
fn inputs_that_cannot_work_are_usage_errors() {
    let job = Job { lab: Lab::new() };
    for (inputs, part) in [
        (&[("INPUT_PLAN", "null:"), ("INPUT_FAIL_ON", "faster")][..], "fail-on is `faster`"),
        (&[("INPUT_PLAN", "null:"), ("INPUT_REPEAT", "0")], "repeat is `0`"),
        (&[("INPUT_PLAN", "null:"), ("INPUT_STORELAB", "no-such-program")], "no program `no-such-program`"),
        (&[("INPUT_PLAN", "null:"), ("INPUT_BASELINE", "a"), ("INPUT_BASELINE_REF", "b")], "give one of them"),
        (&[("INPUT_PLAN", "plan.yaml"), ("INPUT_BASELINE_REF", "main")], "`plan.yaml` is not in `main`"),
    ] {
        let ended = job.run(inputs);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(part) && ended.stderr.contains("hint: "), "`{part}`: {ended:?}");
    }
    let ended = job.run(&[]);
    assert!(ended.code == Some(1) && ended.stderr.contains("name a plan, or a target"), "{ended:?}");
}

#[test]
fn the_action_and_its_script_know_the_same_inputs_and_outputs() {
    let action = std::fs::read_to_string(file("action.yml")).expect("it is there");
    let action: Value = serde_saphyr::from_str(&action).expect("it is YAML");
    let script = std::fs::read_to_string(file("run.sh")).expect("it is there");
    let steps = action["runs"]["steps"].as_array().expect("steps");
    let step = steps.iter().find(|step| step["id"] == "run").expect("the step that runs");
    let given: BTreeSet<&str> =
        step["env"].as_object().expect("variables").keys().filter_map(|name| name.strip_prefix("INPUT_")).collect();
    let documented: BTreeSet<&str> =
        script.lines().filter_map(|line| line.strip_prefix("#   INPUT_")?.split_whitespace().next()).collect();
    assert_eq!(given, documented);
    for name in &given {
        assert!(script.contains(&format!("${{INPUT_{name}:")), "the script does not read INPUT_{name}");
    }
    // Every input of the action is used by one of its steps, and every output comes from the script.
    let used = serde_json::to_string(steps).expect("it is JSON");
    for (name, input) in action["inputs"].as_object().expect("inputs") {
        assert!(used.contains(&format!("inputs.{name}")), "nothing uses `{name}`");
        assert!(input["description"].is_string() && input["required"].is_boolean(), "{name}: {input}");
    }
    for (name, output) in action["outputs"].as_object().expect("outputs") {
        assert_eq!(output["value"], format!("${{{{ steps.run.outputs.{name} }}}}"));
        assert!(script.contains(&format!("echo \"{name}=")), "the script does not write `{name}`");
    }
    for step in steps {
        assert!(step["uses"].is_string() != step["shell"].is_string(), "a step runs something: {step}");
    }
}
