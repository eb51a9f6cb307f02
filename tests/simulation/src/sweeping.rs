//! Sweeps by the fleet's hosts, alongside everything else.

use std::time::Duration;

use host::execute::Executor;
use host::interrupt::Interrupt;
use host::report::Failure;
use host::retry::Patience;
use host::sweep::{self, Limits, Sweep};
use plan::instance::{InstanceId, Role};
use plan::sweep::Sweeper;
use tokio::time::timeout;

use crate::fleet::{ACCOUNT, Ec2, REGION, domain, template};
use crate::world::World;
use crate::{route53, scalelite};

/// The age that an ownership TXT must have before a sweep may delete it.
pub(crate) const GRACE: Duration = Duration::from_secs(600);

struct Reach {
    world: World,
    who: InstanceId,
    zone: route53::Client,
    abroad: bool,
    role: Role,
}

impl sweep::World for Reach {
    type Zone = route53::Client;
    type Scalelite = scalelite::Client;
    type Ec2 = Ec2;

    fn zone(&self) -> &route53::Client {
        &self.zone
    }

    async fn scalelite(&self, _: Patience) -> Result<Option<scalelite::Client>, Failure> {
        let client = scalelite::Client { world: self.world.clone(), who: self.who.clone() };
        Ok((self.role == Role::Bbb).then_some(client))
    }

    async fn ec2(&self, _: &str) -> Result<Ec2, Failure> {
        Ok(Ec2 { world: self.world.clone(), who: self.who.clone(), abroad: self.abroad })
    }

    fn now(&self) -> u64 {
        self.world.state().clock(&self.who)
    }
}

/// Sweeps the zone once on this instance.
pub(crate) async fn sweep(world: World, who: InstanceId) {
    let limits = Limits {
        whole: Duration::from_secs(120),
        pause: Duration::from_secs(60),
        leave: Duration::from_secs(60),
    };
    let role = world.state().machine(&who).role;
    let sweeper = Sweeper {
        me: who.clone(),
        role,
        region: REGION.to_owned(),
        account: Some(ACCOUNT.to_owned()),
        domain: domain(),
        template: template(role),
        shared: None,
        grace: GRACE.as_secs(),
    };
    let (_trigger, interrupt) = Interrupt::manual();
    let executor = Executor::new(interrupt, false);
    let zone = route53::Client { world: world.clone(), who: who.clone() };
    let abroad = world.state().mishap(6);
    world
        .state()
        .note(format_args!("{who}: sweeps{}", if abroad { ", with foreign credentials" } else { "" }));
    let reach = Reach { world: world.clone(), who: who.clone(), zone, abroad, role };
    let swept = timeout(Duration::from_secs(600), Sweep::new(reach, sweeper, limits, &executor).run()).await;
    let mut state = world.state();
    match swept {
        Err(_) => state.breaks("a sweep takes for ever", &who),
        Ok(Ok(report)) => {
            let removed = report.removed.len();
            state.note(format_args!("{who}: swept {removed}, trouble {:?}", report.trouble));
        }
        Ok(Err(failure)) => state.note(format_args!("{who}: did not sweep: {}", failure.headline())),
    }
}

/// Sweeps now and then, for ever; some sweeps die in the middle.
pub(crate) async fn sweep_on(world: World, who: InstanceId) {
    loop {
        world.pause(120.0, 900.0).await;
        if world.state().calm || !world.state().machine(&who).alive {
            return;
        }
        let patience = world.state().between(0.0, 400.0);
        if timeout(patience, sweep(world.clone(), who.clone())).await.is_err() {
            world.state().note(format_args!("{who}: dies while it sweeps"));
        }
    }
}
