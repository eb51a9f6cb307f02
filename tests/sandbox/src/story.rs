//! The story of a host's life, told with the real binaries: every line that an agent prints is its own.

use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use crate::agent::Agent;
use crate::cloud::{Cloud, Error, Host, HostOptions, Options};
use crate::control::Control;
use crate::http::ServiceName;
use crate::route53::RecordType;

/// Prints a text to standard output.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

struct Story {
    cloud: Arc<Cloud>,
    host: Arc<Host>,
    agent: Agent,
    started: Instant,
    surprises: Vec<String>,
}

/// Tells the story; then, unless `only_story`, keeps the cloud up until Ctrl-C.
pub async fn tell(only_story: bool) -> Result<(), Error> {
    say("Building the agents (the first time takes minutes) ...");
    let mut options = Options::with_tls();
    options.host = HostOptions { installed: false, ..options.host };
    let cloud = Cloud::start(options).await?;
    let host = cloud.hosts().into_iter().next().ok_or("the cloud has no host")?;
    let agent = Agent::install(&cloud, &host, "bbb-agent")?;
    let mut story = Story { cloud, host, agent, started: Instant::now(), surprises: Vec::new() };
    story.life().await?;
    if !story.surprises.is_empty() {
        return Err(format!("the story went differently: {}", story.surprises.join("; ")).into());
    }
    say("\nThat was a whole life; every step ended as it should.");
    if only_story {
        return Ok(());
    }
    story.keep_up().await
}

impl Story {
    async fn life(&mut self) -> Result<(), Error> {
        self.chapter(
            "The host boots. UserData asks for its name, then registers it. BBB is not installed yet.",
        );
        self.run(&["hostname"], 0).await?;
        self.run(&["register", "--wait"], 7).await?;
        self.show_dns();

        self.chapter("BBB has been installed. The host joins Scalelite.");
        self.host.install("s3cr&t/with %odd$ characters")?;
        self.run(&["register"], 0).await?;
        self.show_scalelite();

        self.chapter("Scalelite polls the host; two meetings are placed on it.");
        self.cloud.scalelite.poll().await;
        for meeting in ["Linear Algebra II", "Staff meeting"] {
            let placed = self.cloud.scalelite.create_meeting(meeting).await;
            self.expect(placed.is_ok(), &format!("the meeting {meeting:?} was not placed"));
        }
        self.run(&["status"], 0).await?;

        self.chapter("Somebody registers again: there is nothing to do, and Route 53 is not asked.");
        self.run(&["register", "--wait"], 0).await?;

        self.chapter("The public address changes. The record is replaced in one batch; the meetings go on.");
        self.host.imds.update(|facts| facts.public_ipv4 = Some(Ipv4Addr::new(203, 0, 113, 99)))?;
        self.run(&["status"], 4).await?;
        self.run(&["register", "--wait"], 0).await?;
        self.show_dns();
        self.expect(self.host.bbb.snapshot().meetings.len() == 2, "a meeting was lost");

        self.chapter("The host leaves: first shown, then done.");
        self.run(&["deregister", "--dry-run"], 0).await?;
        self.run(&["deregister"], 0).await?;
        self.run(&["deregister"], 0).await?;
        self.show_dns();
        self.show_scalelite();
        self.run(&["status"], 3).await?;

        self.chapter("What all of that cost.");
        self.show_costs();
        Ok(())
    }

    fn chapter(&self, title: &str) {
        say(&format!("\n[{:6.2} s] {title}", self.started.elapsed().as_secs_f64()));
    }

    /// Runs the agent and prints its output, each line as the agent's own.
    async fn run(&mut self, arguments: &[&str], expected: i32) -> Result<(), Error> {
        say(&format!("  $ bbb-agent {}", arguments.join(" ")));
        let output = self.agent.command(arguments).output().await?;
        // Log lines come first, because they were written while the command ran.
        for stream in [&output.stderr, &output.stdout] {
            for line in String::from_utf8_lossy(stream).lines() {
                say(&format!("    {line}"));
            }
        }
        let code = output.status.code();
        say(&format!("    (exit code {})", code.unwrap_or(-1)));
        self.expect(
            code == Some(expected),
            &format!("{arguments:?} ended with {code:?} instead of {expected}"),
        );
        Ok(())
    }

    fn expect(&mut self, right: bool, surprise: &str) {
        if !right {
            self.surprises.push(surprise.to_owned());
        }
    }

    fn show_dns(&self) {
        let records = self.cloud.route53.records(&self.cloud.zone_id).unwrap_or_default();
        let own = records.iter().filter(|set| !matches!(set.record_type, RecordType::Ns | RecordType::Soa));
        let lines: Vec<String> = own
            .map(|set| {
                format!(
                    "{} {} {} {}",
                    set.name,
                    set.ttl.unwrap_or_default(),
                    set.record_type.as_str(),
                    set.values.join(" ")
                )
            })
            .collect();
        say(&format!("  The zone {} has {} record sets of hosts:", self.cloud.zone_name, lines.len()));
        lines.iter().for_each(|line| say(&format!("    {line}")));
    }

    fn show_scalelite(&self) {
        let servers = self.cloud.scalelite.servers();
        say(&format!("  Scalelite has {} servers:", servers.len()));
        for server in servers {
            say(&format!("    {} {:?} (id {})", server.url, server.state, server.id));
        }
    }

    fn show_costs(&self) {
        for ((service, action), count) in self.cloud.journal.tally() {
            if service != ServiceName::Imds && service != ServiceName::Bbb {
                say(&format!("  {count:3} x {service:?} {action}"));
            }
        }
        say(&format!(
            "  {:3} x DNS questions to the authoritative servers, which cost nothing",
            self.cloud.dns.queries().len()
        ));
    }

    /// Keeps everything up and explains how to try it.
    async fn keep_up(self) -> Result<(), Error> {
        let control = Control::start(Arc::clone(&self.cloud), (Ipv4Addr::LOCALHOST, 0).into()).await?;
        say("\nThe cloud stays up. In another terminal, paste this:\n");
        for (name, value) in self.agent.environment() {
            say(&format!("  export {name}='{value}'"));
        }
        let binaries =
            self.agent.binary().parent().map(|path| path.display().to_string()).unwrap_or_default();
        say(&format!("  export PATH='{binaries}':\"$PATH\""));
        say(
            "\nand try: bbb-agent status, bbb-agent register --wait, bbb-agent check, bbb-agent deregister --dry-run",
        );
        say(&format!("What can be steered, with examples: curl -s http://{}/", control.address()));
        say("Ctrl-C ends it.");
        tokio::signal::ctrl_c().await?;
        Ok(())
    }
}
