//! The host's name: observed as [`plan::observation`] says, made as desired, given up.

use std::cell::Cell;

use plan::backoff::{Queue, Retryable};
use plan::dns::{self, Bearer, Desired, Holder, Observed, Source};
use plan::instance::InstanceId;
use plan::lifecycle::Found;
use plan::observation::{Next, next};
use plan::share;

use super::{Attempt, World};
use crate::dns::{Propagation, Registered, Zone, left_alone, refused};
use crate::identity::Host;
use crate::report::{Exit, Failure, Said};
use crate::retry::{Patience, Queued};
use crate::service::registration::{Missing, Records};
use crate::succession::Heir;
use clients::aws::route53::{ChangeId, RecordSets};

impl<W: World> Attempt<'_, W> {
    /// Makes the name as desired. Looks once at the servers: when to look again is not decided here.
    pub(super) async fn name(&mut self, host: &Host) -> Result<Found, Failure> {
        let (wanted, registration) = (self.world.wanted(), self.world.registration());
        let lack = host.lack();
        let missing = registration.misses_address(lack.is_some());
        if let Some(lack) = lack {
            return self.give_up(host, lack, missing).await;
        }
        let mut desired = registration.allowed(host.desired(wanted.role, wanted.ttl, self.world.now())?);
        let zone = self.world.zone(host).await?;
        let propagation = match self.observe(host, &zone, &desired).await {
            (Next::Register(source), _) => {
                let change = self.register(host, &zone, &desired, source).await?;
                registration.is_on_its_way(host, change);
                // Perhaps without a share.
                desired = registration.allowed(desired);
                self.observe(host, &zone, &desired).await
            }
            looked => looked,
        };
        let behind = match propagation {
            (Next::Live, _) => None,
            (Next::Believe, _) => match registration.bearer(host, true) {
                Bearer::Other(refusal) => return Err(refused(&host.name, &refusal)),
                Bearer::Me | Bearer::AskRoute53 => return Ok(Found::Live),
            },
            (Next::AskProgress, _) => self.progress(&zone, &desired).await?,
            (_, Propagation::Behind(why) | Propagation::Unknown(why)) => Some(self.overdue(host, why).await),
            (_, Propagation::Complete) => None,
        };
        if behind.is_none() {
            registration.is_live(host);
        }
        let behind = match behind {
            None => self.share(host, &zone, &desired).await?,
            some => some,
        };
        Ok(match behind {
            Some(why) => {
                Found::Behind(format!("{} is registered, but not live everywhere yet: {why}", desired.name))
            }
            None => Found::Live,
        })
    }

    /// Looks after the share of a host whose own name is live, as [`plan::share`] says. Returns why it is not live, in
    /// words.
    async fn share(
        &mut self,
        host: &Host,
        zone: &Zone<W::Api, W::Servers>,
        desired: &Desired,
    ) -> Result<Option<String>, Failure> {
        let registration = self.world.registration();
        let Some(shared) = desired.shared() else { return Ok(None) };
        let sight = zone.sight(&shared.name, desired).await;
        let mut next = registration.share(sight, shared.health_check.is_some());
        if next == share::Next::AskRoute53 {
            let change = self.register(host, zone, desired, Source::Api).await?;
            if change.is_some() {
                registration.is_on_its_way(host, change);
            }
            next = match registration.allowed(desired.clone()).shared() {
                Some(_) => registration.share(sight, shared.health_check.is_some()),
                None => share::Next::Believe,
            };
        }
        Ok(match next {
            share::Next::Seen | share::Next::Believe => None,
            share::Next::Wait | share::Next::AskRoute53 => {
                Some(format!("{} does not show this host's address", shared.name))
            }
        })
    }

    /// Looks at the servers and decides what is next.
    async fn observe(
        &self,
        host: &Host,
        zone: &Zone<W::Api, W::Servers>,
        desired: &Desired,
    ) -> (Next, Propagation) {
        let registration = self.world.registration();
        let propagation = zone.propagation(desired).await;
        let (word, is_changed) = registration.word(host);
        (next(word, registration.believed(&propagation), is_changed), propagation)
    }

    /// Gives up the name of a host without the address that it should have: the former one may be a stranger's soon.
    /// The host is cordoned before, whether Route 53 answers or not.
    async fn give_up(&mut self, host: &Host, lack: String, missing: Missing) -> Result<Found, Failure> {
        let has_records = self.world.registration().records() != Records::None;
        match missing {
            Missing::Perhaps => {
                let why = "looking again before the name is given up";
                return Err(Failure::new(Exit::TryAgain, lack).because(why));
            }
            Missing::Told if has_records => {
                let said = self.surrender(host).await?;
                self.lines.extend(said);
            }
            Missing::Surely | Missing::Told => {}
        }
        Ok(Found::Addressless(lack))
    }

    /// Asks Route 53 whether all its servers have the change, where no server can be asked. Returns why they have not,
    /// in words.
    async fn progress(
        &self,
        zone: &Zone<W::Api, W::Servers>,
        desired: &Desired,
    ) -> Result<Option<String>, Failure> {
        let registration = self.world.registration();
        let not_yet = || Some("Route 53 has not told all its servers yet".to_owned());
        // Nothing was changed: what Route 53 has is all that is known.
        let Some(id) = registration.change() else { return Ok(None) };
        if !registration.may_ask() {
            return Ok(not_yet());
        }
        let (refusal, why) = match zone.api.is_in_sync(&id).await {
            Ok(true) => return Ok(None),
            Ok(false) => (Retryable::Passing, not_yet()),
            Err(error) => match error.passing() {
                Some(refusal) => (refusal, Some(error.to_string())),
                None => {
                    return Err(
                        Failure::new(Exit::Failed, format!("DNS name {}", desired.name)).because(error)
                    );
                }
            },
        };
        registration.asks_later(refusal);
        Ok(why)
    }

    /// Why servers do not show the name, in words: if they should by now, perhaps because they are another zone's.
    async fn overdue(&self, host: &Host, why: String) -> String {
        match self.world.registration().is_overdue() {
            true => self.world.compare_servers(host).await.unwrap_or(why),
            false => why,
        }
    }

    /// Makes the name as desired; the change of it, where Route 53 has told one.
    async fn register(
        &mut self,
        host: &Host,
        zone: &Zone<W::Api, W::Servers>,
        desired: &Desired,
        source: Source,
    ) -> Result<Option<ChangeId>, Failure> {
        let registration = self.world.registration();
        let mut queued = Queued::in_turn(self.deadline, registration.queue());
        let seen = Cell::new(Records::Unknown);
        let refusal = Cell::new(None);
        let see = |observed: &Observed| {
            seen.set(records(observed, &desired.owner.instance));
            refusal.set(match observed.holder(&desired.owner.instance) {
                Holder::Other(refusal) => Some(refusal),
                Holder::Nobody | Holder::Me(_) => None,
            });
        };
        // Whatever breaks this off leaves it unknown.
        registration.has(Records::Unknown);
        // On the heap, because a development build's thread has too small a stack for all of it.
        let heir = Box::pin(self.heir(host)).await?;
        let named = zone.register(desired, source, heir.as_ref(), &self.executor, &mut queued, see);
        let named = Box::pin(named).await;
        let mut queue = queued.into_queue();
        let named = match named {
            Err(failure) => Err(Box::pin(self.in_its_slot(host, &mut queue, failure)).await),
            done => done,
        };
        registration.keep_queue(queue);
        registration.has(match &named {
            Ok(_) => Records::There,
            // A change whose answer is missing may have been made.
            Err(failure) if failure.exit == Exit::TryAgain && failure.turn().is_none() => Records::Unknown,
            Err(_) => seen.get(),
        });
        // From now on the entry under the name is known to be this host's, or not to be.
        match &named {
            Ok(_) => {
                registration.named(true);
                registration.inquiry().take();
            }
            Err(failure) if failure.exit == Exit::Refused => {
                registration.named(false);
                registration.is_borne(host, refusal.take().as_ref());
            }
            Err(_) => {}
        }
        let Registered { said, change, bar } = named?;
        self.lines.extend(said.news());
        if let Some(words) = &bar {
            self.world.leaves_alone(&format!("dns: {words}"));
        }
        if desired.shared().is_some() {
            registration.is_barred(bar.is_some());
            if bar.is_none() && (change.is_some() || source == Source::Api) {
                registration.share_is_told();
            }
        }
        Ok(change)
    }

    /// Returns this host as the successor of its fixed name's former owner.
    async fn heir<'b>(&'b self, host: &'b Host) -> Result<Option<Heir<'b, W::Ec2>>, Failure> {
        let wanted = self.world.wanted();
        let Some(bounds) = wanted.succession else { return Ok(None) };
        let (inquiry, patience) = (self.world.registration().inquiry(), Patience::once(self.deadline));
        let ec2 = self.world.ec2(host).await?;
        Ok(Some(Heir { bounds, host, role: wanted.role, ec2, inquiry, patience }))
    }

    /// Lets a host that was refused come back when others do not, if its group is large.
    async fn in_its_slot(&self, host: &Host, queue: &mut Queue, failure: Failure) -> Failure {
        if queue.needs_place()
            // On the heap, because it is large and seldom needed.
            && let Some(place) = Box::pin(self.world.place(host)).await
        {
            queue.takes(place);
        }
        match queue.slot(self.world.clock(), fastrand::f64()) {
            Some(wait) => failure.at(wait),
            None => failure,
        }
    }

    /// Whose the entry under the host's name is, if it is another host's. Not asked where this service has had the
    /// name; what Route 53 has said a while ago is enough where the entry is only looked at.
    pub(super) async fn borne_by_another(
        &self,
        host: &Host,
        looks: bool,
    ) -> Result<Option<dns::Refusal>, Failure> {
        let registration = self.world.registration();
        if self.world.wanted().entry.is_none() || registration.is_named() {
            return Ok(None);
        }
        match registration.bearer(host, looks) {
            Bearer::Me => return Ok(None),
            Bearer::Other(refusal) => return Ok(Some(refusal)),
            Bearer::AskRoute53 => {}
        }
        let mut queued = Queued::in_turn(self.deadline, registration.queue());
        let borne = self.world.zone(host).await?.borne_by_another(host, &mut queued).await;
        registration.keep_queue(queued.into_queue());
        let borne = borne?;
        registration.is_borne(host, borne.as_ref());
        Ok(borne)
    }

    /// The same in words, which are told.
    pub(super) async fn left_alone(&self, host: &Host, looks: bool) -> Result<Option<String>, Failure> {
        let why = self.borne_by_another(host, looks).await?;
        Ok(why.map(|why| {
            let words = left_alone(host, &why);
            self.world.leaves_alone(&words);
            words
        }))
    }

    /// Removes the name of a host that leaves.
    pub(super) async fn unname(&self, host: &Host) -> Result<Option<String>, Failure> {
        let zone = self.world.zone(host).await?;
        let ec2 = self.world.ec2(host).await?;
        let remove = async |queued: &mut Queued| zone.deregister(host, &ec2, &self.executor, queued).await;
        self.removed(remove).await
    }

    /// Removes the name of a host that stays without an address.
    async fn surrender(&self, host: &Host) -> Result<Option<String>, Failure> {
        let zone = self.world.zone(host).await?;
        self.removed(async |queued: &mut Queued| zone.give_up(host, &self.executor, queued).await).await
    }

    async fn removed(
        &self,
        remove: impl AsyncFnOnce(&mut Queued) -> Result<(Said, Option<ChangeId>), Failure>,
    ) -> Result<Option<String>, Failure> {
        let registration = self.world.registration();
        registration.is_given_up();
        let mut queued = Queued::in_turn(self.deadline, registration.queue().with_its_turn());
        let removed = remove(&mut queued).await;
        registration.keep_queue(queued.into_queue());
        let (said, _) = removed?;
        registration.came_up();
        registration.has(Records::None);
        Ok(said.news())
    }
}

/// Returns what an observation says about an instance's record sets.
fn records(observed: &Observed, instance: &InstanceId) -> Records {
    let label = Observed { addresses: Vec::new(), alien: None, ..observed.clone() };
    match label.holder(instance) {
        Holder::Me(_) => Records::There,
        Holder::Nobody | Holder::Other(_) => Records::None,
    }
}
