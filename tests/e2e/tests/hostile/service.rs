//! A service whose neighbours turn hostile while it serves, or while it waits for the last meeting: it gives nothing
//! up and ends nobody's meeting, outlives them, and goes on once they answer as they should.

use std::sync::Arc;

use e2e::{Rig, Service, Systemd};
use sandbox::cloud::Options;
use sandbox::fleet::LifecycleState;
use sandbox::http::ServiceName::{AutoScaling, Bbb, Scalelite};
use sandbox::scalelite::{ServerSnapshot, ServerState};
use tokio::sync::watch;

use crate::http::{clean, limited, point, real};
use crate::server::{Answer, Answers, Server, Trap};
use crate::table;

const ROOM: &str = "room";

/// What is looked at comes soon.
const SETTINGS: [&str; 10] = [
    "timeouts.imds=1",
    "timeouts.bbb=1",
    "checks.metadata=1",
    "checks.work=1",
    "drain.quiet=0",
    "protection.idle=0",
    "scalelite.poll_interval=5",
    "sweep.enabled=false",
    "metrics.enabled=true",
    "metrics.interval=10",
];

/// A service, as a neighbour of the one that is tested.
#[derive(Clone, Copy, Debug)]
struct Neighbour {
    service: &'static str,
    /// Requests whose head has this are answered with hostility, while that lasts.
    request: &'static str,
    /// Whether the host's group is ending it meanwhile, and a meeting still runs.
    draining: bool,
}

const NEIGHBOURS: &[Neighbour] = &[
    Neighbour { service: "imds", request: "GET /latest/meta-data/autoscaling", draining: false },
    Neighbour { service: "imds", request: "GET /latest/meta-data/autoscaling", draining: true },
    Neighbour { service: "imds", request: "GET /latest/meta-data/public-ipv4", draining: false },
    Neighbour { service: "scalelite", request: "getServer", draining: false },
    Neighbour { service: "bbb", request: "getMeetings", draining: false },
    Neighbour { service: "bbb", request: "getMeetings", draining: true },
    Neighbour { service: "aws", request: "/autoscaling/aws4_request", draining: false },
    Neighbour { service: "aws", request: "/monitoring/aws4_request", draining: false },
];

/// Hostile while it is on, and counts how often it was.
#[derive(Debug)]
struct Hostility {
    on: watch::Sender<bool>,
    shown: watch::Sender<usize>,
}

impl Hostility {
    fn off() -> Arc<Self> {
        Arc::new(Self { on: watch::Sender::new(false), shown: watch::Sender::new(0) })
    }

    fn answers(self: &Arc<Self>, request: &'static str, answer: Answer) -> Answers {
        let hostility = Arc::clone(self);
        Arc::new(move |head| {
            let hostile = *hostility.on.borrow() && head.contains(request);
            hostile.then(|| {
                hostility.shown.send_modify(|shown| *shown += 1);
                answer.clone()
            })
        })
    }

    /// Returns once somebody has met it so often, and so has done with it so often but once.
    async fn met(&self, times: usize) {
        self.shown.subscribe().wait_for(|shown| *shown >= times).await.unwrap();
    }
}

/// What must be the same afterwards.
fn belongings(rig: &Rig) -> (Vec<String>, Vec<ServerSnapshot>, Vec<String>, LifecycleState) {
    let (_, member) = rig.cloud.fleet.membership(rig.host.id()).expect("a member of the group");
    (rig.records(), rig.cloud.scalelite.servers(), rig.meetings(), member.state)
}

impl Neighbour {
    fn start(self, rig: &Rig, server: &Server) -> Service {
        let systemd = Systemd::start();
        let mut command = limited(rig);
        command.arg("run").args(SETTINGS.iter().flat_map(|setting| ["--set", setting]));
        point(&mut command, self.service, server);
        systemd.starts(&mut command);
        Service { running: e2e::Running::start(command), systemd }
    }

    /// Brings the host where it is to be when the hostility begins, and starts that.
    async fn provoke(self, rig: &Rig, service: &mut Service, hostility: &Hostility) {
        service.systemd.shows_exactly("registered").await;
        if self.draining {
            rig.meet(ROOM);
            rig.cloud.fleet.terminate(rig.host.id()).unwrap();
            service.comes_to("draining", 1).await;
            rig.cloud.journal.reached(Scalelite, "updateServer", 2).await;
            let counted = rig.cloud.journal.count(Bbb, "getMeetings");
            rig.cloud.journal.reached(Bbb, "getMeetings", counted + 2).await;
            assert_eq!(rig.entry().state, ServerState::Cordoned);
            hostility.on.send_replace(true);
        } else {
            // A meeting that begins now has to be counted, and the host to be protected, against all hostility.
            hostility.on.send_replace(true);
            rig.meet(ROOM);
        }
    }

    /// Lets the service meet the hostility: twice, as by the second time it knows what to do with the first answer.
    async fn confront(self, rig: &Rig, service: &Service, hostility: &Hostility) {
        match self.service {
            // It is asked every second, and its answers cannot be counted.
            "imds" => {
                for times in 1..=2 {
                    service.running.signal("USR1").await;
                    hostility.met(times).await;
                }
            }
            // A change that Auto Scaling says that it has made is not asked for again, and metrics are not sent again.
            "aws" => rig.until(service, hostility.met(1)).await,
            _ => rig.until(service, hostility.met(2)).await,
        }
    }

    async fn outlive(self, what: &str, answer: Answer, trap: &Trap) {
        let row = format!("{self:?}: {what}");
        let rig = Rig::start(Options::default()).await;
        let hostility = Hostility::off();
        let server = Server::before(real(self.service, &rig), hostility.answers(self.request, answer)).await;
        let mut service = self.start(&rig, &server);
        self.provoke(&rig, &mut service, &hostility).await;
        let before = belongings(&rig);
        self.confront(&rig, &service, &hostility).await;
        assert!(service.running.goes_on(), "it has ended: {row}");
        assert_eq!(belongings(&rig), before, "something was changed: {row}");
        hostility.on.send_replace(false);
        if self.draining {
            rig.host.bbb.end_all();
            rig.until(
                &service,
                service.systemd.shows(&["not registered: its Auto Scaling group ends this host"]),
            )
            .await;
            assert_eq!((rig.records(), rig.cloud.scalelite.servers()), (vec![], vec![]), "{row}");
        } else {
            rig.until(&service, service.systemd.shows_exactly("registered")).await;
            if self.service != "aws" {
                rig.until(&service, rig.cloud.journal.reached(AutoScaling, "SetInstanceProtection", 1)).await;
            }
            assert_eq!(belongings(&rig), before, "{row}");
        }
        let run = service.restart("bbb-agent.service").await;
        let row = format!("{row}:\n{run}");
        assert_eq!(run.code, 0, "{row}");
        assert!(trap.is_empty(), "it was led elsewhere: {row}");
        clean(&run, &row);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_its_neighbours_answer_a_service_gives_nothing_up_and_goes_on_after_it() {
    table::against_all(NEIGHBOURS, async |neighbour, what, answer, trap| {
        neighbour.outlive(what, answer, &trap).await;
    })
    .await;
}
