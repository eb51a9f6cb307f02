//! The table of all settings. Everything about a setting is in its row: [`super::load`] reads its value by the row's
//! kind, [`super::settings`] takes default and bounds from it, [`super::defaults`] writes the shipped file from it.
//! The words of a choice are in [`super::choices`].

use plan::addresses::OnAddresses;
use plan::instance::Role;
use plan::lifecycle::{HookResult, OnStop};

use super::choices::{Choice, Dimension, HookChoice, Ipv4Choice, OnNotice, ReadFrom, words};
use super::row::{Fallback, Kind, Range, Setting};
use crate::log::Level;

/// The bounds of `drain.deadline`, the longest time that a drain may take.
pub const DRAIN_DEADLINE: Range = seconds(60, 172_800);

/// The bounds of `drain --deadline`, the longest time that an ordered drain may take.
pub const DRAIN_ORDER: Range = Range { least: 1, ..DRAIN_DEADLINE };

const SETTINGS: &[Setting] = &[
    both(
        "dns.zone_id",
        example("Z0123456789ABCDEFGHIJ"),
        "Id of the Route 53 hosted zone that holds the host's record sets. Required.",
    ),
    both(
        "dns.domain",
        example("bbb.example.org"),
        "Domain below which the host gets its name: the zone's own name or one below it. Required.",
    ),
    both(
        "dns.hostname",
        Kind::Text { default: Fallback::Of(|agent| agent.default_hostname.to_owned()), length: None },
        "Template of the host's name. {instance} is the instance id without \"i-\", {region} the region.",
    ),
    both(
        "dns.name",
        example("meet.bbb.example.org"),
        "One fixed full name instead of the template, for a single host.",
    ),
    both("dns.ttl", integer(60, seconds(1, 86_400)), "Time to live of the record sets."),
    both("dns.ipv4", choice::<Ipv4Choice>("public"), "IPv4 address that goes into the A record set."),
    both(
        "dns.ipv6",
        bool(true),
        "Whether the host's IPv6 address, if it has one, goes into an AAAA record set.",
    ),
    both("dns.read", choice::<ReadFrom>("auto"), "Where the agent reads existing records."),
    both(
        "dns.spread",
        integer(0, seconds(0, 43_200)),
        "Time over which hosts that boot at once spread their first call to Route 53. It may be half of \
         timeouts.register at most. At boot the service waits for a random part of it, unless the name is correct already. \
         A good value is their number, divided by the calls a second of the account (10; older accounts 5).",
    ),
    both(
        "dns.servers",
        Kind::List { numbers: None },
        "Addresses of the zone's authoritative servers, with a port if it is not 53. Empty: the agent finds them \
         through the zone's NS records.",
    ),
    both(
        "dns.apex",
        example("example.org"),
        "The zone's own name, where the SOA record of dns.domain does not lead to it. Default: found by that record.",
    ),
    both(
        "dns.role_arn",
        example("arn:aws:iam::210987654321:role/bbb-dns"),
        "Role that the agent assumes for Route 53, and for nothing else, where the zone is in another account. Default: none, \
         Route 53 is called with the host's own credentials.",
    ),
    both(
        "dns.role_external_id",
        example("bbb-fleet"),
        "External id that the trust policy of dns.role_arn wants.",
    ),
    turn(
        "turn.shared_name",
        example("turn.bbb.example.org"),
        "Name that all TURN hosts of the fleet share: each has a multivalue answer record set in it beside its own name. \
         dns.domain or a name below it, and nothing but such record sets may be there.",
    ),
    turn(
        "turn.shared_health_check",
        example("abcdef11-2222-3333-4444-555555fedcba"),
        "Id of a Route 53 health check for the host's record set in turn.shared_name, which is not shown while the check \
         fails.",
    ),
    turn(
        "turn.addresses",
        choice::<OnAddresses>("refuse"),
        "What the service does when coturn announces another address than the host's, so that relays fail.",
    ),
    turn(
        "turn.reader",
        text("/run/turn-agent-settings.sock"),
        "Socket of turn-agent-settings.socket, which reads coturn's settings where the agent may not. \"\": never ask it.",
    ),
    turn(
        "turn.repairer",
        text("/run/turn-agent-addresses.sock"),
        "Socket of turn-agent-addresses.socket, which sets that address right with turn.addresses = \"repair\".",
    ),
    turn("turn.root", text("/"), "Directory below which coturn's settings are, as etc/turnserver.conf."),
    bbb(
        "scalelite.url",
        example("https://scalelite.example.org"),
        "Scalelite's address. Without it the host only gets its name and joins no load balancer.",
    ),
    bbb(
        "scalelite.secret",
        example("secretsmanager:Scalelite#LOADBALANCER_SECRET"),
        "Where the load balancer's secret is: \"secretsmanager:ID#KEY\", \"file:/PATH\" or \"credential:NAME\" (systemd). \
         Required with scalelite.url.",
    ),
    bbb(
        "scalelite.load_multiplier",
        Kind::Float { above: 0.0, word: "auto", example: "1.0" },
        "Factor by which Scalelite multiplies this host's load. \"auto\" fills hosts of different sizes evenly: it is \
         scalelite.reference_cpus divided by this host's number of CPUs. Default: an existing entry keeps its own, a new one \
         gets 1.0.",
    ),
    bbb(
        "scalelite.reference_cpus",
        integer(8, Range { least: 1, most: 1024, unit: "CPUs" }),
        "The size of a host whose multiplier is 1 with scalelite.load_multiplier = \"auto\".",
    ),
    bbb(
        "scalelite.tag",
        example("high-capacity"),
        "Tag of the Scalelite entry; \"\" clears it. Default: an existing entry keeps its own.",
    ),
    bbb(
        "scalelite.poll_interval",
        integer(60, seconds(5, 3600)),
        "How often Scalelite polls its servers (its POLL_INTERVAL).",
    ),
    bbb(
        "bbb.properties",
        text("/etc/bigbluebutton/bbb-web.properties"),
        "BBB's own settings on this host, with its URL and its secret.",
    ),
    bbb(
        "bbb.defaults",
        text("/usr/share/bbb-web/WEB-INF/classes/bigbluebutton.properties"),
        "The settings that BBB ships, for properties that bbb.properties does not set.",
    ),
    bbb(
        "bbb.reader",
        text("/run/bbb-agent-settings.sock"),
        "Socket of bbb-agent-settings.socket, which reads those two files where the agent may not. \"\": never ask it.",
    ),
    bbb(
        "bbb.address",
        text("127.0.0.1"),
        "Address of BBB's API on this host. The agent uses it whatever the host's name resolves to at the time.",
    ),
    bbb(
        "bbb.addresses",
        choice::<OnAddresses>("refuse"),
        "What the service does when BBB announces another address than the host's, so that audio and video fail.",
    ),
    bbb(
        "bbb.repairer",
        text("/run/bbb-agent-addresses.sock"),
        "Socket of bbb-agent-addresses.socket, which sets those addresses right with bbb.addresses = \"repair\".",
    ),
    bbb(
        "bbb.root",
        text("/"),
        "Directory below which the files are in which BBB, FreeSWITCH and coturn have the host's address.",
    ),
    bbb(
        "bbb.turn_server",
        example("turn.bbb.example.org"),
        "Name of the TURN servers that BBB tells its clients instead of the host's own coturn.",
    ),
    bbb(
        "bbb.turn_secret",
        example("secretsmanager:Turn#turnkeyvalue"),
        "Where the secret is that coturn there shares with BBB, in the forms of scalelite.secret.",
    ),
    bbb(
        "recordings.directory",
        text("/var/bigbluebutton/recording"),
        "BBB's spool of recordings. The host is kept until its recordings have left this directory.",
    ),
    bbb(
        "recordings.redis",
        text("127.0.0.1:6379"),
        "The Redis with BBB's queues of recording jobs, as an address with a port. \"\": never ask it. While it does not \
         answer, the host counts as busy.",
    ),
    bbb(
        "recordings.redis_password",
        example("file:/etc/bbb-agent/redis"),
        "Where the password of that Redis is, in the forms of scalelite.secret. Default: it wants none.",
    ),
    bbb(
        "recordings.sender",
        text("auto"),
        "Who sends published recordings to Scalelite: \"auto\" (any *scalelite*.rb that BBB runs after publishing), \"none\" \
         (nobody, published recordings may be lost with the host) or the absolute path of a program.",
    ),
    bbb(
        "recordings.wait",
        bool(true),
        "Whether draining and the scale-in protection wait for recordings, too, and not only for meetings.",
    ),
    bbb(
        "recordings.stuck",
        integer(7200, seconds(1, 604_800)),
        "How long no file of a recording may change, with no job in BBB's queues, before it counts as stuck. A stuck \
         recording is reported and not waited for.",
    ),
    bbb(
        "recordings.after_deadline",
        integer(3600, seconds(0, 172_800)),
        "How long recordings are still waited for after the deadline of a group's drain has ended their meetings, if the \
         group's hook allows that.",
    ),
    bbb(
        "service.state",
        text("/var/lib/bbb-agent"),
        "Directory that survives a reboot. It holds a note on the Scalelite entry that a reboot takes out: its tag, its \
         multiplier, and whether an operator had cordoned it.",
    ),
    both(
        "service.directory",
        Kind::Text { default: Fallback::Of(|agent| agent.directory().display().to_string()), length: None },
        "Directory of the service's lock and socket. It has to be emptied at boot.",
    ),
    both(
        "service.on_stop",
        choice::<OnStop>("leave"),
        "What the service does when an operator stops it. On a TURN host \"cordon\" changes nothing.",
    ),
    both(
        "service.launch_hook",
        example("launch"),
        "Name of the group's launch hook that this agent completes as soon as the host serves: instance refreshes and \
         scale-outs wait for that.",
    ),
    both(
        "service.launch_limit",
        integer(3600, seconds(60, 172_800)),
        "How long after the boot a launch may take. Then the agent completes the hook as service.launch_at_limit says.",
    ),
    both(
        "service.launch_at_limit",
        choice::<HookResult>("abandon"),
        "How the agent completes the launch hook of a host that does not serve in time.",
    ),
    bbb(
        "service.unhealthy_after",
        integer(0, seconds(0, 86_400)),
        "How long BBB may be silent on a host that had no meeting before, until the agent reports the instance as \
         unhealthy and its group replaces it. 0: never.",
    ),
    both(
        "checks.metadata",
        integer(2, seconds(1, 60)),
        "How often the agent asks the metadata service what the group and EC2 intend for this host.",
    ),
    both(
        "checks.name",
        integer(60, seconds(5, 86_400)),
        "How often the agent checks the host's addresses and its name. A check costs DNS questions only.",
    ),
    both(
        "checks.certificate",
        integer(3600, seconds(60, 604_800)),
        "How often the agent looks whether tls.certificate holds another certificate. A look costs one call.",
    ),
    bbb(
        "checks.turn_secret",
        integer(3600, seconds(60, 604_800)),
        "How often bbb.turn_secret is looked at. A look costs one call.",
    ),
    bbb(
        "checks.scalelite",
        integer(300, seconds(5, 86_400)),
        "How often the agent checks the host's Scalelite entry. A check costs one call.",
    ),
    both(
        "checks.work",
        integer(30, seconds(1, 3600)),
        "How often the agent counts the work on this host: meetings and recordings, or relays.",
    ),
    both(
        "drain.deadline",
        integer(21_600, DRAIN_DEADLINE),
        "How long draining waits for meetings and recordings before it ends the meetings; on a TURN host, for relays.",
    ),
    both(
        "drain.quiet",
        integer(30, seconds(0, 3600)),
        "How long the host must have had no meetings and no pending recordings, or no relays, before it counts as empty.",
    ),
    bbb(
        "drain.empty_meeting",
        integer(1800, seconds(0, 86_400)),
        "How long nobody may have been in a meeting before it is reported and no longer waited for.",
    ),
    both(
        "drain.at_deadline",
        choice::<HookResult>("continue"),
        "How the agent completes the lifecycle action at the deadline.",
    ),
    turn(
        "drain.relays",
        text("1024-65535"),
        "Ports of coturn's relays, as its min-port and max-port say, which the agent may not read. Draining waits for the UDP \
         sockets there. \"\": do not count them.",
    ),
    both(
        "drain.hook",
        example("drain"),
        "Name of the group's termination hook that this agent completes. Default: the only one that the group has.",
    ),
    both(
        "drain.hooks",
        choice::<HookChoice>("own"),
        "Termination hooks that this agent completes. Each hook of the group gets heartbeats while the host drains.",
    ),
    bbb(
        "drain.rebalance",
        choice::<OnNotice>("cordon"),
        "What the service does after a rebalance recommendation of EC2. The last enabled server of the pool stays as it is.",
    ),
    bbb(
        "drain.rebalance_for",
        integer(7200, seconds(60, 604_800)),
        "How long a rebalance recommendation cordons the host. EC2 never takes one back, and often nothing follows.",
    ),
    bbb(
        "drain.maintenance",
        choice::<OnNotice>("cordon"),
        "What the service does drain.deadline before a scheduled maintenance of EC2 begins.",
    ),
    bbb(
        "drain.announce",
        Kind::List { numbers: Some(Range { least: 1, most: DRAIN_DEADLINE.most / 60, unit: "minutes" }) },
        "How long before their end running meetings are told about it. For example [\"30\", \"5\"]. Needs BBB 3.0.",
    ),
    bbb(
        "drain.message",
        Kind::Text {
            default: Fallback::Is(
                "This meeting will be ended in {minutes} minutes, because its server is shut down. \
                 You can start it again at once.",
            ),
            // This is BBB's own limit for a chat message, unless BBB is configured otherwise.
            length: Some(Range { least: 1, most: 500, unit: "characters" }),
        },
        "The message that these meetings get. {minutes} is the time that is left.",
    ),
    bbb(
        "protection.enabled",
        bool(true),
        "Whether the service protects a busy host of an Auto Scaling group from scale-in. \
         While this is on, the instance's protection is the agent's to change.",
    ),
    bbb(
        "protection.idle",
        integer(300, seconds(0, 86_400)),
        "How long the host must have been idle before that protection ends.",
    ),
    both(
        "sweep.enabled",
        bool(true),
        "Whether the service removes what dead hosts have left in the zone and in Scalelite, once EC2 has said twice that \
         they are gone. The hosts of a fleet take turns.",
    ),
    both("sweep.interval", integer(3600, seconds(60, 604_800)), "How often the fleet as a whole sweeps."),
    both(
        "sweep.grace",
        integer(3600, seconds(300, 2_592_000)),
        "How old a host's ownership TXT must be before a sweep removes anything of that host.",
    ),
    both(
        "sweep.pause",
        integer(120, seconds(1, 3600)),
        "Time between the two answers of EC2 that an instance is gone.",
    ),
    both(
        "metrics.enabled",
        bool(true),
        "Whether the service sends metrics to CloudWatch, with one call at each interval.",
    ),
    both(
        "metrics.namespace",
        Kind::Text { default: Fallback::Of(|agent| namespace(agent.role).to_owned()), length: None },
        "Namespace of the metrics in CloudWatch. The instance role has to allow it (cloudwatch:namespace).",
    ),
    both(
        "metrics.dimension",
        choice::<Dimension>("group"),
        "Dimension that keeps the metrics of hosts apart. CloudWatch charges for every metric of every group and instance.",
    ),
    both(
        "metrics.interval",
        integer(60, seconds(10, 3600)),
        "How often the service sends metrics. CloudWatch keeps whole minutes.",
    ),
    both(
        "metrics.listen",
        example("127.0.0.1:9688"),
        "Where the service answers Prometheus (/metrics): an address with a port, \"private:9688\" (the instance's private \
         address), or the absolute path of a Unix socket. It asks nobody for a password: let only Prometheus reach it. \
         Default: nowhere.",
    ),
    both(
        "metrics.certificate",
        text("auto"),
        "Server that shows this host's certificate, whose expiry is measured. \"auto\" is bbb.address with the port of BBB's URL \
         on a BBB host, 127.0.0.1:5349 on a TURN host. Else an address with a port, or \"\" for none.",
    ),
    both(
        "metrics.coturn",
        Kind::Text { default: Fallback::Of(|agent| coturn(agent.role).to_owned()), length: None },
        "Address and UDP port where the agent asks coturn for a relay without credentials. If it gets one, a TURN host is not \
         registered. If coturn has listening-ip, one of those; \"auto\" is port 3478 at the private address of a BBB host. \"\": \
         never ask it.",
    ),
    both("aws.region", example("eu-central-1"), "Region for AWS calls. Default: the instance's own."),
    both(
        "aws.profile",
        example("bbb"),
        "Profile in the user's AWS files (~/.aws, or AWS_CONFIG_FILE) whose credentials are used. Default: none, these files \
         and AWS_PROFILE do not count; the credentials are the role's or, where there is none, the environment's.",
    ),
    both(
        "tls.ca_bundle",
        example("/etc/ssl/private-ca.pem"),
        "PEM file with further certificate authorities to trust. Default: only the system's.",
    ),
    both(
        "tls.certificate",
        example("secretsmanager:bbb-certificate"),
        "Where the certificate of all hosts of the fleet is, with its chain and its private key (PEM, also in the values of a JSON \
         object), in the forms of scalelite.secret. Default: none, each host has its own.",
    ),
    both(
        "tls.installer",
        Kind::Text {
            default: Fallback::Of(|agent| format!("/run/{}-certificate.sock", agent.name)),
            length: None,
        },
        "Socket of the unit that puts that certificate into place and has nginx, HAProxy and coturn read it.",
    ),
    both("timeouts.imds", integer(120, seconds(1, 3600)), "How long to wait for the metadata service."),
    both("timeouts.register", integer(300, seconds(1, 86_400)), "How long register may take in all."),
    both("timeouts.deregister", integer(80, seconds(1, 86_400)), "How long deregister may take in all."),
    both(
        "timeouts.sweep",
        integer(600, seconds(1, 86_400)),
        "How long a sweep may take in all, without sweep.pause.",
    ),
    bbb(
        "timeouts.bbb",
        integer(60, seconds(0, 86_400)),
        "How long register waits for the API of a BBB that is installed.",
    ),
    both(
        "timeouts.status",
        integer(10, seconds(1, 300)),
        "How long status and check wait for any one answer.",
    ),
    both("log.level", choice::<Level>("info"), "What the agent logs."),
];

/// Returns the settings of a role, in the order of the shipped file.
pub fn of(role: Role) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(move |setting| setting.only.is_none_or(|only| only == role))
}

/// Finds a setting of either role by its path.
pub(super) fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

/// Returns the namespace of a role's metrics. Each has its own, so that the role of a TURN host need not be allowed to
/// write the metrics by which a group of BBB hosts scales.
const fn namespace(role: Role) -> &'static str {
    match role {
        Role::Bbb => "BigBlueButton",
        Role::Turn => "BigBlueButton/TURN",
    }
}

/// Returns where a role's coturn is asked: bbb-install has it listen at the private address alone.
const fn coturn(role: Role) -> &'static str {
    match role {
        Role::Bbb => "auto",
        Role::Turn => "127.0.0.1:3478",
    }
}

const fn both(path: &'static str, kind: Kind, text: &'static str) -> Setting {
    Setting { path, only: None, kind, text }
}

const fn bbb(path: &'static str, kind: Kind, text: &'static str) -> Setting {
    Setting { path, only: Some(Role::Bbb), kind, text }
}

const fn turn(path: &'static str, kind: Kind, text: &'static str) -> Setting {
    Setting { path, only: Some(Role::Turn), kind, text }
}

const fn text(default: &'static str) -> Kind {
    Kind::Text { default: Fallback::Is(default), length: None }
}

/// Returns the kind of a text without a default.
const fn example(example: &'static str) -> Kind {
    Kind::Text { default: Fallback::None(example), length: None }
}

const fn choice<C: Choice>(default: &'static str) -> Kind {
    Kind::Choice { words: words::<C>, default }
}

const fn bool(default: bool) -> Kind {
    Kind::Bool { default }
}

const fn integer(default: u64, range: Range) -> Kind {
    Kind::Integer { default, range }
}

const fn seconds(least: u64, most: u64) -> Range {
    Range { least, most, unit: "seconds" }
}
