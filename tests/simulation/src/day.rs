//! A day of a university's fleet: the same meetings on a fixed fleet, on an Auto Scaling group without agents, and on
//! one whose hosts run bbb-agent.
//!
//! The agents are the real ones: the engine of the service (`host::service::engine`) with the state machine
//! `plan::lifecycle` and the jobs of `host::service`, in the world of this crate with its Scalelite, Route 53, metadata
//! service and BBB, with the settings that the program has by default and those that `packaging/cloudformation/fleet.yaml`
//! gives it. Nothing goes wrong with clients and services in this world, apart from Scalelite's save conflicts and lost
//! results of its polls; [`crate::run`] is for the rest. What is added here is around the agents: the meetings
//! (`timetable`), and the group with its policy (`group`, `scaling`), as `fleet.yaml` and `cloudwatch/scaling.yaml` set
//! it up, which are read (`template`).

mod figure;
mod group;
mod report;
mod scaling;
mod tally;
mod template;
mod timetable;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use host::agent::Agent;
use host::config::load::load_text;
use host::config::settings;
use host::service::policy;
use plan::instance::Role;
use plan::lifecycle::Policy;
use plan::record::Name;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, sleep_until};

use crate::bbb::Gathering;
use crate::world::{State, Terms, World};
use group::{Group, Setup};
use scaling::{Scheduled, Tracking};
use tally::Tally;
use template::Template;
use timetable::Arrival;

pub use report::{Report, keep};

/// How long people wait before they try again to begin a meeting for which there was no server.
const AGAIN: Duration = Duration::from_secs(30);
/// The template of the scaling policy.
pub const SCALING: &str = "cloudwatch/scaling.yaml";
/// The template of the group.
const FLEET: &str = "packaging/cloudformation/fleet.yaml";

/// What is simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The seed of the meetings and of everything else.
    pub seed: u64,
    /// The number of days; the first is a Monday.
    pub days: u32,
    /// About how many people are in meetings at the fullest time.
    pub peak: u32,
    /// The people that a host can take.
    pub capacity: u32,
    /// The seconds between two polls of Scalelite's. With 60, its default, meetings that begin together crowd on few hosts,
    /// because each counts as one person until the next poll; few seconds cure that (scalelite#538, #1048).
    pub poll: u32,
    /// The minutes from an instance's launch until BBB answers.
    pub boot: f64,
    /// The percentage of instances that EC2 takes back in an hour.
    pub spot: f64,
    /// The price of an instance hour in USD.
    pub price: f64,
    /// The least and the greatest size of the groups.
    pub sizes: (u32, u32),
    /// The size of the fixed fleet; none for as many hosts as the fullest time of these days needs at the target.
    pub fixed: Option<u32>,
    /// The hosts in teaching hours, as a percentage of those that the peak needs.
    pub teaching: f64,
    /// The template of the scaling policy.
    pub scaling: PathBuf,
    /// Values of that template's parameters.
    pub parameters: BTreeMap<String, String>,
    /// Settings of the agents.
    pub set: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            days: 1,
            peak: 3000,
            capacity: 200,
            poll: 10,
            boot: 25.0,
            spot: 0.0,
            // c6i.2xlarge, the instance type of fleet.yaml, on demand in us-east-1.
            price: 0.34,
            sizes: (2, 200),
            fixed: None,
            teaching: 70.0,
            scaling: root().join(SCALING),
            parameters: BTreeMap::new(),
            set: Vec::new(),
        }
    }
}

/// Returns the top of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The kind of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// So many hosts all day.
    Fixed(u32),
    /// An Auto Scaling group; the hosts run the scripts of the AWS sample.
    Scripts,
    /// An Auto Scaling group whose hosts run bbb-agent.
    Agents,
}

/// The group as its template describes it.
struct Fleet {
    warmup: Duration,
    hook: Duration,
    protected: bool,
    rebalances: bool,
    settings: Vec<String>,
}

impl Fleet {
    fn read() -> Result<Self, String> {
        let template = Template::read(&root().join(FLEET), &BTreeMap::new())?;
        let groups = template.resources("AWS::AutoScaling::AutoScalingGroup")?;
        let [group] = groups.as_slice() else { return Err(format!("{FLEET} has {} groups", groups.len())) };
        // The other one, which holds new hosts, is there under a condition only.
        let ends = "autoscaling:EC2_INSTANCE_TERMINATING";
        let hooks = group.need("LifecycleHookSpecificationList")?.items();
        let hooks: Vec<_> = hooks
            .filter(|hook| hook.string("LifecycleTransition").is_ok_and(|found| found == ends))
            .collect();
        let [hook] = hooks.as_slice() else { return Err(format!("{FLEET} has {} such hooks", hooks.len())) };
        let policies = group.need("TerminationPolicies")?.items().map(template::At::text);
        let policies = policies.collect::<Result<Vec<_>, _>>()?;
        if policies != ["OldestLaunchTemplate", "OldestInstance"] {
            return Err(format!("the day knows no termination policies {policies:?}"));
        }
        let settings = template.root().need("Parameters")?.need("Settings")?.string("Default")?;
        Ok(Self {
            warmup: Duration::from_secs(group.number("DefaultInstanceWarmup")?),
            hook: Duration::from_secs(hook.number("HeartbeatTimeout")?),
            protected: group.is_true("NewInstancesProtectedFromScaleIn"),
            rebalances: group.is_true("CapacityRebalance"),
            settings: settings.split_whitespace().map(str::to_owned).collect(),
        })
    }
}

/// Returns the policy of the agents, and how often they ask the metadata service.
fn agents(settings: &[String]) -> Result<(Policy, Duration), String> {
    let agent = Agent {
        role: Role::Bbb,
        name: "bbb-agent",
        environment_prefix: "BBB_AGENT_",
        default_hostname: "vc-{instance}",
    };
    let place = ["dns.zone_id=Z0123456789EXAMPLE", "dns.domain=bbb.example.org"];
    let pool = ["scalelite.url=https://scalelite.example.org", "scalelite.secret=file:/none"];
    let set = place.into_iter().chain(pool).map(str::to_owned).chain(settings.iter().cloned());
    let set: Vec<String> = set.collect();
    let raw = load_text(&agent, Path::new("config.toml"), "", &BTreeMap::new(), &set);
    let settings = raw.and_then(|raw| settings::check(&agent, &raw)).map_err(|error| error.to_string())?;
    Ok((policy::of(&settings), settings.service.metadata))
}

/// Simulates the day on all three fleets.
///
/// # Errors
/// Fails when a template or a setting is not understood.
pub fn run(options: &Options) -> Result<Report, String> {
    let arrivals = timetable::draw(options.seed, options.days, options.peak);
    let live = |kind| live(options, kind, &arrivals);
    let target = target(options)?;
    let needed = (f64::from(most(&arrivals, options.days)) / target).ceil() as u32;
    let size = options.fixed.unwrap_or(needed).max(1);
    let (fixed, scripts, agents) = thread::scope(|scope| {
        let agents = scope.spawn(|| live(Kind::Agents));
        let others = (live(Kind::Fixed(size)), live(Kind::Scripts));
        (others.0, others.1, agents.join().unwrap_or_else(|_| Err("a fleet has panicked".to_owned())))
    });
    Ok(Report { options: options.clone(), target, size, fixed: fixed?, scripts: scripts?, agents: agents? })
}

/// Returns the people that a host is to have on average.
fn target(options: &Options) -> Result<f64, String> {
    let template = Template::read(&options.scaling, &options.parameters)?;
    Tracking::read(&template, Duration::ZERO).map(|tracking| tracking.target)
}

/// Returns the greatest number of people that want to meet at once.
fn most(arrivals: &[Arrival], days: u32) -> u32 {
    let mut minutes = vec![0; days as usize * 24 * 60];
    for arrival in arrivals {
        let meeting = arrival.gathering(arrival.at);
        let first = arrival.at.as_secs().div_ceil(60);
        for minute in first..arrival.to.as_secs().div_ceil(60) {
            if let Some(people) = usize::try_from(minute).ok().and_then(|minute| minutes.get_mut(minute)) {
                *people += meeting.people(Duration::from_secs(60 * minute));
            }
        }
    }
    minutes.into_iter().max().unwrap_or_default()
}

/// Lets one fleet live through the day.
fn live(options: &Options, kind: Kind, arrivals: &[Arrival]) -> Result<Tally, String> {
    let fleet = Fleet::read()?;
    let with_agents = kind == Kind::Agents;
    let poll = [format!("scalelite.poll_interval={}", options.poll)];
    let set: Vec<String> = fleet.settings.iter().chain(&poll).chain(&options.set).cloned().collect();
    let (policy, metadata) = agents(&set)?;
    let (sizes, tracking, schedule) = match kind {
        Kind::Fixed(hosts) => ((hosts, hosts), None, Vec::new()),
        Kind::Scripts | Kind::Agents => {
            let mut parameters = options.parameters.clone();
            let template = Template::read(&options.scaling, &parameters)?;
            let tracking = Tracking::read(&template, fleet.warmup)?;
            let hosts = f64::from(options.peak) / tracking.target * options.teaching / 100.0;
            let template = match template.has("TeachingMinSize") {
                true => {
                    parameters
                        .entry("TeachingMinSize".to_owned())
                        .or_insert((hosts.ceil() as u32).to_string());
                    parameters.entry("MinSize".to_owned()).or_insert(options.sizes.0.to_string());
                    Template::read(&options.scaling, &parameters)?
                }
                false => template,
            };
            (options.sizes, Some(tracking), Scheduled::read(&template)?)
        }
    };
    let setup = Setup {
        agents: with_agents,
        boot: Duration::from_secs_f64(options.boot * 60.0),
        sizes,
        tracking,
        schedule,
        // The agent of a group without protection leaves it alone, so new instances may not begin with it.
        protected: fleet.protected && policy.protection.is_some(),
        rebalances: fleet.rebalances && with_agents,
        spot: options.spot / 100.0,
        capacity: options.capacity,
        rules: policy.rules.clone(),
        hook: fleet.hook,
        seed: options.seed,
    };
    let terms = Terms { policy, hook: fleet.hook, ceiling: 100 * fleet.hook, metadata };
    fastrand::seed(options.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let length = Duration::from_secs(u64::from(options.days) * 86_400);
    Ok(LocalSet::new().block_on(&runtime, pass(options.seed, terms, setup, arrivals, length)))
}

async fn pass(seed: u64, terms: Terms, setup: Setup, arrivals: &[Arrival], length: Duration) -> Tally {
    let world = World::calm(seed, terms);
    let tally = Rc::new(RefCell::new(Tally::default()));
    let capacity = setup.capacity;
    spawn_local(world.clone().poll());
    spawn_local(Group::new(world.clone(), setup, Rc::clone(&tally)).live());
    spawn_local(come(world.clone(), Rc::clone(&tally), arrivals.to_vec(), capacity));
    sleep(length).await;
    let mut tally = tally.borrow().clone();
    tally.close(length);
    tally.broken = std::mem::take(&mut world.state().broken);
    tally
}

/// Lets one meeting after the other begin.
async fn come(world: World, tally: Rc<RefCell<Tally>>, arrivals: Vec<Arrival>, capacity: u32) {
    let midnight = tokio::time::Instant::now();
    for (number, arrival) in arrivals.into_iter().enumerate() {
        sleep_until(midnight + arrival.at).await;
        spawn_local(hold(world.clone(), Rc::clone(&tally), number, arrival, capacity));
    }
}

/// Begins a meeting, and looks whether its people found room. A meeting for which there is no server is tried again until
/// it would be over.
async fn hold(world: World, tally: Rc<RefCell<Tally>>, number: usize, arrival: Arrival, capacity: u32) {
    tally.borrow_mut().creates += 1;
    let meeting = format!("meeting-{number}");
    let mut refused = false;
    let host = loop {
        let placed = {
            let mut state = world.state();
            let now = state.now();
            if arrival.to <= now {
                return;
            }
            state.place(&meeting, arrival.gathering(now), capacity)
        };
        if let Some((host, full)) = placed {
            tally.borrow_mut().full += u32::from(full && !refused);
            break host;
        }
        if !refused {
            tally.borrow_mut().unplaced += 1;
        }
        refused = true;
        sleep(AGAIN).await;
    };
    let all = arrival.come.1.saturating_sub(world.state().now());
    sleep(all).await;
    let mut state = world.state();
    let now = state.now();
    let people = state.machines.of_name_mut(&host).map_or(0, |there| there.activity.people(now));
    tally.borrow_mut().crowded += u32::from(people > capacity);
}

impl State {
    /// Creates a meeting on the server with the least load, as Scalelite does, and returns the host's name, and whether it
    /// was full; none if there is no server, or its host does not answer.
    fn place(&mut self, meeting: &str, gathering: Gathering, capacity: u32) -> Option<(Name, bool)> {
        let now = self.now();
        let ranked = self.pool.entries.iter().filter_map(|(id, server)| Some((server.rank()?, id, server)));
        let (_, id, server) =
            ranked.min_by(|(one, id, _), (other, id2, _)| one.total_cmp(other).then(id.cmp(id2)))?;
        let (id, host) = (id.clone(), server.host());
        if !self.machines.answers(&host) {
            return None;
        }
        let full = self.machines.of_name(&host).is_some_and(|there| there.activity.people(now) >= capacity);
        self.create_meeting(&id, meeting, gathering);
        Some((host, full))
    }
}
