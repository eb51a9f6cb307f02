//! The progress of the host's name, as far as one service knows: the last word about it, whose the name is, and when it
//! may ask Route 53 the next thing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use plan::backoff::{Queue, Retryable};
use plan::dns::{Bearer, Desired, Refusal};
use plan::lifecycle::Memory;
use plan::observation::{BELIEVED, Shown, Word};
use plan::record::Name;
use plan::share::{self, Sight};
use tokio::time::Instant;

use crate::dns::Propagation;
use crate::identity::Host;
use crate::succession::Inquiry;
use clients::aws::route53::ChangeId;

/// With `dns.spread`, which says that many hosts boot together, nobody asks before a change may be through...
const ASK_AFTER: Duration = Duration::from_secs(30);
/// ... and all within this time.
const ASK_WITHIN: Duration = Duration::from_secs(80);

/// The time for which servers may show what this host has removed. A change usually takes 60 seconds (facts/aws.md).
const PROPAGATION: Duration = Duration::from_secs(120);

/// The time after which servers that do not show a change are no longer taken for slow, but compared with the zone's
/// own.
const OVERDUE: Duration = Duration::from_secs(60);

/// The time for which an address has to be missing before the host gives up its name: one odd answer of the metadata
/// service is no proof.
const MISSING: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub struct Registration {
    spread: Duration,
    heard: RefCell<Option<Heard>>,
    /// Whether the name is this host's, by Route 53's word or that of all its servers.
    named: Cell<bool>,
    /// What is known of this host's record sets at the name.
    records: Cell<Records>,
    /// Until when DNS may still show what this host has removed.
    doubt: Cell<Option<Instant>>,
    /// Since when the host has had no address to register.
    missing: Cell<Option<(Instant, Missing)>>,
    /// This host among all that want changes in Route 53.
    queue: RefCell<Queue>,
    /// What is known of the host's share in a shared name.
    share: Cell<Sharing>,
    /// The answers of EC2 about the former owner of a fixed name.
    inquiry: RefCell<Inquiry>,
}

/// The knowledge about the host's share in a shared name.
#[derive(Clone, Copy, Debug, Default)]
struct Sharing {
    /// When it was last known to be there, or first looked for.
    known: Option<Instant>,
    /// When Route 53 has last said that it is there, if it was not seen since.
    told: Option<Instant>,
    /// When Route 53 has last said that the host cannot have it.
    barred: Option<Instant>,
}

/// The knowledge about this host's record sets at its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Records {
    /// Nobody has looked yet, or a change was begun of which nobody knows what has come.
    #[default]
    Unknown,
    /// Nothing at the name is this host's.
    None,
    /// The name has record sets of this host.
    There,
}

/// The certainty that the host has no address to register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It may be one odd answer of the metadata service.
    Perhaps,
    /// It has none: first it is cordoned...
    Surely,
    /// ... and then it gives up its name.
    Told,
}

/// The last word about a name.
#[derive(Debug)]
struct Heard {
    at: Instant,
    /// The name and the addresses that it was about.
    about: (Name, BTreeSet<IpAddr>),
    what: What,
}

#[derive(Debug)]
enum What {
    /// Route 53 has the record sets, by its own word, and its servers are expected to answer with them soon.
    OnItsWay(Sent),
    /// All servers have shown them.
    Live,
    /// The name is nobody's, or this host's.
    Own,
    /// The name is another host's.
    Another(Refusal),
}

#[derive(Debug)]
struct Sent {
    change: Option<ChangeId>,
    /// When Route 53 may be asked how far its servers are, where they do not answer themselves.
    ask: Instant,
    /// This host among all that ask that.
    queue: Queue,
}

impl Registration {
    /// Of a service that begins, with this memory of the boot, on one of many hosts that spread their first calls over
    /// this time.
    pub fn new(spread: Duration, memory: Memory) -> Self {
        let registration = Self {
            spread,
            heard: RefCell::default(),
            named: Cell::default(),
            records: Cell::default(),
            doubt: Cell::default(),
            missing: Cell::default(),
            queue: RefCell::new(Queue::new(spread)),
            share: Cell::default(),
            inquiry: RefCell::default(),
        };
        if memory == Memory::Joining {
            // The service that was stopped has removed the name, perhaps a moment ago.
            registration.doubts_dns();
        }
        registration
    }

    /// The same host's with another configuration, and its name or another one.
    pub(super) fn after(former: &Self, spread: Duration, same_name: bool) -> Self {
        if !same_name {
            return Self { queue: former.queue.clone(), ..Self::new(spread, Memory::default()) };
        }
        Self {
            named: former.named.clone(),
            records: former.records.clone(),
            doubt: former.doubt.clone(),
            queue: former.queue.clone(),
            ..Self::new(spread, Memory::default())
        }
    }

    /// Returns the last word about the host's name, and whether it was about other addresses.
    pub(super) fn word(&self, host: &Host) -> (Word, bool) {
        let heard = self.heard.borrow();
        let Some(Heard { at, about: was_about, what }) = &*heard else { return (Word::None, false) };
        let age = at.elapsed();
        let word = match what {
            What::OnItsWay(_) => Word::OnItsWay(age),
            What::Live => Word::Live(age),
            What::Own => Word::None,
            // A host that asks EC2 whether the owner is gone goes on with that.
            What::Another(_) if self.inquiry.borrow().is_open() => Word::None,
            What::Another(_) => Word::Another(age),
        };
        (word, *was_about != about(host))
    }

    /// Returns whose the name is by the last word, as far as that may be acted upon, or with `looks` only looked at.
    pub(super) fn bearer(&self, host: &Host, looks: bool) -> Bearer {
        let heard = self.heard.borrow();
        let valid = |heard: &&Heard| heard.about == about(host) && heard.at.elapsed() < BELIEVED;
        match heard.as_ref().filter(valid).map(|heard| &heard.what) {
            Some(What::Another(refusal)) => Bearer::Other(refusal.clone()),
            Some(What::Own) if looks => Bearer::Me,
            _ => Bearer::AskRoute53,
        }
    }

    fn hears(&self, host: &Host, what: What) {
        self.heard.replace(Some(Heard { at: Instant::now(), about: about(host), what }));
    }

    /// Route 53 has the host's record sets now, but not all of its servers.
    pub(super) fn is_on_its_way(&self, host: &Host, change: Option<ChangeId>) {
        let now = Instant::now();
        let spread = self.spread.min(ASK_WITHIN);
        let ask = match spread.is_zero() {
            true => now,
            false => now + ASK_AFTER + spread.mul_f64(fastrand::f64()),
        };
        let queue = Queue::new(Duration::ZERO);
        self.hears(host, What::OnItsWay(Sent { change, ask, queue }));
    }

    /// The name is live: what has to be changed from now on is changed at once.
    pub(super) fn is_live(&self, host: &Host) {
        self.hears(host, What::Live);
        self.has(Records::There);
        self.came_up();
    }

    /// Route 53 has said whose the name is: another host's for this reason, or nobody else's.
    pub(super) fn is_borne(&self, host: &Host, refusal: Option<&Refusal>) {
        self.hears(host, refusal.map_or(What::Own, |refusal| What::Another(refusal.clone())));
    }

    /// Whatever was heard does not count any more. A change that its servers may still be hearing of stays known.
    pub(super) fn forget(&self) {
        self.is_barred(false);
        if self.sent(|at, _| at.elapsed() < PROPAGATION) != Some(true) {
            self.heard.replace(None);
        }
    }

    /// Returns the desired record sets without a share, for as long as it is believed that the host can have none.
    pub(super) fn allowed(&self, desired: Desired) -> Desired {
        match self.share.get().barred.is_some_and(|at| at.elapsed() < BELIEVED) {
            true => desired.without_share(),
            false => desired,
        }
    }

    /// Notes whether Route 53 has said that the host can have no share.
    pub(super) fn is_barred(&self, is_barred: bool) {
        self.share.set(Sharing { barred: is_barred.then(Instant::now), ..self.share.get() });
    }

    /// Notes that Route 53 has said that the host has its share.
    pub(super) fn share_is_told(&self) {
        let now = Some(Instant::now());
        self.share.set(Sharing { known: now, told: now, ..self.share.get() });
    }

    /// Decides what is next about the share, of which the servers show this much.
    pub(super) fn share(&self, sight: Sight, has_check: bool) -> share::Next {
        let Sharing { known, told, barred } = self.share.get();
        let since = known.unwrap_or_else(Instant::now);
        let next = share::next(sight, has_check, told.map(|at| at.elapsed()), since.elapsed());
        self.share.set(match next {
            share::Next::Seen => Sharing { known: Some(Instant::now()), told: None, barred },
            _ => Sharing { known: Some(since), told, barred },
        });
        next
    }

    /// Returns what the servers show, as far as they can be believed: not about what this host has removed a moment
    /// ago.
    pub(super) fn believed(&self, propagation: &Propagation) -> Shown {
        let sent = matches!(&*self.heard.borrow(), Some(Heard { what: What::OnItsWay(_), .. }));
        let in_doubt = self.doubt.get().is_some_and(|until| Instant::now() < until) && !sent;
        match propagation {
            _ if in_doubt => Shown::Nobody,
            Propagation::Complete => Shown::Live,
            Propagation::Behind(_) => Shown::Otherwise,
            Propagation::Unknown(_) => Shown::Nobody,
        }
    }

    /// Returns the change that is on its way, if Route 53 has told one.
    pub(super) fn change(&self) -> Option<ChangeId> {
        self.sent(|_, sent| sent.change.clone())?
    }

    /// Whether the servers should have shown the name by now, and Route 53 may be asked whose they are.
    pub(super) fn is_overdue(&self) -> bool {
        self.sent(|at, _| at.elapsed() >= OVERDUE) == Some(true) && self.may_ask()
    }

    /// Whether Route 53 may be asked now how far its servers are: that comes out of the budget of all hosts.
    pub(super) fn may_ask(&self) -> bool {
        self.sent(|_, sent| sent.ask <= Instant::now()).unwrap_or(true)
    }

    /// It was asked, and they are not there yet, or it refused to say.
    pub(super) fn asks_later(&self, refusal: Retryable) {
        self.sent(|_, sent| {
            let wait = sent.queue.after(refusal, Duration::MAX, fastrand::f64());
            sent.ask = Instant::now() + wait;
        });
    }

    fn sent<T>(&self, of: impl FnOnce(Instant, &mut Sent) -> T) -> Option<T> {
        match &mut *self.heard.borrow_mut() {
            Some(Heard { at, what: What::OnItsWay(sent), .. }) => Some(of(*at, sent)),
            _ => None,
        }
    }

    /// Notes that the host has no address to register, or has one, and says since when it has none.
    pub(super) fn misses_address(&self, is_missing: bool) -> Missing {
        let known = self.missing.get().filter(|_| is_missing);
        let (since, missing) = match known {
            None => (Instant::now(), Missing::Perhaps),
            Some((since, Missing::Perhaps)) if since.elapsed() >= MISSING => (since, Missing::Surely),
            Some((since, Missing::Surely)) => (since, Missing::Told),
            Some(known) => known,
        };
        self.missing.set(is_missing.then_some((since, missing)));
        missing
    }

    /// Returns the answers of EC2 about the former owner of a fixed name.
    pub(super) fn inquiry(&self) -> &RefCell<Inquiry> {
        &self.inquiry
    }

    /// Whether what goes by the host's name is known to be its own.
    pub(super) fn is_named(&self) -> bool {
        self.named.get()
    }

    /// Notes that the name is this host's, or that it turned out to be another host's.
    pub(super) fn named(&self, is_own: bool) {
        self.named.set(is_own);
    }

    /// Returns what is known of this host's record sets at the name.
    pub(super) fn records(&self) -> Records {
        self.records.get()
    }

    /// Notes what is known of them now.
    pub(super) fn has(&self, records: Records) {
        self.records.set(records);
    }

    /// The name is about to be removed: whatever was heard of it does not count any more.
    pub(super) fn is_given_up(&self) {
        self.heard.replace(None);
        self.has(Records::Unknown);
        self.doubts_dns();
    }

    /// The name has been removed, or may have been: its servers show it for a while as if nothing had happened.
    fn doubts_dns(&self) {
        self.doubt.set(Some(Instant::now() + PROPAGATION));
    }

    /// Where this host stands among all that want changes in Route 53.
    pub(super) fn queue(&self) -> Queue {
        self.queue.borrow().clone()
    }

    /// That, as a try has left it.
    pub(super) fn keep_queue(&self, queue: Queue) {
        self.queue.replace(queue);
    }

    /// The name is live, or gone: what has to be changed from now on is changed at once.
    pub(super) fn came_up(&self) {
        self.queue.replace(Queue::new(Duration::ZERO));
    }
}

/// Returns what a word about a host's name is about.
fn about(host: &Host) -> (Name, BTreeSet<IpAddr>) {
    (host.name.clone(), host.addresses())
}

#[cfg(test)]
mod tests {
    use plan::instance::{InstanceId, Role};
    use plan::ownership::Owner;
    use plan::share::{Next, SharedName, UNSEEN};
    use tokio::time::advance;

    use super::*;

    fn desired() -> Desired {
        let name = |text| Name::host(text).unwrap();
        let instance = InstanceId::parse("i-0123456789abcdef0").unwrap();
        let share = Some(SharedName { name: name("turn.example.org"), health_check: None });
        let owner = Owner { share, ..Owner::new(Role::Turn, instance, "eu-central-1".to_owned(), 0) };
        Desired { name: name("tu-1.example.org"), ttl: 60, ipv4: None, ipv6: None, owner }
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_that_disappears_is_asked_for_once_in_a_quarter_of_an_hour() {
        let registration = Registration::new(Duration::ZERO, Memory::default());
        assert_eq!(registration.share(Sight::LeftOut, false), Next::AskRoute53, "after a restart");
        registration.share_is_told();
        assert_eq!(registration.share(Sight::LeftOut, false), Next::Wait);
        advance(BELIEVED).await;
        assert_eq!(registration.share(Sight::LeftOut, false), Next::AskRoute53);
        registration.share_is_told();
        assert_eq!(registration.share(Sight::Shown, false), Next::Seen);
        assert_eq!(registration.share(Sight::LeftOut, false), Next::AskRoute53, "it was there, and is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_that_nobody_shows_is_believed_for_an_hour() {
        let registration = Registration::new(Duration::ZERO, Memory::default());
        for has_check in [true, false] {
            assert_eq!(registration.share(Sight::Unknown, has_check), Next::Believe);
            advance(UNSEEN - Duration::from_secs(1)).await;
            assert_eq!(registration.share(Sight::Unknown, has_check), Next::Believe);
            assert_eq!(registration.share(Sight::Shown, has_check), Next::Seen, "it is known anew");
            advance(UNSEEN - Duration::from_secs(1)).await;
            assert_eq!(registration.share(Sight::Unknown, has_check), Next::Believe);
            advance(Duration::from_secs(1)).await;
            assert_eq!(registration.share(Sight::Unknown, has_check), Next::AskRoute53);
            registration.share_is_told();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_can_have_no_share_wants_none_for_a_quarter_of_an_hour() {
        let registration = Registration::new(Duration::ZERO, Memory::default());
        let wants = || registration.allowed(desired()).shared().is_some();
        assert!(wants());
        registration.is_barred(true);
        assert!(!wants());
        advance(BELIEVED).await;
        assert!(wants());
        registration.is_barred(true);
        registration.forget();
        assert!(wants(), "an operator who asks has everything looked at again");
    }
}
