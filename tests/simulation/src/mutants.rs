//! Deliberate faults in the decisions and loops: they show what a green run would have noticed.

/// A replacement of one text in the agents' sources.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// A description of the mutated behaviour.
    pub name: &'static str,
    /// The file below `agents`.
    pub file: &'static str,
    /// The original text, which occurs exactly once.
    pub from: &'static str,
    /// The replacement.
    pub to: &'static str,
}

/// All mutants; `tests/simulate --mutants` checks that each one is caught.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "register takes a name that is somebody else's",
        file: "plan/src/dns.rs",
        from: "        Holder::Other(refusal) => refuse(observed.source, refusal),\n        Holder::Nobody => batch(",
        to: "        Holder::Other(_) => batch(\n            observed.addresses.iter().cloned().chain(observed.label.clone()),\n            wanted.into_iter().chain([desired.label()]),\n        ),\n        Holder::Nobody => batch(",
    },
    Mutant {
        name: "register forgets the ownership TXT",
        file: "plan/src/dns.rs",
        from: "batch(Vec::new(), wanted.into_iter().chain([desired.label()]))",
        to: "batch(Vec::new(), wanted)",
    },
    Mutant {
        name: "deregister believes DNS that nothing is there",
        file: "plan/src/dns.rs",
        from: "Holder::Nobody if observed.source == Source::Dns => Decision::AskRoute53",
        to: "Holder::Nobody if observed.source == Source::Dns => Decision::Nothing",
    },
    Mutant {
        name: "deregister believes DNS answers that do not fit together",
        file: "plan/src/dns.rs",
        from: "Holder::Me(_) if observed.source == Source::Dns && there != *own =>",
        to: "Holder::Me(_) if observed.source == Source::Dns && there != *own && there.len() > 9 =>",
    },
    Mutant {
        name: "a name that is not there counts as live",
        file: "plan/src/dns.rs",
        from: "Holder::Nobody => Liveness::Absent",
        to: "Holder::Nobody => Liveness::Live",
    },
    Mutant {
        name: "a host takes out the entry of the one that has its name",
        file: "plan/src/dns.rs",
        from: "Holder::Other(refusal @ Refusal::Owner(_)) => refusal,",
        to: "Holder::Other(Refusal::Owner(_)) => return Bearer::Me,",
    },
    Mutant {
        name: "a host takes out the entry of an unknown one that has its name",
        file: "plan/src/dns.rs",
        from: "_ if !observed.ip_addresses().is_disjoint(own) => return Bearer::Me,",
        to: "_ if observed.ip_addresses().is_disjoint(own) => return Bearer::Me,",
    },
    Mutant {
        name: "an entry is deleted without ending its meetings first",
        file: "plan/src/membership.rs",
        from: "[Action::Panic(target(entry)), Action::Delete(target(entry))]",
        to: "[Action::Disable(target(entry)), Action::Delete(target(entry))]",
    },
    Mutant {
        name: "a doubled entry is ended although meetings may run on it",
        file: "plan/src/membership.rs",
        from: "State::Enabled => vec![Action::Cordon(target(entry))],",
        to: "State::Enabled => end(entry).into(),",
    },
    Mutant {
        name: "leaving forgets all but one entry",
        file: "plan/src/membership.rs",
        from: "disable.chain(own.iter().flat_map(end)).collect()",
        to: "disable.take(1).chain(own.iter().take(1).flat_map(end)).take(1).collect()",
    },
    Mutant {
        name: "a drain does not wait for meetings",
        file: "plan/src/lifecycle/draining.rs",
        from: "meetings.is_some_and(BTreeSet::is_empty) && recordings == Some(0)",
        to: "recordings == Some(0)",
    },
    Mutant {
        name: "what cannot be counted counts as nothing",
        file: "plan/src/lifecycle/draining.rs",
        from: "meetings.is_some_and(BTreeSet::is_empty) && recordings == Some(0)",
        to: "meetings.is_none_or(BTreeSet::is_empty) && recordings.unwrap_or(0) == 0",
    },
    Mutant {
        name: "a drain ends long before its deadline",
        file: "plan/src/lifecycle/machine.rs",
        from: "} else if drain.deadline <= now {",
        to: "} else if drain.since + Duration::from_secs(120) <= now {",
    },
    Mutant {
        name: "heartbeats come too late",
        file: "plan/src/lifecycle/results.rs",
        from: "hook.heartbeat_timeout / 3",
        to: "hook.heartbeat_timeout * 3",
    },
    Mutant {
        name: "an upgrade takes the host out",
        file: "plan/src/lifecycle/machine.rs",
        from: "(StopCause::Restart, _) | (StopCause::Stop, OnStop::Keep) => None,",
        to: "(StopCause::Restart, _) => Some(Job::Leave),\n        (StopCause::Stop, OnStop::Keep) => None,",
    },
    Mutant {
        name: "a power-off undoes nothing",
        file: "plan/src/lifecycle/machine.rs",
        from: "(StopCause::PowerOff, _) | (StopCause::Stop, OnStop::Leave) => Some(Job::Leave),",
        to: "(StopCause::PowerOff, _) => None,\n        (StopCause::Stop, OnStop::Leave) => Some(Job::Leave),",
    },
    Mutant {
        name: "an entry that somebody has cordoned is enabled by a restart",
        file: "plan/src/lifecycle/machine.rs",
        from: "(_, Memory::Joined) => self.join(false, now),",
        to: "(_, Memory::Joined) => self.join(true, now),",
    },
    Mutant {
        name: "an entry that is gone is not added again",
        file: "plan/src/lifecycle/results.rs",
        from: "            Ok(Found::Missing) => self.rejoin(now),\n            Ok(Found::Entry(state)) if state",
        to: "            Ok(Found::Missing) => serving.care.entry.went_well(now + self.policy.check_entry),\n            Ok(Found::Entry(state)) if state",
    },
    Mutant {
        name: "a host that its group ends joins again",
        file: "plan/src/lifecycle/machine.rs",
        from: "(State::Unregistered(out), Wish::Serve | Wish::Rest(_)) if out.cause != Some(Cause::Hand) => {",
        to: "(State::Unregistered(_), Wish::Serve | Wish::Rest(_)) => {",
    },
    Mutant {
        name: "the sweep believes EC2 at its first word",
        file: "plan/src/sweep.rs",
        from: "[_] => Conclusion::AskAgain,",
        to: "[once] => Conclusion::Gone((*once).clone()),",
    },
    Mutant {
        name: "the sweep has no grace for the young",
        file: "plan/src/sweep.rs",
        from: "_ if is_young => Conclusion::Leave(Reason::Young),",
        to: "_ if is_young && self.grace > 86_400 => Conclusion::Leave(Reason::Young),",
    },
    Mutant {
        name: "the sweep takes hosts of other accounts for gone",
        file: "plan/src/sweep.rs",
        from: "if claim.account.is_some() && claim.account != self.account.as_deref() {",
        to: "if claim.account.is_some() && claim.account != self.account.as_deref() && self.grace > 86_400 {",
    },
    Mutant {
        name: "the sweep takes the absence of an unknown account's host for proof",
        file: "plan/src/sweep.rs",
        from: "Some(Seen::Absent) if claim.account.is_none() => {",
        to: "Some(Seen::Absent) if claim.account.is_none() && self.grace > 86_400 => {",
    },
    Mutant {
        name: "the sweep deletes the address of a living host",
        file: "plan/src/sweep.rs",
        from: "find(|holder| !is_named(zone, holder, address))?",
        to: "find(|holder| !is_named(zone, holder, address) && holder.as_str().is_empty())?",
    },
    Mutant {
        name: "leaving forgets the name where Scalelite does not answer",
        file: "host/src/service/jobs.rs",
        from: "(Err(left), Err(unnamed)) => Err(both(&left, &unnamed)),",
        to: "(left, Err(_)) => left.map(|_| Found::Done),",
    },
    Mutant {
        name: "the sweep believes an EC2 that does not know the host that asks",
        file: "plan/src/sweep.rs",
        from: "Some(_) if !self.is_known_to(look) =>",
        to: "Some(_) if !self.is_known_to(look) && look.instances.is_empty() =>",
    },
    Mutant {
        name: "the result of a call is lost",
        file: "host/src/service/engine.rs",
        from: "events: world.make(call).await }",
        to: "events: world.make(call).await.split_off(1) }",
    },
    Mutant {
        name: "the engine is late",
        file: "host/src/service/engine.rs",
        from: "self.world.timer(due));",
        to: "self.world.timer(due.saturating_add(Duration::from_secs(300))));",
    },
];
