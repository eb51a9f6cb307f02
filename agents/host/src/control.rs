//! One writer on a host: commands and the service share a lock and a socket in `service.directory`.
//!
//! A process that changes anything holds the [`Lock`] meanwhile: the service as long as it runs, a command until it
//! ends. A command that finds the lock taken asks the service through the socket ([`ask`]); the service does the work
//! in its own loop, and sends back the output and the exit code of the command. Where nothing listens, another command
//! holds the lock, and it will end soon.
//!
//! The socket carries lines of JSON, one request per conversation; [`message`] has their shape. Only root and the
//! service's own user can connect: both the directory and the socket are restricted to them.

mod client;
mod lock;
pub mod message;
mod server;
pub mod work;

pub use client::{ask, state};
pub use lock::Lock;
pub(crate) use lock::{busy, pace};
pub use message::{CertificateFacts, Counts, Delivery, Details, HookFacts, Reply, Request, ServiceState};
pub use server::{Conversation, Listener};
pub use work::{RelayFacts, WorkFacts};

use std::path::{Path, PathBuf};

/// Returns the path of the lock's file in the directory.
fn lock_file(directory: &Path) -> PathBuf {
    directory.join("lock")
}

/// Returns the path of the service's socket in the directory.
fn socket(directory: &Path) -> PathBuf {
    directory.join("control.sock")
}
