//! A simulated fleet: several hosts with the agents' real decisions (`plan`) and their real loops
//! (`host::service::jobs`, `host::dns`, `host::membership`, `host::sweep`: observe, plan, execute), over a simulated
//! cloud in which everything can go wrong that can go wrong in a real one.
//!
//! Everything runs in one thread on a clock that stands still while code runs, and everything that happens is drawn
//! from one seed: a seed that fails fails again, with the same trace. The clients are replaced at their narrow traits.
//! A simulator of sockets (turmoil) would also run the HTTP stack, which cannot easily be replaced below the AWS SDK
//! and reqwest and has tests of its own; here an hour of a fleet takes milliseconds, so that thousands of seeds are
//! run with every change.
//!
//! These things happen: crashes between any two awaits; lost requests and replies; requests that arrive after their
//! sender has died; throttling; slow services, and services that one host or all hosts cannot reach for a while;
//! credentials of another account; name servers that follow late; an EC2 that reports changes late; Scalelite's
//! poller with its races; doubled and late answers of the metadata service; address changes and reused addresses; a BBB that announces another address; one
//! name given to two hosts; reboots; power cuts; scale-in with meetings; groups that are closed; spot notices;
//! upgrades; orders by hand;
//! operators with a console; sweeps that die half-way; breakout rooms without a parent; lists and figures that cannot
//! be read; a Redis that does not tell; recordings that are stuck; standby and rebalance recommendations; stops for
//! an unknown cause; TURN hosts with relays in use, some of which cannot be counted.
//!
//! For the properties that are checked at every change and at the end, see `breaks` in `route53`, `scalelite`, `lives`
//! and `checks`.

mod agent;
mod bbb;
mod checks;
pub mod day;
mod fleet;
mod lives;
mod many;
mod mutants;
mod route53;
mod scalelite;
mod services;
mod sweeping;
mod turn;
mod world;

use std::net::Ipv4Addr;
use std::time::Duration;

use host::identity::server_url;
use plan::dns::Observed;
use plan::instance::Role;
use plan::record::{Name, RecordSet};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

pub use many::{Report, run_many};
pub use mutants::{MUTANTS, Mutant};
pub use services::{Services, Stored};

use checks::Foreign;
use fleet::domain;
use lives::Life;
use route53::nothing;
use scalelite::Server;
use world::World;

/// The time during which things go wrong, in seconds.
const STORMY: f64 = 2000.0;
/// The longest time afterwards until everything is as it should be: a drain's deadline, the time for leaving, a
/// sweep's grace, and two sweeps.
const BOUND: Duration = Duration::from_secs(2400);
/// The time after that in which nothing may be changed.
const PEACE: Duration = Duration::from_secs(600);

/// The outcome of one seed.
#[derive(Debug)]
pub struct Outcome {
    /// The violations; empty when all is well.
    pub broken: Vec<String>,
    /// The story in words, if a trace was asked for.
    pub trace: Vec<String>,
    /// The number of events.
    pub events: u64,
    /// The number of batches that Route 53 accepted.
    pub changes: u64,
    /// The number of calls that have changed Scalelite.
    pub writes: u64,
    /// The number of instances that were launched.
    pub hosts: usize,
}

/// Lives through one seed.
///
/// # Errors
/// Fails when the runtime cannot be made.
pub fn run(seed: u64, traced: bool) -> std::io::Result<Outcome> {
    // The agents draw from this generator, too.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(LocalSet::new().block_on(&runtime, story(seed, traced)))
}

async fn story(seed: u64, traced: bool) -> Outcome {
    let world = World::new(seed, traced);
    spawn_local(world.clone().poll());
    spawn_local(world.clone().meet());
    spawn_local(world.clone().relay());
    let mut foreign = strangers(&world);
    let hosts = world.state().rng.u32(2..=4);
    for _ in 0..hosts {
        begin(&world, &mut foreign);
    }
    // New instances come while others go, and get their addresses.
    let later = world.state().rng.u32(0..3);
    for _ in 0..later {
        world.pause(200.0, 800.0).await;
        begin(&world, &mut foreign);
    }
    let left = Duration::from_secs_f64(STORMY).saturating_sub(world.state().now());
    sleep(left).await;
    {
        let mut state = world.state();
        (state.calm, state.calm_since) = (true, Some(state.now()));
        state.note("nothing goes wrong any more");
        for id in state.machines.ids() {
            state.regain_address(&id);
            state.machine(&id).announces = fleet::Announces::Right;
        }
    }
    let [caretaker, other] = [Role::Bbb, Role::Turn].map(|role| {
        let id = world.state().launch(role);
        world.state().machine(&id).expected = Some("serving");
        spawn_local(Life::live(world.clone(), id.clone()));
        id
    });
    for share in [BOUND / 4, BOUND / 2] {
        sleep(share).await;
        world.state().check_protection();
        world.state().night = true;
        sweeping::sweep(world.clone(), caretaker.clone()).await;
        sweeping::sweep(world.clone(), other.clone()).await;
        world.state().wall(&caretaker);
    }
    sleep(BOUND / 4).await;
    world.state().check_all(&foreign);
    in_peace(&world).await;
    world.state().check_protection();
    let mut state = world.state();
    Outcome {
        broken: std::mem::take(&mut state.broken),
        events: state.events,
        changes: state.route53.changes,
        writes: state.pool.writes,
        hosts: state.machines.ids().len(),
        trace: {
            drop(state);
            world.trace()
        },
    }
}

/// Checks promises 2 and 4: in peace no host changes anything, and no host calls Route 53 where it can ask the name
/// servers.
async fn in_peace(world: &World) {
    // A host that may not ask the name servers calls the API, and so does a host that checks whether another owner
    // still has its name.
    let asks = {
        let state = world.state();
        state.machines.any_collides() || state.reads_api || state.no_dns
    };
    let count = |world: &World| {
        let state = world.state();
        (if asks { 0 } else { state.route53.calls }, state.route53.changes, state.pool.writes)
    };
    let before = count(world);
    sleep(PEACE).await;
    let after = count(world);
    if before != after {
        let what =
            format!("calls to Route 53, changes there, writes to Scalelite: {before:?}, then {after:?}");
        world.state().breaks("work in peace", what);
    }
}

/// Launches one more instance; now and then another owner already has its name, and the Scalelite entry with that
/// name.
fn begin(world: &World, foreign: &mut Foreign) {
    let role = if world.state().rng.u32(0..4) == 0 { Role::Turn } else { Role::Bbb };
    let id = world.state().launch(role);
    if world.state().rng.u32(0..12) == 0 {
        let mut state = world.state();
        let name = state.machine(&id).name.clone();
        let kind = state.rng.u32(0..5);
        state.note(format_args!("{name} is somebody else's"));
        state.put(&name, Some(stranger(&name, kind)));
        foreign.names.insert(name.clone(), stranger(&name, kind));
        if state.rng.bool() && role == Role::Bbb {
            let entry = state.add_entry(Server::new(&server_url(&name), "theirs"));
            state.set_entry(&entry, plan::membership::State::Enabled);
            foreign.entries.extend(state.pool.entries.get(&entry).cloned().map(|server| (entry, server)));
        }
        let machine = state.machine(&id);
        (machine.collides, machine.expected) = (true, None);
    }
    spawn_local(Life::live(world.clone(), id.clone()));
    spawn_local(sweeping::sweep_on(world.clone(), id));
}

/// Returns another owner's record sets at a name.
fn stranger(name: &Name, kind: u32) -> Observed {
    let addresses = vec![RecordSet::a(name.clone(), 300, Ipv4Addr::new(198, 51, 100, 7))];
    let label = |text: &str| Some(RecordSet::txt(name.ownership(), 60, text.to_owned()));
    // The instance is dead or was never in this account: nothing proves that it is gone.
    let agent = "heritage=bbb-agents,role=bbb,region=eu-west-1,since=1700000000,instance=i-0fedcba9876543210";
    match kind {
        0 => Observed { addresses, ..nothing() },
        1 => Observed { addresses, label: label("heritage=external-dns,owner=cluster"), ..nothing() },
        2 => Observed { alien: Some("a CNAME to www.example.org".to_owned()), ..nothing() },
        3 => Observed { addresses, label: label(&format!("{agent},account=999999999999")), ..nothing() },
        4 => Observed { addresses, label: label(agent), ..nothing() },
        _ => Observed { addresses, label: label(&agent.replace("role=bbb", "role=turn")), ..nothing() },
    }
}

/// Creates the names and entries that were there before the fleet and are not the fleet's.
fn strangers(world: &World) -> Foreign {
    let mut state = world.state();
    for kind in 0..6 {
        // One name has the form of a host's name, the others do not.
        let label = if kind == 3 { "vc-0fedcba9876543210".to_owned() } else { format!("other-{kind}") };
        let name = Name::remote(&format!("{label}.{}", domain()));
        state.put(&name, Some(stranger(&name, kind)));
    }
    for url in [
        "https://other-0.bbb.example.org/bigbluebutton/api",
        "https://bbb.elsewhere.example/bigbluebutton/api",
    ] {
        let id = state.add_entry(Server::new(url, "theirs"));
        state.set_entry(&id, plan::membership::State::Enabled);
    }
    Foreign {
        names: state.route53.zone().as_ref().clone(),
        entries: state.pool.entries.iter().map(|(id, server)| (id.clone(), server.clone())).collect(),
    }
}
