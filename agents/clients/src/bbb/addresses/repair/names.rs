//! A host that was made from an image becomes itself: its own name, and secrets of its own, in the files in which
//! `bbb-conf --setip` and bbb-install (their sources, versions 2.7 to 4.0) write the name.
//!
//! The properties of bbb-web, which say whose name BBB has, are the last file that is written: until then each run
//! finds the former name there.

use std::path::Path;

use plan::addresses::File;
use plan::image::{FILES, Origin, PROPERTIES, Replacement};
use plan::membership::{host_of, normalise_url};
use secrecy::zeroize::Zeroizing;

use super::journal::{Journal, RENAMED};
use super::{Edit, MAX_SIZE, Names, Opened, Repaired, below, opened};
use crate::bbb::files::{self, NoBytes, SECRET, SERVER_URL};
use crate::bbb::properties;

/// coturn's settings: its realm is the host's name.
const COTURN: &str = File::Coturn.path();
/// The key of the secret that coturn shares with BBB.
const COTURN_SECRET: &str = "static-auth-secret=";

/// The name and the secrets of an image, which the host must not keep.
struct Former {
    name: String,
    secrets: Vec<Secret>,
}

/// A secret that all hosts of an image share.
struct Secret {
    /// Its name in the list of the new ones, and in words.
    kind: &'static str,
    former: Zeroizing<String>,
}

/// Gives a host that was made from an image its own name and secrets; on any other host it only finishes what was
/// interrupted. What cannot be done is an error, or among the failures.
pub(super) fn rename(
    root: &Path,
    journal: &Journal,
    names: &Names<'_>,
    repaired: &mut Repaired,
) -> Result<(), String> {
    let former = former(root, journal, names)?;
    let mut replacements = Vec::new();
    if let Some(former) = &former {
        journal.begin([RENAMED.to_owned()])?;
        for secret in &former.secrets {
            replacements.push((secret, Zeroizing::new(journal.secret(secret.kind)?)));
        }
    }
    for path in FILES {
        if path == PROPERTIES && !repaired.failed.is_empty() {
            return Ok(());
        }
        if former.is_none() && !journal.is_pending(path)? {
            continue;
        }
        let change = |text: &str| match &former {
            Some(former) => changed(path, text, &former.name, names, &replacements),
            None => (text.to_owned(), Vec::new()),
        };
        match edit(root, journal, path, change) {
            Ok(Some(edit)) => repaired.carry_out(journal, edit),
            Ok(None) => {}
            Err(why) => repaired.failed.push(format!("{path}: {why}")),
        }
    }
    if repaired.failed.is_empty() { journal.forget_secrets() } else { Ok(()) }
}

/// Finds out what the host has of an image; returns none where it was not made from one.
fn former(root: &Path, journal: &Journal, names: &Names<'_>) -> Result<Option<Former>, String> {
    let Some(text) = text(root, journal, PROPERTIES)? else { return Ok(None) };
    let mut values = properties::parse(&text);
    let url = values.remove(SERVER_URL).and_then(|url| normalise_url(&url));
    let Some(name) = url.as_deref().and_then(host_of) else { return Ok(None) };
    if !Origin::of(name, names.own, names.fleet).is_image() {
        return Ok(None);
    }
    let bbb = values.remove(SECRET).map(Zeroizing::new);
    let coturn = secret_of_coturn(root, journal)?;
    let known = [("bbb", bbb), ("coturn", coturn)];
    let secrets = known.into_iter().filter_map(|(kind, former)| Some(Secret { kind, former: former? }));
    let secrets = secrets.filter(|secret| is_secret(&secret.former)).collect();
    Ok(Some(Former { name: name.to_owned(), secrets }))
}

fn secret_of_coturn(root: &Path, journal: &Journal) -> Result<Option<Zeroizing<String>>, String> {
    let Some(text) = text(root, journal, COTURN)? else { return Ok(None) };
    let value = text.lines().find_map(|line| line.trim().strip_prefix(COTURN_SECRET));
    Ok(value.map(|value| Zeroizing::new(value.trim().to_owned())))
}

/// Tells whether a text can only be a secret, so that nothing else is replaced by mistake: bbb-install draws at least
/// 32 characters.
fn is_secret(text: &str) -> bool {
    text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte))
}

/// Returns a file's text, as it is or was to be.
fn text(root: &Path, journal: &Journal, path: &str) -> Result<Option<Zeroizing<String>>, String> {
    let bytes = match files::bytes(&below(root, path), MAX_SIZE) {
        Ok(bytes) => bytes,
        Err(NoBytes::Absent) => return Ok(None),
        Err(other) => return Err(format!("{path}: {}", other.words())),
    };
    let intended = journal.intended(path, &bytes)?.map(Zeroizing::new);
    Ok(Some(Zeroizing::new(properties::decode(&intended.unwrap_or(bytes)))))
}

/// Finds out what has to be changed in a file, with this change of its text.
fn edit(
    root: &Path,
    journal: &Journal,
    path: &'static str,
    change: impl FnOnce(&str) -> (String, Vec<String>),
) -> Result<Option<Edit>, String> {
    let Some(Opened { target, old, base }) = opened(root, journal, path)? else { return Ok(None) };
    let text = std::str::from_utf8(&base)
        .map_err(|error| format!("it is not UTF-8 from byte {} on", error.valid_up_to()))?;
    let (new, changes) = change(text);
    let new = new.into_bytes();
    Ok((new != old).then_some(Edit { path, target, old, new, changes }))
}

/// Returns a file's text with the host's own name and secrets, and what is replaced, in words.
fn changed(
    path: &str,
    text: &str,
    former: &str,
    names: &Names<'_>,
    secrets: &[(&Secret, Zeroizing<String>)],
) -> (String, Vec<String>) {
    let own = names.own;
    let (mut text, count) = Replacement { former, new: own.as_str() }.apply(text);
    let mut words = Vec::new();
    if count > 0 {
        words.push(format!("{path}: the host's name is {own} now, not {former}"));
    }
    for (secret, new) in secrets.iter().filter(|(secret, _)| shares(path, secret.kind)) {
        let (replaced, count) = Replacement { former: &secret.former, new }.apply(&text);
        text = replaced;
        if count > 0 {
            words.push(format!("{path}: the host has a secret of its own now ({})", secret.kind));
        }
    }
    (text, words)
}

/// Tells whether a file has secrets of this kind.
fn shares(path: &str, kind: &str) -> bool {
    match kind {
        "coturn" => path == COTURN || path.ends_with("/turn-stun-servers.xml"),
        _ => path == PROPERTIES || path.ends_with("/bbb-apps-akka.conf") || path.contains("/bbb-webhooks/"),
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
