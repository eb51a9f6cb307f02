//! The files in which BBB, FreeSWITCH and coturn have the host's address.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Rig;

/// The addresses in the files of [`cases`].
const PUBLIC: &str = "203.0.113.10";
const PRIVATE: &str = "10.0.0.5";

/// The files of a BBB 3.0 with LiveKit behind NAT, as bbb-install leaves them.
fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agents/clients/tests/cases/addresses/bbb-3.0")
}

impl Rig {
    /// Lets the host's BBB be installed with this address, whatever its files said before.
    pub fn announces(&self, address: &str) {
        let private =
            self.host.imds.facts().and_then(|facts| facts.local_ipv4).expect("an address").to_string();
        copy(&cases(), &self.host.root, &|text| text.replace(PUBLIC, address).replace(PRIVATE, &private));
    }

    /// Lets the host have this public address from now on.
    pub fn readdress(&self, address: &str) {
        let address = Some(address.parse().expect("an address"));
        self.host.imds.update(|facts| facts.public_ipv4 = address).expect("a change");
    }
}

fn copy(from: &Path, to: &Path, change: &impl Fn(String) -> String) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to, change);
        } else {
            let text = change(fs::read_to_string(&path).expect("a text"));
            // Whole or not at all, because the agent may look at any moment.
            let new = to.with_extension("new");
            fs::write(&new, text).expect("a file");
            fs::rename(new, to).expect("a file");
        }
    }
}
