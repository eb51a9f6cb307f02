//! The commands: the situation before each run, and the figures of all runs.

use std::net::{Ipv4Addr, Ipv6Addr};

use bench::figures::{Aim, Figure, Unit};
use sandbox::fleet::InstanceFacts;
use sandbox::http::ServiceName;
use sandbox::route53::{RecordSet, RecordType};
use sandbox::scalelite::ServerState;

use crate::Error;
use crate::record::{Births, Runs};
use crate::replay::Recording;
use crate::rig::Rig;

/// The aims for a command that users wait for: see [`Case::aims`].
const QUICK: (f64, u64) = (2.5, 30_000);
/// The aims for a sweep and for `fleet`: each has to read the whole zone, while the floor reads no answer.
const SWEEP: (f64, u64) = (4.0, 100_000);
/// The aim for peak memory, in bytes.
const PEAK: u64 = 16 * 1024 * 1024;
/// The aim for the wall time of a command that makes no request, in microseconds.
const START: u64 = 5_000;

/// The hosts in the swept fleet, and the dead ones among them.
const HOSTS: u8 = 200;
const DEAD: u8 = 10;
/// The time at which those hosts registered, long ago.
const SINCE: &str = "1767225600";
/// The number of record sets on a page of Route 53's.
const PAGE: u64 = 300;

/// The situation before each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// The host is not registered.
    Nothing,
    /// The host has its name and its entry.
    Registered,
    /// The host and others are registered; this many of the others are dead.
    Fleet { dead: u8 },
}

/// One command to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    name: &'static str,
    pub(crate) arguments: &'static [&'static str],
    before: Before,
    /// How long the command waits because of its settings, in microseconds; the figures leave that out.
    pub(crate) waits: u64,
    /// The aimed number of calls to Route 53 and to Scalelite; none where there is no aim.
    route53: u64,
    scalelite: Option<u64>,
    /// The number of hosts that have a name afterwards.
    leaves: u8,
    /// The aims: wall time in times of the floor's, and CPU time in microseconds.
    aims: (f64, u64),
}

/// The commands that are measured and compared with the floor.
pub(crate) const CASES: [Case; 8] = [
    Case {
        name: "register --only dns, clean boot",
        arguments: &["register", "--only", "dns"],
        before: Before::Nothing,
        waits: 0,
        route53: 1,
        scalelite: Some(0),
        leaves: 1,
        aims: QUICK,
    },
    Case {
        name: "register, clean host",
        arguments: &["register"],
        before: Before::Nothing,
        waits: 0,
        route53: 1,
        scalelite: Some(4),
        leaves: 1,
        aims: QUICK,
    },
    Case {
        name: "register, second time",
        arguments: &["register"],
        before: Before::Registered,
        waits: 0,
        route53: 0,
        scalelite: Some(1),
        leaves: 1,
        aims: QUICK,
    },
    Case {
        name: "status",
        arguments: &["status"],
        before: Before::Registered,
        waits: 0,
        route53: 0,
        scalelite: Some(1),
        leaves: 1,
        aims: QUICK,
    },
    Case {
        name: "deregister",
        arguments: &["deregister"],
        before: Before::Registered,
        waits: 0,
        route53: 1,
        // The command looks before and after disable, panic and delete.
        scalelite: Some(5),
        leaves: 0,
        aims: QUICK,
    },
    Case {
        name: "fleet, 200 hosts",
        arguments: &["fleet"],
        before: Before::Fleet { dead: 0 },
        waits: 0,
        route53: PAGES,
        scalelite: Some(1),
        leaves: HOSTS,
        aims: SWEEP,
    },
    Case {
        name: "sweep, 200 hosts, no debris",
        arguments: &["sweep"],
        before: Before::Fleet { dead: 0 },
        waits: 0,
        route53: PAGES,
        scalelite: Some(1),
        leaves: HOSTS,
        aims: SWEEP,
    },
    Case {
        name: "sweep, 200 hosts, 10 of them dead",
        arguments: &["sweep"],
        before: Before::Fleet { dead: DEAD },
        waits: 1_000_000,
        // The command reads the zone twice, and makes one change.
        route53: 2 * PAGES + 1,
        scalelite: None,
        leaves: HOSTS - DEAD,
        aims: SWEEP,
    },
];

/// The record sets of each host: A, AAAA and TXT.
const SETS: usize = 3;
/// The number of pages, with the zone's own two record sets.
const PAGES: u64 = (SETS as u64 * HOSTS as u64 + 2).div_ceil(PAGE);

/// The contents of the zone and of Scalelite.
#[derive(Clone, Debug, Default)]
pub(crate) struct Situation {
    pub(crate) records: Vec<RecordSet>,
    /// The URLs of the entries.
    pub(crate) entries: Vec<String>,
}

/// The measurements of a command.
pub(crate) struct Measured {
    pub(crate) agent: Runs,
    pub(crate) floor: Runs,
    /// The requests of one run.
    pub(crate) asked: Vec<(ServiceName, u64)>,
    pub(crate) births: Option<Births>,
    /// The requests for the floor, and the situation that they need.
    pub(crate) recording: Recording,
    pub(crate) situation: Situation,
}

impl Case {
    /// Makes the situation before a run, once; each run gets a copy of it.
    pub(crate) async fn situation(&self, rig: &Rig) -> Result<Situation, Error> {
        rig.clean()?;
        if self.before == Before::Nothing {
            return Ok(Situation::default());
        }
        rig.agent_once(&["register"]).await?;
        let mut situation = rig.situation();
        if let Before::Fleet { dead } = self.before {
            for number in 1..HOSTS {
                situation.add(rig, number, number > dead);
            }
        }
        Ok(situation)
    }

    /// Checks that the right number of hosts have a name after a run of the agent or of the floor.
    pub(crate) fn ended_well(&self, rig: &Rig) -> Result<(), Error> {
        let (are, should) = (rig.records().len(), usize::from(self.leaves) * SETS);
        if are == should {
            return Ok(());
        }
        Err(format!("{}: {are} record sets are there after a run, {should} should be", self.name).into())
    }

    /// Returns all figures of the command.
    pub(crate) fn figures(&self, measured: &Measured) -> Vec<Figure> {
        let Measured { agent, floor, asked, births, .. } = measured;
        let mut figures = process(self.name, agent, floor, Aim::Times(self.aims.0), self.aims.1);
        figures.extend(births.map(|births| births.figures(self.name)).into_iter().flatten());
        for (service, calls) in asked {
            let aim = match service {
                ServiceName::Route53 => Some(self.route53),
                ServiceName::Scalelite => self.scalelite,
                _ => None,
            };
            let figure = Figure::new(format!("{}: {service:?} calls", self.name), Unit::Count, *calls);
            figures.push(Figure { aim: aim.map(Aim::AtMost), ..figure });
        }
        figures
    }
}

/// Returns the figures of a process and its floor.
fn process(name: &str, agent: &Runs, floor: &Runs, wall: Aim, cpu: u64) -> Vec<Figure> {
    let figure = |what: &str, unit, value| Figure::new(format!("{name}: {what}"), unit, value);
    vec![
        figure("wall", Unit::Microseconds, agent.wall(0.5))
            .late(agent.wall(0.9))
            .floor(floor.wall(0.5))
            .aim(wall),
        figure("CPU", Unit::Microseconds, agent.cpu(0.5))
            .late(agent.cpu(0.9))
            .floor(floor.cpu(0.5))
            .aim(Aim::AtMost(cpu)),
        figure("peak memory", Unit::Bytes, agent.peak()).floor(floor.peak()).aim(Aim::AtMost(PEAK)),
    ]
}

/// Returns the figures of `--version`, which makes no request. Its floor is a program that starts and ends.
pub(crate) fn version(agent: &Runs, floor: &Runs, births: Option<Births>) -> Vec<Figure> {
    let mut figures = process("--version", agent, floor, Aim::AtMost(START), QUICK.1);
    figures.extend(births.map(|births| births.figures("--version")).into_iter().flatten());
    figures
}

impl Situation {
    /// Adds another host of the fleet; a living one is launched too.
    fn add(&mut self, rig: &Rig, number: u8, alive: bool) {
        // The dead hosts share nothing with the living ones of another case, which EC2 knows.
        let (family, network) = if alive { (0xf1ee, [198, 51, 100]) } else { (0xdead, [192, 0, 2]) };
        let [a, b, c] = network;
        let ipv4 = Ipv4Addr::new(a, b, c, number);
        let ipv6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, family, u16::from(number));
        let facts = InstanceFacts {
            instance_id: format!("i-{:017x}", (u64::from(family) << 16) + u64::from(number)),
            public_ipv4: Some(ipv4),
            ipv6: Some(ipv6),
            ..InstanceFacts::default()
        };
        let id = &facts.instance_id;
        let name = format!("vc-{}.{}", id.trim_start_matches("i-"), rig.cloud.zone_name);
        let owner = format!(
            "\"heritage=bbb-agents,role=bbb,instance={id},region={},account={},since={SINCE}\"",
            facts.region, facts.account_id
        );
        let mut put = |name: &str, kind, value: &str| {
            self.records.push(RecordSet::simple(name, kind, 60, &[value]));
        };
        put(&format!("_agent.{name}"), RecordType::Txt, &owner);
        put(&name, RecordType::A, &ipv4.to_string());
        put(&name, RecordType::Aaaa, &ipv6.to_string());
        self.entries.push(format!("https://{name}/bigbluebutton/api"));
        if alive && rig.cloud.fleet.instance(id).is_none() {
            rig.cloud.fleet.launch(facts);
        }
    }

    /// Puts the situation into the cloud directly, without calls to its services.
    pub(crate) fn establish(&self, rig: &Rig) -> Result<(), Error> {
        rig.clean()?;
        for set in &self.records {
            rig.cloud.route53.put(&rig.cloud.zone_id, set.clone())?;
        }
        for url in &self.entries {
            rig.cloud.scalelite.add_server(url, &rig.bbb_secret, ServerState::Enabled);
        }
        Ok(())
    }
}
