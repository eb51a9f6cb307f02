//! The succession to a fixed name (`dns.name`).
//!
//! The names of a template are each instance's own, so nobody needs the name of a host that is gone before a sweep has
//! removed it. A fixed name is needed by the next instance at once: its predecessor may have died without a shutdown.
//! The sweep's proof decides here too: EC2 has to say twice, some time apart, that the former owner is gone. Then the
//! successor replaces the record sets in one batch, so that the name never stops to exist.
//!
//! It differs from a sweep in three ways. A TXT that is younger than the grace period protects only an instance that EC2
//! does not know, which may be a new one; from "terminated" there is no way back. An address that is this host's by now,
//! such as an Elastic IP, speaks for the succession. And where the proof would need more than this host's own region and
//! role, or a share would be left behind, the name is left to the sweep.
//!
#![doc = include_str!("../tables/succession.md")]

use std::collections::BTreeSet;

use super::{Claim, Conclusion, Evidence, Reason, Seen, Sweeper, Zone, held};
use crate::dns::{Observed, Refusal};
use crate::ownership::Owner;

impl Sweeper {
    /// Decides whether this host may take its fixed name from this owner. See the module's table.
    pub fn succession(
        &self,
        owner: &Owner,
        observed: &Observed,
        evidence: &Evidence,
        now: u64,
    ) -> Conclusion {
        if owner.role != self.role.as_str() || owner.region != self.region || owner.share.is_some() {
            return Conclusion::Leave(Reason::Others(Refusal::Owner(Box::new(owner.clone()))));
        }
        let account = owner.account.as_deref();
        let claim = Claim { instance: &owner.instance, region: &owner.region, account };
        let verdict = self.instance(&claim, evidence);
        let is_young = owner.age(now).is_some_and(|age| age < self.grace);
        let key = (owner.region.clone(), owner.instance.clone());
        let is_unknown =
            evidence.looks.last().and_then(|look| look.instances.get(&key)) == Some(&Seen::Absent);
        match verdict {
            Conclusion::AskAgain | Conclusion::Gone(_) if is_young && is_unknown => {
                Conclusion::Leave(Reason::Young)
            }
            Conclusion::Gone(_) => {
                held(&Zone::new(), observed, &self.without_me(evidence)).unwrap_or(verdict)
            }
            Conclusion::Ask | Conclusion::AskAgain | Conclusion::Leave(_) => verdict,
        }
    }

    /// Returns the evidence with this host among no holders.
    fn without_me(&self, evidence: &Evidence) -> Evidence {
        let others =
            |holders: &BTreeSet<_>| holders.iter().filter(|holder| **holder != self.me).cloned().collect();
        let holders =
            evidence.holders.iter().map(|(address, holders)| (*address, holders.as_ref().map(others)));
        let holders = holders.map(|(address, holders)| (address, holders.map_err(Clone::clone))).collect();
        Evidence { holders, ..evidence.clone() }
    }
}
