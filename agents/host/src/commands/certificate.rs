//! `certificate`: puts the fleet's certificate, which comes on standard input, into the directory of this helper. Internal:
//! `bbb-agent-certificate.socket` or `turn-agent-certificate.socket` starts it for a service that may not write where
//! servers read ([`clients::certificate::store`]).
//!
//! A process that may start it can have any certificate put there whose key it has. It cannot choose where, and nothing
//! but a certificate with its key gets there.

use std::path::PathBuf;

use crate::commands::input;
use crate::report::{Exit, Failure, say};
use clients::aws::utc;
use clients::certificate::bundle::{Bundle, MAX_SIZE};
use clients::certificate::store;

/// The variable in which systemd names the directory of a unit with `StateDirectory=`.
const DIRECTORY: &str = "STATE_DIRECTORY";

/// Puts the certificate into place. The next command of the unit has the servers read it.
pub fn certificate() -> Result<Exit, Failure> {
    let failed = |what: &str| Failure::new(Exit::Failed, what);
    let directory = std::env::var_os(DIRECTORY).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = directory.ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{DIRECTORY} names no directory")).advise(
            "systemd sets it: this command is for the unit that puts the fleet's certificate into place",
        )
    })?;
    let text = input(MAX_SIZE).map_err(|error| failed("standard input").because(error))?;
    let bundle =
        Bundle::parse(&text).map_err(|defect| failed("the certificate on standard input").because(defect))?;
    let put = store::put(&directory, &bundle);
    if put.map_err(|error| failed(&format!("cannot write into {}", directory.display())).because(error))? {
        say(format_args!(
            "the certificate {} is put into place; it ends at {}",
            bundle.fingerprint(),
            utc(bundle.end())
        ));
    }
    Ok(Exit::Done)
}
