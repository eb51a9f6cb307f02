//! The instances as they really are: what EC2, the group, the metadata service and BBB know of them, each in its own time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use host::ec2::{Error, Instances};
use host::identity::Host;
use plan::dns::{Holder, Observed};
use plan::instance::InstanceId;
use plan::lifecycle::{Memory, Target, Window};
use plan::ownership::Owner;
use plan::record::{HostTemplate, Name};
use plan::sweep::{Seen, Zone};

use crate::world::{Lost, Service, State, World};

/// Where all of it is.
pub(crate) const REGION: &str = "eu-west-1";
/// Whose it is.
pub(crate) const ACCOUNT: &str = "123456789012";

/// The secret of BBB on every host.
pub(crate) const BBB_SECRET: &str = "the host's secret";

/// The domain below which the fleet's names are.
pub(crate) fn domain() -> Name {
    Name::remote("bbb.example.org")
}

/// How names are made of instance ids.
pub(crate) fn template() -> Option<HostTemplate> {
    HostTemplate::parse("vc-{instance}").ok()
}

/// How long EC2 lists a terminated instance when it is quick to forget.
pub(crate) const FORGETFUL: Duration = Duration::from_secs(300);

/// How old an answer of EC2 may be when a change follows from it.
const BETWEEN: Duration = Duration::from_secs(180);

/// All instances there ever were.
#[derive(Default)]
pub(crate) struct Machines {
    all: BTreeMap<InstanceId, Machine>,
}

/// One instance.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) name: Name,
    /// Whether it runs; only a living one has an address.
    pub(crate) alive: bool,
    /// EC2 tells what has become of it so late.
    told_late: Duration,
    /// How long EC2 lists it once it is terminated: an hour, as a rule.
    pub(crate) remembered: Duration,
    /// When it came to life or died.
    changed: Duration,
    pub(crate) address: Ipv4Addr,
    /// Since when it has that.
    addressed: Duration,
    /// The address that it had before.
    former: Option<Ipv4Addr>,
    /// Whether BBB answers.
    pub(crate) bbb: bool,
    /// The meetings on it, from when to when.
    pub(crate) meetings: BTreeMap<String, (Duration, Duration)>,
    /// When each recording has left it.
    recordings: Vec<Duration>,
    /// From when on its meetings may be ended.
    pub(crate) excuse: Option<Duration>,
    /// What the group wants.
    pub(crate) target: Target,
    /// When EC2 takes it back.
    pub(crate) spot: Option<Duration>,
    pub(crate) protected: bool,
    /// When the lifecycle hook was extended last.
    pub(crate) heartbeat: Duration,
    pub(crate) completed: bool,
    /// What the agent remembers of this boot.
    pub(crate) memory: (Memory, Option<Window>),
    /// The agent's state; empty while none runs.
    pub(crate) state: &'static str,
    /// The agent's words.
    pub(crate) words: String,
    /// What it has to come to: a state; none where several are right.
    pub(crate) expected: Option<&'static str>,
    /// Its name was somebody else's from the beginning.
    pub(crate) collides: bool,
    /// Its group could not wait for it any longer, although its agent was there.
    pub(crate) agent_since: Option<Duration>,
    /// When its agent let meetings in last, or found that they were let in when it joined.
    pub(crate) enabled: Duration,
    /// When it had a name with its address last.
    named: Duration,
    /// By how many seconds its clock is wrong.
    pub(crate) skew: i64,
    /// How its service ended last: whether by its own word all was undone.
    pub(crate) undone: bool,
    /// EC2 has overlooked it then: never twice in a row.
    overlooked: Duration,
}

impl State {
    /// Launches an instance with the lowest address that nobody has.
    pub(crate) fn launch(&mut self) -> InstanceId {
        let (now, told_late) = (self.now(), self.between(0.0, 240.0));
        let forgetful = self.rng.u32(0..4) == 0;
        let taken: BTreeSet<Ipv4Addr> = self
            .machines
            .all
            .values()
            .filter(|machine| machine.alive)
            .map(|machine| machine.address)
            .collect();
        let address = (1..=250).map(|last| Ipv4Addr::new(192, 0, 2, last)).find(|free| !taken.contains(free));
        let digits = format!("i-{:017x}", 0xa000 + self.machines.all.len());
        let Ok(id) = InstanceId::parse(&digits) else { unreachable!("{digits} is an instance id") };
        let machine = Machine {
            name: Name::remote(&format!("vc-{}.{}", id.digits(), domain())),
            alive: true,
            told_late,
            remembered: if forgetful { FORGETFUL } else { Duration::from_secs(3600) },
            changed: now,
            address: address.unwrap_or(Ipv4Addr::LOCALHOST),
            addressed: now,
            former: None,
            bbb: false,
            meetings: BTreeMap::new(),
            recordings: Vec::new(),
            excuse: None,
            target: Target::Serve,
            spot: None,
            protected: false,
            heartbeat: now,
            completed: false,
            memory: (Memory::Fresh, None),
            state: "",
            words: String::new(),
            expected: Some("serving"),
            collides: false,
            agent_since: None,
            enabled: now,
            named: Duration::ZERO,
            skew: 0,
            undone: false,
            overlooked: now,
        };
        self.note(format_args!("{id} is launched with {}", machine.address));
        self.machines.all.insert(id.clone(), machine);
        id
    }

    /// The instance ends; nobody says goodbye.
    pub(crate) fn terminate(&mut self, id: &InstanceId) {
        let (now, told_late) = (self.now(), self.between(0.0, 60.0));
        self.note(format_args!("{id} is terminated"));
        let machine = self.machine(id);
        (machine.alive, machine.bbb, machine.changed, machine.told_late) = (false, false, now, told_late);
        machine.meetings.clear();
        machine.state = "";
    }

    /// One instance, which has to exist.
    pub(crate) fn machine(&mut self, id: &InstanceId) -> &mut Machine {
        match self.machines.all.get_mut(id) {
            Some(machine) => machine,
            None => unreachable!("there is no {id}"),
        }
    }

    /// Gives an instance another address.
    pub(crate) fn readdress(&mut self, id: &InstanceId) {
        let now = self.now();
        let last = self.rng.u8(100..250);
        let fresh = Ipv4Addr::new(192, 0, 2, last);
        if !self.machines.holders(fresh.into()).is_empty() {
            return;
        }
        self.note(format_args!("{id} has {fresh} now"));
        let machine = self.machine(id);
        (machine.former, machine.address, machine.addressed) = (Some(machine.address), fresh, now);
    }

    /// From now on the meetings of an instance may be ended by whoever ends them.
    pub(crate) fn excuse(&mut self, id: &InstanceId, from: Duration) {
        let machine = self.machine(id);
        machine.excuse = Some(machine.excuse.map_or(from, |before| before.min(from)));
    }

    /// Its host, as the metadata service tells it.
    pub(crate) fn host(&mut self, id: &InstanceId) -> Host {
        let machine = self.machine(id);
        Host {
            instance: id.clone(),
            region: REGION.to_owned(),
            account: Some(ACCOUNT.to_owned()),
            availability_zone: format!("{REGION}a"),
            instance_type: "c6i.2xlarge".to_owned(),
            name: machine.name.clone(),
            ipv4: Some(machine.address),
            ipv6: None,
        }
    }

    /// What runs on a host: its meetings, and its recordings that have not left.
    pub(crate) fn work(&mut self, id: &InstanceId) -> Option<(BTreeSet<String>, usize)> {
        let now = self.now();
        let machine = self.machine(id);
        machine.pass(now);
        let ids = machine.meetings.keys().cloned().collect();
        machine.bbb.then_some((ids, machine.recordings.len()))
    }
}

impl Machine {
    fn goes_by(&self, name: &Name) -> bool {
        self.name == *name && !self.collides
    }

    /// Lets what has ended be over.
    fn pass(&mut self, now: Duration) {
        let over = |(_, end): &(Duration, Duration)| *end <= now;
        let ended: Vec<Duration> =
            self.meetings.values().filter(|times| over(times)).map(|(_, end)| *end).collect();
        self.meetings.retain(|_, times| !over(times));
        // A recording is there as soon as its meeting is over, and leaves two minutes later.
        self.recordings.extend(ended.into_iter().map(|end| end + Duration::from_secs(120)));
        self.recordings.retain(|left| *left > now);
    }
}

impl Machines {
    pub(crate) fn ids(&self) -> Vec<InstanceId> {
        self.all.keys().cloned().collect()
    }

    pub(crate) fn get(&self, id: &InstanceId) -> Option<&Machine> {
        self.all.get(id)
    }

    /// The name by which it goes, if that is not somebody else's.
    pub(crate) fn name(&self, id: &InstanceId) -> Option<&Name> {
        self.all.get(id).filter(|machine| !machine.collides).map(|machine| &machine.name)
    }

    pub(crate) fn state(&self, id: &InstanceId) -> &'static str {
        self.all.get(id).map_or("", |machine| machine.state)
    }

    /// The one that goes by this name, if it is not somebody else's.
    pub(crate) fn of_name(&self, name: &Name) -> Option<&Machine> {
        self.all.values().find(|machine| machine.goes_by(name))
    }

    pub(crate) fn name_is_of_the_dead(&self, name: &Name) -> bool {
        self.of_name(name).is_some_and(|machine| !machine.alive)
    }

    /// Whether the ownership TXT of what was observed names an instance of this account that is really dead.
    pub(crate) fn is_gone(&self, observed: &Observed) -> bool {
        let text = observed.label.as_ref().and_then(|label| label.values.first().cloned());
        let owner = text.and_then(|text| Owner::parse(&text));
        owner.is_some_and(|owner| {
            owner.account.as_deref().is_none_or(|account| account == ACCOUNT)
                && self.all.get(&owner.instance).is_some_and(|machine| !machine.alive)
        })
    }

    /// Whether an instance has this address, or had it a moment ago.
    pub(crate) fn had(&self, id: &InstanceId, address: IpAddr) -> bool {
        self.all.get(id).is_some_and(|machine| {
            address == IpAddr::V4(machine.address)
                || machine.former.is_some_and(|former| address == IpAddr::V4(former))
        })
    }

    /// Which living instances have this address.
    pub(crate) fn holders(&self, address: IpAddr) -> Vec<InstanceId> {
        let holders =
            self.all.iter().filter(|(_, machine)| machine.alive && address == IpAddr::V4(machine.address));
        holders.map(|(id, _)| id.clone()).collect()
    }

    /// These hosts have names with their own addresses now.
    pub(crate) fn are_named(&mut self, zone: &Zone, now: Duration) {
        for (id, machine) in &mut self.all {
            let own = zone.get(&machine.name).filter(|observed| matches!(observed.holder(id), Holder::Me(_)));
            if own.is_some_and(|own| own.ip_addresses().contains(&IpAddr::V4(machine.address))) {
                machine.named = now;
            }
        }
    }

    /// Those that have it, and have had it without a name of their own for so long that everybody could have known.
    pub(crate) fn known_holders(&self, address: IpAddr, now: Duration) -> Vec<InstanceId> {
        let mut holders = self.holders(address);
        holders.retain(|holder| {
            self.get(holder).is_some_and(|machine| {
                machine.addressed + machine.told_late + BETWEEN < now && machine.named + BETWEEN < now
            })
        });
        holders
    }

    /// Whether BBB answers at the host that goes by this name.
    pub(crate) fn answers(&self, name: &Name) -> bool {
        self.of_name(name).is_some_and(|machine| machine.alive && machine.bbb)
    }

    /// Whether a living host that has no name with one of these addresses has the address now.
    pub(crate) fn is_inherited(&self, observed: &Observed, zone: &Zone) -> bool {
        observed.ip_addresses().into_iter().any(|address| {
            self.holders(address).iter().any(|holder| {
                !zone.values().any(|other| {
                    matches!(other.holder(holder), Holder::Me(_)) && other.ip_addresses().contains(&address)
                })
            })
        })
    }

    /// Whether any living host's name, or an address there, is somebody else's: it tries again for ever.
    pub(crate) fn any_collides(&self) -> bool {
        self.all.values().any(|machine| machine.alive && (machine.collides || machine.state == "leaving"))
    }

    /// The meetings on a host.
    pub(crate) fn running(&mut self, name: &Name, now: Duration) -> BTreeSet<String> {
        let machine = self.all.values_mut().find(|machine| machine.goes_by(name));
        machine
            .map(|machine| {
                machine.pass(now);
                machine.meetings.keys().cloned().collect()
            })
            .unwrap_or_default()
    }

    /// Whether the meeting could be begun.
    pub(crate) fn begin_meeting(&mut self, name: &Name, id: &str, from: Duration, to: Duration) -> bool {
        let machine = self.all.values_mut().find(|machine| machine.goes_by(name) && machine.bbb);
        machine.map(|machine| machine.meetings.insert(id.to_owned(), (from, to))).is_some()
    }

    /// Whether the meeting could be ended.
    pub(crate) fn end_meeting(&mut self, name: &Name, id: &str) -> bool {
        let machine = self.all.values_mut().find(|machine| machine.goes_by(name) && machine.bbb);
        machine.and_then(|machine| machine.meetings.remove(id)).is_some()
    }
}

/// EC2, as one instance asks it. It tells what happened late.
pub(crate) struct Ec2 {
    pub(crate) world: World,
    pub(crate) who: InstanceId,
    /// The credentials are of another account, in which there is nobody.
    pub(crate) abroad: bool,
}

impl Ec2 {
    async fn ask<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        let answer = self.world.call(Service::Ec2, &self.who, act).await;
        answer.map_err(|lost| Error {
            message: match lost {
                Lost::Silence => "no answer in time".to_owned(),
                Lost::Refused => "RequestLimitExceeded".to_owned(),
            },
            retryable: true,
        })
    }
}

fn told(machine: &Machine, now: Duration) -> Seen {
    let late = now < machine.changed + machine.told_late;
    match (machine.alive, late) {
        (true, true) => Seen::Absent,
        (true, false) | (false, true) => Seen::There("running".to_owned()),
        (false, false) if now < machine.changed + machine.remembered => Seen::Terminated,
        (false, false) => Seen::Absent,
    }
}

impl State {
    fn seen(&mut self, id: &InstanceId) -> Seen {
        let (now, overlooks) = (self.now(), self.mishap(12));
        let Some(machine) = self.machines.all.get_mut(id) else { return Seen::Absent };
        // DescribeInstances is eventually consistent: now and then it overlooks one, but never for as long as a pause.
        if overlooks && machine.overlooked + BETWEEN < now {
            machine.overlooked = now;
            return Seen::Absent;
        }
        told(machine, now)
    }
}

impl Instances for Ec2 {
    async fn holders(&self, address: IpAddr) -> Result<BTreeSet<String>, Error> {
        self.ask(|state| {
            let now = state.now();
            let there = state.machines.all.iter().filter(|(_, machine)| {
                !self.abroad
                    && IpAddr::V4(machine.address) == address
                    && matches!(told(machine, now), Seen::There(_))
            });
            there.map(|(id, _)| id.as_str().to_owned()).collect()
        })
        .await
    }

    async fn seen(&self, asked: &[InstanceId]) -> Result<BTreeMap<InstanceId, Seen>, Error> {
        let seen = |state: &mut State, id| if self.abroad { Seen::Absent } else { state.seen(id) };
        self.ask(|state| asked.iter().map(|id| (id.clone(), seen(state, id))).collect()).await
    }
}
