//! Secrets in files, systemd's credentials included.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use tokio::io::AsyncReadExt;

use super::{Error, SecretReference};

/// The most bytes of a file: far more than any real secret has.
const MAX_SIZE: usize = 64 * 1024;

/// Warns when anyone but its owner may read the file. That is no error: the agent's own group is a sensible reader.
pub(super) fn warn_if_shared(path: &Path) {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        let path = path.display();
        tracing::warn!(
            "the secret in {path} is open to others than its owner (mode {mode:04o}): chmod 600 {path}"
        );
    }
}

/// Reads the secret in the file, without the line end that editors and `echo` leave behind it.
pub(super) async fn read(reference: &SecretReference, path: &Path) -> Result<SecretString, Error> {
    let bytes = bytes(path).await.map_err(|why| Error::unusable(reference, why))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::unusable(reference, "it is not UTF-8 text"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() {
        return Err(Error::unusable(reference, "it is empty; put the secret into it"));
    }
    Ok(text.into())
}

async fn bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let explain = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => format!("{} does not exist", path.display()),
        ErrorKind::PermissionDenied => {
            format!("no permission to read {}; the agent's user must own it or run as root", path.display())
        }
        _ => format!("reading {} failed: {error}", path.display()),
    };
    // Opening a pipe could block without limit.
    if !tokio::fs::metadata(path).await.map_err(explain)?.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    let file = tokio::fs::File::open(path).await.map_err(explain)?;
    // The buffer has its full size from the start: growing would leave copies behind that are never wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SIZE + 1));
    let mut limited = file.take(u64::try_from(MAX_SIZE + 1).unwrap_or(u64::MAX));
    limited.read_to_end(&mut bytes).await.map_err(explain)?;
    if bytes.len() > MAX_SIZE {
        return Err(format!("{} is larger than {MAX_SIZE} bytes; is it the right file?", path.display()));
    }
    Ok(bytes)
}
