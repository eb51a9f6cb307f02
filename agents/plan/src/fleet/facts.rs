//! What the sources say of one host.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Instance, Member, Values};
use crate::dns::Refusal;
use crate::sweep::{Conclusion, Seen};

/// EC2's word about an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Machine {
    /// EC2 could not be asked, or is not believed.
    Unknown,
    /// EC2 has the instance, in any state but terminated.
    There(Instance),
    /// The instance is terminated or absent; with the sweep's decision about what is left of it, if anything is.
    Gone(Seen, Option<Conclusion>),
}

/// The place of an instance in its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The place is not known.
    Unknown,
    /// The instance is in no group.
    NoGroup,
    /// The group lists it.
    Member(Member),
    /// By its tags the instance is of this group, which does not list it: it is in the warm pool, or on its way in or
    /// out.
    Unlisted(String),
}

/// The record sets at a host's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameFacts {
    /// The zone could not be read.
    Unknown,
    /// The host has no name.
    None,
    /// The name is the host's; its addresses cannot be compared now.
    There,
    /// The name is the host's, and has its addresses.
    Right,
    /// The name is the host's, and has other addresses.
    WrongAddress {
        /// The addresses at the name.
        found: BTreeSet<IpAddr>,
        /// The addresses that the host has.
        own: BTreeSet<IpAddr>,
    },
    /// The name that the host should have is not its own.
    Refused(Refusal),
}

/// The entries of a host.
#[derive(Clone, Debug, PartialEq)]
pub enum Entries {
    /// There is no Scalelite.
    NotUsed,
    /// The host's entries are not known.
    Unknown,
    /// The host has these entries, each with its values or the reason why they cannot be understood.
    These(Vec<Result<Values, String>>),
}

impl Machine {
    /// Returns the instance, if EC2 has it.
    pub fn instance(&self) -> Option<&Instance> {
        match self {
            Self::There(instance) => Some(instance),
            Self::Unknown | Self::Gone(..) => None,
        }
    }

    /// Returns EC2's word for the instance's state; `None` where it is not known.
    pub fn state(&self) -> Option<&str> {
        match self {
            Self::Unknown => None,
            Self::There(Instance { state, .. }) | Self::Gone(state, _) => Some(match state {
                Seen::Terminated => "terminated",
                Seen::Absent => "absent",
                Seen::There(state) => state,
            }),
        }
    }
}

impl Place {
    /// Returns the instance's membership, if a group lists it.
    pub fn member(&self) -> Option<&Member> {
        match self {
            Self::Member(member) => Some(member),
            Self::Unknown | Self::NoGroup | Self::Unlisted(_) => None,
        }
    }
}

impl NameFacts {
    /// Tells whether the name is right; `None` where that is not known.
    pub fn is_right(&self) -> Option<bool> {
        match self {
            Self::Unknown | Self::There => None,
            Self::Right => Some(true),
            Self::None | Self::WrongAddress { .. } | Self::Refused(_) => Some(false),
        }
    }

    /// Returns a stable word: `right`, `wrong`, `there`, `none`, `foreign`; `None` where it is not known.
    pub fn as_str(&self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::None => Some("none"),
            Self::There => Some("there"),
            Self::Right => Some("right"),
            Self::WrongAddress { .. } => Some("wrong"),
            Self::Refused(_) => Some("foreign"),
        }
    }
}

impl Entries {
    /// Returns the values of the host's one entry.
    pub fn one(&self) -> Option<Values> {
        match self {
            Self::These(entries) => match entries.as_slice() {
                [Ok(values)] => Some(*values),
                _ => None,
            },
            Self::NotUsed | Self::Unknown => None,
        }
    }

    /// Returns a stable word: `none`, `enabled`, `cordoned`, `disabled`, `several`, `odd`; `None` where it is not known or
    /// not used.
    pub fn as_str(&self) -> Option<&'static str> {
        match self {
            Self::NotUsed | Self::Unknown => None,
            Self::These(entries) => Some(match entries.as_slice() {
                [] => "none",
                [Ok(values)] => values.state.as_str(),
                [Err(_)] => "odd",
                _ => "several",
            }),
        }
    }
}
