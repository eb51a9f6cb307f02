//! The table of all configuration keys. Everything else about a key (how it is read, its environment variable, its place
//! in the shipped file and in the README) follows from its row here.

use plan::instance::Role;

/// What a key's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// A number, with or without a decimal point.
    Float,
    /// `true` or `false`.
    Bool,
    /// Texts; separated by commas in environment variables and flags.
    List,
}

impl Kind {
    /// How an error calls it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Text => "a text in quotes",
            Self::Integer => "a whole number",
            Self::Float => "a number",
            Self::Bool => "true or false",
            Self::List => "a list of texts",
        }
    }
}

/// One configuration key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it stands, e.g. `dns.ttl`.
    pub path: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Its default as TOML; `None` when it has none.
    pub default: Option<&'static str>,
    /// An example as TOML, for keys without a default.
    pub example: &'static str,
    /// What it is for, with its unit.
    pub about: &'static str,
    /// The only kind of host that has it, if not both have.
    pub only: Option<Role>,
}

const fn key(
    path: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    example: &'static str,
    about: &'static str,
) -> Key {
    Key { path, kind, default, example, about, only: None }
}

const fn bbb(
    path: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    example: &'static str,
    about: &'static str,
) -> Key {
    Key { only: Some(Role::Bbb), ..key(path, kind, default, example, about) }
}

const fn turn(
    path: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    example: &'static str,
    about: &'static str,
) -> Key {
    Key { only: Some(Role::Turn), ..key(path, kind, default, example, about) }
}

const KEYS: &[Key] = &[
    key(
        "dns.zone_id",
        Kind::Text,
        None,
        "\"Z0123456789ABCDEFGHIJ\"",
        "Route 53 hosted zone that gets the record sets. Required.",
    ),
    key(
        "dns.domain",
        Kind::Text,
        None,
        "\"bbb.example.org\"",
        "Domain below which the host gets its name: the zone's own or one below it. Required.",
    ),
    key(
        "dns.hostname",
        Kind::Text,
        None,
        "",
        "Template of the host's name. {instance} is the instance id without \"i-\", {region} the region.",
    ),
    key(
        "dns.name",
        Kind::Text,
        None,
        "\"meet.bbb.example.org\"",
        "One fixed full name instead of the template, for a host that is alone. Default: none.",
    ),
    key(
        "dns.ttl",
        Kind::Integer,
        Some("60"),
        "",
        "Time to live of the record sets, in seconds (1 to 86400).",
    ),
    key(
        "dns.ipv4",
        Kind::Text,
        Some("\"public\""),
        "",
        "Which IPv4 address goes into the A record set: \"public\", \"private\" or \"off\".",
    ),
    key(
        "dns.ipv6",
        Kind::Bool,
        Some("true"),
        "",
        "Whether the host's IPv6 address, if it has one, goes into an AAAA record set.",
    ),
    key(
        "dns.read",
        Kind::Text,
        Some("\"auto\""),
        "",
        "How existing records are read: \"auto\" asks the zone's authoritative servers and Route 53's API only where they do not answer; \"api\" always asks the API (private zones).",
    ),
    key(
        "dns.spread",
        Kind::Integer,
        Some("0"),
        "",
        "Over how much time hosts that are started at once spread their first call to Route 53, in seconds (0 to 43200, at most half of timeouts.register): at boot the service waits for a random part of it, unless the name is right already. Where more than 50 are started at once: their number, divided by the calls a second that the account has (10; older ones 5).",
    ),
    key(
        "dns.servers",
        Kind::List,
        Some("[]"),
        "",
        "The zone's authoritative servers as addresses, with a port if not 53. Empty: found through the zone's NS records.",
    ),
    key(
        "dns.apex",
        Kind::Text,
        None,
        "\"example.org\"",
        "The zone's own name, where it cannot be found by the SOA record of dns.domain. Default: found.",
    ),
    bbb(
        "scalelite.url",
        Kind::Text,
        None,
        "\"https://scalelite.example.org\"",
        "Scalelite's address. Without it the host gets its name only and joins no load balancer.",
    ),
    bbb(
        "scalelite.secret",
        Kind::Text,
        None,
        "\"secretsmanager:Scalelite#LOADBALANCER_SECRET\"",
        "Where the load balancer's secret is: \"secretsmanager:ID#KEY\", \"file:/PATH\" or \"credential:NAME\" (systemd). Required with scalelite.url.",
    ),
    bbb(
        "scalelite.load_multiplier",
        Kind::Float,
        None,
        "1.0",
        "What Scalelite multiplies this host's load with (above 0). Default: left as it is, 1.0 for a new entry.",
    ),
    bbb(
        "scalelite.tag",
        Kind::Text,
        None,
        "\"high-capacity\"",
        "The entry's tag; \"\" clears it. Default: left as it is.",
    ),
    bbb(
        "scalelite.poll_interval",
        Kind::Integer,
        Some("60"),
        "",
        "How often Scalelite polls its servers, in seconds (5 to 3600): its POLL_INTERVAL.",
    ),
    bbb(
        "bbb.properties",
        Kind::Text,
        Some("\"/etc/bigbluebutton/bbb-web.properties\""),
        "",
        "BBB's own settings on this host, which hold its URL and secret.",
    ),
    bbb(
        "bbb.defaults",
        Kind::Text,
        Some("\"/usr/share/bbb-web/WEB-INF/classes/bigbluebutton.properties\""),
        "",
        "The settings that BBB ships, for what bbb.properties does not say.",
    ),
    bbb(
        "bbb.reader",
        Kind::Text,
        Some("\"/run/bbb-agent-settings.sock\""),
        "",
        "Where those two are read from when the agent may not read them itself: the socket of bbb-agent-settings.socket; \"\" never asks there.",
    ),
    bbb(
        "bbb.address",
        Kind::Text,
        Some("\"127.0.0.1\""),
        "",
        "Where BBB's API is reached on this host, whatever its name resolves to by then.",
    ),
    bbb(
        "recordings.directory",
        Kind::Text,
        Some("\"/var/bigbluebutton/recording\""),
        "",
        "BBB's spool of recordings. A host is not given up before they have left it.",
    ),
    bbb(
        "recordings.redis",
        Kind::Text,
        Some("\"127.0.0.1:6379\""),
        "",
        "The Redis with BBB's queues of recording jobs, as an address with a port; \"\" does not ask it.",
    ),
    bbb(
        "recordings.wait",
        Kind::Bool,
        Some("true"),
        "",
        "Whether draining waits for recordings too, and not for meetings only.",
    ),
    key(
        "service.directory",
        Kind::Text,
        None,
        "",
        "Where the service keeps its lock and its socket; has to be emptied at boot.",
    ),
    key(
        "service.on_stop",
        Kind::Text,
        Some("\"leave\""),
        "",
        "What stopping the service by hand undoes: \"leave\" everything, \"cordon\" (BBB hosts: new meetings go elsewhere), or \"keep\" all as it is.",
    ),
    key(
        "checks.metadata",
        Kind::Integer,
        Some("2"),
        "",
        "How often the metadata service is asked what the group and EC2 intend with this host, in seconds (1 to 60).",
    ),
    key(
        "checks.name",
        Kind::Integer,
        Some("60"),
        "",
        "How often the host's addresses and its name are checked, in seconds (5 to 86400). It costs DNS questions only.",
    ),
    bbb(
        "checks.scalelite",
        Kind::Integer,
        Some("300"),
        "",
        "How often the host's entry in Scalelite is checked, in seconds (5 to 86400). It costs one call.",
    ),
    bbb(
        "checks.work",
        Kind::Integer,
        Some("30"),
        "",
        "How often meetings and recordings on this host are counted, in seconds (1 to 3600).",
    ),
    bbb(
        "drain.deadline",
        Kind::Integer,
        Some("21600"),
        "",
        "How long draining waits for meetings and recordings, in seconds (60 to 172800), before it ends them.",
    ),
    bbb(
        "drain.quiet",
        Kind::Integer,
        Some("30"),
        "",
        "How long nothing may have been going on before the host counts as empty, in seconds (0 to 3600).",
    ),
    bbb(
        "drain.at_deadline",
        Kind::Text,
        Some("\"continue\""),
        "",
        "How the lifecycle action is completed at the deadline: \"continue\", or \"abandon\", which keeps the instance where its group is set up so.",
    ),
    key(
        "drain.hook",
        Kind::Text,
        None,
        "\"drain\"",
        "The group's termination hook that is this agent's. Default: the only one that the group has.",
    ),
    bbb(
        "drain.rebalance",
        Kind::Text,
        Some("\"cordon\""),
        "",
        "What a rebalance recommendation of EC2 does: \"cordon\" or \"ignore\".",
    ),
    bbb(
        "drain.maintenance",
        Kind::Text,
        Some("\"cordon\""),
        "",
        "What a scheduled maintenance does, drain.deadline before it begins: \"cordon\" or \"ignore\".",
    ),
    bbb(
        "drain.announce",
        Kind::List,
        Some("[]"),
        "",
        "When running meetings are told that they will be ended, in minutes before it, for example [\"30\", \"5\"]. Needs BBB 3.0.",
    ),
    bbb(
        "drain.message",
        Kind::Text,
        Some(
            "\"This meeting will be ended in {minutes} minutes, because its server is shut down. You can start it again at once.\"",
        ),
        "",
        "What they are told, 500 characters at most. {minutes} is the time that is left.",
    ),
    bbb(
        "protection.enabled",
        Kind::Bool,
        Some("true"),
        "",
        "Whether a host in an Auto Scaling group is protected from scale-in while it is busy. Then that flag is the agent's.",
    ),
    bbb(
        "protection.idle",
        Kind::Integer,
        Some("300"),
        "",
        "How long the host has to be idle before that protection ends, in seconds (0 to 86400).",
    ),
    key(
        "sweep.enabled",
        Kind::Bool,
        Some("true"),
        "",
        "Whether the service looks for what hosts that died have left in the zone and in Scalelite, and removes it once EC2 has said twice that they are gone. The hosts of a fleet take turns.",
    ),
    key(
        "sweep.interval",
        Kind::Integer,
        Some("3600"),
        "",
        "How often the fleet as a whole is to sweep, in seconds (60 to 604800).",
    ),
    key(
        "sweep.grace",
        Kind::Integer,
        Some("3600"),
        "",
        "How old a host's ownership TXT has to be before anything of it is removed, in seconds (300 to 2592000).",
    ),
    key(
        "sweep.pause",
        Kind::Integer,
        Some("120"),
        "",
        "How much time has to pass between the two times that EC2 says that an instance is gone, in seconds (1 to 3600).",
    ),
    key(
        "metrics.enabled",
        Kind::Bool,
        Some("true"),
        "",
        "Whether the service sends metrics to CloudWatch: one call at each interval.",
    ),
    key(
        "metrics.namespace",
        Kind::Text,
        Some("\"BigBlueButton\""),
        "",
        "Their namespace in CloudWatch. The instance role has to allow it (cloudwatch:namespace).",
    ),
    key(
        "metrics.dimension",
        Kind::Text,
        Some("\"group\""),
        "",
        "What they are kept apart by: \"group\" is the Auto Scaling group (outside one dns.domain), \"instance\" the instance, \"both\" sends each twice. CloudWatch charges for every metric of every group and instance.",
    ),
    key(
        "metrics.interval",
        Kind::Integer,
        Some("60"),
        "",
        "How often they are sent, in seconds (10 to 3600). CloudWatch keeps whole minutes.",
    ),
    key(
        "metrics.certificate",
        Kind::Text,
        Some("\"auto\""),
        "",
        "Where the expiry of this host's certificate is read: \"auto\" (a BBB host: bbb.address with the port of BBB's URL; a TURN host: 127.0.0.1:5349), an address with a port, or \"\" for nowhere.",
    ),
    turn(
        "metrics.coturn",
        Kind::Text,
        Some("\"127.0.0.1:3478\""),
        "",
        "Where coturn is asked whether it is there, as an address with a UDP port: one of its listening-ip, if it has any; \"\" does not ask it (needed with its no-stun).",
    ),
    key(
        "aws.region",
        Kind::Text,
        None,
        "\"eu-central-1\"",
        "Region for AWS calls. Default: the instance's own.",
    ),
    key(
        "tls.ca_bundle",
        Kind::Text,
        None,
        "\"/etc/ssl/private-ca.pem\"",
        "PEM file with further certificate authorities to trust. Default: the system's only.",
    ),
    key(
        "timeouts.imds",
        Kind::Integer,
        Some("120"),
        "",
        "How long to wait for the metadata service, in seconds (1 to 3600).",
    ),
    key(
        "timeouts.register",
        Kind::Integer,
        Some("300"),
        "",
        "How long register may take in all, in seconds (1 to 86400).",
    ),
    key(
        "timeouts.deregister",
        Kind::Integer,
        Some("80"),
        "",
        "How long deregister may take in all, in seconds (1 to 86400).",
    ),
    key(
        "timeouts.sweep",
        Kind::Integer,
        Some("600"),
        "",
        "How long a sweep may take in all, without sweep.pause, in seconds (1 to 86400).",
    ),
    bbb(
        "timeouts.bbb",
        Kind::Integer,
        Some("60"),
        "",
        "How long register waits for the API of a BBB that is installed, in seconds (0 to 86400).",
    ),
    key(
        "timeouts.status",
        Kind::Integer,
        Some("10"),
        "",
        "How long status and check wait for any one answer, in seconds (1 to 300).",
    ),
    key(
        "log.level",
        Kind::Text,
        Some("\"info\""),
        "",
        "What is logged: \"error\", \"warn\", \"info\" or \"debug\".",
    ),
];

/// The keys that a role has, in the order of the shipped file.
pub fn of(role: Role) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.only.is_none_or(|only| only == role))
}

/// The environment variable of a key: `dns.zone_id` is `BBB_AGENT_DNS_ZONE_ID`.
pub fn variable(prefix: &str, key: &Key) -> String {
    format!("{prefix}{}", key.path.replace('.', "_").to_ascii_uppercase())
}
