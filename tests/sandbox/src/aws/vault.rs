//! The access keys that the front accepts and that IMDS provides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Refused;
use crate::clock::real_time;

/// The lifetime of a role's keys, in seconds: six hours, as in EC2.
const LIFETIME: u64 = 6 * 3600;
/// The age of a role's keys when IMDS shows them first, in seconds: those of a host that has been up for a while.
const AGE: u64 = 3600;

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
    /// Returns when the keys of an instance's role were issued, in seconds since 1970.
    pub fn issued(&self) -> u64 {
        self.expires.map_or_else(|| real_time().as_secs() - AGE, |expires| expires.saturating_sub(LIFETIME))
    }

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
    /// The ARN of the role by whose assumption each access key was given out.
    assumed: BTreeMap<String, String>,
    /// The roles whose keys the services do not know yet.
    unknown: BTreeSet<String>,
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
            let state = self.state();
            state.roles.get(role).and_then(|key| state.keys.get(key)).cloned()
        };
        match current {
            Some(keys) if keys.expires.is_none_or(|expires| expires > soon) => keys,
            _ => self.issue(role, AGE),
        }
    }

    /// Gives a role new keys; the old ones stay valid until they expire.
    pub fn rotate(&self, role: &str) -> Keys {
        self.issue(role, AGE)
    }

    /// Gives a role the keys of an instance to which it was attached so many seconds ago.
    pub fn attach(&self, role: &str, ago: u64) -> Keys {
        self.issue(role, ago)
    }

    /// Lets the services know the keys of a role, or not (yet), as in the first minute after it was made.
    pub fn set_known(&self, role: &str, known: bool) {
        let mut state = self.state();
        if known {
            state.unknown.remove(role);
        } else {
            state.unknown.insert(role.to_owned());
        }
    }

    /// Returns the keys of a new session of an assumed role.
    pub(crate) fn assume(&self, arn: &str, lifetime: Duration) -> Keys {
        let keys = fresh(real_time().as_secs() + lifetime.as_secs());
        self.set_role(arn, keys.clone());
        self.state().assumed.insert(keys.access_key.clone(), arn.to_owned());
        keys
    }

    /// Returns the ARN of the role by whose assumption the key was given out.
    pub(super) fn assumed(&self, access_key: &str) -> Option<String> {
        self.state().assumed.get(access_key).cloned()
    }

    fn issue(&self, role: &str, ago: u64) -> Keys {
        let keys = fresh(real_time().as_secs() + LIFETIME - ago);
        self.set_role(role, keys.clone());
        keys
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a role these keys, e.g. marked ones for which a test can search in case of a leak.
    pub fn set_role(&self, role: &str, keys: Keys) {
        let mut state = self.state();
        state.roles.insert(role.to_owned(), keys.access_key.clone());
        state.keys.insert(keys.access_key.clone(), keys);
    }

    /// Expires the current keys of a role at once; IMDS then provides new ones.
    pub fn expire(&self, role: &str) {
        let mut state = self.state();
        let State { keys, roles, .. } = &mut *state;
        if let Some(keys) = roles.remove(role).and_then(|key| keys.get_mut(&key)) {
            keys.expires = Some(0);
        }
    }

    pub(super) fn find(&self, access_key: &str) -> Option<Keys> {
        let state = self.state();
        let unknown = |role: &String| state.roles.get(role).is_some_and(|key| key == access_key);
        let keys = state.keys.get(access_key).cloned();
        keys.filter(|_| !state.unknown.iter().any(unknown))
    }

    fn add(&self, keys: Keys) {
        let mut state = self.state();
        state.keys.insert(keys.access_key.clone(), keys);
    }
}

fn fresh(expires: u64) -> Keys {
    Keys {
        access_key: format!("ASIA{}", random(16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
        secret_key: random(40, LETTERS),
        session_token: Some(random(344, LETTERS)),
        expires: Some(expires),
    }
}

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Returns a random text of this length and alphabet.
pub(crate) fn random(length: usize, alphabet: &[u8]) -> String {
    (0..length).filter_map(|_| fastrand::choice(alphabet)).map(|byte| char::from(*byte)).collect()
}
