//! The binaries that are measured.

use std::path::{Path, PathBuf};

use bench::figures::{Aim, Figure, Unit};

use crate::Error;
use crate::rig::beside;

/// A size in bytes above that of any release of the agents, and below that of any development build.
const DEBUG_SIZE: u64 = 30 * 1024 * 1024;

/// The aim for the size of a binary, in bytes.
const SIZE: u64 = 8 * 1024 * 1024;

/// The binaries of the agents.
pub(crate) struct Agents {
    /// The directory that contains them.
    pub(crate) directory: PathBuf,
    /// Their names and sizes in bytes.
    pub(crate) sizes: Vec<(&'static str, u64)>,
}

impl Agents {
    /// Tells whether these are development builds, whose times are meaningless.
    pub(crate) fn are_debug_builds(&self) -> bool {
        self.sizes.iter().any(|(_, size)| *size > DEBUG_SIZE)
    }

    /// Returns the path of bbb-agent.
    pub(crate) fn bbb_agent(&self) -> PathBuf {
        self.directory.join("bbb-agent")
    }

    /// Returns the sizes, compared with the floor's: a static program with a TLS client and nothing else.
    pub(crate) fn figures(&self) -> Result<Vec<Figure>, Error> {
        let floor = std::fs::metadata(beside("floor")?)?.len();
        let figure = |(name, size): &(&str, u64)| {
            Figure::new(format!("{name}: size"), Unit::Bytes, *size).floor(floor).aim(Aim::AtMost(SIZE))
        };
        Ok(self.sizes.iter().map(figure).collect())
    }
}

/// Finds the binaries in `AGENT_BIN_DIR`, or else those of `packaging/build`.
pub(crate) fn find() -> Result<Agents, Error> {
    let dist = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/dist");
    let chosen = std::env::var_os(sandbox::binaries::DIRECTORY_VARIABLE).map_or_else(dist, PathBuf::from);
    let directory = chosen
        .canonicalize()
        .map_err(|error| format!("{}: {error}; run packaging/build first", chosen.display()))?;
    let size = |name: &'static str| {
        let path = directory.join(name);
        let length = std::fs::metadata(&path).map(|metadata| metadata.len());
        length.map(|length| (name, length)).map_err(|error| format!("{}: {error}", path.display()))
    };
    let sizes = ["bbb-agent", "turn-agent"].into_iter().map(size).collect::<Result<_, _>>()?;
    Ok(Agents { directory, sizes })
}
