//! Which calls to make to Scalelite, given the host's own entries there.
//!
//! These tables rest on how Scalelite behaves (observed on 1.8.5): an added server is always disabled; adding a URL
//! twice makes two entries; deleting an entry that has meetings leaves those rooms broken for up to a day, so the
//! entry is panicked first; panicking ends the entry's meetings, so a superfluous entry is only cordoned as long as
//! any meeting runs on the host (Scalelite does not say to which entry a meeting belongs).
//!
//! # Join
//! The entry to keep is the most useful one: enabled before cordoned before disabled, online before offline, then the
//! smaller id. After the actions have run, the plan is made again, until no action is left.
//!
//! An entry with the host's name but another URL (BBB was switched from http to https) can only be replaced: Scalelite
//! ignores a changed URL. On an empty host the old entry is deleted before the new one is added, because a Scalelite
//! whose ids are host names (`SERVER_ID_IS_HOSTNAME`) accepts one entry per name, and answers every other add with
//! status 500. There, a host with meetings waits for their end before it is added.
//!
#![doc = include_str!("tables/join.md")]
//!
//! A host that is not to take meetings yet, as in standby, joins cordoned. An added entry is disabled, which is left
//! so: Scalelite itself disables a cordoned entry without load.
//!
#![doc = include_str!("tables/join-cordoned.md")]
//!
//! # Keep
//! The check of a host that has joined: as joining, but an entry that is cordoned or disabled stays so, because an
//! operator wants that.
//!
#![doc = include_str!("tables/keep.md")]
//!
//! # Cordon
//! Cordoning again undoes a race in Scalelite: a cordon during a poll can leave the host among those that get
//! meetings, although its entry says cordoned, and repeating the call does not help; enabling the entry first does.
//! Scalelite itself disables a cordoned entry without load, so a disabled entry is treated alike.
//!
#![doc = include_str!("tables/cordon.md")]
//!
//! # Leave
//! All entries are disabled first, so that no new meeting is placed while the others are worked off. An entry that is
//! already disabled is disabled again, because Scalelite's poller can lose a disable during a poll.
//!
#![doc = include_str!("tables/leave.md")]

use std::fmt;

/// The administrative state of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// New meetings are placed here.
    Enabled,
    /// Running meetings can be joined; new ones are placed elsewhere.
    Cordoned,
    /// Meetings cannot be joined; new ones are placed elsewhere.
    Disabled,
}

impl State {
    /// Returns the word that Scalelite uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Cordoned => "cordoned",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One of the host's own entries. The client that reads it compares the secret, so that this crate never sees one.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Scalelite's id.
    pub id: String,
    /// Whether the id is the host's name (`SERVER_ID_IS_HOSTNAME`): then no other entry of the host can be added.
    pub id_is_host: bool,
    /// The administrative state.
    pub state: State,
    /// Whether the last polls reached the host.
    pub online: bool,
    /// The load; none while Scalelite has not polled the host successfully.
    pub load: Option<f64>,
    /// The factor by which Scalelite multiplies the load; none where Scalelite answers null.
    pub multiplier: Option<f64>,
    /// The tag; none where this Scalelite has no tags (before 1.6.0).
    pub tag: Option<String>,
    /// Whether the entry's secret is the host's present one.
    pub secret_matches: bool,
    /// Whether the entry's URL is the host's present one, and not only its name.
    pub url_matches: bool,
}

impl Entry {
    /// Reports whether a poll of Scalelite's has reached the host: before, no meeting is placed on it.
    pub fn is_polled(&self) -> bool {
        self.online && self.load.is_some()
    }
}

/// The attributes that the host's entry should have.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Desired {
    /// The load multiplier; none leaves the entry's own.
    pub multiplier: Option<f64>,
    /// The tag; none leaves the entry's own, an empty one clears it.
    pub tag: Option<String>,
}

/// The entry that an action is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The entry with this id.
    Entry(String),
    /// The entry that this plan adds.
    Added,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(id) => write!(f, "entry {id}"),
            Self::Added => f.write_str("the new entry"),
        }
    }
}

/// The attributes of an entry that have to be set.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Update {
    /// Whether to set the host's present secret.
    pub secret: bool,
    /// The tag to set.
    pub tag: Option<String>,
    /// The load multiplier to set.
    pub multiplier: Option<f64>,
}

/// One call to Scalelite.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Add the host; the new entry is disabled.
    Add,
    /// Bring an entry's attributes up to date.
    Update(Target, Update),
    /// Let Scalelite place meetings on this entry.
    Enable(Target),
    /// Have new meetings placed elsewhere, leave the running ones alone.
    Cordon(Target),
    /// Have new meetings placed elsewhere and let no user join.
    Disable(Target),
    /// End the entry's meetings and make Scalelite forget them.
    Panic(Target),
    /// Remove the entry.
    Delete(Target),
}

impl Action {
    /// Returns the kind of action in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Update(..) => "update",
            Self::Enable(_) => "enable",
            Self::Cordon(_) => "cordon",
            Self::Disable(_) => "disable",
            Self::Panic(_) => "panic",
            Self::Delete(_) => "delete",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add => f.write_str("add an entry"),
            Self::Update(target, update) => {
                let parts = [
                    update.secret.then_some("secret"),
                    update.tag.as_ref().map(|_| "tag"),
                    update.multiplier.map(|_| "load multiplier"),
                ];
                let parts: Vec<&str> = parts.into_iter().flatten().collect();
                write!(f, "update the {} of {target}", parts.join(" and the "))
            }
            Self::Enable(target) => write!(f, "enable {target}"),
            Self::Cordon(target) => write!(f, "cordon {target}"),
            Self::Disable(target) => write!(f, "disable {target}"),
            Self::Panic(target) => write!(f, "end the meetings of {target} (panic)"),
            Self::Delete(target) => write!(f, "delete {target}"),
        }
    }
}

/// Returns the load multiplier of a host with this many CPUs, where a host of the reference size has 1. Scalelite
/// places a meeting on the host with the least load times multiplier, so a host with half of the CPUs gets half of
/// the meetings.
///
#[doc = include_str!("tables/multiplier.md")]
pub fn multiplier(cpus: u64, reference: u64) -> f64 {
    // Scalelite keeps decimals; three places tell 1,000 CPUs from 1,001.
    let thousandths = (reference * 1000 + cpus.max(1) / 2) / cpus.max(1);
    // Both numbers are far below 2^53.
    #[allow(clippy::cast_precision_loss)]
    let multiplier = thousandths.max(1) as f64 / 1000.0;
    multiplier
}

/// Plans how the host has exactly one entry, which takes meetings if `wanted` is [`State::Enabled`] and takes none
/// otherwise. `own` are the entries with the host's name; `meetings` is how many meetings run on the host, if known.
/// See the module's tables.
pub fn join(wanted: State, desired: &Desired, own: &[Entry], meetings: Option<u32>) -> Vec<Action> {
    let (kept, superfluous) = kept(own);
    let retired = superfluous.iter().flat_map(|entry| retire(entry, meetings));
    let mut actions = match kept {
        None if !superfluous.is_empty() && meetings == Some(0) => return retired.collect(),
        // Every add would be refused, however often.
        None if superfluous.iter().any(|entry| entry.id_is_host) => return retired.collect(),
        None => vec![Action::Add],
        Some(kept) => tidy(desired, kept),
    };
    let enabled = kept.is_some_and(|kept| kept.state == State::Enabled);
    let target_of_kept = || kept.map_or(Target::Added, target);
    match wanted {
        State::Enabled if !enabled => actions.push(Action::Enable(target_of_kept())),
        State::Cordoned | State::Disabled if enabled => actions.push(Action::Cordon(target_of_kept())),
        _ => {}
    }
    actions.extend(retired);
    actions
}

/// Plans how the host keeps exactly one entry, in its present state. A missing entry is not added here but by
/// [`join`], which also enables an entry that an earlier attempt only added. See the module's table.
pub fn keep(desired: &Desired, own: &[Entry], meetings: Option<u32>) -> Vec<Action> {
    let (Some(kept), superfluous) = kept(own) else { return Vec::new() };
    let mut actions = tidy(desired, kept);
    actions.extend(superfluous.into_iter().flat_map(|entry| retire(entry, meetings)));
    actions
}

/// Plans how new meetings are placed elsewhere. See the module's table.
pub fn cordon(own: &[Entry]) -> Vec<Action> {
    let enabled = own.iter().filter(|entry| entry.state == State::Enabled);
    enabled.map(|entry| Action::Cordon(target(entry))).collect()
}

/// Plans a cordon that also holds when [`cordon`] was carried out during a poll. The plan must be carried out only
/// once: it never becomes empty. See the module's table.
pub fn recordon(own: &[Entry]) -> Vec<Action> {
    let again = |entry: &Entry| {
        let enable = (entry.state != State::Enabled).then(|| Action::Enable(target(entry)));
        enable.into_iter().chain([Action::Cordon(target(entry))])
    };
    own.iter().flat_map(again).collect()
}

/// Plans how all of the host's entries are deleted. See the module's table.
pub fn leave(own: &[Entry]) -> Vec<Action> {
    let disable = own.iter().map(|entry| Action::Disable(target(entry)));
    disable.chain(own.iter().flat_map(end)).collect()
}

/// Returns the entry to keep, if one has the host's URL, and the other entries.
pub fn kept(own: &[Entry]) -> (Option<&Entry>, Vec<&Entry>) {
    let mut ranked: Vec<&Entry> = own.iter().collect();
    ranked.sort_by_key(|entry| (!entry.url_matches, entry.state, !entry.online, entry.id.clone()));
    let mut ranked = ranked.into_iter().peekable();
    let kept = ranked.next_if(|entry| entry.url_matches);
    (kept, ranked.collect())
}

/// Returns the attributes in which an entry differs from the desired ones.
pub fn differences(desired: &Desired, entry: &Entry) -> Update {
    let multiplier = desired.multiplier.filter(|wanted| entry.multiplier != Some(*wanted));
    // A Scalelite without tags has none to compare, and would ignore one that is sent.
    let tag = desired.tag.clone().filter(|wanted| entry.tag.as_ref().is_some_and(|tag| tag != wanted));
    Update { secret: !entry.secret_matches, tag, multiplier }
}

fn tidy(desired: &Desired, kept: &Entry) -> Vec<Action> {
    let update = differences(desired, kept);
    if update == Update::default() { Vec::new() } else { vec![Action::Update(target(kept), update)] }
}

/// Plans one step at a time for a superfluous entry: a meeting may begin on a cordoned entry after the meetings were
/// counted, but not on a disabled one.
fn retire(entry: &Entry, meetings: Option<u32>) -> Vec<Action> {
    match entry.state {
        State::Enabled => vec![Action::Cordon(target(entry))],
        State::Cordoned if meetings == Some(0) => vec![Action::Disable(target(entry))],
        State::Disabled if meetings == Some(0) => end(entry).into(),
        State::Cordoned | State::Disabled => Vec::new(),
    }
}

fn target(entry: &Entry) -> Target {
    Target::Entry(entry.id.clone())
}

fn end(entry: &Entry) -> [Action; 2] {
    [Action::Panic(target(entry)), Action::Delete(target(entry))]
}

/// Returns the host's name or address in a normalised URL, without a port.
pub fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let port = authority.rfind(':').filter(|at| !authority.get(*at..).is_some_and(|rest| rest.contains(']')));
    authority.get(..port.unwrap_or(authority.len()))
}

/// Puts a BBB or Scalelite URL into a form in which equal ones compare equal: scheme and host in lower case, no
/// default port, no final slash. Returns `None` for a text that is not an http or https URL with a host, or that has
/// an invalid port. User names, queries and fragments have no place in a server URL and give `None` too.
pub fn normalise_url(url: &str) -> Option<String> {
    let (scheme, rest) = url.trim().split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let authority = authority.to_ascii_lowercase();
    let (host, port) = host_and_port(&authority)?;
    let unusual = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '?' | '#' | '\\');
    if host.is_empty() || host.contains(unusual) || path.contains(unusual) {
        return None;
    }
    let port = port.filter(|port| *port != default_port).map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{scheme}://{host}{port}{}", path.trim_end_matches('/')))
}

fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let bracket = authority.find(']').filter(|_| authority.starts_with('['));
    let end = bracket.map(|at| at + 1).or_else(|| authority.find(':')).unwrap_or(authority.len());
    let (host, rest) = authority.split_at(end);
    match rest.strip_prefix(':') {
        None if !rest.is_empty() => None,
        None | Some("") => Some((host, None)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, Some(port.parse().ok()?)))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
