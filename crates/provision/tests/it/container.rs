//! A server in a Docker container goes through the same as one that is a local process.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use provision::{Engine, Home, Installation, Origin, Plan, Result, Server, Site};

use crate::lifecycle::{assert_gone, serves};
use crate::{eventually, home, options};

/// Made of this host's own programs, so that nothing has to be fetched.
const IMAGE: &str = "storelab-test/redis:local";

/// Redis, as if this host had not its program.
struct Contained(&'static dyn Engine);

static CONTAINED: std::sync::LazyLock<Contained> =
    std::sync::LazyLock::new(|| Contained(provision::engine("redis").expect("an engine")));

impl Engine for Contained {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn title(&self) -> &'static str {
        self.0.title()
    }

    fn scheme(&self) -> &'static str {
        self.0.scheme()
    }

    fn licence(&self) -> &'static str {
        self.0.licence()
    }

    fn origin(&self) -> Origin {
        self.0.origin()
    }

    fn programs(&self) -> &'static [&'static str] {
        self.0.programs()
    }

    fn image(&self) -> Option<&'static str> {
        Some(IMAGE)
    }

    fn find(&self, _home: &Home) -> Result<Installation> {
        Ok(self.find_image().expect("the image was made"))
    }

    fn preparation(&self, site: &Site) -> Plan {
        self.0.preparation(site)
    }

    fn launch(&self, site: &Site) -> Plan {
        self.0.launch(site)
    }

    fn is_ready(&self, address: SocketAddr) -> io::Result<bool> {
        self.0.is_ready(address)
    }

    fn ready_timeout(&self) -> Duration {
        self.0.ready_timeout()
    }

    fn url(&self, site: &Site) -> String {
        self.0.url(site)
    }
}

fn docker(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An image with the host's redis-server and the libraries that it needs; none where there is no daemon or no such program.
#[expect(clippy::print_stderr, reason = "a test's report goes to whoever runs it")]
fn make_image() -> bool {
    if docker(&["version", "--format", "{{.Server.Version}}"]).is_none() {
        eprintln!("skipped: there is no Docker daemon");
        return false;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = Path::new("/usr/bin/redis-server");
    if !program.is_file() {
        eprintln!("skipped: redis is not installed");
        return false;
    }
    let libraries = Command::new("ldd").arg(program).output().expect("the C library has it");
    let text = String::from_utf8_lossy(&libraries.stdout).into_owned();
    let needed = text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    for path in needed.chain([program.to_owned()]) {
        let to = folder.path().join(path.strip_prefix("/").expect("it is absolute"));
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        std::fs::copy(&path, &to).expect("copied");
    }
    std::fs::create_dir_all(folder.path().join("tmp")).expect("made");
    let archive = folder.path().with_extension("tar");
    let packed = Command::new("tar").arg("-C").arg(folder.path()).arg("-cf").arg(&archive).arg(".").status();
    assert!(packed.expect("tar is there").success());
    let made = docker(&["import", "--change", "ENV PATH=/usr/bin", archive.to_str().expect("plain"), IMAGE]).is_some();
    std::fs::remove_file(&archive).expect("ours");
    assert!(made, "the image can be made");
    true
}

fn containers() -> String {
    docker(&["ps", "--all", "--quiet", "--filter", &format!("ancestor={IMAGE}")]).expect("the daemon answers")
}

#[test]
fn a_server_in_a_container_is_as_one_on_the_host() {
    if !make_image() {
        return;
    }
    let (_folder, home) = home();
    let mut server = Server::start(&*CONTAINED, &options(&home)).expect("it starts in a container");
    let instance = server.instance().clone();
    assert!(serves(&instance) && instance.version() == "local", "{instance:?}");
    assert!(!containers().is_empty());
    // The server's own process, not that of Docker's client.
    let command = std::fs::read_to_string(format!("/proc/{}/cmdline", server.process_id())).expect("it runs");
    assert!(command.contains("redis-server"), "{command}");
    server.pause().expect("it runs");
    server.resume().expect("it runs");
    server.kill().expect("nothing survives");
    eventually("the container goes with its server", || containers().is_empty());
    server.restart().expect("it comes again");
    let instance = server.instance().clone();
    assert!(serves(&instance));
    let processes = instance.processes();
    server.stop().expect("it goes");
    assert_gone(&instance, &processes);
    eventually("the container goes", || containers().is_empty());
    docker(&["image", "rm", IMAGE]).expect("the image is ours");
}
