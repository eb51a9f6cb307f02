//! The addresses that BBB announces, compared with those of the host.
//!
//! bbb-install writes the host's address into eight files, and nothing refreshes it (facts/bbb-host.md, "The public
//! address inside BBB"). On EC2 the address changes with every stop and start and with an Elastic IP. Name and entry
//! then lead to a host whose audio and video fail, and Scalelite prefers the emptiest host, so a broken one attracts
//! the rooms.
//!
//! # What stands at a place
//! The last two columns are two hosts. The first has 203.0.113.99 and, inside the VPC, 10.0.0.5; the second has no
//! public address, and its name leads to 10.0.0.5. "Not ours" is what an operator has chosen, or what may be right for
//! reasons that the agent cannot see: it is left alone. So is a public address on a host that has none: it may be that
//! of a gateway in front of it.
//!
#![doc = include_str!("tables/addresses.md")]
//!
//! # What follows from it
//! A host of which nothing can be said joins as before: a file that the agent cannot read is no proof that calls fail,
//! and a fleet must not stand still because of it. `status` says so. A host that was found wrong stays out until it is
//! found right: see [`Announced::after`]. A repair ends running calls, so it waits until no meeting runs here.
//!
//! Where BBB is to tell its clients the TURN servers of a fleet, the host looks after their secret too. One that has
//! changed keeps no host out: all hosts find it within the hour, and together they would leave nobody to take meetings.
//! So the file is written when the host is idle, behind a cordon that spares the last host.
//!
#![doc = include_str!("tables/addresses-decision.md")]

use std::fmt;
use std::net::Ipv4Addr;

/// The file from which BBB tells its clients the TURN servers (`resources.groovy` of bbb-web), with their secret.
pub const TURN_SERVERS: &str = "/etc/bigbluebutton/turn-stun-servers.xml";

/// A file in which an address of the host stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum File {
    /// FreeSWITCH's variables.
    Vars,
    /// FreeSWITCH's profile for browsers.
    External,
    /// nginx's way to FreeSWITCH.
    Sip,
    /// The unit that gives the host its public address on `lo`.
    DummyNic,
    /// The host's own settings of bbb-webrtc-sfu.
    Sfu,
    /// The host's own settings of LiveKit.
    Livekit,
    /// coturn's settings.
    Coturn,
    /// The packet filter's rules, as they are kept over a boot.
    Rules,
}

impl File {
    /// All files.
    pub const ALL: [Self; 8] = [
        Self::Vars,
        Self::External,
        Self::Sip,
        Self::DummyNic,
        Self::Sfu,
        Self::Livekit,
        Self::Coturn,
        Self::Rules,
    ];

    /// Returns the file's path.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Vars => "/opt/freeswitch/etc/freeswitch/vars.xml",
            Self::External => "/opt/freeswitch/etc/freeswitch/sip_profiles/external.xml",
            Self::Sip => "/usr/share/bigbluebutton/nginx/sip.nginx",
            Self::DummyNic => "/lib/systemd/system/dummy-nic.service",
            Self::Sfu => "/etc/bigbluebutton/bbb-webrtc-sfu/production.yml",
            Self::Livekit => "/etc/bigbluebutton/livekit.yaml",
            Self::Coturn => "/etc/turnserver.conf",
            Self::Rules => "/etc/iptables/rules.v4",
        }
    }
}

/// A place in a file at which an address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The address for audio that FreeSWITCH announces.
    ExternalRtp,
    /// The address for signalling that FreeSWITCH announces.
    ExternalSip,
    /// Where FreeSWITCH takes WebSockets from nginx.
    WsBinding,
    /// Where FreeSWITCH takes encrypted WebSockets (older versions).
    WssBinding,
    /// Where nginx sends them.
    ProxyPass,
    /// The address on `lo`.
    Loopback,
    /// Where bbb-webrtc-sfu finds FreeSWITCH.
    SfuFreeswitch,
    /// Where bbb-webrtc-sfu finds its signalling.
    SfuSip,
    /// The address for media that mediasoup announces to browsers.
    SfuWebrtc,
    /// The address for media that mediasoup announces to FreeSWITCH.
    SfuPlain,
    /// The addresses that LiveKit uses, where an operator has chosen them.
    LivekitIncludes,
    /// The address that LiveKit announces, where an operator has chosen it.
    LivekitNode,
    /// The addresses to which coturn relays.
    AllowedPeer,
    /// The address that coturn announces.
    TurnExternal,
    /// The address at which coturn listens.
    TurnListening,
    /// The address from which coturn relays.
    TurnRelay,
    /// The addresses to which coturn relays for nobody: on a TURN host its own public one is among them.
    DeniedPeer,
    /// The destination that the host's own packets are turned away from, to the host itself.
    Dnat,
}

/// What the address at a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Others are told it: it has to be the announced one.
    Announced,
    /// The same, as one of several: others may stand beside it.
    OneOf,
    /// Programs of this host reach one another by it: any address of the host will do.
    Inside,
    /// A program listens at it inside the VPC.
    Private,
    /// Nobody is relayed to it: it follows coturn's announced address where it is the same, and others are not the host's.
    Denied,
}

impl Place {
    /// All places, in the order of their files.
    pub const ALL: [Self; 18] = [
        Self::ExternalRtp,
        Self::ExternalSip,
        Self::WsBinding,
        Self::WssBinding,
        Self::ProxyPass,
        Self::Loopback,
        Self::SfuFreeswitch,
        Self::SfuSip,
        Self::SfuWebrtc,
        Self::SfuPlain,
        Self::LivekitIncludes,
        Self::LivekitNode,
        Self::AllowedPeer,
        Self::TurnExternal,
        Self::TurnListening,
        Self::TurnRelay,
        Self::DeniedPeer,
        Self::Dnat,
    ];

    /// Returns the file that it is in.
    pub fn file(self) -> File {
        match self {
            Self::ExternalRtp | Self::ExternalSip => File::Vars,
            Self::WsBinding | Self::WssBinding => File::External,
            Self::ProxyPass => File::Sip,
            Self::Loopback => File::DummyNic,
            Self::SfuFreeswitch | Self::SfuSip | Self::SfuWebrtc | Self::SfuPlain => File::Sfu,
            Self::LivekitIncludes | Self::LivekitNode => File::Livekit,
            Self::AllowedPeer
            | Self::TurnExternal
            | Self::TurnListening
            | Self::TurnRelay
            | Self::DeniedPeer => File::Coturn,
            Self::Dnat => File::Rules,
        }
    }

    /// Returns its key, as the file has it.
    pub fn key(self) -> &'static str {
        match self {
            Self::ExternalRtp => "external_rtp_ip",
            Self::ExternalSip => "external_sip_ip",
            Self::WsBinding => "ws-binding",
            Self::WssBinding => "wss-binding",
            Self::ProxyPass => "proxy_pass",
            Self::Loopback => "ip addr add",
            Self::SfuFreeswitch => "freeswitch.ip",
            Self::SfuSip => "freeswitch.sip_ip",
            Self::SfuWebrtc => "mediasoup.webrtc.listenIps[0].announcedIp",
            Self::SfuPlain => "mediasoup.plainRtp.listenIp.announcedIp",
            Self::LivekitIncludes => "rtc.ips.includes",
            Self::LivekitNode => "rtc.node_ip",
            Self::AllowedPeer => "allowed-peer-ip",
            Self::TurnExternal => "external-ip",
            Self::TurnListening => "listening-ip",
            Self::TurnRelay => "relay-ip",
            Self::DeniedPeer => "denied-peer-ip",
            Self::Dnat => "DNAT -d",
        }
    }

    /// Returns the place with this key.
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|place| place.key() == key)
    }

    fn purpose(self) -> Purpose {
        match self {
            Self::ExternalRtp | Self::ExternalSip | Self::Loopback | Self::SfuWebrtc | Self::LivekitNode => {
                Purpose::Announced
            }
            Self::LivekitIncludes | Self::AllowedPeer | Self::TurnExternal | Self::Dnat => Purpose::OneOf,
            Self::WsBinding
            | Self::WssBinding
            | Self::ProxyPass
            | Self::SfuFreeswitch
            | Self::SfuSip
            | Self::SfuPlain => Purpose::Inside,
            Self::TurnListening | Self::TurnRelay => Purpose::Private,
            Self::DeniedPeer => Purpose::Denied,
        }
    }
}

/// A value that was read at a place: its part that may be an address, as it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The place.
    pub place: Place,
    /// The text.
    pub text: String,
}

/// The result of reading a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The file does not exist.
    Absent,
    /// It could not be read or understood; the text says why.
    Unreadable(String),
    /// The values that are in it, in their order.
    Values(Vec<Value>),
}

/// The addresses of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// The address to which its name leads, which BBB has to announce.
    pub announced: Ipv4Addr,
    /// Its address inside the VPC.
    pub private: Ipv4Addr,
}

/// How the value at a place compares with the host's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is an address that should be there.
    Right,
    /// It is another address than the wanted one.
    Other {
        /// The address that stands there.
        found: Ipv4Addr,
        /// The address that should.
        wanted: Ipv4Addr,
    },
    /// It is left alone.
    NotOurs,
    /// It is not known whether it should be another one; the text says why.
    Unknown(String),
}

/// A difference between what BBB announces and what the host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The place.
    pub place: Place,
    /// The address that stands there.
    pub found: Ipv4Addr,
    /// The address that should.
    pub wanted: Ipv4Addr,
}

/// Judges the values of one file, each by itself and in view of the others.
pub fn judge(values: &[Value], own: &Own) -> Vec<Standing> {
    let mut standings: Vec<Standing> = values.iter().map(|value| judge_one(value, own)).collect();
    for place in Place::ALL.into_iter().filter(|place| place.purpose() == Purpose::OneOf) {
        let has_wanted = values.iter().any(|value| value.place == place && is(value, own.announced));
        let mut others: Vec<Ipv4Addr> = Vec::new();
        let of_place = values.iter().zip(&standings).filter(|(value, _)| value.place == place);
        for (_, standing) in of_place {
            if let Standing::Other { found, .. } = standing
                && !others.contains(found)
            {
                others.push(*found);
            }
        }
        for (_, standing) in values.iter().zip(&mut standings).filter(|(value, _)| value.place == place) {
            match standing {
                Standing::Other { .. } if has_wanted => *standing = Standing::NotOurs,
                Standing::Other { .. } if others.len() > 1 => {
                    let key = place.key();
                    *standing = Standing::Unknown(format!("which {key} was this host's is not known"));
                }
                _ => {}
            }
        }
    }
    let judged = standings.clone();
    for (value, standing) in values.iter().zip(&mut standings) {
        if value.place.purpose() != Purpose::Denied {
            continue;
        }
        let mut pairs = values.iter().zip(&judged);
        let same = pairs.find(|(other, _)| other.place == Place::TurnExternal && other.text == value.text);
        if let Some((_, other @ Standing::Other { .. })) = same {
            *standing = other.clone();
        }
    }
    standings
}

fn is(value: &Value, address: Ipv4Addr) -> bool {
    value.text.parse() == Ok(address)
}

fn judge_one(value: &Value, own: &Own) -> Standing {
    // A name, `stun:`, `auto-nat`, a variable, a range, an IPv6 address.
    let Ok(found) = value.text.parse::<Ipv4Addr>() else { return Standing::NotOurs };
    let purpose = value.place.purpose();
    let own_private = found == own.private;
    let local = found.is_loopback() || found.is_unspecified();
    let wanted = if purpose == Purpose::Private { own.private } else { own.announced };
    let other = Standing::Other { found, wanted };
    match purpose {
        _ if found == own.announced => Standing::Right,
        Purpose::Denied => Standing::NotOurs,
        Purpose::Inside | Purpose::Private if own_private || local => Standing::Right,
        Purpose::OneOf if own_private => Standing::Right,
        _ if local || found.is_link_local() || found.is_broadcast() || found.is_multicast() => {
            Standing::NotOurs
        }
        // It may be the address of a gateway in front of the host.
        _ if !is_inside(found) && is_inside(own.announced) => Standing::NotOurs,
        Purpose::Announced => other,
        _ if !is_inside(found) => other,
        // It may be a second address of the host, or another host's.
        Purpose::OneOf | Purpose::Inside | Purpose::Private => Standing::NotOurs,
    }
}

/// Tells whether an address can be reached only inside a network: the private ranges, and the one for carriers.
fn is_inside(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_private() || (first == 100 && (64..128).contains(&second))
}

/// The addresses that BBB and coturn announce, in view of those of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announced {
    /// They are the host's, or the operator's choice.
    Right,
    /// They are others, at these places, of which there is at least one.
    Other(Vec<Difference>),
    /// The files were repaired, or are being repaired, and the programs that read them may still have other addresses.
    Unfinished,
    /// The host was made from an image, and its BBB still has this name of the image's.
    Image(String),
    /// They are the host's, but BBB does not tell its clients the configured TURN servers with their present secret.
    OtherTurn,
    /// It is not known whether they are the host's; the text says why.
    Unknown(String),
    /// There is nothing to compare; the text says why.
    Nothing(&'static str),
}

impl Announced {
    /// Judges what was read from the files; `own` is `None` where the host has no IPv4 address to announce.
    /// `unfinished` says whether a repair has begun and not ended, or why that is not known.
    pub fn of(readings: &[(File, Reading)], unfinished: Result<bool, String>, own: Option<&Own>) -> Self {
        let Some(own) = own else { return Self::Nothing("this host has no IPv4 address to announce") };
        let (mut differences, mut unknown, mut right) = (Vec::new(), None, false);
        for (file, reading) in readings {
            let path = file.path();
            let values = match reading {
                Reading::Absent => continue,
                Reading::Unreadable(why) => {
                    unknown.get_or_insert(format!("{path}: {why}"));
                    continue;
                }
                Reading::Values(values) => values,
            };
            for (value, standing) in values.iter().zip(judge(values, own)) {
                match standing {
                    Standing::Right => right = true,
                    Standing::NotOurs => {}
                    Standing::Other { found, wanted } => {
                        differences.push(Difference { place: value.place, found, wanted });
                    }
                    Standing::Unknown(why) => {
                        unknown.get_or_insert(format!("{path}: {why}"));
                    }
                }
            }
        }
        // A file that was written only in part may be unreadable.
        match (differences.is_empty(), unfinished, unknown) {
            (false, ..) => Self::Other(differences),
            (true, Ok(true), _) => Self::Unfinished,
            (true, Err(why), _) | (true, Ok(false), Some(why)) => Self::Unknown(why),
            (true, Ok(false), None) if right => Self::Right,
            (true, Ok(false), None) => Self::Nothing("no file names an address of this host"),
        }
    }

    /// Takes in whether BBB tells its clients the configured TURN servers with their present secret; the error says why
    /// that is not known. What is wrong with the host's own address or name is more important.
    #[must_use]
    pub fn with_turn(self, same: Result<bool, String>) -> Self {
        match (self, same) {
            (Self::Right | Self::Nothing(_), Ok(false)) => Self::OtherTurn,
            (Self::Right | Self::Nothing(_), Err(why)) => Self::Unknown(why),
            (other, _) => other,
        }
    }

    /// Returns what counts after this look: a host that was found wrong is not found right by a look that shows nothing.
    #[must_use]
    pub fn after(self, former: Option<&Self>) -> Self {
        match (&self, former) {
            (Self::Unknown(_), Some(wrong)) if wrong.is_wrong() => wrong.clone(),
            _ => self,
        }
    }

    /// Tells whether people who join here could not talk.
    pub fn is_wrong(&self) -> bool {
        match self {
            Self::Other(_) | Self::Unfinished | Self::Image(_) => true,
            // Their former secret is accepted for a while, and most people need no TURN server.
            Self::Right | Self::OtherTurn | Self::Unknown(_) | Self::Nothing(_) => false,
        }
    }

    /// Returns the differences.
    pub fn differences(&self) -> &[Difference] {
        match self {
            Self::Other(differences) => differences,
            Self::Right
            | Self::Unfinished
            | Self::Image(_)
            | Self::OtherTurn
            | Self::Unknown(_)
            | Self::Nothing(_) => &[],
        }
    }

    /// Returns the number of places with another address; `None` where that is not known or nothing can be compared.
    pub fn wrong(&self) -> Option<usize> {
        match self {
            Self::Unknown(_) | Self::Nothing(_) | Self::Unfinished | Self::Image(_) => None,
            Self::Right | Self::OtherTurn => Some(0),
            Self::Other(differences) => Some(differences.len()),
        }
    }
}

impl fmt::Display for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Right => f.write_str("this host's address is announced"),
            Self::Unfinished => f.write_str(
                "the files have this host's address, and the programs still have to be restarted with it",
            ),
            Self::Image(name) => {
                write!(f, "BBB still has the name {name} of the image from which this host was made")
            }
            Self::Nothing(why) => f.write_str(why),
            Self::OtherTurn => write!(
                f,
                "BBB does not tell its clients the TURN servers of bbb.turn_server with their present secret ({TURN_SERVERS})"
            ),
            Self::Unknown(why) => write!(f, "what BBB announces is not known: {why}"),
            Self::Other(differences) => {
                let Some(first) = differences.first() else {
                    return f.write_str("another address is announced");
                };
                let Difference { place, found, wanted } = first;
                let program = if place.file() == File::Coturn { "coturn" } else { "BBB" };
                write!(
                    f,
                    "{program} announces {found}, the host has {wanted} ({} in {}",
                    place.key(),
                    place.file().path()
                )?;
                match differences.len() {
                    0 | 1 => f.write_str(")"),
                    2 => f.write_str(", and 1 more place)"),
                    all => write!(f, ", and {} more places)", all - 1),
                }
            }
        }
    }
}

/// The use that a host makes of what BBB or, on a TURN host, coturn announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAddresses {
    /// A host that announces another address takes no new meetings; a TURN host is not registered.
    Refuse,
    /// The same, and the address is set right once no meeting runs on the host; on a TURN host at once.
    Repair,
    /// None: it is only shown.
    Ignore,
}

/// The decision about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may take meetings.
    Join,
    /// It has to be found out first what BBB announces.
    LookFirst,
    /// It must not take new meetings.
    StayOut,
    /// The same, until the address is set right.
    Repair,
    /// It may take meetings. Once none runs here, it is taken out for a repair.
    RepairWhenIdle,
}

impl Decision {
    /// Tells whether the host must not take new meetings.
    pub fn keeps_out(self) -> bool {
        matches!(self, Self::StayOut | Self::Repair)
    }
}

/// Decides whether a host may take meetings; `announced` is `None` before the first look.
pub fn decide(on: OnAddresses, announced: Option<&Announced>) -> Decision {
    match (on, announced) {
        (OnAddresses::Ignore, _) => Decision::Join,
        (_, None) => Decision::LookFirst,
        (OnAddresses::Refuse, Some(announced)) if announced.is_wrong() => Decision::StayOut,
        (OnAddresses::Repair, Some(announced)) if announced.is_wrong() => Decision::Repair,
        (OnAddresses::Refuse | OnAddresses::Repair, Some(Announced::OtherTurn)) => Decision::RepairWhenIdle,
        (OnAddresses::Refuse | OnAddresses::Repair, Some(_)) => Decision::Join,
    }
}

#[cfg(test)]
#[path = "addresses_tests.rs"]
mod tests;
