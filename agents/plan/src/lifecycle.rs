//! How a host is kept in its fleet and taken out of it.

/// What a stop of the service by hand undoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// Everything: the host leaves Scalelite and gives up its name.
    Leave,
    /// New meetings go elsewhere; the name stays.
    Cordon,
    /// Nothing.
    Keep,
}

/// How a lifecycle action is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The group goes on with the termination.
    Continue,
    /// The group gives up; it may be set up to keep such an instance.
    Abandon,
}

/// Why the service is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// It is started again at once, as by an upgrade.
    Restart,
    /// The host reboots (also by kexec), and will be back under its name.
    Reboot,
    /// The host powers off or halts.
    PowerOff,
    /// Somebody stops it, or nobody knows why it stops.
    Stop,
}
