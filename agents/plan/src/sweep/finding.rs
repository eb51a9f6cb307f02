//! Results of a sweep for one host.

use std::fmt;
use std::net::IpAddr;

use super::Seen;
use crate::dns::Refusal;
use crate::instance::InstanceId;
use crate::record::{Name, RecordSet};

/// The result of a sweep for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The host's name.
    pub name: Name,
    /// The instance that the name is said to belong to, if any.
    pub instance: Option<InstanceId>,
    /// The region of that instance.
    pub region: String,
    /// The decision.
    pub verdict: Conclusion,
    /// The host's record sets, of which all are deleted or none.
    pub sets: Vec<RecordSet>,
    /// Whether the fleet's template makes this name.
    pub is_usual: bool,
}

impl Finding {
    /// Returns what tells this finding from all others: several instances have shares in one name.
    pub fn key(&self) -> Key {
        (self.name.clone(), self.instance.clone())
    }

    /// Tells whether this is only the share of an instance in a shared name.
    pub fn is_share(&self) -> bool {
        !self.sets.is_empty() && self.sets.iter().all(|set| set.share.is_some())
    }
}

/// A name, and the instance that it is said to belong to.
pub type Key = (Name, Option<InstanceId>);

/// The decision about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Ask EC2.
    Ask,
    /// Ask EC2 again, some time later: it has said once that the instance is gone.
    AskAgain,
    /// Delete everything at the name: the instance is gone, as EC2 has said last.
    Gone(Seen),
    /// Leave the name alone.
    Leave(Reason),
}

/// The reason for leaving a name alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The name is this host's own.
    Own,
    /// The ownership TXT is younger than the grace period.
    Young,
    /// The instance is in this state.
    There(String),
    /// The instance is of this account, which is not this host's.
    OtherAccount(String),
    /// EC2 does not know the instance, and nothing says that it was of this account.
    UnknownAccount,
    /// EC2 in this region, which is not this host's own, does not know the instance: the ownership TXT may be wrong.
    Elsewhere(String),
    /// The ownership TXT names no region.
    NoRegion,
    /// EC2 in this region could not be asked.
    Silent {
        /// The region.
        region: String,
        /// The failure.
        why: String,
    },
    /// EC2 does not know this host itself, so it is not believed.
    Blind,
    /// The name is made for this instance, and the ownership TXT names another.
    Misnamed(InstanceId),
    /// A living instance has this address and no other name for it.
    Held(IpAddr, InstanceId),
    /// It is not known which instance has this address, for this reason.
    NotKnown(IpAddr, String),
    /// The host name of an entry is not one of this fleet's.
    Unusual,
    /// The name is not the agents'.
    Others(Refusal),
}

impl Conclusion {
    /// Tells whether EC2 has to be asked before the decision.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Ask | Self::AskAgain)
    }

    /// Tells whether everything at the name is deleted.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }

    /// Tells whether this is the decision about a healthy host.
    pub fn is_well(&self) -> bool {
        matches!(self, Self::Leave(Reason::Own | Reason::Young | Reason::There(_)))
    }
}

impl fmt::Display for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask => f.write_str("left alone: it came while EC2 was asked"),
            Self::AskAgain => f.write_str("left alone: EC2 has said only once that its instance is gone"),
            Self::Gone(Seen::Absent) => f.write_str("gone: EC2 does not know its instance any more"),
            Self::Gone(_) => f.write_str("gone: its instance is terminated"),
            Self::Leave(reason) => write!(f, "left alone: {reason}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("it is this host's own"),
            Self::Young => f.write_str("its ownership TXT is younger than sweep.grace"),
            Self::There(state) => write!(f, "its instance is {state}"),
            Self::OtherAccount(account) => {
                write!(f, "its instance is of the account {account}, which this host cannot ask")
            }
            Self::UnknownAccount => f.write_str(
                "EC2 does not know its instance, and nothing says that it was of this account; if it is gone, delete this by hand",
            ),
            Self::Elsewhere(region) => write!(
                f,
                "EC2 in {region} does not know its instance, which only a host of that region believes; if it is gone, \
                 sweep there or delete this by hand"
            ),
            Self::NoRegion => f.write_str("its ownership TXT names no region"),
            Self::Silent { region, why } => write!(f, "EC2 in {region} could not be asked: {why}"),
            Self::Blind => f.write_str("EC2 does not know this host itself, so nothing that it says is believed"),
            Self::Misnamed(instance) => {
                write!(f, "its name is made for {instance}, and its ownership TXT names another instance")
            }
            Self::Held(address, instance) => write!(
                f,
                "its instance is gone, but it leads to {address} of {instance}, which has no other name for it; \
                 if nobody needs this name, delete it by hand"
            ),
            Self::NotKnown(address, why) => {
                write!(f, "its instance is gone, but who has {address} now is not known: {why}")
            }
            Self::Unusual => f.write_str("no host of this fleet is called so"),
            Self::Others(refusal) => refusal.fmt(f),
        }
    }
}
