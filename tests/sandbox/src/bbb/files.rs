//! The property files that BBB's installer leaves on a host.

use std::fmt::Write;
use std::io::Result;
use std::path::{Path, PathBuf};

/// The salt in the shipped defaults: never the one that the host uses.
const SHIPPED_SALT: &str = "330a8b08c3b4c61533e1d0c5ce1ac88f";

/// The property files of one host, below a directory that stands for its root.
#[derive(Clone, Debug)]
pub struct HostFiles {
    root: PathBuf,
}

impl HostFiles {
    /// Names the files without writing any: BBB is not installed.
    pub fn absent(root: impl AsRef<Path>) -> Self {
        Self { root: root.as_ref().to_owned() }
    }

    /// Writes both files, as after a finished installation. `url` is `bigbluebutton.web.serverURL`, without
    /// `/bigbluebutton/api`.
    pub fn write(root: impl AsRef<Path>, url: &str, secret: &str) -> Result<Self> {
        let files = Self::absent(root);
        files.write_defaults()?;
        files.write_overrides(url, secret)?;
        Ok(files)
    }

    /// Returns the path of `etc/bigbluebutton/bbb-web.properties`, which overrides the other file.
    pub fn overrides(&self) -> PathBuf {
        self.root.join("etc/bigbluebutton/bbb-web.properties")
    }

    /// Returns the path of `usr/share/bbb-web/WEB-INF/classes/bigbluebutton.properties`, as shipped.
    pub fn defaults(&self) -> PathBuf {
        self.root.join("usr/share/bbb-web/WEB-INF/classes/bigbluebutton.properties")
    }

    /// Writes only the shipped defaults, with a salt and a URL that are not the host's: the package is unpacked but
    /// not configured.
    pub fn write_defaults(&self) -> Result<()> {
        write(&self.defaults(), &shipped())
    }

    /// Writes the overrides.
    pub fn write_overrides(&self, url: &str, secret: &str) -> Result<()> {
        let text = format!(
            "#\n# Use this file to override default entries in \
             /usr/share/bbb-web/WEB-INF/classes/bigbluebutton.properties\n#\n\n\
             # securitySalt=commented-out\n\
             securitySalt=replaced-below\n\
             {}{}\
             ! The last one wins.\n\
             defaultGuestPolicy = ALWAYS_ACCEPT\n",
            property("bigbluebutton.web.serverURL", url),
            property("securitySalt", secret),
        );
        write(&self.overrides(), &text)
    }

    /// Writes overrides without URL and salt, so that the shipped ones count.
    pub fn write_empty_overrides(&self) -> Result<()> {
        write(&self.overrides(), "# nothing is overridden\ndefaultGuestPolicy=ALWAYS_ACCEPT\n")
    }

    /// Removes the files: BBB is purged.
    pub fn remove(&self) -> Result<()> {
        for path in [self.overrides(), self.defaults()] {
            if path.exists() {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Returns the URL in the shipped defaults.
    pub fn shipped_url() -> &'static str {
        "http://bigbluebutton.example.com"
    }

    /// Returns the salt in the shipped defaults.
    pub fn shipped_salt() -> &'static str {
        SHIPPED_SALT
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(path, text)
}

/// Returns one line of a Java properties file, escaped so that `java.util.Properties` reads exactly this value.
fn property(key: &str, value: &str) -> String {
    let mut line = format!("{key}=");
    let mut leading = true;
    for character in value.chars() {
        leading &= matches!(character, ' ' | '\t' | '\u{c}');
        match character {
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            '\u{c}' => line.push_str("\\f"),
            ' ' if leading => line.push_str("\\ "),
            ' '..='~' => line.push(character),
            // The format is Latin-1; other characters are written as UTF-16 code units.
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
    line.push('\n');
    line
}

fn shipped() -> String {
    format!(
        "#\n# BigBlueButton open source conferencing system - http://www.bigbluebutton.org/\n#\n\n\
         # Directory where BigBlueButton stores uploaded slides\n\
         presentationDir=/var/bigbluebutton\n\n\
         # These are the types of presentation that are accepted, in a logical line of two natural ones.\n\
         supportedFileTypes = pdf,odp,\\\n    ppt,pptx,\\\n    securitySalt=not-a-property\n\
         defaultWelcomeMessage : Welcome to <b>%%CONFNAME%%</b>\\!\\u00a0Enjoy.\n\
         # The external URL of the server\n\
         bigbluebutton.web.serverURL={}\n\n\
         #----------------------------------------------------\n\
         # Salt which is used by 3rd-party apps to authenticate api calls\n\
         securitySalt={SHIPPED_SALT}\n\
         supportedChecksumAlgorithms=sha1,sha256,sha512\n",
        HostFiles::shipped_url()
    )
}

#[cfg(test)]
mod tests {
    use super::property;

    #[test]
    fn properties_escape_what_java_would_misread() {
        for (value, line) in [
            ("https://h.example.com", "k=https://h.example.com\n"),
            ("  two spaces ", "k=\\ \\ two spaces \n"),
            ("a\\b\\", "k=a\\\\b\\\\\n"),
            ("tab\tline\n", "k=tab\\tline\\n\n"),
            ("ü€😀", "k=\\u00fc\\u20ac\\ud83d\\ude00\n"),
            ("#!=:&/$%'\"|,", "k=#!=:&/$%'\"|,\n"),
        ] {
            assert_eq!(property("k", value), line);
        }
    }
}
