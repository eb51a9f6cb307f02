//! The commands: what is there before each run, and what may be said of all runs.

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

/// The aims for a command: see [`Case::aims`].
const QUICK: (f64, u64) = (2.5, 30_000);
/// Those for a sweep, which nobody waits for: it has to understand the whole zone, and the floor looks at no answer.
const SWEEP: (f64, u64) = (4.0, 100_000);
/// Memory, in bytes.
const PEAK: u64 = 16 * 1024 * 1024;
/// Wall time of a command that asks nobody, in microseconds.
const START: u64 = 5_000;

/// Hosts in the fleet that is swept, and those of them that died.
const HOSTS: u8 = 200;
const DEAD: u8 = 10;
/// When those registered: long ago.
const SINCE: &str = "1767225600";
/// A page of Route 53's record sets.
const PAGE: u64 = 300;

/// What is there before each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Nothing of the host.
    Nothing,
    /// The host has its name and its entry.
    Registered,
    /// So have other hosts, of whom so many are gone.
    Fleet { dead: u8 },
}

/// One command to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    name: &'static str,
    pub(crate) arguments: &'static [&'static str],
    before: Before,
    /// How long the command waits because it was told to, in microseconds: that is in no figure.
    pub(crate) waits: u64,
    /// How many calls to Route 53 and to Scalelite it should make; where none is said, none is aimed at.
    route53: u64,
    scalelite: Option<u64>,
    /// How many hosts have a name afterwards.
    leaves: u8,
    /// The most that it may take: of the floor's wall time, and of CPU time in microseconds.
    aims: (f64, u64),
}

/// The commands that are measured beside the floor.
pub(crate) const CASES: [Case; 7] = [
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
        // Two looks around disable, panic, delete.
        scalelite: Some(5),
        leaves: 0,
        aims: QUICK,
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
        // The zone twice, and one change.
        route53: 2 * PAGES + 1,
        scalelite: None,
        leaves: HOSTS - DEAD,
        aims: SWEEP,
    },
];

/// A, AAAA, TXT of each host.
const SETS: usize = 3;
/// Those, and the zone's own two.
const PAGES: u64 = (SETS as u64 * HOSTS as u64 + 2).div_ceil(PAGE);

/// What is in the zone and in Scalelite.
#[derive(Clone, Debug, Default)]
pub(crate) struct Situation {
    pub(crate) records: Vec<RecordSet>,
    /// The entries' URLs.
    pub(crate) entries: Vec<String>,
}

/// What was found out about a command.
pub(crate) struct Measured {
    pub(crate) agent: Runs,
    pub(crate) floor: Runs,
    /// Requests of one run.
    pub(crate) asked: Vec<(ServiceName, u64)>,
    pub(crate) births: Option<Births>,
    /// What the floor does, and what has to be there before.
    pub(crate) recording: Recording,
    pub(crate) situation: Situation,
}

impl Case {
    /// Makes what is there before a run, once; each run gets a copy of it.
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

    /// Whether as many hosts have a name as should after a run, of the agent or of the floor.
    pub(crate) fn ended_well(&self, rig: &Rig) -> Result<(), Error> {
        let (are, should) = (rig.records().len(), usize::from(self.leaves) * SETS);
        if are == should {
            return Ok(());
        }
        Err(format!("{}: {are} record sets are there after a run, {should} should be", self.name).into())
    }

    /// All that is said of it.
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

/// What a process costs beside its floor.
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

/// What is said of `--version`, which asks nobody. Its floor is a program that starts and ends.
pub(crate) fn version(agent: &Runs, floor: &Runs, births: Option<Births>) -> Vec<Figure> {
    let mut figures = process("--version", agent, floor, Aim::AtMost(START), QUICK.1);
    figures.extend(births.map(|births| births.figures("--version")).into_iter().flatten());
    figures
}

impl Situation {
    /// Adds another host of the fleet; a living one is launched too.
    fn add(&mut self, rig: &Rig, number: u8, alive: bool) {
        // The dead have nothing in common with the living of another case, whom EC2 knows.
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

    /// Puts it into the cloud, behind the services' backs.
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
