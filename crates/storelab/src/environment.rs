//! What is set around the program: its environment, `.env` and `conf/config.yaml`, read once when it starts.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use store::{Error, Result};

use crate::settings::{FILE_DEFAULT, Settings, Sources};

/// The most that is read of a file of options; it has a hundred lines where everything is set.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where variables stand that the environment does not have.
const DOTENV: &str = ".env";

/// Set by `main` before anybody asks.
static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// Reads what is set. `flags` are names of options with what the command line says of them, `file` the one it names.
///
/// # Errors
/// `Config` for a file that cannot be read and for what [`Settings::resolve`] refuses.
pub(crate) fn read(flags: &[(&'static str, String)], file: Option<&Path>) -> Result<&'static Settings> {
    let file = file.filter(|file| !file.as_os_str().is_empty());
    let path = file.unwrap_or(Path::new(FILE_DEFAULT));
    let text = text_of(path)?;
    if let (None, Some(file)) = (&text, file) {
        return Err(Error::config(format!("the file of options {} is not there", file.display()))
            .with_hint("name one that is; conf/config.example.yaml shows how it is written"));
    }
    let settings = Settings::resolve(&Sources {
        flags,
        environment: &|name| std::env::var_os(name),
        dotenv: text_of(Path::new(DOTENV))?,
        file: text.map(|text| (path.display().to_string(), text)),
    })?;
    Ok(SETTINGS.get_or_init(|| settings))
}

/// A variable's value, from the environment or else from the files.
pub(crate) fn variable(name: &str) -> Option<String> {
    let set = SETTINGS.get().and_then(|settings| settings.variable(name));
    set.or_else(|| std::env::var(name).ok())
}

/// A file's text; none where there is no such file. A folder of that name is somebody else's.
fn text_of(path: &Path) -> Result<Option<String>> {
    let refused = |why: &str, source: Option<io::Error>| {
        let error = Error::config(format!("{} {why}", path.display()));
        let error = error.with_hint("make it readable text, or start the program in another folder");
        Err(match source {
            Some(source) => error.with_source(source),
            None => error,
        })
    };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return refused("cannot be read", Some(error)),
        Ok(metadata) if metadata.is_dir() => return Ok(None),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => return refused("is longer than a file of options is", None),
        Ok(_) => {}
    }
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) => refused("cannot be read", Some(error)),
    }
}
