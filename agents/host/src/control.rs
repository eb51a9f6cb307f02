//! Never two writers on one host: commands by hand and the service share a lock and a socket in `service.directory`.
//!
//! Whoever changes something holds the [`Lock`] while it does: the service as long as it runs, a command by hand until it
//! ends. A command that finds the lock taken asks the service through the socket ([`ask`]), which does the work in its
//! own loop and sends back what the command would have printed, and its exit code. Where nobody listens, another
//! command by hand has the lock, and it ends soon.
//!
//! The socket speaks lines of JSON, one request a conversation; [`message`] has their shape. It can be reached by root
//! and by the service's own user only: the directory is for them alone, and so is the socket.

mod client;
mod lock;
pub mod message;
mod server;

pub use client::{ask, state};
pub use lock::Lock;
pub(crate) use lock::{busy, pace};
pub use message::{Counts, Delivery, Details, Reply, Request, ServiceState};
pub use server::{Conversation, Listener};

use std::path::{Path, PathBuf};

/// The file in the directory that is locked.
fn lock_file(directory: &Path) -> PathBuf {
    directory.join("lock")
}

/// The service's socket in the directory.
fn socket(directory: &Path) -> PathBuf {
    directory.join("control.sock")
}
