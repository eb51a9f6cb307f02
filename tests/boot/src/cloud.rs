//! The embedded cloud, at the addresses and with the names of the real services.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use sandbox::cloud::{Addresses, BUCKET, Cloud, HostOptions, Options, SCALELITE_NAME};
use sandbox::dns;
use sandbox::fleet::InstanceFacts;

use crate::Outcome;
use crate::world::{AWS, BBB, GUEST, IMDS, NAME_SERVERS, RESOLVER, SCALELITE, World, ip};

/// The AWS services that the agents, install.sh and UserData use. No other name of AWS resolves.
const REGIONAL: [&str; 5] = ["ec2", "autoscaling", "monitoring", "secretsmanager", "cloudformation"];

/// Starts the cloud with one host, which is launched with this UserData.
pub(crate) async fn start(world: &World, facts: InstanceFacts) -> Outcome<Arc<Cloud>> {
    let region = facts.region.clone();
    let mut names: BTreeMap<String, _> =
        REGIONAL.iter().map(|service| (format!("{service}.{region}.amazonaws.com"), vec![ip(AWS)])).collect();
    names.insert("route53.amazonaws.com".to_owned(), vec![ip(AWS)]);
    names.insert(format!("{BUCKET}.s3.{region}.amazonaws.com"), vec![ip(AWS)]);
    let at = |address, port| SocketAddr::new(ip(address), port);
    let host = HostOptions { facts, imds: at(IMDS, 80), bbb: at(BBB, 443), ..HostOptions::default() };
    let addresses =
        Addresses { aws: at(AWS, 443), scalelite: at(SCALELITE, 443), resolver: at(RESOLVER, 53) };
    let servers = NAME_SERVERS.map(|address| at(address, 53)).to_vec();
    let dns = dns::Options { addresses: servers, ..dns::Options::default() };
    let cloud = Cloud::start(Options { host, names, dns, addresses, ..Options::with_tls() }).await?;
    // Scalelite reaches BBB as users do: at the host, whose nginx has to run.
    let name = format!("vc-{}.{}", cloud.imds.instance().trim_start_matches("i-"), cloud.zone_name);
    cloud.network.route(&name, at(GUEST, 443));
    publish(world, &cloud)?;
    Ok(cloud)
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
