//! The order of a sweep's steps in time, on a clock that the test moves: EC2 is asked twice, with a pause between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use clients::aws::ec2;
use clients::aws::route53::{ChangeId, Cursor, Error, RecordSets};
use clients::scalelite::Scalelite;
use host::execute::Executor;
use host::interrupt::Interrupt;
use host::report::Failure;
use host::retry::Patience;
use host::sweep::{Limits, Report, Sweep, World};
use plan::dns::{ChangeBatch, Observed, Source};
use plan::instance::{InstanceId, Role};
use plan::ownership::Owner;
use plan::record::{Name, RecordSet};
use plan::share::Shares;
use plan::sweep::{Conclusion, Seen, Sweeper, Zone};
use tokio::time::{Instant, sleep};

const REGION: &str = "eu-central-1";
const PAUSE: Duration = Duration::from_secs(60);
/// What one call takes.
const CALL: Duration = Duration::from_millis(100);

/// A zone with one dead host's record sets, and an EC2 that answers as it is told.
#[derive(Clone)]
struct Fleet(Rc<RefCell<State>>);

struct State {
    zone: Zone,
    /// The next answers about the dead host; after the last of them, EC2 does not know it.
    answers: VecDeque<Seen>,
    /// The living instances that have the dead host's address.
    holders: Result<BTreeSet<String>, ec2::Error>,
    /// When EC2 was asked about instances.
    asked: Vec<Instant>,
    /// When the zone was listed.
    listed: Vec<Instant>,
    /// When record sets were deleted.
    changed: Vec<Instant>,
}

fn me() -> InstanceId {
    InstanceId::parse("i-00000000000000001").unwrap()
}

fn dead() -> InstanceId {
    InstanceId::parse("i-00000000000000002").unwrap()
}

fn name() -> Name {
    Name::remote("vc-00000000000000002.example.org")
}

impl Fleet {
    fn with(answers: &[Seen]) -> Self {
        let mut owner = Owner::new(Role::Bbb, dead(), REGION.to_owned(), 0);
        owner.account = Some("123456789012".to_owned());
        let label = RecordSet::txt(name().ownership(), 60, owner.to_string());
        let address = RecordSet::a(name(), 60, Ipv4Addr::new(198, 51, 100, 2));
        let observed =
            Observed { addresses: vec![address], label: Some(label), ..Observed::nothing(Source::Api) };
        let (answers, zone) = (answers.to_vec().into(), Zone::from([(name(), observed)]));
        let (holders, asked, listed, changed) = (Ok(BTreeSet::new()), Vec::new(), Vec::new(), Vec::new());
        Self(Rc::new(RefCell::new(State { zone, answers, holders, asked, listed, changed })))
    }

    /// Sweeps with less time than the pause takes.
    async fn sweep(&self) -> Report {
        let sweeper = Sweeper {
            me: me(),
            role: Role::Bbb,
            region: REGION.to_owned(),
            account: Some("123456789012".to_owned()),
            domain: Name::remote("example.org"),
            template: None,
            shared: None,
            grace: 600,
        };
        let limits = Limits { whole: PAUSE / 6, pause: PAUSE, leave: PAUSE };
        let (_trigger, interrupt) = Interrupt::manual();
        let executor = Executor::new(interrupt, false);
        Sweep::new(self.clone(), sweeper, limits, &executor).run().await.unwrap()
    }
}

impl World for Fleet {
    type Zone = Self;
    type Scalelite = Scalelite;
    type Ec2 = Self;

    fn zone(&self) -> &Self {
        self
    }

    async fn scalelite(&self, _: Patience) -> Result<Option<Scalelite>, Failure> {
        Ok(None)
    }

    async fn ec2(&self, region: &str) -> Result<Self, Failure> {
        assert_eq!(region, REGION);
        Ok(self.clone())
    }

    fn now(&self) -> u64 {
        1_800_000_000
    }
}

impl ec2::Instances for Fleet {
    async fn holders(&self, _: IpAddr) -> Result<BTreeSet<String>, ec2::Error> {
        self.0.borrow().holders.clone()
    }

    async fn seen(&self, asked: &[InstanceId]) -> Result<BTreeMap<InstanceId, Seen>, ec2::Error> {
        assert_eq!(asked, [me(), dead()]);
        sleep(CALL).await;
        let mut state = self.0.borrow_mut();
        state.asked.push(Instant::now());
        let answer = state.answers.pop_front().unwrap_or(Seen::Absent);
        Ok([(me(), Seen::There("running".to_owned())), (dead(), answer)].into())
    }
}

impl RecordSets for Fleet {
    async fn read(&self, _: &Name) -> Result<Observed, Error> {
        panic!("a sweep lists the zone")
    }

    async fn shares(&self, _: &Name, _: &InstanceId) -> Result<Shares, Error> {
        panic!("a sweep lists the zone")
    }

    async fn page(&self, _: &Name, _: Cursor, zone: &mut Zone) -> Result<Option<Cursor>, Error> {
        sleep(CALL).await;
        let mut state = self.0.borrow_mut();
        zone.extend(state.zone.clone());
        state.listed.push(Instant::now());
        Ok(None)
    }

    async fn change(&self, _: &ChangeBatch) -> Result<ChangeId, Error> {
        let mut state = self.0.borrow_mut();
        state.zone.clear();
        state.changed.push(Instant::now());
        Ok(ChangeId(String::new()))
    }

    async fn is_in_sync(&self, _: &ChangeId) -> Result<bool, Error> {
        panic!("a sweep does not wait for name servers")
    }

    fn calls(&self) -> u32 {
        0
    }
}

#[tokio::test(start_paused = true)]
async fn what_ec2_says_is_asked_again_after_the_pause_and_the_zone_is_read_again() {
    let fleet = Fleet::with(&[Seen::Absent, Seen::Terminated]);
    let report = fleet.sweep().await;
    // The pause is no part of the time that the sweep may take.
    assert_eq!((report.removed.len(), report.trouble.len()), (1, 0), "{report:?}");
    let state = fleet.0.borrow();
    let [first, second] = state.asked.as_slice() else { panic!("{:?}", state.asked) };
    let [_, listed] = state.listed.as_slice() else { panic!("{:?}", state.listed) };
    let [changed] = state.changed.as_slice() else { panic!("{:?}", state.changed) };
    // Judged by what stands in the zone after the pause, not before it.
    assert_eq!((*listed - *first, *second - *listed), (PAUSE + CALL, CALL));
    assert!(changed >= second);
}

#[tokio::test(start_paused = true)]
async fn what_ec2_shows_only_after_the_pause_is_left_alone() {
    let fleet = Fleet::with(&[Seen::Absent, Seen::There("running".to_owned())]);
    let report = fleet.sweep().await;
    assert_eq!((report.removed.len(), report.trouble.len()), (0, 0), "{report:?}");
    assert_eq!((fleet.0.borrow().asked.len(), fleet.0.borrow().changed.len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn an_address_of_which_ec2_does_not_say_who_has_it_stays_as_one_that_another_instance_has() {
    let denied = ec2::Error { message: "UnauthorizedOperation".to_owned(), retryable: false };
    for holders in [Err(denied), Ok(["i-00000000000000003".to_owned()].into())] {
        let fleet = Fleet::with(&[Seen::Terminated, Seen::Terminated]);
        fleet.0.borrow_mut().holders = holders.clone();
        let report = fleet.sweep().await;
        assert_eq!((report.removed.len(), fleet.0.borrow().changed.len()), (0, 0), "{holders:?}");
        let [finding] = report.findings.as_slice() else { panic!("{report:?}") };
        assert!(matches!(finding.verdict, Conclusion::Leave(_)), "{holders:?}: {finding:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_suspected_there_is_no_pause() {
    let fleet = Fleet::with(&[Seen::There("running".to_owned())]);
    let begun = Instant::now();
    fleet.sweep().await;
    assert!(begun.elapsed() < PAUSE);
    assert_eq!(fleet.0.borrow().asked.len(), 1);
}
