//! The file with the fleet's certificate in the directory of the helper: the chain, then the key. Root's part of the
//! helper's unit copies it to where servers read it (`packaging/use-certificate`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::bundle::Bundle;

/// The file's name.
const FILE: &str = "bundle.pem";

/// Puts a bundle into place in this directory, whole or not at all; returns whether it was not there yet. Only the owner
/// can read it.
pub fn put(directory: &Path, bundle: &Bundle) -> io::Result<bool> {
    let (path, new) = (directory.join(FILE), directory.join("bundle.new"));
    let whole = bundle.whole();
    if fs::read(&path).is_ok_and(|found| found == whole.as_bytes()) {
        return Ok(false);
    }
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(whole.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(directory)?.sync_all()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::certificate::bundle::tests::{Authority, bundle};

    #[test]
    fn a_bundle_takes_the_place_of_another_and_the_same_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let authority = Authority::new();
        for _ in 0..2 {
            let bundle = bundle(&authority);
            assert!(put(directory.path(), &bundle).unwrap());
            assert!(!put(directory.path(), &bundle).unwrap(), "it is there already");
            assert_eq!(fs::read_to_string(&path).unwrap(), *bundle.whole());
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            // What a crash has left is in nobody's way.
            symlink("elsewhere", directory.path().join("bundle.new")).unwrap();
        }
    }
}
