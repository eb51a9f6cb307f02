//! `check`: asks everybody whether they would let this host do its work, changing nothing; one line a check.

use std::fmt::Display;
use std::future::Future;

use plan::dns::{Change, ChangeBatch};
use plan::record::{Name, RecordSet};
use tokio::time::timeout;

use crate::dns::Zone;
use crate::identity::Host;
use crate::report::{self, Exit, Failure};
use crate::session::{Session, within};
use clients::aws::ec2::GroupName;
use clients::aws::route53::{Error, RecordSets};
use clients::bbb::Bbb;
use clients::dns::authoritative::Authorities;

/// How one check ended.
enum Finding {
    Good(String),
    /// Nothing to worry about, or not yet.
    Note(String),
    Bad(String),
}

struct Doctor<'a> {
    session: &'a Session,
    lines: Vec<String>,
    bad: usize,
}

/// Runs all checks; fails when one does. That the configuration is valid is known by the time this runs.
pub async fn check(session: &Session) -> Result<Exit, Failure> {
    let mut doctor = Doctor { session, lines: Vec::new(), bad: 0 };
    doctor.note("configuration", Finding::Good("valid".to_owned()));
    doctor.trust();
    match session.host(within(session.settings.timeouts.status)).await {
        Ok(host) => doctor.all(&host).await,
        Err(failure) => doctor.note("metadata", Finding::Bad(failure.headline())),
    }
    report::answer(doctor.lines.join("\n") + "\n")?;
    Ok(if doctor.bad == 0 { Exit::Done } else { Exit::Failed })
}

impl Doctor<'_> {
    fn note(&mut self, what: &str, finding: Finding) {
        let (mark, words) = match finding {
            Finding::Good(words) => ("ok", words),
            Finding::Note(words) => ("note", words),
            Finding::Bad(words) => {
                self.bad += 1;
                ("FAIL", words)
            }
        };
        self.lines.push(format!("{mark:<5}{what:<16}{words}"));
    }

    async fn all(&mut self, host: &Host) {
        let address = host.desired(self.session.agent.role, self.session.settings.dns.ttl, 0);
        let addresses: Vec<String> =
            address.iter().flat_map(|desired| desired.addresses()).map(|set| set.to_string()).collect();
        self.note("metadata", Finding::Good(format!("{} in {}", host.instance, host.availability_zone)));
        self.note("addresses", address.map_or_else(bad, |_| Finding::Good(addresses.join(", "))));
        self.zone(host).await;
        self.ec2(host).await;
        if self.session.settings.bbb.is_some() {
            self.bbb(host).await;
            self.scalelite(host).await;
        }
    }

    fn trust(&mut self) {
        let finding = match self.session.tls().load() {
            Ok(()) => Finding::Good("certificate authorities found".to_owned()),
            Err(error) => Finding::Bad(error.to_string()),
        };
        self.note("tls", finding);
    }

    async fn zone(&mut self, host: &Host) {
        let zone = match self.session.zone(host).await {
            Ok(zone) => zone,
            Err(failure) => return self.note("route 53", bad(failure)),
        };
        let domain = self.session.settings.dns.domain.clone();
        let zone_finding = self.within(describe(&zone, &domain)).await;
        self.note("hosted zone", zone_finding);
        let read = self.within(async {
            zone.api
                .read(&host.name)
                .await
                .map_or_else(bad, |_| Finding::Good(format!("can read {}", host.name)))
        });
        let read = read.await;
        self.note("read records", read);
        let write = self.within(may_change(&zone, &host.name)).await;
        self.note("change records", write);
        let servers = self.within(name_servers(&zone, &host.name)).await;
        self.note("name servers", servers);
    }

    /// EC2 is asked who has an address before a record set with that address is deleted.
    async fn ec2(&mut self, host: &Host) {
        let ec2 = match self.session.ec2(host).await {
            Ok(ec2) => ec2,
            Err(failure) => return self.note("ec2", bad(failure)),
        };
        let ask = async {
            match ec2.group_name(&host.instance).await {
                Ok(GroupName::In(group)) => {
                    Finding::Good(format!("knows this host; it is in the group {group}"))
                }
                Ok(GroupName::Nowhere) => Finding::Good("knows this host; it is in no group".to_owned()),
                Ok(GroupName::UnknownInstance) => Finding::Note("does not know this host (yet)".to_owned()),
                Err(error) => bad(error),
            }
        };
        let finding = self.within(ask).await;
        self.note("ec2", finding);
    }

    async fn bbb(&mut self, host: &Host) {
        let installation = match self.session.installation(host).await {
            None => return,
            Some(Ok(installation)) => installation,
            Some(Err(error)) if error.may_come() => {
                return self.note("bbb", Finding::Note(error.to_string()));
            }
            Some(Err(error)) => return self.note("bbb", bad(error)),
        };
        let client = match self.session.local_client(&installation.server_url) {
            Ok(client) => client,
            Err(failure) => return self.note("bbb", bad(failure)),
        };
        let bbb = Bbb::of(client, &installation);
        let finding = self.within(async {
            match bbb.meetings().await {
                Ok(meetings) => Finding::Good(format!("answers, {} meetings", meetings.len())),
                Err(error) if error.is_retryable() && !error.is_refusal() => {
                    Finding::Note(format!("not ready: {error}"))
                }
                Err(error) => bad(error),
            }
        });
        let finding = finding.await;
        self.note("bbb", finding);
    }

    async fn scalelite(&mut self, host: &Host) {
        if self.session.settings.scalelite.is_none() {
            return self.note("scalelite", Finding::Note("none is configured (scalelite.url)".to_owned()));
        }
        let deadline = within(self.session.settings.timeouts.status);
        let scalelite = match self.session.scalelite(host, deadline).await {
            Ok(Some(scalelite)) => scalelite,
            Ok(None) => return,
            Err(failure) => return self.note("scalelite", bad(failure)),
        };
        let finding = self.within(async {
            match scalelite.servers().await {
                Ok(listing) => {
                    Finding::Good(format!("accepts the load balancer's secret; {} servers", listing.count()))
                }
                Err(error) => bad(error),
            }
        });
        let finding = finding.await;
        self.note("scalelite", finding);
        if scalelite.is_unencrypted() {
            let words = "http, not https: BBB's secret crosses the network in clear";
            self.note("scalelite.url", Finding::Note(words.to_owned()));
        }
    }

    async fn within(&self, check: impl Future<Output = Finding>) -> Finding {
        let limit = self.session.settings.timeouts.status;
        timeout(limit, check)
            .await
            .unwrap_or_else(|_| Finding::Bad(format!("no answer within {} s", limit.as_secs())))
    }
}

fn bad(error: impl Display) -> Finding {
    Finding::Bad(error.to_string())
}

async fn describe(zone: &Zone, domain: &Name) -> Finding {
    match zone.api.describe().await {
        Err(error) => bad(error),
        Ok(found) if !domain.is_within(&found.name) => {
            bad(format!("is {}, and dns.domain {domain} is not below that", found.name))
        }
        Ok(found) if found.private && zone.servers.is_ok() => bad(format!(
            "{} is private: set dns.read = \"api\", its servers answer inside its VPCs only",
            found.name
        )),
        Ok(found) => {
            Finding::Good(format!("{} ({})", found.name, if found.private { "private" } else { "public" }))
        }
    }
}

/// Asks for a batch that Route 53 must refuse, because it deletes what nobody ever makes, and creates something only
/// after that. Who may not change records is refused for that reason instead, before Route 53 looks at the batch.
async fn may_change(zone: &Zone, name: &Name) -> Finding {
    let probe = RecordSet::txt(name.ownership(), 1, "bbb-agents permission check, never created".to_owned());
    let batch = ChangeBatch(vec![Change::Delete(probe.clone()), Change::Create(probe)]);
    match zone.api.change(&batch).await {
        Err(Error::Conflict { .. }) => Finding::Good(format!("may change {name}")),
        Err(error) => bad(error),
        Ok(_) => bad("Route 53 accepted a batch that it should have refused; please report this"),
    }
}

async fn name_servers(zone: &Zone, name: &Name) -> Finding {
    let servers = match &zone.servers {
        Ok(servers) => servers,
        Err(why) => return Finding::Note(format!("not asked, Route 53's API is read instead: {why}")),
    };
    let answers = servers.ask_all(name).await;
    let silent: Vec<String> =
        answers.iter().filter_map(|answer| answer.result.as_ref().err()).map(ToString::to_string).collect();
    match silent.first() {
        None => Finding::Good(format!("all {} answer: {}", answers.len(), servers.shown().join(", "))),
        Some(first) => bad(format!("{} of {} do not answer: {first}", silent.len(), answers.len())),
    }
}
