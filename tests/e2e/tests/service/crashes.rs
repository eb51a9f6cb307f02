//! The service is killed right after a change took effect, before it has heard so; then it is started again. Wherever
//! that happens, everything ends as it does without, and nothing of anybody else's is touched.

use std::time::Duration;

use e2e::{Rig, Running, Systemd, at_once};
use sandbox::faults::Fault;
use sandbox::http::ServiceName::{self, AutoScaling, Route53, Scalelite};
use sandbox::route53::RecordType;
use sandbox::scalelite::{ServerSnapshot, ServerState};

/// Every request that changes something.
const CHANGES: [(ServiceName, &str); 8] = [
    (Route53, "ChangeResourceRecordSets"),
    (Scalelite, "addServer"),
    (Scalelite, "updateServer"),
    (Scalelite, "panicServer"),
    (Scalelite, "deleteServer"),
    (AutoScaling, "SetInstanceProtection"),
    (AutoScaling, "RecordLifecycleActionHeartbeat"),
    (AutoScaling, "CompleteLifecycleAction"),
];

/// Nothing is measured by this: it only turns a test that would hang for ever into one that fails.
const PATIENCE: Duration = Duration::from_secs(120);

const ROOM: &str = "room";
const OTHERS_ROOM: &str = "another's room";

/// A part of a host's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// From boot to serving, with a meeting on it, so that it is protected from scale-in.
    Boot,
    /// Its group takes it out, until it is let go.
    ScaleIn,
    /// It is powered off; when the service comes again, once more.
    PowerOff,
    /// It reboots, and serves again.
    Reboot,
    /// Somebody takes it out by hand; when the service comes again, once more.
    Deregister,
}

/// How it all ends.
#[derive(Clone, Debug, PartialEq)]
struct End {
    records: Vec<String>,
    /// State and secret.
    entries: Vec<(ServerState, String)>,
    /// Whether it is the entry that was there before.
    is_kept: bool,
    /// How many entries there are of whomever.
    servers: usize,
    meetings: Vec<String>,
    /// How the group sees the instance.
    member: String,
}

struct Stage {
    life: Life,
    rig: Rig,
    /// Another host of the fleet, which serves, with a meeting, protected.
    other: Rig,
    before: Others,
    /// The ids of the host's entries.
    ids: Vec<String>,
    systemd: Systemd,
}

/// What must not be touched.
#[derive(Debug, Default, PartialEq)]
struct Others {
    records: Vec<String>,
    entries: Vec<ServerSnapshot>,
    meetings: Vec<String>,
    rooms: Vec<String>,
    member: String,
}

fn member(rig: &Rig) -> String {
    let member = rig.cloud.fleet.membership(rig.host.id()).map(|(_, member)| member);
    member.map_or_else(
        || "none".to_owned(),
        |member| {
            format!("{:?}, protected: {}, {} hooks", member.state, member.protected, member.actions.len())
        },
    )
}

impl Stage {
    /// The service serves, but for a boot, which begins then.
    async fn set(life: Life) -> (Self, Option<Running>) {
        let rig = Rig::bbb().await;
        let other = rig.beside(2).await;
        other.expect(0, &["register"]).await;
        other.meet(OTHERS_ROOM);
        rig.cloud.fleet.protect(&rig.cloud.group, &[other.host.id().to_owned()], true).unwrap();
        rig.put(RecordType::A, &format!("www.{}", rig.cloud.zone_name), &["203.0.113.80"]);
        let systemd = Systemd::start();
        let mut service = None;
        if life == Life::Boot {
            rig.host.bbb.start_meeting(ROOM, 3);
        } else {
            let mut running = rig.serve(Some(&systemd), life.settings());
            running.said("-> serving:", 1).await;
            service = Some(running);
        }
        if matches!(life, Life::PowerOff | Life::Reboot | Life::Deregister) {
            rig.meet(ROOM);
        }
        let ids = rig.entries().into_iter().map(|entry| entry.id).collect();
        let mut stage = Self { life, rig, other, before: Others::default(), ids, systemd };
        stage.before = stage.others();
        stage.rig.cloud.journal.clear();
        (stage, service)
    }

    fn others(&self) -> Others {
        let own = self.rig.fqdn();
        let records = self.rig.records().into_iter().filter(|record| !record.contains(&own)).collect();
        let rooms = self.rig.cloud.scalelite.meetings().into_keys().filter(|id| id == OTHERS_ROOM).collect();
        Others {
            records,
            entries: self.other.entries(),
            meetings: self.other.meetings(),
            rooms,
            member: member(&self.other),
        }
    }

    fn end(&self) -> End {
        let own = self.rig.fqdn();
        let entries = self.rig.entries();
        End {
            records: self.rig.records().into_iter().filter(|record| record.contains(&own)).collect(),
            // A reboot takes the entry out; one that is killed may leave it, and it joins again.
            is_kept: self.life != Life::Reboot
                && !entries.is_empty()
                && entries.iter().all(|entry| self.ids.contains(&entry.id)),
            servers: self.rig.cloud.scalelite.servers().len(),
            entries: entries
                .into_iter()
                .map(|entry| (entry.state, entry.secret.expose().to_owned()))
                .collect(),
            meetings: self.rig.meetings(),
            member: member(&self.rig),
        }
    }

    /// How many changes were made.
    fn changes(&self) -> usize {
        CHANGES.iter().map(|(service, action)| self.rig.cloud.journal.count(*service, action)).sum()
    }

    /// What makes this part of the life begin, and the service that it happens to. With it comes whoever asked for it.
    async fn begin(&self, service: Option<Running>) -> (Running, Option<Running>) {
        let service = service.unwrap_or_else(|| self.serve());
        let mut asking = None;
        match self.life {
            Life::Boot => {}
            Life::ScaleIn => drop(self.rig.cloud.fleet.terminate(self.rig.host.id()).unwrap()),
            Life::PowerOff => self.stop(&service, "poweroff.target start").await,
            Life::Reboot => self.stop(&service, "reboot.target start").await,
            Life::Deregister => asking = Some(self.rig.begin(&["deregister"])),
        }
        (service, asking)
    }

    fn serve(&self) -> Running {
        self.rig.serve(Some(&self.systemd), self.life.settings())
    }

    async fn stop(&self, service: &Running, job: &str) {
        self.systemd.does(&[job, "bbb-agent.service stop"]);
        service.signal("TERM").await;
    }

    /// Sees this part of the life to its end.
    async fn finish(&self, mut service: Running, asking: Option<Running>) {
        if let Some(asking) = asking {
            let run = asking.end().await;
            assert_eq!(run.code, 0, "{run}");
        }
        match self.life {
            Life::Boot => {
                service.said("-> serving:", 1).await;
                self.rig.cloud.journal.reached(AutoScaling, "SetInstanceProtection", 1).await;
            }
            Life::ScaleIn => service.said("-> unregistered:", 1).await,
            Life::Deregister => {}
            Life::PowerOff | Life::Reboot => {
                let run = service.end().await;
                assert_eq!(run.code, 0, "{run}");
            }
        }
    }

    /// The host comes up again: nothing of what was in /run and in memory is there any more.
    async fn boot(&self) {
        self.systemd.does(&[]);
        std::fs::remove_dir_all(self.rig.agent.directory()).unwrap();
        self.rig.host.bbb.end_all();
        self.serve().said("-> serving:", 1).await;
    }

    /// The service has been killed, and is started again, as systemd does, or by the boot.
    async fn again(&self) {
        match self.life {
            Life::Boot | Life::ScaleIn => self.finish(self.serve(), None).await,
            Life::Reboot => self.boot().await,
            Life::PowerOff | Life::Deregister => {
                let again = Systemd::start();
                let service = self.rig.serve(Some(&again), self.life.settings());
                again.hears("READY=1").await;
                let (service, asking) = self.begin(Some(service)).await;
                self.finish(service, asking).await;
            }
        }
    }
}

impl Life {
    fn settings(self) -> &'static [&'static str] {
        // Elsewhere it comes when it comes, and is a change too.
        if self == Self::Boot { &[] } else { &["protection.enabled=false"] }
    }
}

/// Lets this part of the life pass undisturbed.
async fn undisturbed(life: Life) -> (End, usize) {
    let (stage, service) = Stage::set(life).await;
    let (service, asking) = stage.begin(service).await;
    stage.finish(service, asking).await;
    let changes = stage.changes();
    if life == Life::Reboot {
        stage.boot().await;
    }
    assert_eq!(stage.others(), stage.before, "{life:?}");
    (stage.end(), changes)
}

/// Kills the service when its change of this number has taken effect.
async fn killed_after(life: Life, number: usize) -> End {
    let (stage, service) = Stage::set(life).await;
    for (service, action) in CHANGES {
        stage.rig.fault(service, action, Fault::HoldReply, None);
    }
    let (service, asking) = stage.begin(service).await;
    for change in 1..=number {
        let held = tokio::time::timeout(PATIENCE, stage.rig.cloud.faults.held(change)).await;
        held.unwrap_or_else(|_| panic!("{life:?}: change {change} is not made"));
        stage.rig.cloud.faults.release(change.min(number - 1));
    }
    service.signal("KILL").await;
    assert_eq!(service.end().await.code, -1, "{life:?}, change {number}");
    if let Some(asking) = asking {
        let run = asking.end().await;
        assert_ne!(run.code, 0, "{run}");
    }
    stage.rig.heal();
    let again = tokio::time::timeout(PATIENCE, stage.again()).await;
    again.unwrap_or_else(|_| panic!("{life:?}, change {number}: it does not end"));
    assert_eq!(stage.others(), stage.before, "{life:?}, change {number}");
    stage.end()
}

async fn ends_the_same_wherever_it_is_killed(life: Life, least: usize) {
    let (end, changes) = undisturbed(life).await;
    assert!(changes >= least, "{life:?}: {changes} changes");
    at_once(1..=changes, move |number| {
        let end = end.clone();
        async move {
            let killed = killed_after(life, number).await;
            assert_eq!(killed, end, "{life:?}, killed after change {number} of {changes}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_gets_into_service() {
    ends_the_same_wherever_it_is_killed(Life::Boot, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_its_group_takes_it_out() {
    ends_the_same_wherever_it_is_killed(Life::ScaleIn, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_is_powered_off() {
    ends_the_same_wherever_it_is_killed(Life::PowerOff, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_reboots() {
    ends_the_same_wherever_it_is_killed(Life::Reboot, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_is_taken_out_by_hand() {
    ends_the_same_wherever_it_is_killed(Life::Deregister, 4).await;
}
