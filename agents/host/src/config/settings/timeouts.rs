//! The settings `timeouts.*`.

use std::time::Duration;

use crate::config::checker::Checker;

/// The limits of waiting.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Waiting for the metadata service.
    pub imds: Duration,
    /// All of `register`.
    pub register: Duration,
    /// All of `deregister`.
    pub deregister: Duration,
    /// All of `sweep`, without its pause.
    pub sweep: Duration,
    /// Waiting for the API of a BBB that is installed.
    pub bbb: Duration,
    /// Any one answer that `status` and `check` wait for.
    pub status: Duration,
}

impl Checker<'_> {
    pub(super) fn timeouts(&mut self) -> Option<Timeouts> {
        let imds = self.seconds("timeouts.imds");
        let register = self.seconds("timeouts.register");
        let deregister = self.seconds("timeouts.deregister");
        let sweep = self.seconds("timeouts.sweep");
        let bbb = self.seconds("timeouts.bbb");
        let status = self.seconds("timeouts.status");
        Some(Timeouts {
            imds: imds?,
            register: register?,
            deregister: deregister?,
            sweep: sweep?,
            bbb: bbb?,
            status: status?,
        })
    }
}
