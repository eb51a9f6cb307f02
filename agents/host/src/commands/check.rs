//! `check`: checks that every service lets this host do its work; changes nothing; one line a check.

use std::fmt::Display;
use std::future::Future;
use std::net::Ipv4Addr;

use plan::addresses::{Announced, OnAddresses};
use plan::dns::{Change, ChangeBatch};
use plan::record::{Name, RecordSet};
use plan::recordings::Sender;
use plan::relay::Relay;
use plan::share::Shares;
use plan::work::counted;
use tokio::time::timeout;

use crate::control::RelayFacts;
use crate::dns::Zone;
use crate::dns::delegation::OtherZone;
use crate::hooks;
use crate::identity::Host;
use crate::report::{self, Exit, Failure};
use crate::session::{Session, within};
use crate::work;
use clients::aws::ec2::GroupName;
use clients::aws::route53::{Description, Error, RecordSets};
use clients::aws::utc;
use clients::bbb::{Bbb, Installation, Meetings, NotReady};
use clients::dns::authoritative::{Authorities, NameServers};

/// The result of one check.
enum Finding {
    Good(String),
    /// Nothing to worry about, or a failure that passes by itself.
    Note(String),
    Bad(String),
}

struct Doctor<'a> {
    session: &'a Session,
    lines: Vec<String>,
    bad: usize,
}

/// Runs all checks; fails when one of them does. The configuration has already been validated.
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
            address.iter().flat_map(|desired| desired.sets()).map(|set| set.to_string()).collect();
        self.note("metadata", Finding::Good(format!("{} in {}", host.instance, host.availability_zone)));
        self.note("addresses", address.map_or_else(bad, |_| Finding::Good(addresses.join(", "))));
        let credentials = self
            .within(async { self.session.describe_credentials(host).await.map_or_else(bad, Finding::Good) });
        let credentials = credentials.await;
        self.note("credentials", credentials);
        self.coturn(host).await;
        let local = self.session.installation(host).await;
        self.announced(host, local.as_ref()).await;
        self.certificate(host).await;
        self.zone_role(host).await;
        self.zone(host).await;
        self.ec2(host).await;
        self.group(host).await;
        if self.session.settings.bbb.is_some() {
            self.bbb(host, local).await;
            self.scalelite(host).await;
        }
    }

    async fn coturn(&mut self, host: &Host) {
        let Some(address) = self.session.coturn(host) else { return };
        let finding = match self.session.relay(address).await {
            Ok(relay @ Relay::Open) => bad(relay.at(address)),
            Ok(relay @ Relay::Closed) => Finding::Good(relay.at(address)),
            Ok(relay @ (Relay::Refuses(_) | Relay::Silent | Relay::Absent)) => {
                Finding::Note(relay.at(address))
            }
            Err(why) => Finding::Note(format!("cannot be asked at {address}: {why}")),
        };
        self.note("coturn", finding);
        if self.session.settings.relays.is_some() {
            let waits = work::count(self.session, host, None, false).await;
            let finding = match RelayFacts::of(&waits) {
                Some(RelayFacts { count: Some(count), .. }) => {
                    Finding::Good(format!("{} in use", counted(count, "relay", "relays")))
                }
                Some(RelayFacts { error: Some(why), .. }) => bad(why),
                Some(_) | None => return,
            };
            self.note("relays", finding);
        }
    }

    /// Asks the group for its hooks. A host outside a group needs none.
    async fn group(&mut self, host: &Host) {
        let settings = &self.session.settings;
        let finding = self.within(async {
            let scaling = match self.session.autoscaling(host).await {
                Ok(scaling) => scaling,
                Err(failure) => return bad(failure),
            };
            let group = match scaling.membership(&host.instance).await {
                Ok(Some(membership)) => membership.group,
                Ok(None) => return Finding::Note("this instance is in no Auto Scaling group".to_owned()),
                Err(error) => return bad(error),
            };
            match scaling.hooks(&group).await {
                Ok(listed) => {
                    let hooks = hooks::of(settings, &listed);
                    let words = hooks::words(settings, &hooks, &group);
                    let own = hooks.terminating.iter().any(|hook| hook.own);
                    let launches = settings.service.launch.is_none() || hooks.launching.is_some();
                    if own && launches { Finding::Good(words) } else { Finding::Note(words) }
                }
                Err(error) => bad(error),
            }
        });
        let finding = finding.await;
        self.note("lifecycle hooks", finding);
    }

    fn trust(&mut self) {
        let finding = match self.session.tls().load() {
            Ok(()) => Finding::Good("certificate authorities found".to_owned()),
            Err(error) => Finding::Bad(error.to_string()),
        };
        self.note("tls", finding);
    }

    /// Checks that the fleet's certificate, if there is one, can be read and suits this host.
    async fn certificate(&mut self, host: &Host) {
        let Some(wanted) = &self.session.settings.certificate else { return };
        let fetched = self.within(async {
            let deadline = within(self.session.settings.timeouts.status);
            match self.session.fleet_certificate(wanted, host, deadline).await {
                Ok(bundle) => Finding::Good(format!(
                    "{} is good for this host until {}",
                    wanted.secret,
                    utc(bundle.end())
                )),
                Err(failure) => bad(failure),
            }
        });
        let finding = fetched.await;
        self.note("certificate", finding);
    }

    /// Checks that the role for Route 53 can be assumed, if there is one.
    async fn zone_role(&mut self, host: &Host) {
        let Some(wanted) = &self.session.settings.dns.role else { return };
        let assumed = self.within(async {
            match self.session.zone_role(host).await {
                Ok(Some(role)) => role
                    .prove()
                    .await
                    .map_or_else(bad, |()| Finding::Good(format!("{} is assumed for Route 53", wanted.arn))),
                Ok(None) => bad("no role is configured"),
                Err(failure) => bad(failure),
            }
        });
        let finding = assumed.await;
        self.note("zone role", finding);
    }

    async fn zone(&mut self, host: &Host) {
        let zone = match self.session.zone(host).await {
            Ok(zone) => zone,
            Err(failure) => return self.note("route 53", bad(failure)),
        };
        let domain = self.session.settings.dns.domain.clone();
        let mut described = None;
        let zone_finding = self.within(async {
            let answer = zone.api.describe().await;
            described = answer.as_ref().ok().cloned();
            describe(&zone, &domain, answer)
        });
        let zone_finding = zone_finding.await;
        self.note("hosted zone", zone_finding);
        let read = self.within(async {
            zone.api
                .read(&host.name)
                .await
                .map_or_else(bad, |_| Finding::Good(format!("can read {}", host.name)))
        });
        let read = read.await;
        self.note("read records", read);
        let write = self.within(may_change(&zone, host)).await;
        self.note("change records", write);
        self.shared(host, &zone, described.as_ref()).await;
        let servers = self.within(async {
            let other = match (&zone.servers, &described) {
                (Ok(found), Some(described)) => self.session.other_zone(found, described).await,
                _ => None,
            };
            match other {
                None => name_servers(&zone.servers, &host.name).await,
                Some(other) => own_servers(other, &host.name).await,
            }
        });
        let servers = servers.await;
        self.note("name servers", servers);
    }

    /// Checks that the shared name, if there is one, has room for this host's share.
    async fn shared(&mut self, host: &Host, zone: &Zone, described: Option<&Description>) {
        let Some(shared) = host.shared.as_ref().map(|shared| &shared.name) else { return };
        let finding = match described.map(|described| &described.name) {
            Some(apex) if apex == shared => {
                bad(format!("{shared} is the zone's own name: choose one below it"))
            }
            Some(apex) if !shared.is_within(apex) => bad(format!("{shared} is not below {apex}")),
            _ => {
                let ask = async {
                    match zone.api.shares(shared, &host.instance).await {
                        Ok(Shares { alien: Some(alien), .. }) => bad(format!(
                            "{shared} has {alien}, beside which no host has a share: delete it, or choose another name"
                        )),
                        Ok(Shares { own, .. }) if own.is_empty() => {
                            Finding::Good(format!("{shared} has room for this host's share"))
                        }
                        Ok(_) => Finding::Good(format!("this host has its share in {shared}")),
                        Err(error) => bad(error),
                    }
                };
                self.within(ask).await
            }
        };
        self.note("shared name", finding);
    }

    /// Checks EC2, which is asked for the holder of an address before a record set with that address is deleted.
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

    async fn bbb(&mut self, host: &Host, local: Option<Result<Installation, NotReady>>) {
        let installation = match local {
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
                Ok(Meetings { listed, rest: None }) => {
                    Finding::Good(format!("answers, {}", counted(listed.len() as u64, "meeting", "meetings")))
                }
                Ok(Meetings { listed, rest: Some(why) }) => {
                    Finding::Bad(format!("at least {} meetings: {why}", listed.len()))
                }
                Err(error) if error.is_retryable() && !error.is_refusal() => {
                    Finding::Note(format!("not ready: {error}"))
                }
                Err(error) => bad(error),
            }
        });
        let finding = finding.await;
        self.note("bbb", finding);
        self.recordings(host).await;
    }

    /// Checks whether BBB or, on a TURN host, coturn announces the host's address.
    async fn announced(&mut self, host: &Host, local: Option<&Result<Installation, NotReady>>) {
        let announced = self.session.announced(host, local).await;
        let ignored = self.session.settings.addresses.on == OnAddresses::Ignore;
        let words = announced.to_string();
        let finding = match announced {
            Announced::Right => Finding::Good(words),
            Announced::Nothing(_) => Finding::Note(words),
            _ if ignored => Finding::Note(words),
            _ => Finding::Bad(words),
        };
        self.note("announced", finding);
    }

    /// Checks what a drain has to know of recordings: the spool, BBB's queues in Redis, who sends them away.
    async fn recordings(&mut self, host: &Host) {
        let found = work::recordings(self.session, host, true).await;
        let readable = found.unlisted.clone().or_else(|| found.jobs.why().map(str::to_owned));
        let finding = match readable {
            Some(why) => bad(why),
            None => Finding::Good("the spool and BBB's queues in Redis can be read".to_owned()),
        };
        self.note("recordings", finding);
        let finding = match &found.sender {
            Sender::There => Finding::Good("a program sends recordings to Scalelite".to_owned()),
            Sender::Unused => return,
            Sender::Unknown(why) => bad(why),
            Sender::Missing => {
                let words = "no sender: published recordings exist on this host only, and a drain waits for them; \
                             install Scalelite's sender, or set recordings.sender to \"none\"";
                if found.lacks_sender() { bad(words) } else { Finding::Note(words.to_owned()) }
            }
        };
        self.note("sender", finding);
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
                    let servers = counted(listing.count() as u64, "server", "servers");
                    Finding::Good(format!("accepts the load balancer's secret; {servers}"))
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

fn describe(zone: &Zone, domain: &Name, answer: Result<Description, Error>) -> Finding {
    match answer {
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

/// Checks the permission to change records: sends a batch that Route 53 must refuse, because it deletes a record that
/// never exists before it creates one. Without the permission, Route 53 refuses for that reason before it looks at the
/// batch.
async fn may_change(zone: &Zone, host: &Host) -> Finding {
    let name = &host.name;
    let probe = RecordSet::txt(name.ownership(), 1, "bbb-agents permission check, never created".to_owned());
    // One permission has to allow all names of a batch. No host has this address (RFC 5737) and TTL.
    let share = host.shared.iter().flat_map(|shared| {
        shared.share(&[RecordSet::a(name.clone(), 1, Ipv4Addr::new(192, 0, 2, 255))], &host.instance)
    });
    let probes: Vec<RecordSet> = [probe].into_iter().chain(share).collect();
    let deletes = probes.iter().cloned().map(Change::Delete);
    let batch = ChangeBatch(deletes.chain(probes.iter().cloned().map(Change::Create)).collect());
    match zone.api.change(&batch).await {
        Err(Error::Conflict { .. }) => Finding::Good(match &host.shared {
            Some(shared) => format!("may change {name} and {}", shared.name),
            None => format!("may change {name}"),
        }),
        Err(error) => bad(error),
        Ok(_) => bad("Route 53 accepted a batch that it should have refused; please report this"),
    }
}

/// Checks the servers of the hosted zone itself, where the resolver leads to another zone.
async fn own_servers(other: OtherZone, name: &Name) -> Finding {
    match name_servers(&other.servers, name).await {
        Finding::Good(words) => Finding::Note(format!("{}, which are asked instead: {words}", other.words)),
        Finding::Bad(words) => bad(format!("{}; of these, {words}", other.words)),
        note @ Finding::Note(_) => note,
    }
}

async fn name_servers(servers: &Result<NameServers, String>, name: &Name) -> Finding {
    let servers = match servers {
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
