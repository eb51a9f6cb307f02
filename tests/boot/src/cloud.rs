//! The embedded cloud, at the addresses and with the names of the real services.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use sandbox::cloud::{Addresses, BUCKET, Cloud, Host, HostOptions, Options, SCALELITE_NAME};
use sandbox::dns;
use sandbox::fleet::InstanceFacts;
use sandbox::http::ServiceName;

use crate::Outcome;
use crate::world::{AWS, BBB, GUEST, IMDS, NAME_SERVERS, RESOLVER, SCALELITE, World, ip};

/// The AWS services that the agents, install.sh and UserData use. No other name of AWS resolves.
const REGIONAL: [&str; 5] = ["ec2", "autoscaling", "monitoring", "secretsmanager", "cloudformation"];

/// Starts the cloud with one host, which has a fixed name in the zone if there is one.
pub(crate) async fn start(world: &World, server: Option<&str>) -> Outcome<Arc<Cloud>> {
    let options = Options::with_tls();
    let host = host(InstanceFacts::default(), server.map(|server| in_zone(server, &options)).transpose()?);
    let region = host.facts.region.clone();
    let mut names: BTreeMap<String, _> =
        REGIONAL.iter().map(|service| (format!("{service}.{region}.amazonaws.com"), vec![ip(AWS)])).collect();
    names.insert("route53.amazonaws.com".to_owned(), vec![ip(AWS)]);
    names.insert(format!("{BUCKET}.s3.{region}.amazonaws.com"), vec![ip(AWS)]);
    let addresses =
        Addresses { aws: at(AWS, 443), scalelite: at(SCALELITE, 443), resolver: at(RESOLVER, 53) };
    let servers = NAME_SERVERS.map(|address| at(address, 53)).to_vec();
    let dns = dns::Options { addresses: servers, ..dns::Options::default() };
    let cloud = Cloud::start(Options { host, names, dns, addresses, ..options }).await?;
    // Scalelite reaches BBB as users do: at the host, whose nginx has to run.
    let name = format!("vc-{}.{}", cloud.imds.instance().trim_start_matches("i-"), cloud.zone_name);
    cloud.network.route(&name, at(GUEST, 443));
    publish(world, &cloud)?;
    Ok(cloud)
}

/// Puts another instance with this fixed name in the place of a host that is dead: what answers at the addresses of the
/// metadata service and of BBB is the new host's from now on.
pub(crate) async fn replace(
    cloud: &Cloud,
    former: &Host,
    facts: InstanceFacts,
    name: String,
) -> Outcome<Arc<Host>> {
    for service in [ServiceName::Imds, ServiceName::Bbb] {
        former.close(service).await;
    }
    // Each installation of BBB has a secret of its own.
    let options = HostOptions { secret: "another-bbb-secret".to_owned(), ..host(facts, Some(name)) };
    cloud.add_host(options).await
}

fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(ip(address), port)
}

fn host(facts: InstanceFacts, name: Option<String>) -> HostOptions {
    HostOptions { facts, name, imds: at(IMDS, 80), bbb: at(BBB, 443), ..HostOptions::default() }
}

/// Returns a name below that of the first zone.
fn in_zone(server: &str, options: &Options) -> Outcome<String> {
    let zone = options.route53.zones.first().ok_or("there is no zone")?;
    Ok(format!("{server}.{}", zone.name.trim_end_matches('.')))
}

/// The version that UserData installs, because `latest` names it.
pub(crate) const LATEST: &str = "1.0.0";

/// Puts the releases into the bucket, as packaging/publish does.
fn publish(world: &World, cloud: &Cloud) -> Outcome {
    for release in std::fs::read_dir(&world.releases)? {
        let release = release?;
        let version = release.file_name().into_string().map_err(|name| format!("{name:?} is no version"))?;
        for file in std::fs::read_dir(release.path())? {
            let file = file?;
            let name = file.file_name().into_string().map_err(|name| format!("{name:?} is in no release"))?;
            cloud.s3.put(BUCKET, &format!("agents/{version}/{name}"), std::fs::read(file.path())?);
        }
    }
    let script = std::fs::read(world.releases.join(LATEST).join("install.sh"))?;
    cloud.s3.put(BUCKET, "agents/install.sh", script);
    cloud.s3.put(BUCKET, "agents/latest", format!("{LATEST}\n"));
    Ok(())
}

/// Returns Scalelite's URL.
pub(crate) fn scalelite_url() -> String {
    format!("https://{SCALELITE_NAME}")
}
