//! The plans of the group and of EC2 for the host, and how much an answer of the metadata service is believed.

use super::{Kept, Memory, Moment};

/// The state that the group wants for this instance: `autoscaling/target-lifecycle-state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The instance serves: it is in no group, in service, or detached from its group.
    #[default]
    Serve,
    /// The instance serves no new users for a while.
    Standby,
    /// The instance waits in the warm pool.
    Warm,
    /// The instance ends.
    Terminate,
}

impl Target {
    /// Reads the metadata service's word; returns `None` for an undocumented word, which is no reason to do anything.
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("InService" | "Detached") => Some(Self::Serve),
            Some("Standby") => Some(Self::Standby),
            Some("Terminated" | "Warmed:Terminated") => Some(Self::Terminate),
            Some("Warmed:Stopped" | "Warmed:Running" | "Warmed:Hibernated") => Some(Self::Warm),
            Some(_) => None,
        }
    }
}

/// The plans for the host, as the metadata service tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// The state that the host's group wants.
    pub target: Target,
    /// Whether the host is in a group at all.
    pub grouped: bool,
    /// When EC2 takes this spot instance back.
    pub spot: Option<Moment>,
    /// Since when EC2 recommends replacing the host, if it does.
    pub rebalance: Option<Moment>,
    /// When the next scheduled maintenance begins.
    pub maintenance: Option<Moment>,
}

impl Intent {
    /// Tells whether this gives no reason at all to take the host out of service.
    fn wants_service(&self) -> bool {
        self.target == Target::Serve
            && self.spot.is_none()
            && self.rebalance.is_none()
            && self.maintenance.is_none()
    }

    /// Tells whether this takes back anything that `former` says: then an operator or the group has changed its mind,
    /// or the metadata service has answered 404 once without reason.
    fn eases(&self, former: &Self) -> bool {
        let later = match (former.maintenance, self.maintenance) {
            (Some(former), Some(new)) => new > former,
            (former, _) => former.is_some() && self.maintenance.is_none(),
        };
        former.target != Target::Serve && self.target == Target::Serve
            || former.spot.is_some() && self.spot.is_none()
            || former.rebalance.is_some() && self.rebalance.is_none()
            || later
    }
}

/// The answers of the metadata service, of which one that takes a notice back has to be heard twice in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    believed: Option<Intent>,
    doubted: Option<Intent>,
    /// Whether the host was being drained when the service began: then the first answer takes something back, too, if
    /// it does not end the host.
    drained: bool,
    /// The same of a host that this agent had cordoned, if the answer gives no reason for a cordon.
    cordoned: bool,
}

impl Heard {
    /// Returns the state of a service that begins, with what the one before it has kept.
    pub fn new(kept: &Kept) -> Self {
        let cordoned = kept.memory == Memory::Cordoned;
        Self { drained: kept.window.is_some(), cordoned, ..Self::default() }
    }

    /// Tells whether an answer waits for a second one: then all has to be asked again.
    pub fn doubts(&self) -> bool {
        self.doubted.is_some()
    }

    /// Takes in an answer, and returns the intent when it is news and believed. `whole` tells whether all of it was
    /// answered now: a part that could not be read says what it said before, and takes nothing back.
    pub fn hear(&mut self, answer: Intent, whole: bool) -> Option<Intent> {
        let eases = match &self.believed {
            Some(former) => answer.eases(former),
            None => {
                let stays = matches!(answer.target, Target::Serve | Target::Standby) && answer.spot.is_none();
                self.drained && stays || self.cordoned && answer.wants_service()
            }
        };
        if eases && (!whole || self.doubted != Some(answer)) {
            self.doubted = if whole { Some(answer) } else { self.doubted };
            return None;
        }
        self.doubted = None;
        (self.believed != Some(answer)).then(|| {
            self.believed = Some(answer);
            answer
        })
    }
}
