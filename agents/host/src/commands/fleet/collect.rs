//! Asks the sources of `fleet`: the zone, Scalelite and EC2 at once, then Auto Scaling about the groups that EC2's tags
//! name. Each has its own time limit, and none is asked host by host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use plan::fleet::{self, Instance, Listed, Member, Observations};
use plan::instance::InstanceId;
use plan::sweep::{Sweeper, Zone};
use tokio::time::timeout;

use super::facts::{Errors, Fleet, Host, Totals};
use crate::cli::VERSION;
use crate::config::settings::{Dns, Ipv4Choice};
use crate::identity::{self, Outside, Place};
use crate::report::{Exit, Failure};
use crate::retry::{Pace, Patience, asked};
use crate::session::{Session, within};
use crate::sweep::{reading, sweeper, sweeper_of};
use clients::aws::ec2::{self, Described};
use clients::aws::route53::{Cursor, RecordSets};
use clients::scalelite;

const LATE: &str = "no answer in time";

/// Collects and judges the whole fleet at `now`, in seconds since 1970.
/// `outside`: this machine is no host of the fleet.
pub(super) async fn collect(session: &Session, outside: bool, now: u64) -> Result<Fleet, Failure> {
    if outside {
        let region = session.named_region().ok_or_else(|| {
            Failure::new(Exit::Usage, "the region of the fleet is not known").advise("set aws.region")
        })?;
        return look(session, &Outside { region }, None, now).await;
    }
    let host =
        session.host(patience(session)).await.map_err(|failure| failure.with_exit(Exit::CannotTell))?;
    look(session, &host, Some(&host), now).await
}

/// Asks all sources from this place. Where it is no host of the fleet, a host that EC2 says is running stands for it: EC2
/// is believed if it knows one of the fleet.
async fn look(
    session: &Session,
    at: &impl Place,
    host: Option<&identity::Host>,
    now: u64,
) -> Result<Fleet, Failure> {
    let (zone, entries, instances) = tokio::join!(
        zone(session, at),
        entries(session, at),
        in_time(session, "EC2", instances(session, at))
    );
    let (zone, route53_calls) = zone;
    let mut seen = Observations { zone, entries, instances, members: Ok(BTreeMap::new()) };
    let sweeper = match host {
        Some(host) => sweeper(session, host),
        None => anchored(session, at.region(), &seen)?,
    };
    seen.members = match &seen.instances {
        Ok(_) => {
            let groups = fleet::groups(&sweeper, &seen);
            in_time(session, "Auto Scaling", members(session, at, &groups)).await
        }
        Err(_) => Err("Auto Scaling was not asked: the groups stand in the tags of the instances".to_owned()),
    };
    Ok(told(session, at.region(), &seen, &fleet::judge(&sweeper, &seen, now), route53_calls))
}

/// Chooses the host that stands for this machine.
fn anchored(session: &Session, region: &str, seen: &Observations) -> Result<Sweeper, Failure> {
    let unknown = |why: String| Failure::new(Exit::CannotTell, "the fleet is not known").because(why);
    let zone = seen.zone.as_ref().map_err(|why| unknown(why.clone()))?;
    let instances = seen.instances.as_ref().ok();
    let owner = fleet::anchor(session.agent.role, zone, instances).ok_or_else(|| {
        let domain = &session.settings.dns.domain;
        unknown(format!("no name below {domain} belongs to a host with {}", session.agent.name))
    })?;
    Ok(sweeper_of(session, owner.instance, region, owner.account))
}

fn told(
    session: &Session,
    region: &str,
    seen: &Observations,
    fleet: &fleet::Fleet,
    route53_calls: u32,
) -> Fleet {
    let totals = fleet.totals(seen);
    Fleet {
        schema: 1,
        agent: session.agent.name.to_owned(),
        version: VERSION.to_owned(),
        verdict: fleet.verdict(seen),
        domain: session.settings.dns.domain.to_string(),
        region: region.to_owned(),
        errors: Errors {
            route53: seen.zone.as_ref().err().cloned(),
            scalelite: seen.entries.as_ref().and_then(|entries| entries.as_ref().err().cloned()),
            ec2: seen.instances.as_ref().err().cloned().or_else(|| fleet.disbelieved.clone()),
            auto_scaling: seen.members.as_ref().err().cloned(),
        },
        route53_calls,
        totals: Totals {
            hosts: totals.hosts,
            in_order: totals.in_order,
            out: totals.out,
            unknown: totals.unknown,
            debris: totals.debris,
            wrong: totals.wrong,
            taking_meetings: totals.taking,
            load: totals.load,
            other_entries: fleet.others,
        },
        hosts: fleet.rows.iter().map(Host::of).collect(),
    }
}

/// Returns the patience with one source, from now.
fn patience(session: &Session) -> Patience {
    Patience::quietly(within(session.settings.timeouts.status))
}

/// Returns a source's answer, or why there is none.
async fn in_time<T>(
    session: &Session,
    source: &str,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, String> {
    match timeout(session.settings.timeouts.status, answer).await {
        Ok(answer) => answer.map_err(|failure| failure.headline()),
        Err(_) => Err(format!("{source}: {LATE}")),
    }
}

/// Reads the zone as the sweep does, and counts the calls.
async fn zone(session: &Session, at: &impl Place) -> (Result<Zone, String>, u32) {
    let domain = &session.settings.dns.domain;
    let api = match session.hosted_zone(at).await {
        Ok(api) => api,
        Err(failure) => return (Err(failure.headline()), 0),
    };
    let read = async {
        let (mut zone, start) = (Zone::new(), Some(Cursor::start(domain)));
        reading::rest(&api, domain, start, &mut zone, patience(session), LATE).await?;
        Ok(zone)
    };
    let zone = in_time(session, "Route 53", read).await;
    (zone, api.calls())
}

/// Lists the entries in Scalelite, if there is one.
async fn entries(session: &Session, at: &impl Place) -> Option<Result<Vec<Listed>, String>> {
    session.settings.scalelite.as_ref()?;
    let listed = async {
        let Some(scalelite) = session.scalelite(at, patience(session)).await? else {
            return Ok(Vec::new());
        };
        let what = "listing Scalelite's servers";
        let ask = async || scalelite.servers().await;
        asked(patience(session), what, scalelite::Error::is_retryable, ask).await.map(|all| all.listed())
    };
    Some(in_time(session, "Scalelite", listed).await)
}

/// Lists the instances of this account and region.
async fn instances(session: &Session, at: &impl Place) -> Result<BTreeMap<InstanceId, Instance>, Failure> {
    let what = format!("EC2 in {}", at.region());
    let ec2 = session.ec2(at).await?;
    let all = asked(patience(session), &what, ec2::Error::is_retryable, async || ec2.all().await).await?;
    let dns = &session.settings.dns;
    Ok(all.into_iter().map(|(id, described)| (id, instance(dns, described))).collect())
}

/// Adds the addresses that the name of an instance should have by this host's settings.
fn instance(dns: &Dns, described: Described) -> Instance {
    let Described { state, availability_zone, launched, group, public_ipv4, private_ipv4, ipv6 } = described;
    let v4 = public_ipv4.into_iter().chain(private_ipv4).map(IpAddr::V4);
    Instance {
        state,
        availability_zone,
        launched,
        group,
        ipv4: match dns.ipv4 {
            Ipv4Choice::Public | Ipv4Choice::PublicIfAny => public_ipv4,
            Ipv4Choice::Private => private_ipv4,
            Ipv4Choice::Off => None,
        },
        addresses: v4.chain(ipv6.iter().copied().map(IpAddr::V6)).collect(),
        ipv6: if dns.ipv6 { ipv6 } else { BTreeSet::new() },
    }
}

/// Lists the members of the fleet's groups.
async fn members(
    session: &Session,
    at: &impl Place,
    groups: &BTreeSet<String>,
) -> Result<BTreeMap<InstanceId, Member>, Failure> {
    let autoscaling = session.autoscaling(at).await?;
    let mut pace = Pace::remote(patience(session));
    loop {
        match autoscaling.members(groups).await {
            Ok(members) => return Ok(members),
            Err(error) if error.is_retryable() => pace.again("Auto Scaling", &error).await?,
            Err(error) => return Err(Failure::new(Exit::Failed, error.to_string())),
        }
    }
}
