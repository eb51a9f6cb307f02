//! The program that tells the story of a host's life with the real binaries, then keeps the cloud up for trying it by
//! hand. Every line that an agent prints is its own; whatever goes differently ends the story with a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use e2e::{Rig, Service, label};
use sandbox::cloud::{HostOptions, Options};
use sandbox::control::Control;
use sandbox::fleet::{InstanceFacts, LifecycleState};
use sandbox::http::ServiceName::{Bbb, Imds, Route53};
use sandbox::recordings::Stage;
use sandbox::route53::RecordType;
use sandbox::scalelite::ServerState;
use tokio::signal::unix::{SignalKind, signal};

const UNIT: &str = "bbb-agent.service";
const LECTURE: &str = "Linear Algebra II";
const STAFF: &str = "Staff meeting";
/// As BBB names a recording: the meeting's internal id.
const RECORDING: &str = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 99);

#[tokio::main]
async fn main() -> ExitCode {
    let only_story = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--exit") => true,
        Some(other) => {
            say(&format!(
                "story: {other:?} is not known\nUsage: story [--exit]   (--exit: end after the story)"
            ));
            return ExitCode::from(2);
        }
    };
    say(
        "Times are short here: the service looks every second at what it looks at every 5 to 300 seconds in life.",
    );
    let host = HostOptions { installed: false, ..HostOptions::default() };
    let options = Options { host, ..Options::with_tls().polled_by_hand() };
    let mut story = Story { rig: Rig::start(options).await, started: Instant::now() };
    story.life().await;
    say("\nThat was a whole life; every step ended as it should.");
    if !only_story {
        story.keep_up().await;
    }
    ExitCode::SUCCESS
}

/// Prints a text to standard output.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

struct Story {
    rig: Rig,
    started: Instant,
}

/// A service whose journal is told as far as it has come.
struct Told {
    service: Service,
    lines: usize,
}

impl Told {
    /// Starts the service of a host.
    fn start(rig: &Rig) -> Self {
        say("  $ systemctl start bbb-agent.service");
        Self { service: rig.service(&["checks.name=5"]), lines: 0 }
    }

    /// Waits until the service has come into this state so often, then tells what it has said meanwhile.
    async fn comes_to(&mut self, state: &str, times: usize) {
        self.service.comes_to(state, times).await;
        self.tell();
    }

    /// Tells what the service has said since the last time.
    fn tell(&mut self) {
        let said = self.service.running.complaints();
        for line in said.lines().skip(self.lines) {
            say(&format!("    {line}"));
        }
        self.lines = said.lines().count();
    }

    /// systemd restarts the service, as an upgrade of its package does.
    async fn restart(mut self, rig: &Rig) -> Self {
        self.tell();
        say("  $ systemctl restart bbb-agent.service");
        let run = self.service.restart(UNIT).await;
        for line in run.stderr.lines().skip(self.lines) {
            say(&format!("    {line}"));
        }
        Self { service: rig.service(&["checks.name=5"]), lines: 0 }
    }
}

impl Story {
    async fn life(&mut self) {
        let mut service = self.boots().await;
        self.meets(&mut service).await;
        self.moves(&mut service).await;
        service = self.is_upgraded(service).await;
        self.stands_by(&mut service).await;
        self.another_is_interrupted().await;
        self.another_is_stopped_overnight().await;
        self.is_scaled_in(service).await;
        self.ten_hosts().await;
        self.costs();
    }

    async fn boots(&self) -> Told {
        self.chapter(
            "The host boots. UserData asks for its name, then registers it. BBB is not installed yet.",
        );
        self.run(&["hostname"], 0).await;
        self.run(&["register", "--wait"], 7).await;
        self.show_dns();
        self.chapter("The service starts. When BBB has been installed, the host joins Scalelite by itself.");
        let mut service = Told::start(&self.rig);
        self.rig.ticked(2).await;
        self.rig.host.install("s3cr&t/with %odd$ characters").unwrap();
        service.comes_to("serving", 1).await;
        self.show_scalelite();
        service
    }

    async fn meets(&self, service: &mut Told) {
        self.chapter("Scalelite polls the host; two meetings are placed on it.");
        let scalelite = &self.rig.cloud.scalelite;
        scalelite.poll().await;
        service.service.systemd.shows_exactly("registered").await;
        for (meeting, people) in [(LECTURE, 180), (STAFF, 7)] {
            scalelite.create_meeting(meeting).await.unwrap();
            self.rig.host.bbb.set_participants(meeting, people);
        }
        self.rig.counted(2).await;
        service.tell();
        self.run(&["status"], 0).await;
        self.chapter("An operator registers the host again: there is nothing to do.");
        self.run(&["register", "--wait"], 0).await;
    }

    async fn moves(&self, service: &mut Told) {
        self.chapter(
            "The public address changes. The service replaces the record in one batch; the meetings go on.",
        );
        let changes = self.rig.cloud.journal.count(Route53, "ChangeResourceRecordSets");
        self.rig.host.imds.update(|facts| facts.public_ipv4 = Some(ADDRESS)).unwrap();
        self.rig.cloud.journal.reached(Route53, "ChangeResourceRecordSets", changes + 1).await;
        self.rig.looked_at().await;
        service.tell();
        self.show_dns();
        self.still_has(&[LECTURE, STAFF]);
    }

    async fn is_upgraded(&self, service: Told) -> Told {
        self.chapter("The agent is upgraded in the middle of the meetings: nothing is undone.");
        let mut service = service.restart(&self.rig).await;
        service.comes_to("serving", 1).await;
        self.still_has(&[LECTURE, STAFF]);
        self.show_scalelite();
        service
    }

    async fn stands_by(&self, service: &mut Told) {
        self.chapter(
            "The group puts the host on standby: it gets no new meeting, and keeps those that it has.",
        );
        let fleet = &self.rig.cloud.fleet;
        fleet.set_lifecycle_state(self.rig.host.id(), LifecycleState::Standby).unwrap();
        service.comes_to("cordoned", 1).await;
        self.rig.counted(2).await;
        assert_eq!(self.rig.entry().state, ServerState::Cordoned);
        self.run(&["status"], 4).await;
        self.chapter("... and back into service.");
        fleet.set_lifecycle_state(self.rig.host.id(), LifecycleState::InService).unwrap();
        service.comes_to("serving", 2).await;
        self.show_scalelite();
        self.still_has(&[LECTURE, STAFF]);
    }

    async fn another_is_interrupted(&self) {
        self.chapter("EC2 takes a spot instance back (in 34 seconds here, two minutes in life) during a meeting on it.");
        let spot = self.rig.beside(2).await;
        let mut service = Told::start(&spot);
        service.comes_to("serving", 1).await;
        spot.meet("Seminar");
        spot.cloud.interrupt(spot.host.id(), "terminate", Duration::from_secs(34)).unwrap();
        say("  The notice comes.");
        service.comes_to("draining", 1).await;
        spot.counted(2).await;
        self.show_scalelite();
        service.comes_to("unregistered", 1).await;
        self.show_scalelite();
        self.show_dns();
        service.service.end(&[]).await;
        spot.cloud.fleet.shut_down(spot.host.id()).unwrap();
    }

    async fn another_is_stopped_overnight(&self) {
        self.chapter(
            "A host is stopped overnight, and started with another address: its BBB announces the old one.",
        );
        let other = self.rig.beside(4).await;
        let (old, new) = ("203.0.113.44", "203.0.113.45");
        other.readdress(old);
        other.announces(old);
        let mut service = Told::start(&other);
        service.comes_to("serving", 1).await;
        say("  $ systemctl poweroff");
        service.service.end(&["poweroff.target start"]).await;
        self.show_scalelite();
        say(&format!(
            "  The host starts with {new}. By default it stays out: rooms here would have no audio."
        ));
        other.boots();
        other.readdress(new);
        let mut service = Told::start(&other);
        service.service.systemd.shows(&["not joining Scalelite: BBB announces 203.0.113.44"]).await;
        service.tell();
        self.run_on(&other, &["status"], 3).await;
        service.service.end(&["poweroff.target start"]).await;
        say("  With bbb.addresses = \"repair\", as in the templates, it sets its BBB right and joins.");
        let repairer = other.repairer();
        other.boots();
        let mut service = Told::start(&other);
        service.comes_to("serving", 1).await;
        assert_eq!(repairer.restarts(), [[""; 0]], "no meeting is ended by the restarts");
        other.cloud.scalelite.poll().await;
        service.service.systemd.shows_exactly("registered").await;
        self.run_on(&other, &["status"], 0).await;
        service.service.end(&["poweroff.target start"]).await;
        other.cloud.fleet.shut_down(other.host.id()).unwrap();
    }

    async fn is_scaled_in(&self, mut service: Told) {
        self.chapter("The group ends the host while the lecture is on, which is recorded.");
        self.rig.host.bbb.end_meeting(STAFF);
        self.rig.ends();
        service.comes_to("draining", 1).await;
        self.rig.counted(2).await;
        self.run(&["status"], 4).await;
        self.still_has(&[LECTURE]);
        self.chapter("The agent is restarted in the middle of it: the deadline stays.");
        service = service.restart(&self.rig).await;
        service.comes_to("draining", 1).await;
        self.chapter("The lecture ends. Its recording has to be processed, and sent to Scalelite, before the host goes.");
        self.rig.host.recordings.reach(RECORDING, Stage::Recorded).unwrap();
        self.rig.host.bbb.end_meeting(LECTURE);
        for stage in [Stage::Archived, Stage::Processed, Stage::Packed] {
            self.rig.host.recordings.reach(RECORDING, stage).unwrap();
            self.rig.counted(3).await;
            service.tell();
            say(&format!("  The recording is {stage:?}; the agent says: {}", self.rig.words().await));
            assert_eq!(self.rig.member().state, LifecycleState::TerminatingWait);
        }
        say("  The recording has been sent.");
        self.rig.host.recordings.reach(RECORDING, Stage::Sent).unwrap();
        service.comes_to("unregistered", 1).await;
        self.rig.is_gone();
        assert_eq!(self.rig.member().state, LifecycleState::TerminatingProceed);
        self.show_dns();
        self.show_scalelite();
        service.service.end(&["poweroff.target start"]).await;
    }

    /// What `fleet` shows of ten hosts, of which one asks, and the others are no more than what the sources tell of them.
    async fn ten_hosts(&self) {
        self.chapter(
            "Another day, ten hosts: one is dead, one drains, one is offline. What does the fleet do?",
        );
        let (fleet, scalelite) = (&self.rig.cloud.fleet, &self.rig.cloud.scalelite);
        for former in fleet.instances() {
            fleet.finish_termination(&former.facts.instance_id).unwrap();
        }
        scalelite.configure(|config| config.polled_at_once = true);
        let asking = self.rig.beside(5).await;
        self.run_on(&asking, &["register"], 0).await;
        (2..=7).for_each(|number| drop(self.serves(number)));
        let [dead, draining, offline] = [8, 9, 10].map(|number| self.serves(number));
        fleet.finish_termination(&dead).unwrap();
        fleet.set_lifecycle_state(&draining, LifecycleState::TerminatingWait).unwrap();
        let entry = |instance: &str| {
            let digits = instance.trim_start_matches("i-").to_owned();
            scalelite.servers().into_iter().find(|server| server.url.contains(&digits)).unwrap()
        };
        scalelite.set_state(&entry(&draining).id, ServerState::Cordoned);
        scalelite.configure(|config| config.polled_at_once = false);
        let gone = entry(&offline);
        scalelite.delete_server(&gone.id);
        scalelite.add_server(&gone.url, "its secret", ServerState::Enabled);
        self.run_on(&asking, &["fleet"], 4).await;
    }

    /// Adds a host of the group that serves, as far as others see; returns its id.
    fn serves(&self, number: u8) -> String {
        let (cloud, rig) = (&self.rig.cloud, &self.rig);
        let facts = HostOptions::numbered(number + 100).facts;
        let id = facts.instance_id.clone();
        let name = format!("vc-{}.{}", id.trim_start_matches("i-"), cloud.zone_name);
        let [ipv4, ipv6] = [facts.public_ipv4.unwrap().to_string(), facts.ipv6.unwrap().to_string()];
        let zone = if number.is_multiple_of(2) { "eu-central-1a" } else { "eu-central-1b" };
        cloud.fleet.launch(InstanceFacts { availability_zone: zone.to_owned(), ..facts });
        cloud.fleet.attach(&cloud.group, &id).unwrap();
        rig.put(RecordType::A, &name, &[&ipv4]);
        rig.put(RecordType::Aaaa, &name, &[&ipv6]);
        rig.put(RecordType::Txt, &format!("_agent.{name}"), &[&label("bbb", &id, "1767225600")]);
        let url = format!("https://{name}/bigbluebutton/api");
        cloud.scalelite.add_server(&url, "its secret", ServerState::Enabled);
        id
    }

    fn chapter(&self, title: &str) {
        say(&format!("\n[{:6.2} s] {title}", self.started.elapsed().as_secs_f64()));
    }

    /// Runs the agent and prints its output, each line as the agent's own.
    async fn run(&self, arguments: &[&str], expected: i32) {
        self.run_on(&self.rig, arguments, expected).await;
    }

    /// Runs it on this host.
    async fn run_on(&self, rig: &Rig, arguments: &[&str], expected: i32) {
        say(&format!("  $ bbb-agent {}", arguments.join(" ")));
        let run = rig.expect(expected, arguments).await;
        // Log lines come first, because they were written while the command ran.
        for line in run.stderr.lines().chain(run.stdout.lines()) {
            say(&format!("    {line}"));
        }
        say(&format!("    (exit code {})", run.code));
    }

    fn still_has(&self, meetings: &[&str]) {
        let mut found = self.rig.meetings();
        found.sort();
        assert_eq!(found, meetings, "no meeting has ended");
        say(&format!("  The host's meetings: {}", found.join(", ")));
    }

    fn show_dns(&self) {
        let zone = &self.rig.cloud.zone_name;
        let records = self.rig.records();
        say(&format!("  The zone {zone} has {} record sets of hosts:", records.len()));
        records.iter().for_each(|line| say(&format!("    {line}")));
    }

    fn show_scalelite(&self) {
        let servers = self.rig.cloud.scalelite.servers();
        say(&format!("  Scalelite has {} servers:", servers.len()));
        for server in servers {
            say(&format!("    {} {:?} (id {})", server.url, server.state, server.id));
        }
    }

    fn costs(&self) {
        self.chapter("What all of that cost.");
        for ((service, action), count) in self.rig.cloud.journal.tally() {
            if service != Imds && service != Bbb {
                say(&format!("  {count:3} x {service:?} {action}"));
            }
        }
        let questions = self.rig.cloud.dns.queries().len();
        say(&format!("  {questions:3} x DNS questions to the authoritative servers, which cost nothing"));
    }

    /// Keeps everything up, with a host that nothing has happened to, and explains how to try it.
    async fn keep_up(&self) {
        let rig = self.rig.beside(3).await;
        let control = Control::start(Arc::clone(&rig.cloud), (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        say("\nThe cloud stays up, with a new host. In another terminal, paste this:\n");
        for (name, value) in rig.agent.environment() {
            say(&format!("  export {name}='{value}'"));
        }
        let binaries = rig.agent.binary().parent().unwrap().display();
        say(&format!("  export PATH='{binaries}':\"$PATH\""));
        say(
            "\nand try: bbb-agent register --wait, bbb-agent status, bbb-agent check, bbb-agent deregister --dry-run",
        );
        say("The service: bbb-agent run (Ctrl-C is an operator's stop).");
        say(&format!("What can be steered, with examples: curl -s http://{}/", control.address()));
        // Before it is said: who waits for these words may press it at once.
        let mut pressed = signal(SignalKind::interrupt()).unwrap();
        say("Ctrl-C ends it.");
        pressed.recv().await;
    }
}
