//! The progress of the host's name, as far as one service knows: what it has sent, whose the name is, and when it may
//! ask Route 53 the next thing.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use plan::backoff::{Queue, Retryable};
use plan::dns::{Desired, Source};
use plan::lifecycle::Memory;
use tokio::time::Instant;

use clients::aws::route53::ChangeId;

/// With `dns.spread`, which says that many hosts boot together, nobody asks before a change may be through...
const ASK_AFTER: Duration = Duration::from_secs(30);
/// ... and all within this time: until then [`PROPAGATION`] is not over.
const ASK_WITHIN: Duration = Duration::from_secs(80);

/// The time for which Route 53's servers are waited for, before the name is read as if nothing were known of it. A
/// change usually takes 60 seconds (facts/aws.md).
const PROPAGATION: Duration = Duration::from_secs(120);

/// See the module.
#[derive(Debug)]
pub struct Registration {
    spread: Duration,
    /// The name as Route 53 has it by its own word, while not all of its servers answer so.
    awaited: RefCell<Option<Awaited>>,
    /// Whether the name is this host's, by Route 53's word or that of all its servers.
    named: Cell<bool>,
    /// Until when DNS may still show what this host has removed.
    doubt: Cell<Option<Instant>>,
    /// This host among all that want changes in Route 53.
    queue: RefCell<Queue>,
}

/// The record sets that Route 53's servers are expected to answer with soon.
#[derive(Debug)]
struct Awaited {
    since: Instant,
    desired: Desired,
    change: Option<ChangeId>,
    /// When Route 53 may be asked how far they are, where they do not answer themselves.
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
            awaited: RefCell::default(),
            named: Cell::default(),
            doubt: Cell::default(),
            queue: RefCell::new(Queue::new(spread)),
        };
        if memory == Memory::Joining {
            // The service that was stopped has removed the name, perhaps a moment ago.
            registration.doubts_dns();
        }
        registration
    }

    /// The same host's with another configuration.
    pub fn after(former: &Self, spread: Duration) -> Self {
        Self {
            named: former.named.clone(),
            doubt: former.doubt.clone(),
            queue: former.queue.clone(),
            ..Self::new(spread, Memory::default())
        }
    }

    /// Whether exactly this is on its way to Route 53's servers. To look at them again costs nothing; to register again
    /// would cost a call, which Route 53 refuses because it has the change already, and another to see that.
    pub(super) fn is_awaited(&self, desired: &Desired) -> bool {
        let same = |former: &Desired| {
            (&former.name, former.ttl, former.addresses())
                == (&desired.name, desired.ttl, desired.addresses())
        };
        let awaited = self.awaited.borrow();
        awaited
            .as_ref()
            .is_some_and(|awaited| awaited.since.elapsed() < PROPAGATION && same(&awaited.desired))
    }

    /// Returns the change that is on its way, if Route 53 has told one.
    pub(super) fn change(&self) -> Option<ChangeId> {
        self.awaited.borrow().as_ref()?.change.clone()
    }

    /// Route 53 has this now, but not all of its servers.
    pub(super) fn awaits(&self, desired: Desired, change: Option<ChangeId>) {
        let since = Instant::now();
        let spread = self.spread.min(ASK_WITHIN);
        let ask = match spread.is_zero() {
            true => since,
            false => since + ASK_AFTER + spread.mul_f64(fastrand::f64()),
        };
        let queue = Queue::new(Duration::ZERO);
        self.awaited.replace(Some(Awaited { since, desired, change, ask, queue }));
    }

    /// Whether Route 53 may be asked now how far its servers are: that comes out of the budget of all hosts.
    pub(super) fn may_ask(&self) -> bool {
        self.awaited.borrow().as_ref().is_none_or(|awaited| awaited.ask <= Instant::now())
    }

    /// It was asked, and they are not there yet, or it refused to say.
    pub(super) fn asks_later(&self, refusal: Retryable) {
        if let Some(awaited) = &mut *self.awaited.borrow_mut() {
            let wait = awaited.queue.after(refusal, Duration::MAX, fastrand::f64());
            awaited.ask = Instant::now() + wait;
        }
    }

    /// All servers have answered, or something else has happened.
    pub(super) fn awaits_nothing(&self) {
        self.awaited.replace(None);
    }

    /// Whether what goes by the host's name is known to be its own.
    pub(super) fn is_named(&self) -> bool {
        self.named.get()
    }

    /// Notes that the name is this host's, or that it turned out to be another host's.
    pub(super) fn named(&self, is_own: bool) {
        self.named.set(is_own);
    }

    /// The name has been removed, or may have been: its servers show it for a while as if nothing had happened.
    pub(super) fn doubts_dns(&self) {
        self.doubt.set(Some(Instant::now() + PROPAGATION));
    }

    /// Whose word counts when the name is registered.
    pub(super) fn source(&self) -> Source {
        match self.doubt.get() {
            Some(until) if Instant::now() < until => Source::Api,
            _ => Source::Dns,
        }
    }

    /// Where this host stands among all that want changes in Route 53.
    pub(super) fn queue(&self) -> Queue {
        self.queue.borrow().clone()
    }

    /// That, as a try has left it.
    pub(super) fn keep_queue(&self, queue: Queue) {
        self.queue.replace(queue);
    }

    /// The name is live: what has to be repaired from now on is repaired at once.
    pub(super) fn came_up(&self) {
        self.queue.replace(Queue::new(Duration::ZERO));
    }
}
