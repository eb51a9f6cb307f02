//! The judgement of one host: how it stands, and why.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::{Entries, Machine, NameFacts, Place, Standing};
use crate::membership::State;
use crate::record::Name;
use crate::sweep::{Conclusion, Reason, Seen};

/// The reasons that are found, by their weight.
#[derive(Default)]
struct Reasons {
    wrong: Vec<String>,
    /// What is wrong unless the host is meant to be out.
    unless_out: Vec<String>,
    unknown: Vec<String>,
    out: Vec<String>,
    remarks: Vec<String>,
    /// Whether a source that tells whether the host is meant to be out is not known.
    purpose_is_unknown: bool,
    /// Whether another source is not known.
    part_is_unknown: bool,
    debris: Option<String>,
}

/// Judges a host. `more` are the names that it owns beside its own. See the table of the module above.
pub(super) fn judge(
    machine: &Machine,
    place: &Place,
    named: &NameFacts,
    entries: &Entries,
    more: &[Name],
) -> (Standing, Vec<String>) {
    let mut reasons = Reasons::default();
    reasons.machine(machine);
    reasons.place(place);
    reasons.name(named, more);
    reasons.entries(entries, machine);
    reasons.decide()
}

impl Reasons {
    fn machine(&mut self, machine: &Machine) {
        match machine {
            Machine::Unknown => self.purpose_is_unknown = true,
            Machine::There(instance) => match &instance.state {
                Seen::There(state) if state == "running" => {}
                Seen::There(state) if is_usual(state) => self.out.push(format!("its instance is {state}")),
                other => {
                    self.purpose_is_unknown = true;
                    self.unknown.push(format!("its instance is in a state that is not known: {other:?}"));
                }
            },
            Machine::Gone(_, Some(verdict)) => self.gone(verdict),
            Machine::Gone(Seen::Terminated, None) => self.out.push("its instance is terminated".to_owned()),
            Machine::Gone(..) => {
                self.purpose_is_unknown = true;
                self.unknown.push("EC2 does not know its instance".to_owned());
            }
        }
    }

    /// Takes the sweep's decision about a host that is gone.
    fn gone(&mut self, verdict: &Conclusion) {
        match verdict {
            Conclusion::Gone(_) => self.debris = Some(format!("{verdict}; a sweep removes what is left")),
            Conclusion::Leave(
                Reason::Held(..) | Reason::Misnamed(_) | Reason::Others(_) | Reason::Unusual,
            ) => self.wrong.push(verdict.to_string()),
            Conclusion::Leave(_) | Conclusion::Ask | Conclusion::AskAgain => {
                self.purpose_is_unknown = true;
                self.unknown.push(verdict.to_string());
            }
        }
    }

    fn place(&mut self, place: &Place) {
        match place {
            Place::Unknown => self.purpose_is_unknown = true,
            Place::NoGroup => {}
            Place::Unlisted(group) => self.out.push(format!(
                "the group {group} does not list it: it is in the warm pool, or on its way in or out"
            )),
            Place::Member(member) => {
                let state = &member.state;
                match purpose(state) {
                    Purpose::Serve => {}
                    Purpose::Out(words) => self.out.push(format!("{words} ({state})")),
                    Purpose::Unknown => {
                        self.purpose_is_unknown = true;
                        self.unknown.push(format!("the group says {state}, a state that is not known"));
                    }
                }
            }
        }
    }

    fn name(&mut self, named: &NameFacts, more: &[Name]) {
        match named {
            NameFacts::Unknown => self.part_is_unknown = true,
            NameFacts::Right | NameFacts::There => {}
            NameFacts::None => self.unless_out.push("it has no name".to_owned()),
            NameFacts::WrongAddress { found, own } => {
                let (found, own) = (list(found), list(own));
                self.wrong.push(format!("its name leads to {found}, and not to {own}"));
            }
            NameFacts::Refused(refusal) => self.wrong.push(format!("its name is not its own: {refusal}")),
        }
        if !more.is_empty() {
            let more: BTreeSet<&Name> = more.iter().collect();
            self.wrong.push(format!("it owns other names too: {}", list(&more)));
        }
    }

    fn entries(&mut self, entries: &Entries, machine: &Machine) {
        let entries = match entries {
            Entries::NotUsed => return,
            Entries::Unknown => {
                self.part_is_unknown = true;
                return;
            }
            Entries::These(entries) => entries,
        };
        let values = match entries.as_slice() {
            [] => return self.unless_out.push("it has no entry in Scalelite".to_owned()),
            [Ok(values)] => values,
            [Err(why)] => {
                return self.wrong.push(format!("its entry in Scalelite cannot be understood: {why}"));
            }
            more => return self.wrong.push(format!("it has {} entries in Scalelite", more.len())),
        };
        let is_stopped = machine.instance().is_some_and(|instance| instance.state == there("stopped"));
        match values.state {
            State::Enabled if is_stopped => {
                self.wrong.push("its instance is stopped, and Scalelite has it enabled".to_owned());
            }
            State::Enabled if !values.online => self.unless_out.push(
                "it is offline in Scalelite: polls do not reach it, or it was added a moment ago".to_owned(),
            ),
            State::Enabled if values.load.is_none() => {
                self.remarks.push("its entry has no load yet: it waits for a poll".to_owned());
            }
            State::Enabled => {}
            State::Cordoned => self.unless_out.push(
                "it is cordoned in Scalelite: by hand, or by a notice of EC2's; status tells there"
                    .to_owned(),
            ),
            State::Disabled => self.unless_out.push(
                "it is disabled in Scalelite: nobody can join a meeting on it; status tells there".to_owned(),
            ),
        }
    }

    fn decide(self) -> (Standing, Vec<String>) {
        let Self {
            mut wrong,
            unless_out,
            unknown,
            out,
            remarks,
            purpose_is_unknown,
            part_is_unknown,
            debris,
        } = self;
        if let Some(debris) = debris {
            return (Standing::Debris, std::iter::once(debris).chain(wrong).collect());
        }
        let mut perhaps = Vec::new();
        match (out.is_empty(), purpose_is_unknown) {
            (true, false) => wrong.extend(unless_out),
            // Another source may know why.
            (true, true) => perhaps = unless_out,
            (false, _) => {}
        }
        let standing = match () {
            () if !wrong.is_empty() => Standing::Wrong,
            () if purpose_is_unknown || part_is_unknown => Standing::Unknown,
            () if !out.is_empty() => Standing::Out,
            () => Standing::InOrder,
        };
        (standing, [wrong, unknown, out, perhaps, remarks].concat())
    }
}

/// The purpose that a group has for an instance.
enum Purpose {
    Serve,
    Out(&'static str),
    Unknown,
}

/// Reads a lifecycle state, e.g. `Terminating:Wait` (Auto Scaling's user guide, "Instance lifecycle").
fn purpose(state: &str) -> Purpose {
    match state.split(':').next().unwrap_or_default() {
        "InService" => Purpose::Serve,
        "Pending" => Purpose::Out("on its way in"),
        "Terminating" | "Terminated" | "Detaching" | "Detached" => Purpose::Out("on its way out"),
        "EnteringStandby" | "Standby" => Purpose::Out("on standby"),
        "Warmed" => Purpose::Out("in the warm pool"),
        _ => Purpose::Unknown,
    }
}

/// Tells whether EC2 documents this state of an instance that does not run.
fn is_usual(state: &str) -> bool {
    matches!(state, "pending" | "stopping" | "stopped" | "shutting-down")
}

fn there(state: &str) -> Seen {
    Seen::There(state.to_owned())
}

fn list<T: Display>(items: &BTreeSet<T>) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}
