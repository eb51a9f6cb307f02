//! The real binaries, built from this checkout when needed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The variable that names a directory with finished binaries, for example static ones: then nothing is built.
pub const DIRECTORY_VARIABLE: &str = "AGENT_BIN_DIR";

/// Returns the path of `bbb-agent` or `turn-agent`. The first call in a process builds the binaries, unless
/// [`DIRECTORY_VARIABLE`] names a directory.
pub fn path(agent: &str) -> Result<PathBuf, String> {
    static DIRECTORY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| match std::env::var_os(DIRECTORY_VARIABLE) {
        Some(directory) => Ok(directory.into()),
        None => build(),
    });
    let path = directory.clone()?.join(agent);
    if path.is_file() { Ok(path) } else { Err(format!("there is no {}", path.display())) }
}

/// Copies a binary by a process of its own: a descriptor that this process has open for writing would be inherited by
/// any program that another thread starts at that moment, and the copy could not be run until that program ends ("text
/// file busy").
pub fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let status = Command::new("cp").arg("--").args([from, to]).status()?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other(format!("cp: {status}"))) }
}

/// Writes a shell script, by a process of its own too, for the same reason.
pub fn script(to: &Path, text: &str) -> std::io::Result<()> {
    let writes = "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"";
    let status = Command::new("/bin/sh").args(["-c", writes, "sh"]).arg(to).arg(text).status()?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other(format!("sh: {status}"))) }
}

fn build() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut command = Command::new(cargo);
    // The whole workspace is built, because a part of it would have fewer features, and so all of the SDK would be
    // compiled again.
    command.args(["build", "--quiet", "--workspace", "--bins"]).current_dir(workspace);
    let status = command.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err("the agents do not build: see above".to_owned());
    }
    // The same cargo built this process into the same directory, perhaps below deps/.
    let own = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let directory = own.ancestors().skip(1).find(|path| path.join("bbb-agent").is_file());
    directory.map(PathBuf::from).ok_or_else(|| format!("no bbb-agent beside {}", own.display()))
}
