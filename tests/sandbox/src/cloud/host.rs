//! One host: an instance with its IMDS, its BBB API and its files.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::listener::{Listener, Net};
use super::{Delays, Error};
use crate::aws::Vault;
use crate::bbb::{BbbHost, HostFiles, Mode, Network};
use crate::fleet::{Fleet, InstanceFacts};
use crate::http::{Delay, Gate, Service, ServiceName};
use crate::imds::Imds;
use crate::recordings::Recordings;

/// The options of a host to start.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// The facts of the instance.
    pub facts: InstanceFacts,
    /// The Auto Scaling group in which the instance is `InService`.
    pub group: Option<String>,
    /// BBB's secret.
    pub secret: String,
    /// BBB's version.
    pub version: String,
    /// Whether BBB is installed: only then are its property files written and is its API ready.
    pub installed: bool,
    /// The host's name in BBB's URL; by default `vc-{instance}.{zone}`.
    pub name: Option<String>,
    /// The address of its IMDS.
    pub imds: SocketAddr,
    /// The address of its BBB API.
    pub bbb: SocketAddr,
}

impl Default for HostOptions {
    /// Returns a BBB host that is ready, in the default group.
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            facts: InstanceFacts::default(),
            group: Some("bbb-fleet".to_owned()),
            secret: "sandbox-bbb-secret".to_owned(),
            version: "3.0.4".to_owned(),
            installed: true,
            name: None,
            imds: any,
            bbb: any,
        }
    }
}

impl HostOptions {
    /// Returns another host like the default one: `number` (2 to 250) makes its id, name and addresses its own.
    pub fn numbered(number: u8) -> Self {
        let facts = InstanceFacts {
            instance_id: format!("i-0123456789abcd{number:03x}"),
            local_ipv4: Some(Ipv4Addr::new(10, 0, 1, number)),
            public_ipv4: Some(Ipv4Addr::new(198, 51, 100, number)),
            ipv6: Some(std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, u16::from(number))),
            mac: Some(format!("0a:00:00:00:01:{number:02x}")),
            tags: [("Name".to_owned(), format!("bbb-{number}"))].into(),
            ..InstanceFacts::default()
        };
        Self { facts, ..Self::default() }
    }
}

/// A running host.
#[derive(Debug)]
pub struct Host {
    /// The host's IMDS.
    pub imds: Arc<Imds>,
    /// The host's BBB API.
    pub bbb: Arc<BbbHost>,
    /// The host's BBB property files.
    pub files: HostFiles,
    /// The host's recordings.
    pub recordings: Recordings,
    /// The directory that stands for the host's root.
    pub root: PathBuf,
    /// `bigbluebutton.web.serverURL`, without `/bigbluebutton/api`.
    pub bbb_url: String,
    pub(super) imds_listener: Listener,
    pub(super) bbb_listener: Listener,
}

/// The parts of the cloud that a host needs.
#[derive(Clone, Copy)]
pub(super) struct World<'a> {
    pub(super) fleet: &'a Arc<Fleet>,
    pub(super) vault: &'a Arc<Vault>,
    pub(super) network: &'a Network,
    pub(super) net: &'a Net,
    pub(super) zone: &'a str,
    pub(super) delays: Delays,
}

impl Host {
    pub(super) async fn start(
        options: &HostOptions,
        closed: &[ServiceName],
        world: World<'_>,
        directory: &Path,
    ) -> Result<Self, Error> {
        let id = options.facts.instance_id.clone();
        if world.fleet.instance(&id).is_some() {
            return Err(format!("there is an instance {id} already").into());
        }
        world.fleet.launch(options.facts.clone());
        let imds = Imds::new(Arc::clone(world.fleet), Arc::clone(world.vault), &id);
        let bbb = BbbHost::new(&options.secret, &options.version);
        let default_name =
            || format!("vc-{}.{}", id.trim_start_matches("i-"), world.zone.trim_end_matches('.'));
        let name = options.name.clone().unwrap_or_else(default_name);
        let open = |service| !closed.contains(&service);
        let service = Arc::clone(&imds) as Arc<dyn Service>;
        // Real IMDS never has TLS.
        let imds_listener = world
            .net
            .serve(options.imds, open(ServiceName::Imds), false, &[], service, world.delays.imds)
            .await?;
        let service = Arc::clone(&bbb) as Arc<dyn Service>;
        let names = [name.clone()];
        let bbb_listener = world
            .net
            .serve(options.bbb, open(ServiceName::Bbb), true, &names, service, Delay::default())
            .await?;
        world.network.route(&name, bbb_listener.address);
        let bbb_url = bbb_listener.url_as(&name);
        let root = directory.join(&id);
        std::fs::create_dir_all(&root)?;
        let (files, recordings) = (HostFiles::absent(&root), Recordings::start(&root).await?);
        let host = Self { imds, bbb, files, recordings, root, bbb_url, imds_listener, bbb_listener };
        if options.installed {
            host.install(&options.secret)?;
        } else {
            host.bbb.set_mode(Mode::NotInstalled);
        }
        Ok(host)
    }

    /// Returns the id of the host's instance.
    pub fn id(&self) -> &str {
        self.imds.instance()
    }

    /// Returns the URL that the host's entry in Scalelite has.
    pub fn scalelite_entry_url(&self) -> String {
        format!("{}/bigbluebutton/api", self.bbb_url)
    }

    /// Finishes the installation of BBB: property files with this secret, Scalelite's sender, and an API that is ready.
    pub fn install(&self, secret: &str) -> std::io::Result<()> {
        self.bbb.set_secret(secret);
        self.files.write_defaults()?;
        self.files.write_overrides(&self.bbb_url, secret)?;
        self.recordings.install_sender()?;
        self.bbb.set_mode(Mode::Ready);
        Ok(())
    }

    /// Returns the address of the host's IMDS, which is always plain HTTP.
    pub fn imds_address(&self) -> SocketAddr {
        self.imds_listener.address
    }

    /// Returns the address of the host's BBB API.
    pub fn bbb_address(&self) -> SocketAddr {
        self.bbb_listener.address
    }

    /// Returns the gate of the host's IMDS.
    pub fn imds_gate(&self) -> &Gate {
        &self.imds_listener.gate
    }

    /// Returns the gate of the host's BBB API.
    pub fn bbb_gate(&self) -> &Gate {
        &self.bbb_listener.gate
    }

    /// Closes the host's IMDS or BBB API and returns once connections are refused.
    pub async fn close(&self, service: ServiceName) {
        self.listener(service).close().await;
    }

    /// Opens the host's IMDS or BBB API again and returns once connections are accepted.
    pub async fn open(&self, service: ServiceName) {
        self.listener(service).open().await;
    }

    fn listener(&self, service: ServiceName) -> &Listener {
        if service == ServiceName::Bbb { &self.bbb_listener } else { &self.imds_listener }
    }
}
