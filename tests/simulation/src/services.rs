//! The simulated Route 53 and Scalelite without a fleet and without mishaps, so that a test can hold them to others.
//! What Scalelite does to a client that is alone stays: its save conflicts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clients::aws::route53::RecordSets;
use clients::scalelite::Management;
use plan::dns::Observed;
use plan::instance::{InstanceId, Role};
use plan::membership::State;
use plan::record::Name;
use plan::sweep::Zone;

use crate::bbb::Gathering;
use crate::scalelite::Poll;
use crate::world::World;
use crate::{fleet, route53, scalelite};

/// Longer than any test lasts on the simulated clock.
const FOR_EVER: Duration = Duration::from_secs(1_000_000_000);

/// Route 53, Scalelite and some BBB hosts. Made and used in a runtime whose clock is paused.
pub struct Services {
    world: World,
    hosts: Vec<InstanceId>,
    poll: Option<Poll>,
}

/// An entry as Scalelite stores it, of whatever host it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its state.
    pub state: State,
    /// Whether the poller takes it for online.
    pub online: bool,
    /// Its load; none while that is unavailable.
    pub load: Option<f64>,
    /// Whether new meetings can be placed there, which the API does not show.
    pub placed: bool,
    /// The meetings that are mapped to it.
    pub meetings: BTreeSet<String>,
}

impl Services {
    /// Services with so many hosts, on which BBB answers.
    pub fn new(hosts: usize) -> Self {
        let world = World::new(0, false);
        world.state().calm = true;
        world.state().pool.lost = 0.0;
        let hosts: Vec<InstanceId> = (0..hosts).map(|_| world.state().launch(Role::Bbb)).collect();
        for host in &hosts {
            world.state().machine(host).bbb = true;
        }
        Self { world, hosts, poll: None }
    }

    /// The secret of BBB on every host.
    pub const BBB_SECRET: &str = fleet::BBB_SECRET;

    /// The zone's name.
    pub fn domain() -> Name {
        fleet::domain()
    }

    /// The names of the hosts.
    pub fn names(&self) -> Vec<Name> {
        self.hosts.iter().map(|host| self.world.state().machine(host).name.clone()).collect()
    }

    /// Route 53's API as the first host reaches it.
    ///
    /// # Panics
    /// When there is no host.
    pub fn record_sets(&self) -> impl RecordSets {
        route53::Client { world: self.world.clone(), who: self.caller() }
    }

    /// Scalelite's API as the first host reaches it.
    ///
    /// # Panics
    /// When there is no host.
    pub fn management(&self) -> impl Management {
        scalelite::Client { world: self.world.clone(), who: self.caller() }
    }

    fn caller(&self) -> InstanceId {
        match self.hosts.first() {
            Some(host) => host.clone(),
            None => unreachable!("nobody calls without a host"),
        }
    }

    /// What is in the zone.
    pub fn zone(&self) -> Zone {
        self.world.state().route53.zone().as_ref().clone()
    }

    /// Puts something at a name as somebody does who is no agent.
    pub fn put(&self, name: &Name, there: Option<Observed>) {
        self.world.state().put(name, there);
    }

    /// Leaves nothing of the account's quota for calls to Route 53.
    pub fn use_up_quota(&self) {
        self.world.state().use_up_quota();
    }

    /// Has Route 53 process another change of the zone for a moment.
    pub fn process_change(&self) {
        self.world.state().process_change();
    }

    /// Whether BBB answers on a host.
    pub fn set_bbb(&self, host: usize, answers: bool) {
        if let Some(host) = self.hosts.get(host) {
            self.world.state().machine(host).bbb = answers;
        }
    }

    /// Ends a meeting on whichever host has it.
    pub fn end_meeting(&self, meeting: &str) {
        for host in &self.hosts {
            let mut state = self.world.state();
            let now = state.now();
            state.machine(host).activity.end(meeting, now);
        }
    }

    /// The meetings that run on a host.
    pub fn meetings_on(&self, host: usize) -> BTreeSet<String> {
        let host = self.hosts.get(host);
        host.map(|host| self.world.state().machine(host).activity.ids().cloned().collect())
            .unwrap_or_default()
    }

    /// The entries at which Scalelite can place a new meeting.
    pub fn places(&self) -> Vec<String> {
        self.world.state().places()
    }

    /// Creates a meeting at this entry, as Scalelite does once it has placed it there.
    pub fn create_meeting(&self, entry: &str, meeting: &str) {
        let mut state = self.world.state();
        let now = state.now();
        state.create_meeting(entry, meeting, Gathering::plain(now, now + FOR_EVER));
    }

    /// The first half of a poll: reads.
    pub fn begin_poll(&mut self) {
        self.poll = Some(self.world.state().begin_poll());
    }

    /// The second half of a poll that was begun: saves.
    pub fn end_poll(&mut self) {
        if let Some(poll) = self.poll.take() {
            self.world.state().end_poll(poll);
        }
    }

    /// The second half of a poll whose results are lost.
    pub fn lose_poll(&mut self) {
        if let Some(mut poll) = self.poll.take() {
            poll.lost = true;
            self.world.state().end_poll(poll);
        }
    }

    /// Scalelite's entries, by id.
    pub fn entries(&self) -> BTreeMap<String, Stored> {
        let state = self.world.state();
        state.pool.entries.iter().map(|(id, server)| (id.clone(), server.stored())).collect()
    }
}
