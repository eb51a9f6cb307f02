//! The settings whose value is one of a few words: every word with its value and its meaning.

use plan::addresses::OnAddresses;
use plan::lifecycle::{HookResult, OnStop};

use super::row::Word;
use crate::log::Level;

/// A value that is configured by a word.
pub trait Choice: Copy + 'static {
    /// Every word that is allowed, its value and its meaning.
    const WORDS: &'static [(&'static str, Self, &'static str)];
}

/// Returns the words of a choice, each with its meaning.
pub fn words<C: Choice>() -> Vec<Word> {
    C::WORDS.iter().map(|(word, _, meaning)| (*word, *meaning)).collect()
}

/// The IPv4 address that is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Choice {
    /// The public one: without it the host is not registered.
    Public,
    /// The public one, if there is one.
    PublicIfAny,
    /// The one inside the VPC.
    Private,
    /// None.
    Off,
}

impl Choice for Ipv4Choice {
    const WORDS: &'static [(&'static str, Self, &'static str)] = &[
        (
            "public",
            Self::Public,
            "the public address; a host without one has no name and takes no new meetings",
        ),
        ("public-if-any", Self::PublicIfAny, "the public address, if there is one; else IPv6 has to do"),
        ("private", Self::Private, "the address inside the VPC"),
        ("off", Self::Off, "none"),
    ];
}

/// The place where existing records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// DNS first.
    Auto,
    /// Route 53's API only.
    Api,
}

impl Choice for ReadFrom {
    const WORDS: &'static [(&'static str, Self, &'static str)] = &[
        (
            "auto",
            Self::Auto,
            "from the zone's authoritative servers, and from Route 53's API only where they do not answer",
        ),
        ("api", Self::Api, "always from Route 53's API (for private zones)"),
    ];
}

impl Choice for OnStop {
    const WORDS: &'static [(&'static str, Self, &'static str)] = &[
        ("leave", Self::Leave, "leave Scalelite and delete the host's record sets"),
        ("cordon", Self::Cordon, "cordon the Scalelite entry: new meetings go to other hosts"),
        ("keep", Self::Keep, "change nothing"),
    ];
}

impl Choice for OnAddresses {
    const WORDS: &'static [(&'static str, Self, &'static str)] = &[
        (
            "refuse",
            Self::Refuse,
            "a BBB host takes no new meetings, a TURN host has no name, until the address is set right",
        ),
        ("repair", Self::Repair, "the same, until the agent's helper sets it right, when no meeting runs"),
        ("ignore", Self::Ignore, "nothing; status and check still show it"),
    ];
}

impl Choice for HookResult {
    const WORDS: &'static [(&'static str, Self, &'static str)] = &[
        ("continue", Self::Continue, "the group terminates the instance"),
        ("abandon", Self::Abandon, "the group keeps the instance, where it is configured to"),
    ];
}

/// The termination hooks that the agent completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookChoice {
    /// The named one, or the only one.
    Own,
    /// All.
    All,
}

impl Choice for HookChoice {
    const WORDS: &'static [(&'static str, Self, &'static str)] = &[
        ("own", Self::Own, "the one that drain.hook names, or the only one; others complete the rest"),
        ("all", Self::All, "all of them, because nobody else does"),
    ];
}

/// The answer to a notice of EC2 that the host may have to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnNotice {
    /// New meetings go to other hosts.
    Cordon,
    /// None.
    Ignore,
}

impl Choice for OnNotice {
    const WORDS: &'static [(&'static str, Self, &'static str)] = &[
        ("cordon", Self::Cordon, "cordon the Scalelite entry: new meetings go to other hosts"),
        ("ignore", Self::Ignore, "change nothing"),
    ];
}

/// The dimension that keeps the metrics of hosts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Their group; outside one their domain.
    Group,
    /// The instance.
    Instance,
    /// Each metric by both.
    Both,
}

impl Choice for Dimension {
    const WORDS: &'static [(&'static str, Self, &'static str)] = &[
        ("group", Self::Group, "the Auto Scaling group; outside one, dns.domain"),
        ("instance", Self::Instance, "the instance"),
        ("both", Self::Both, "every metric is sent twice, once by each"),
    ];
}

impl Choice for Level {
    const WORDS: &'static [(&'static str, Self, &'static str)] = &[
        ("error", Self::Error, "what failed for good"),
        ("warn", Self::Warn, "also what failed and is tried again"),
        ("info", Self::Info, "also what was decided and done"),
        ("debug", Self::Debug, "also what was asked and answered, without secrets"),
    ];
}
