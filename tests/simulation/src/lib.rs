//! A simulated fleet: several hosts with the agents' real decisions (`plan`) and their real loops (`host::service::jobs`,
//! `host::naming`, `host::pool`, `host::sweep`: observe, plan, execute), over a simulated cloud with everything that can go wrong there.
//!
//! Everything runs in one thread on a clock that stands still while somebody works, and is drawn from one seed: a seed that
//! fails fails again, with the same trace. The clients are stood in for at their narrow traits. A simulator of sockets
//! (turmoil) would also run the HTTP stack, which the AWS SDK and reqwest do not let us replace simply, and which has
//! tests of its own; an hour of a fleet takes milliseconds here, so that thousands of seeds are run with every change.
//!
//! What happens: crashes between any two awaits, lost requests and replies, requests that arrive when their sender is gone,
//! throttling, slow services and such that are out of reach for a while, of one host or of all, credentials of another
//! account, name servers that follow late, an EC2 that tells
//! late, Scalelite's poller with its races, doubled and late words of the metadata service, address changes and addresses that
//! are used again, names that two hosts are given, reboots, power cuts, scale-in with meetings, spot notices, upgrades, orders
//! by hand, people with a console, sweeps that die half-way.
//!
//! What has to hold, at every change and in the end: see `breaks` in `route53`, `scalelite`, `lives` and `checks`.

mod agent;
mod checks;
mod fleet;
mod lives;
mod many;
mod mutants;
mod route53;
mod scalelite;
mod services;
mod sweeping;
mod world;

use std::net::Ipv4Addr;
use std::time::Duration;

use host::identity::server_url;
use plan::dns::Observed;
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

/// How long things go wrong, in seconds.
const STORMY: f64 = 2000.0;
/// How long it may take afterwards until everything is as it should be: a drain's deadline, the time for leaving, a sweep's
/// grace, and two sweeps.
const BOUND: Duration = Duration::from_secs(2400);
/// How long nothing may be changed then.
const PEACE: Duration = Duration::from_secs(600);

/// How one seed ended.
#[derive(Debug)]
pub struct Outcome {
    /// What must not happen and did; empty when all is well.
    pub broken: Vec<String>,
    /// What happened, in words, if that was asked for.
    pub trace: Vec<String>,
    /// How many things happened.
    pub events: u64,
    /// How many batches Route 53 accepted.
    pub changes: u64,
    /// How many calls have changed Scalelite.
    pub writes: u64,
    /// How many instances there were.
    pub hosts: usize,
}

/// Lives through one seed.
///
/// # Errors
/// A runtime that cannot be made.
pub fn run(seed: u64, traced: bool) -> std::io::Result<Outcome> {
    // What the agents draw, too.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(LocalSet::new().block_on(&runtime, story(seed, traced)))
}

async fn story(seed: u64, traced: bool) -> Outcome {
    let world = World::new(seed, traced);
    spawn_local(world.clone().poll());
    spawn_local(world.clone().meet());
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
        state.calm = true;
        state.note("nothing goes wrong any more");
    }
    let caretaker = world.state().launch();
    world.state().machine(&caretaker).expected = Some("serving");
    spawn_local(Life::live(world.clone(), caretaker.clone()));
    for share in [BOUND / 4, BOUND / 2] {
        sleep(share).await;
        world.state().night = true;
        sweeping::sweep(world.clone(), caretaker.clone()).await;
    }
    sleep(BOUND / 4).await;
    world.state().check_all(&foreign);
    in_peace(&world).await;
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

/// Promises 2 and 4: in peace nobody changes anything, and nobody asks Route 53 where the name servers can be asked.
async fn in_peace(world: &World) {
    // Who may not ask the name servers asks the API, and so does who looks whether a name is still another's.
    let asks = world.state().machines.any_collides() || world.state().reads_api;
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

/// One more instance; now and then its name is somebody else's already, and so is what Scalelite has under it.
fn begin(world: &World, foreign: &mut Foreign) {
    let id = world.state().launch();
    if world.state().rng.u32(0..12) == 0 {
        let mut state = world.state();
        let name = state.machine(&id).name.clone();
        let kind = state.rng.u32(0..5);
        state.note(format_args!("{name} is somebody else's"));
        state.put(&name, Some(stranger(&name, kind)));
        foreign.names.insert(name.clone(), stranger(&name, kind));
        if state.rng.bool() {
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

/// What somebody else has at a name.
fn stranger(name: &Name, kind: u32) -> Observed {
    let addresses = vec![RecordSet::a(name.clone(), 300, Ipv4Addr::new(198, 51, 100, 7))];
    let label = |text: &str| Some(RecordSet::txt(name.ownership(), 60, text.to_owned()));
    // Dead or never of this account: nothing proves that they are gone.
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

/// What is not the fleet's and was there before it.
fn strangers(world: &World) -> Foreign {
    let mut state = world.state();
    for kind in 0..6 {
        // Names as hosts have them, and others.
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
