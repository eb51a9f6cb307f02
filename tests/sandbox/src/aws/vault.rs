//! The access keys that the front accepts and that IMDS provides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Refused;
use crate::clock::real_time;

/// The lifetime of a role's keys, in seconds: six hours, as in EC2.
const LIFETIME: u64 = 6 * 3600;

/// An access key with its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// `AKIA...` or, with a session token, `ASIA...`.
    pub access_key: String,
    /// The secret.
    pub secret_key: String,
    /// The session token of a role's keys.
    pub session_token: Option<String>,
    /// When the keys expire, in seconds since 1970; a user's keys do not expire.
    pub expires: Option<u64>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl Keys {
    pub(super) fn check_token(&self, sent: &str) -> Result<(), Refused> {
        if self.session_token.as_deref().unwrap_or_default() != sent {
            return Err(Refused::WrongToken);
        }
        if self.expires.is_some_and(|expires| expires <= real_time().as_secs()) {
            return Err(Refused::Expired);
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct State {
    /// All keys, by access key.
    keys: BTreeMap<String, Keys>,
    /// The current access key of each role.
    roles: BTreeMap<String, String>,
}

/// The keys of the account.
#[derive(Debug, Default)]
pub struct Vault(Mutex<State>);

impl Vault {
    /// Creates a vault without keys.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds a user's long-lived key.
    pub fn add_user(&self, access_key: &str, secret_key: &str) {
        let (access_key, secret_key) = (access_key.to_owned(), secret_key.to_owned());
        let keys = Keys { access_key, secret_key, session_token: None, expires: None };
        self.add(keys);
    }

    /// Returns the current keys of a role; makes new ones when there are none, or when they expire within a minute.
    pub fn role(&self, role: &str) -> Keys {
        let soon = real_time().as_secs() + 60;
        let current = {
            let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.roles.get(role).and_then(|key| state.keys.get(key)).cloned()
        };
        match current {
            Some(keys) if keys.expires.is_none_or(|expires| expires > soon) => keys,
            _ => self.rotate(role),
        }
    }

    /// Gives a role new keys; the old ones stay valid until they expire.
    pub fn rotate(&self, role: &str) -> Keys {
        let keys = Keys {
            access_key: format!("ASIA{}", random(16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
            secret_key: random(40, LETTERS),
            session_token: Some(random(344, LETTERS)),
            expires: Some(real_time().as_secs() + LIFETIME),
        };
        self.set_role(role, keys.clone());
        keys
    }

    /// Gives a role these keys, e.g. marked ones for which a test can search in case of a leak.
    pub fn set_role(&self, role: &str, keys: Keys) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.roles.insert(role.to_owned(), keys.access_key.clone());
        state.keys.insert(keys.access_key.clone(), keys);
    }

    /// Expires the current keys of a role at once; IMDS then provides new ones.
    pub fn expire(&self, role: &str) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { keys, roles } = &mut *state;
        if let Some(keys) = roles.remove(role).and_then(|key| keys.get_mut(&key)) {
            keys.expires = Some(0);
        }
    }

    pub(super) fn find(&self, access_key: &str) -> Option<Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys.get(access_key).cloned()
    }

    fn add(&self, keys: Keys) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.keys.insert(keys.access_key.clone(), keys);
    }
}

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Returns a random text of this length and alphabet.
pub(crate) fn random(length: usize, alphabet: &[u8]) -> String {
    (0..length).filter_map(|_| fastrand::choice(alphabet)).map(|byte| char::from(*byte)).collect()
}
