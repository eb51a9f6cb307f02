//! The true state of the instances; EC2, the group, the metadata service and BBB report it, each with its own delay.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use clients::aws::ec2::{Error, Instances};
use host::identity::Host;
use host::membership::Note;
use plan::dns::{Holder, Observed};
use plan::instance::{InstanceId, Role};
use plan::lifecycle::{Intent, Kept, Moment, Target};
use plan::ownership::Owner;
use plan::record::{HostTemplate, Name};
use plan::recordings::Recordings;
use plan::sweep::{Seen, Zone};
use plan::work::Meetings;
use tokio::sync::Notify;

use crate::bbb::NEW;
use crate::bbb::{Activity, Gathering};
use crate::lives::closing::Closing;
use crate::turn::Relays;
use crate::world::{Lost, Service, State, World};

/// The region of all instances.
pub(crate) const REGION: &str = "eu-west-1";
/// The account of all instances.
pub(crate) const ACCOUNT: &str = "123456789012";

/// The secret of BBB on every host.
pub(crate) const BBB_SECRET: &str = "the host's secret";

/// The domain below which the fleet's names are.
pub(crate) fn domain() -> Name {
    Name::remote("bbb.example.org")
}

/// Returns the beginning of the names of a role's hosts.
fn prefix(role: Role) -> &'static str {
    match role {
        Role::Bbb => "vc",
        Role::Turn => "tu",
    }
}

/// Returns the template that makes names of a role's instance ids.
pub(crate) fn template(role: Role) -> Option<HostTemplate> {
    HostTemplate::parse(&format!("{}-{{instance}}", prefix(role))).ok()
}

/// The time for which EC2 lists a terminated instance when it is quick to forget.
pub(crate) const FORGETFUL: Duration = Duration::from_secs(300);

/// The greatest age of an answer of EC2 that a change may rest on.
const BETWEEN: Duration = Duration::from_secs(180);

/// What the BBB of a host announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Announces {
    /// The host's address, and the right TURN servers.
    Right,
    /// Another address.
    OtherAddress,
    /// TURN servers with a former secret.
    OtherTurn,
}

/// All instances that were ever launched.
#[derive(Default)]
pub(crate) struct Machines {
    all: BTreeMap<InstanceId, Machine>,
}

/// One instance.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) role: Role,
    pub(crate) name: Name,
    /// Whether the instance runs; only a living one has an address.
    pub(crate) alive: bool,
    /// The delay with which EC2 reports a change of the instance.
    told_late: Duration,
    /// How long EC2 lists the instance after its termination: usually an hour.
    pub(crate) remembered: Duration,
    /// When the instance was launched or died.
    changed: Duration,
    pub(crate) address: Ipv4Addr,
    /// Since when the instance has had this address.
    addressed: Duration,
    /// The address before this one.
    former: Option<Ipv4Addr>,
    /// Since when the instance has had no address, if it has none.
    pub(crate) addressless: Option<Duration>,
    /// What BBB announces.
    pub(crate) announces: Announces,
    /// Since when the agent has known that it is another address than the instance's, if it does.
    pub(crate) misled_since: Option<Duration>,
    /// Whether BBB answers.
    pub(crate) bbb: bool,
    /// The meetings and recordings on the instance.
    pub(crate) activity: Activity,
    /// The relays on a TURN host.
    pub(crate) relays: Relays,
    /// From when on the meetings or relays may be ended.
    pub(crate) excuse: Option<Duration>,
    /// From when on the group may go on although recordings are left; none where they are not judged.
    pub(crate) recordings_excuse: Option<Duration>,
    /// The state that the group wants.
    pub(crate) target: Target,
    /// When EC2 takes the instance back.
    pub(crate) spot: Option<Duration>,
    /// Tells an agent that looks at nothing else that the metadata service has news, as it has at first.
    pub(crate) news: Rc<Notify>,
    /// Whether EC2 recommends replacing the instance.
    pub(crate) rebalance: bool,
    /// Whether the metadata service has answered wrongly since it was last heard to be right: it never does so twice.
    pub(crate) glitched: bool,
    /// What the agent believes of it.
    pub(crate) heard: Option<Intent>,
    /// Since when the agent has known that the host is to take no new meetings.
    pub(crate) rest_since: Option<Duration>,
    /// Whether the agent keeps the host in service in spite of a recommendation, because it is the last one.
    pub(crate) spared: bool,
    /// Whether the agent has cordoned the host for a reason of its own.
    pub(crate) rests: bool,
    /// Whether the agent has read a whole list of meetings since the cordon, so that it knows a new one.
    pub(crate) listed: bool,
    /// When the first meeting came in spite of the agent's last cordon.
    pub(crate) leaked: Option<Duration>,
    /// The deadline of the drain under way, and whether it has ended the drain.
    pub(crate) window: Option<(Moment, bool)>,
    /// Whether the host is drained or leaves because its group or EC2 ends it.
    pub(crate) ends: bool,
    /// Since when the host has been leaving.
    pub(crate) leaving_since: Option<Duration>,
    /// Whether people were in meetings then.
    pub(crate) ends_meetings: bool,
    pub(crate) protected: bool,
    /// The end of its group.
    pub(crate) closing: Closing,
    /// When the lifecycle hook was last extended.
    pub(crate) heartbeat: Duration,
    pub(crate) completed: bool,
    /// The agent's memory of this boot.
    /// Whether Scalelite does not reach the host: its port 443 is closed, or its certificate has expired.
    pub(crate) walled: bool,
    /// Whether the service's stop only cordons.
    pub(crate) only_cordons: bool,
    pub(crate) kept: Kept,
    /// The note on its entry, which survives a reboot.
    pub(crate) note: Option<Note>,
    /// The agent's state; empty while no agent runs.
    pub(crate) state: &'static str,
    /// The agent's status text.
    pub(crate) words: String,
    /// The state that the host has to end in; none where several are right.
    pub(crate) expected: Option<&'static str>,
    /// Whether the name was another owner's from the beginning.
    pub(crate) collides: bool,
    /// Since when the present agent has run: the hook may not expire while an agent is there to extend it.
    pub(crate) agent_since: Option<Duration>,
    /// When the agent last let meetings in, or found on joining that they were let in.
    pub(crate) enabled: Duration,
    /// When the host last had its name with its present address.
    named: Duration,
    /// The error of the host's clock, in seconds.
    pub(crate) skew: i64,
    /// Whether the service, when it last ended, said that it had undone everything.
    pub(crate) undone: bool,
    /// When EC2 last overlooked the instance: it never does so twice in a row.
    overlooked: Duration,
}

impl State {
    /// Launches an instance with the lowest free address.
    pub(crate) fn launch(&mut self, role: Role) -> InstanceId {
        let (now, told_late) = (self.now(), self.between(0.0, 240.0));
        let forgetful = self.rng.u32(0..4) == 0;
        let taken: BTreeSet<Ipv4Addr> = self
            .machines
            .all
            .values()
            .filter(|machine| machine.has_address())
            .map(|machine| machine.address)
            .collect();
        let address = (1..=250).map(|last| Ipv4Addr::new(192, 0, 2, last)).find(|free| !taken.contains(free));
        let digits = format!("i-{:017x}", 0xa000 + self.machines.all.len());
        let Ok(id) = InstanceId::parse(&digits) else { unreachable!("{digits} is an instance id") };
        let machine = Machine {
            role,
            name: Name::remote(&format!("{}-{}.{}", prefix(role), id.digits(), domain())),
            alive: true,
            told_late,
            remembered: if forgetful { FORGETFUL } else { Duration::from_secs(3600) },
            changed: now,
            address: address.unwrap_or(Ipv4Addr::LOCALHOST),
            addressed: now,
            former: None,
            addressless: None,
            announces: Announces::Right,
            misled_since: None,
            bbb: false,
            activity: Activity::default(),
            relays: Relays::default(),
            excuse: None,
            recordings_excuse: None,
            target: Target::Serve,
            spot: None,
            news: Rc::new(Notify::new()),
            rebalance: false,
            glitched: false,
            heard: None,
            rest_since: None,
            spared: false,
            rests: false,
            listed: false,
            leaked: None,
            window: None,
            ends: false,
            leaving_since: None,
            ends_meetings: false,
            protected: false,
            closing: Closing::default(),
            heartbeat: now,
            completed: false,
            kept: Kept::default(),
            walled: false,
            only_cordons: false,
            note: None,
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
        self.note(format_args!("{id} ({role}) is launched with {}", machine.address));
        machine.news.notify_one();
        self.machines.all.insert(id.clone(), machine);
        id
    }

    /// Ends the instance without a word to its agent.
    pub(crate) fn terminate(&mut self, id: &InstanceId) {
        let (now, told_late) = (self.now(), self.between(0.0, 60.0));
        self.note(format_args!("{id} is terminated"));
        let machine = self.machine(id);
        (machine.alive, machine.bbb, machine.changed, machine.told_late) = (false, false, now, told_late);
        machine.activity.lose_all();
        machine.relays.lose();
        machine.state = "";
    }

    /// Returns an instance, which has to exist.
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

    /// Takes the address away from an instance: another one may get it.
    pub(crate) fn lose_address(&mut self, id: &InstanceId) {
        let now = self.now();
        self.note(format_args!("{id} loses its address"));
        self.machine(id).addressless = Some(now);
    }

    /// Gives an instance its address back, or another one.
    pub(crate) fn regain_address(&mut self, id: &InstanceId) {
        let now = self.now();
        let address = self.machine(id).address;
        if self.machine(id).addressless.is_none() {
            return;
        }
        if !self.machines.holders(address.into()).is_empty() {
            self.readdress(id);
            if self.machine(id).address == address {
                return;
            }
        }
        self.note(format_args!("{id} has an address again"));
        let machine = self.machine(id);
        (machine.addressless, machine.addressed) = (None, now);
    }

    /// Allows the meetings of an instance to be ended from this time on.
    pub(crate) fn excuse(&mut self, id: &InstanceId, from: Duration) {
        let machine = self.machine(id);
        machine.excuse = Some(machine.excuse.map_or(from, |before| before.min(from)));
    }

    /// Returns the instance's host, as the metadata service describes it.
    pub(crate) fn host(&mut self, id: &InstanceId) -> Host {
        let machine = self.machine(id);
        Host {
            instance: id.clone(),
            region: REGION.to_owned(),
            account: Some(ACCOUNT.to_owned()),
            availability_zone: format!("{REGION}a"),
            instance_type: "c6i.2xlarge".to_owned(),
            name: machine.name.clone(),
            ipv4: machine.addressless.is_none().then_some(machine.address),
            ipv6: None,
            requires_ipv4: true,
            private_ipv4: Ipv4Addr::new(10, 0, 0, 5),
            shared: None,
            relay: None,
            announced: None,
        }
    }

    /// Returns the meetings on a host, as BBB lists them; `None` while BBB does not answer.
    pub(crate) fn meetings(&mut self, id: &InstanceId) -> Option<Meetings> {
        let now = self.now();
        let machine = self.machine(id);
        machine.activity.pass(now);
        machine.bbb.then(|| machine.activity.meetings(now))
    }

    /// Has the host's BBB announce its address and the right TURN servers, which ends all calls.
    pub(crate) fn set_right(&mut self, id: &InstanceId) {
        let now = self.now();
        self.note(format_args!("{id}: its BBB is set right"));
        let machine = self.machine(id);
        machine.activity.pass(now);
        machine.announces = Announces::Right;
        if machine.activity.occupied(NEW, now) > 0 {
            self.breaks("a repair of BBB's files has ended a meeting", id);
        }
    }

    /// Returns the recordings on a host; `asked` tells whether Redis could be asked.
    pub(crate) fn recordings(&mut self, id: &InstanceId, asked: bool) -> Recordings {
        let now = self.now();
        let machine = self.machine(id);
        machine.activity.pass(now);
        machine.activity.recordings(asked, now)
    }
}

impl Machine {
    fn goes_by(&self, name: &Name) -> bool {
        self.name == *name && !self.collides
    }

    fn has_address(&self) -> bool {
        self.alive && self.addressless.is_none()
    }

    /// Returns when the instance got its address, or lost it.
    pub(crate) fn addressed(&self) -> Duration {
        self.addressless.unwrap_or(self.addressed)
    }

    /// Tells whether the group or EC2 wants the host to take no new meetings.
    pub(crate) fn is_to_rest(&self) -> bool {
        self.role == Role::Bbb && (self.target == Target::Standby || self.rebalance)
    }
}

impl Machines {
    pub(crate) fn ids(&self) -> Vec<InstanceId> {
        self.all.keys().cloned().collect()
    }

    pub(crate) fn get(&self, id: &InstanceId) -> Option<&Machine> {
        self.all.get(id)
    }

    /// Returns the name of an instance, unless another owner has it.
    pub(crate) fn name(&self, id: &InstanceId) -> Option<&Name> {
        self.all.get(id).filter(|machine| !machine.collides).map(|machine| &machine.name)
    }

    pub(crate) fn state(&self, id: &InstanceId) -> &'static str {
        self.all.get(id).map_or("", |machine| machine.state)
    }

    /// Returns the instance with this name, unless another owner has the name.
    pub(crate) fn of_name(&self, name: &Name) -> Option<&Machine> {
        self.all.values().find(|machine| machine.goes_by(name))
    }

    pub(crate) fn name_is_of_the_dead(&self, name: &Name) -> bool {
        self.of_name(name).is_some_and(|machine| !machine.alive)
    }

    /// Tells whether the observed ownership TXT names an instance of this account that is really dead.
    pub(crate) fn is_gone(&self, observed: &Observed) -> bool {
        let text = observed.label.as_ref().and_then(|label| label.values.first().cloned());
        let owner = text.and_then(|text| Owner::parse(&text));
        owner.is_some_and(|owner| {
            owner.account.as_deref().is_none_or(|account| account == ACCOUNT)
                && self.all.get(&owner.instance).is_some_and(|machine| !machine.alive)
        })
    }

    /// Tells whether an instance has this address, or had it just before the present one.
    pub(crate) fn had(&self, id: &InstanceId, address: IpAddr) -> bool {
        self.all.get(id).is_some_and(|machine| {
            address == IpAddr::V4(machine.address)
                || machine.former.is_some_and(|former| address == IpAddr::V4(former))
        })
    }

    /// Returns the living instances that have this address.
    pub(crate) fn holders(&self, address: IpAddr) -> Vec<InstanceId> {
        let holders = self
            .all
            .iter()
            .filter(|(_, machine)| machine.has_address() && address == IpAddr::V4(machine.address));
        holders.map(|(id, _)| id.clone()).collect()
    }

    /// Notes which hosts have their names with their present addresses now.
    pub(crate) fn are_named(&mut self, zone: &Zone, now: Duration) {
        for (id, machine) in &mut self.all {
            let own = zone.get(&machine.name).filter(|observed| matches!(observed.holder(id), Holder::Me(_)));
            if own.is_some_and(|own| own.ip_addresses().contains(&IpAddr::V4(machine.address))) {
                machine.named = now;
            }
        }
    }

    /// Returns the living holders of an address that have had it, without a name of their own, for so long that every
    /// agent could have known.
    pub(crate) fn known_holders(&self, address: IpAddr, now: Duration) -> Vec<InstanceId> {
        let mut holders = self.holders(address);
        holders.retain(|holder| {
            self.get(holder).is_some_and(|machine| {
                machine.addressed + machine.told_late + BETWEEN < now && machine.named + BETWEEN < now
            })
        });
        holders
    }

    /// Whether BBB answers Scalelite at the host that goes by this name.
    pub(crate) fn answers(&self, name: &Name) -> bool {
        self.of_name(name).is_some_and(|machine| machine.alive && machine.bbb && !machine.walled)
    }

    /// Tells whether a living host without a name for one of these addresses has that address now.
    pub(crate) fn is_inherited(&self, observed: &Observed, zone: &Zone) -> bool {
        observed.ip_addresses().into_iter().any(|address| {
            self.holders(address).iter().any(|holder| {
                !zone.values().any(|other| {
                    matches!(other.holder(holder), Holder::Me(_)) && other.ip_addresses().contains(&address)
                })
            })
        })
    }

    /// Tells whether another owner has a living host's name, or an address at it: such a host tries again for ever.
    pub(crate) fn any_collides(&self) -> bool {
        self.all.values().any(|machine| machine.alive && (machine.collides || machine.state == "leaving"))
    }

    /// Returns the meetings on a host, without breakout rooms.
    pub(crate) fn running(&mut self, name: &Name, now: Duration) -> BTreeSet<String> {
        let machine = self.all.values_mut().find(|machine| machine.goes_by(name));
        machine
            .map(|machine| {
                machine.activity.pass(now);
                machine.activity.ids().cloned().collect()
            })
            .unwrap_or_default()
    }

    /// Returns the people whom Scalelite counts on a host, at least so many in each meeting that is new.
    pub(crate) fn load(&self, name: &Name, least: u32, now: Duration) -> f64 {
        self.of_name(name).map_or(0.0, |machine| machine.activity.load(least, now))
    }

    /// Begins a meeting; tells whether that was possible.
    pub(crate) fn begin_meeting(&mut self, name: &Name, id: &str, meeting: Gathering) -> bool {
        let machine = self.all.values_mut().find(|machine| machine.goes_by(name) && machine.bbb);
        machine.map(|machine| machine.activity.begin(id, meeting)).is_some()
    }

    /// Ends a meeting; tells whether that was possible.
    pub(crate) fn end_meeting(&mut self, name: &Name, id: &str, now: Duration) -> bool {
        let machine = self.all.values_mut().find(|machine| machine.goes_by(name) && machine.bbb);
        machine.is_some_and(|machine| {
            machine.activity.pass(now);
            machine.activity.end(id, now)
        })
    }

    /// Returns the instance with this name for a change, unless another owner has the name.
    pub(crate) fn of_name_mut(&mut self, name: &Name) -> Option<&mut Machine> {
        self.all.values_mut().find(|machine| machine.goes_by(name))
    }
}

/// A client for EC2, used by one instance. EC2 reports changes late.
pub(crate) struct Ec2 {
    pub(crate) world: World,
    pub(crate) who: InstanceId,
    /// Whether the credentials are of another account, which has no instances.
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
        // DescribeInstances is eventually consistent: now and then it overlooks an instance, but not for as long as a
        // sweep's pause.
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
