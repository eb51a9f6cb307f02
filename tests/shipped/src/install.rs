//! packaging/install.sh, as UserData runs it: against the embedded S3, in a mount namespace with an /etc, a /var and a /run
//! of its own, with stand-ins for dpkg and systemctl. The packages are real, their agents are the real ones.

pub(crate) mod host;

mod arguments;
mod fetching;
mod lock;
mod outside;
mod trust;
mod upgrades;
