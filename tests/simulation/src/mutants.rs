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
        from: "        Holder::Other(refusal) => refuse(observed.source, refusal),\n        Holder::Nobody => {\n            let (gone,",
        to: "        Holder::Other(_) => batch(\n            observed.addresses.iter().cloned().chain(observed.label.clone()),\n            wanted.iter().cloned().chain([desired.label()]),\n        ),\n        Holder::Nobody => {\n            let (gone,",
    },
    Mutant {
        name: "register forgets the ownership TXT",
        file: "plan/src/dns.rs",
        from: "batch(gone, new.into_iter().chain([desired.label()]))",
        to: "batch(gone, new)",
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
        file: "plan/src/work.rs",
        from: "occupied || !(meeting.ended || orphan || long_empty)",
        to: "occupied && meeting.ended && orphan && long_empty",
    },
    Mutant {
        name: "what cannot be counted counts as nothing",
        file: "plan/src/work.rs",
        from: "let mut unknown: Vec<String> = self.meetings.unlisted.iter().cloned().collect();",
        to: "let mut unknown: Vec<String> = Vec::new();",
    },
    Mutant {
        name: "a drain ends long before its deadline",
        file: "plan/src/lifecycle/machine.rs",
        from: "} else if drain.deadline <= now {",
        to: "} else if drain.since + Duration::from_secs(120) <= now {",
    },
    Mutant {
        name: "heartbeats come too late",
        file: "plan/src/lifecycle/hooks.rs",
        from: "(timeout / 3).max(SHORTEST_BEAT)",
        to: "(timeout * 2).max(SHORTEST_BEAT)",
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
        name: "a reboot leaves the entry",
        file: "plan/src/lifecycle/machine.rs",
        from: "(StopCause::Reboot, _) => policy.scalelite.then_some(Job::Withdraw(set)),",
        to: "(StopCause::Reboot, _) => policy.scalelite.then_some(set.map_or(Job::Cordon, |_| Job::Cordon)),",
    },
    Mutant {
        name: "a host that no poll reaches counts as registered",
        file: "plan/src/lifecycle/state.rs",
        from: "Self::Awaited(since) => Some(since + 3 * policy.poll),",
        to: "Self::Awaited(since) => Some(since + 3000 * policy.poll),",
    },
    Mutant {
        name: "what an operator had cordoned is enabled after a reboot",
        file: "host/src/service/jobs.rs",
        from: "pool.join(set.unwrap_or(state), &wanted, &bbb).await?",
        to: "pool.join(set.map_or(state, |_| state), &wanted, &bbb).await?",
    },
    Mutant {
        name: "an entry that somebody has cordoned is enabled by a restart",
        file: "plan/src/lifecycle/wish.rs",
        from: "(Wish::Rest(_), Memory::Cordoned) | (_, Memory::Joined) => self.join(Aim::Keep, now),",
        to: "(Wish::Rest(_), Memory::Cordoned) | (_, Memory::Joined) => self.join(wish.aim(), now),",
    },
    Mutant {
        name: "an entry that is gone is not added again",
        file: "plan/src/lifecycle/results.rs",
        from: "            Ok(Found::Missing) => self.rejoin(now),\n            Ok(Found::Entry(state)) if state",
        to: "            Ok(Found::Missing) => serving.care.entry.went_well(now + self.policy.check_entry),\n            Ok(Found::Entry(state)) if state",
    },
    Mutant {
        name: "a host that its group ends joins again",
        file: "plan/src/lifecycle/wish.rs",
        from: "Wish::Serve | Wish::Rest(_) if cause != Some(Cause::Hand) => self.join(wish.aim(), now),",
        to: "Wish::Serve | Wish::Rest(_) => self.join(wish.aim(), now),",
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
        from: "(Some(Seen::Absent), _) if claim.account.is_none() => {",
        to: "(Some(Seen::Absent), _) if claim.account.is_none() && self.grace > 86_400 => {",
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
        from: "_ if !self.is_known_to(look) =>",
        to: "_ if !self.is_known_to(look) && look.instances.is_empty() =>",
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
    Mutant {
        name: "breakout rooms of a vanished parent count as nobody",
        file: "plan/src/work.rs",
        from: "self.listed.iter().filter(|meeting| self.parent(meeting).is_none())",
        to: "self.listed.iter().filter(|meeting| meeting.room == Room::Main)",
    },
    Mutant {
        name: "a Redis that does not tell counts as no jobs",
        file: "plan/src/work.rs",
        from: "unknown.extend(self.recordings.jobs.why().map(str::to_owned));",
        to: "",
    },
    Mutant {
        name: "a list that is cut off counts as whole",
        file: "plan/src/work.rs",
        from: "let mut unknown: Vec<String> = self.meetings.unlisted.iter().cloned().collect();",
        to: "let mut unknown: Vec<String> =\n            self.meetings.unlisted.iter().filter(|why| !why.contains(\"cut off\")).cloned().collect();",
    },
    Mutant {
        name: "an unknown number of people counts as nobody",
        file: "plan/src/work.rs",
        from: "all.map(|room| room.people.known().copied().map(u64::from)).sum()",
        to: "all.map(|room| Some(room.people.known().copied().map_or(0, u64::from))).sum()",
    },
    Mutant {
        name: "one answer of the metadata service takes a notice back",
        file: "plan/src/lifecycle/intent.rs",
        from: "if eases && (!whole || self.doubted != Some(answer)) {",
        to: "if eases && !whole {",
    },
    Mutant {
        name: "the first answer after a restart ends a drain",
        file: "plan/src/lifecycle/intent.rs",
        from: "self.drained && stays || self.cordoned",
        to: "self.drained && stays && answer.rebalance || self.cordoned",
    },
    Mutant {
        name: "a forced leave is a new drain after a restart",
        file: "plan/src/lifecycle/machine.rs",
        from: "State::Leaving(leaving) => leaving.window.map(|window| Window { held, ..window }),",
        to: "",
    },
    Mutant {
        name: "a restart begins a drain anew",
        file: "plan/src/lifecycle/wish.rs",
        from: "drain.deadline = until.map_or(window.deadline, |until| until.min(window.deadline));",
        to: "",
    },
    Mutant {
        name: "after a restart the hook is held since the drain and not since the notice",
        file: "plan/src/lifecycle/wish.rs",
        from: "(Some(hold), Some(held)) = (&mut self.hold, window.held)",
        to: "(Some(hold), Some(held)) = (&mut self.hold, window.held.map(|_| window.since))",
    },
    Mutant {
        name: "a stop for an unknown cause leaves",
        file: "plan/src/lifecycle/machine.rs",
        from: "(StopCause::Stop, OnStop::Cordon) | (StopCause::Unknown, _) => {",
        to: "(StopCause::Unknown, _) => Some(Job::Leave),\n        (StopCause::Stop, OnStop::Cordon) => {",
    },
    Mutant {
        name: "recordings after a deadline are not waited for",
        file: "plan/src/lifecycle/machine.rs",
        from: "until.filter(|until| held && *until > now);",
        to: "until.filter(|until| held && until.is_zero());",
    },
    Mutant {
        name: "recordings are not waited for",
        file: "plan/src/work.rs",
        from: "awaited.filter(|(_, pending)| !self.recordings.is_stuck(pending, rules.stuck));",
        to: "awaited.filter(|(_, pending)| pending.age.is_zero());",
    },
    Mutant {
        name: "a job in Redis is no recording",
        file: "plan/src/work.rs",
        from: "waits.jobs = self.recordings.jobs.known().copied().unwrap_or_default();",
        to: "",
    },
    Mutant {
        name: "a stuck recording is waited for for ever",
        file: "plan/src/recordings.rs",
        from: "pending.age >= patience && !may_lack_sender",
        to: "pending.age >= 100 * patience && !may_lack_sender",
    },
    Mutant {
        name: "an empty meeting is waited for for ever",
        file: "plan/src/work.rs",
        from: "is_some_and(|time| time >= rules.empty_meeting)",
        to: "is_some_and(|time| time >= 100 * rules.empty_meeting)",
    },
    Mutant {
        name: "a leak of a cordon in standby is not seen",
        file: "plan/src/lifecycle/results.rs",
        from: "                cordon.counted(&work.meetings, now);",
        to: "                let _ = cordon;",
    },
    Mutant {
        name: "a leak of a cordon is only cordoned again",
        file: "plan/src/lifecycle/cordon.rs",
        from: "(Some(_), true) => Some((Job::Recordon, self.upkeep.due())),",
        to: "(Some(_), true) => Some((Job::Cordon, self.upkeep.due())),",
    },
    Mutant {
        name: "a host in standby joins enabled",
        file: "plan/src/lifecycle/wish.rs",
        from: "Self::Rest(why) => Aim::Rest(why),",
        to: "Self::Rest(_) => Aim::Serve,",
    },
    Mutant {
        name: "a register overrules every later reason",
        file: "plan/src/lifecycle/wish.rs",
        from: "reasons.find(|why| !self.overruled.contains(why))",
        to: "reasons.find(|_| self.overruled.is_empty())",
    },
    Mutant {
        name: "an idle host stays protected",
        file: "plan/src/lifecycle/protection.rs",
        from: "Need::IdleSince(since) if now < since + idle => return None,",
        to: "Need::IdleSince(since) if now < since + 1000 * idle => return None,",
    },
    Mutant {
        name: "an address that has changed is believed to be registered where nobody answers",
        file: "plan/src/observation.rs",
        from: "        _ if is_changed => register,\n",
        to: "        _ if is_changed && shown != Shown::Nobody => register,\n",
    },
    Mutant {
        name: "a name that nobody shows is believed for ever",
        file: "plan/src/observation.rs",
        from: "(Word::Live(age) | Word::Another(age), Shown::Nobody) if age < BELIEVED => Next::Believe,",
        to: "(Word::Live(_) | Word::Another(_), Shown::Nobody) => Next::Believe,",
    },
    Mutant {
        name: "a host without an address goes on serving",
        file: "plan/src/lifecycle/wish.rs",
        from: "(Rest::Address, self.addressless),",
        to: "(Rest::Address, false),",
    },
    Mutant {
        name: "a host whose BBB announces another address goes on serving",
        file: "plan/src/lifecycle/wish.rs",
        from: "(Rest::Announced, self.is_misannounced()),",
        to: "(Rest::Announced, false),",
    },
    Mutant {
        name: "a host without an address keeps its name",
        file: "host/src/service/jobs/name.rs",
        from: "Missing::Told if has_records => {",
        to: "Missing::Told if has_records && host.ipv4.is_some() => {",
    },
];
