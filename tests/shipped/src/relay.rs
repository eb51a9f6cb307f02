//! The relay of a TURN host: the distribution's real coturn as the shipped UserData sets it up. Who reaches what, by
//! table, and what is open until then.

mod client;
mod host;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;

use client::{Client, Credentials, PATIENCE, Relayed};
use host::{
    Host, PRIVATE, PUBLIC, Relay, SECRET, access, credentials, credentials_by, inside, relay, settings,
};

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(PRIVATE), 3478);

/// The control: the package starts an open relay, and this test sees it.
#[tokio::test(flavor = "multi_thread")]
async fn the_package_alone_is_an_open_relay() {
    if !inside("the_package_alone_is_an_open_relay").await {
        return;
    }
    let host = Host::new().await;
    let (run, steps) = host.install().await;
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(steps.first().unwrap().1, Relay::Off, "{steps:?}");
    assert_eq!(steps.last().unwrap().1, Relay::Open, "{run}\n{steps:?}");
    // And it reaches what only the host may reach.
    let mut client = Client::udp(SERVER, None);
    client.allocate(Relayed::Udp, false).unwrap();
    delivers(&mut client, "169.254.169.254");
    delivers(&mut client, "10.0.0.99");
    let said = host.check().await;
    assert!(said.starts_with("FAIL coturn ") && said.contains("to everybody"), "{said}");
}

/// The relay is off at each step, and stays off.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_nothing_is_ever_open() {
    if !inside("without_a_certificate_nothing_is_ever_open").await {
        return;
    }
    let host = Host::new().await;
    let (run, steps) = host.user_data().await;
    assert_eq!(run.code, 1, "{run}");
    let asked = steps.iter().filter(|(step, _)| step.starts_with("certbot ")).count();
    assert_eq!(asked, 3, "{run}");
    assert!(steps.iter().any(|(step, _)| step.contains("install -y coturn")), "{steps:?}");
    let on: Vec<_> = steps.iter().filter(|(_, relay)| *relay != Relay::Off).collect();
    assert!(on.is_empty(), "{on:?}\n{run}");

    // Repaired, and run again, as the file says.
    host.certify();
    closed_once_it_is_on(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_leaves_the_relay_off() {
    if !inside("an_answer_that_is_none_leaves_the_relay_off").await {
        return;
    }
    let host = Host::new().await;
    host.certify();
    for (secret, address, said) in [
        ("", Some(PUBLIC), "the secret of coturn is empty"),
        ("two\nallow-loopback-peers", Some(PUBLIC), "the secret of coturn is empty, or no plain text"),
        (SECRET, None, ""),
    ] {
        host.share(secret);
        host.move_to(address);
        let (run, steps) = host.user_data().await;
        assert_ne!(run.code, 0, "{secret:?} {address:?}: {run}");
        assert!(run.stderr.contains(said), "{run}");
        assert!(steps.iter().all(|(_, relay)| *relay == Relay::Off), "{steps:?}");
    }
    host.share(SECRET);
    host.move_to(Some(PUBLIC));
    closed_once_it_is_on(&host).await;
}

/// Runs UserData, which must succeed and be off until it asks for credentials.
async fn closed_once_it_is_on(host: &Host) {
    let (run, steps) = host.user_data().await;
    assert_eq!(run.code, 0, "{run}\n{steps:?}");
    let starts = steps.iter().position(|(step, _)| step == "systemctl restart coturn.service");
    let (before, after) = steps.split_at(starts.expect("a start") + 1);
    assert!(before.iter().all(|(_, relay)| *relay == Relay::Off), "{before:?}");
    assert_eq!(after.iter().map(|(_, relay)| *relay).collect::<Vec<_>>(), [Relay::Closed], "{after:?}");
}

/// The host was stopped and started, and has another address: coturn announces what the repair has written, and it keeps
/// to itself at that address too.
#[tokio::test(flavor = "multi_thread")]
async fn coturn_takes_the_settings_that_were_set_right() {
    if !inside("coturn_takes_the_settings_that_were_set_right").await {
        return;
    }
    const NEW: Ipv4Addr = Ipv4Addr::new(18, 184, 0, 77);
    let host = Host::new().await;
    host.certify();
    closed_once_it_is_on(&host).await;
    let announced = || Client::udp(SERVER, Some(credentials("one"))).announced();
    assert_eq!(announced(), Ok(PUBLIC), "the control: as UserData has set it up");
    host.move_to(Some(NEW));
    let before = settings();
    let (after, said) = host.set_right().await;
    assert_eq!(after, before.replace(&PUBLIC.to_string(), &NEW.to_string()), "{said}");
    assert!(!said.contains(SECRET), "{said}");
    host.restart_with(&after).await;
    assert_eq!(announced(), Ok(NEW));
    let mut client = Client::udp(SERVER, Some(credentials("two")));
    client.allocate(Relayed::Udp, false).unwrap();
    assert_eq!(client.permit(NEW.into()), Err(403), "its own address is denied");
    assert_eq!(client.permit(PUBLIC.into()), Ok(()), "the former one may be another host's by now");
    assert_eq!(relay(), Relay::Closed);
}

/// While the secret changes, coturn takes it and those before and after it, because BBB hosts do not change at once.
#[tokio::test(flavor = "multi_thread")]
async fn all_secrets_of_a_rotation_are_taken() {
    if !inside("all_secrets_of_a_rotation_are_taken").await {
        return;
    }
    let host = Host::new().await;
    host.certify();
    host.share("the-former-secret");
    host.share(SECRET);
    host.prepare("the-next-secret");
    closed_once_it_is_on(&host).await;
    let allocate = |secret: &str| {
        Client::udp(SERVER, Some(credentials_by(secret, "participant")))
            .allocate(Relayed::Udp, false)
            .map(drop)
    };
    for secret in [SECRET, "the-former-secret", "the-next-secret"] {
        assert_eq!(allocate(secret), Ok(()), "{secret}");
    }
    assert_eq!(allocate("the-secret-before"), Err(401));
    assert_eq!(settings().matches("static-auth-secret=").count(), 3);
}

/// An allocation is counted while it lasts, and nothing else is: neither the sockets at which coturn listens, nor those
/// of other programs in the same range of ports.
#[tokio::test(flavor = "multi_thread")]
async fn relays_in_use_are_counted() {
    if !inside("relays_in_use_are_counted").await {
        return;
    }
    let host = Host::new().await;
    host.certify();
    closed_once_it_is_on(&host).await;
    counts(&host, "0 relays").await;

    // As resolvers and time servers have them: bound to no address, connected, or those of another user.
    let anywhere = UdpSocket::bind("0.0.0.0:50000").unwrap();
    let connected = UdpSocket::bind((PRIVATE, 50_001)).unwrap();
    connected.connect((PRIVATE, 9)).unwrap();
    let root = UdpSocket::bind((PRIVATE, 50_002)).unwrap();
    counts(&host, "0 relays").await;

    let mut udp = Client::udp(SERVER, Some(credentials("one")));
    udp.allocate(Relayed::Udp, false).unwrap();
    counts(&host, "1 relay").await;
    let mut tcp = Client::tcp(SERVER, Some(credentials("two")));
    tcp.allocate(Relayed::Udp, false).unwrap();
    counts(&host, "2 relays").await;
    drop((anywhere, connected, root));

    udp.release().unwrap();
    drop(tcp);
    // coturn closes a relay a moment after its allocation has ended.
    while host.relays().await != "ok   relays          0 relays in use" {}
    counts(&host, "0 relays").await;
}

async fn counts(host: &Host, relays: &str) {
    let expected = format!("ok   relays          {relays} in use");
    assert_eq!(host.relays().await, expected);
    assert_eq!(host.relays_seen_by_the_unit().await, expected, "as the unit sees them");
}

/// Who a participant's relay reaches over UDP; with `bare` settings, which say nothing of that, a client reaches all but
/// those that coturn itself refuses.
const PEERS: [(&str, Reach, Reach, &str); 23] = [
    ("18.184.0.77", Reach::Yes, Reach::Yes, "a host of the fleet, by its public address"),
    (
        "18.184.0.10",
        Reach::No,
        Reach::Permitted,
        "this host, by its public address: coturn goes to the private one",
    ),
    ("10.0.0.10", Reach::No, Reach::Yes, "this host, by its private address"),
    ("10.0.0.99", Reach::No, Reach::Yes, "the VPC"),
    ("169.254.169.254", Reach::No, Reach::Yes, "the metadata service"),
    ("169.254.169.253", Reach::No, Reach::Permitted, "the VPC's resolver"),
    ("127.0.0.1", Reach::No, Reach::No, "loopback"),
    ("127.99.0.1", Reach::No, Reach::No, "loopback"),
    ("0.0.0.0", Reach::No, Reach::No, "this host, to Linux"),
    ("172.16.0.1", Reach::No, Reach::Permitted, "private"),
    ("172.31.255.255", Reach::No, Reach::Permitted, "private"),
    ("192.168.0.1", Reach::No, Reach::Permitted, "private"),
    ("100.64.0.1", Reach::No, Reach::Permitted, "shared"),
    ("192.0.0.170", Reach::No, Reach::Permitted, "protocol assignments"),
    ("192.0.2.1", Reach::No, Reach::Permitted, "documentation"),
    ("198.51.100.1", Reach::No, Reach::Permitted, "documentation"),
    ("203.0.113.1", Reach::No, Reach::Permitted, "documentation"),
    ("192.88.99.1", Reach::No, Reach::Permitted, "6to4 relays"),
    ("198.18.0.1", Reach::No, Reach::Permitted, "benchmarks"),
    ("224.0.0.1", Reach::No, Reach::Permitted, "multicast"),
    ("239.255.255.255", Reach::No, Reach::Permitted, "multicast"),
    ("240.0.0.1", Reach::No, Reach::Permitted, "reserved"),
    ("255.255.255.255", Reach::No, Reach::Permitted, "broadcast"),
];

/// The same from an IPv6 relay, which an operator adds.
const PEERS_OF_IPV6: [(&str, Reach, Reach, &str); 22] = [
    ("2a05:d014::77", Reach::Yes, Reach::Yes, "a host of the fleet"),
    ("fd00:ec2::254", Reach::No, Reach::Yes, "the metadata service"),
    ("fd00:1::99", Reach::No, Reach::Yes, "unique local"),
    ("fc00::1", Reach::No, Reach::Permitted, "unique local"),
    ("::1", Reach::No, Reach::No, "loopback"),
    ("::", Reach::No, Reach::No, "unspecified"),
    ("::ffff:169.254.169.254", Reach::No, Reach::Permitted, "IPv4-mapped"),
    ("::ffff:10.0.0.99", Reach::No, Reach::Permitted, "IPv4-mapped"),
    ("::169.254.169.254", Reach::No, Reach::Permitted, "IPv4-compatible"),
    ("64:ff9b::a9fe:a9fe", Reach::No, Reach::Permitted, "NAT64"),
    ("64:ff9b:1::a9fe:a9fe", Reach::No, Reach::Permitted, "local NAT64"),
    ("100::1", Reach::No, Reach::Permitted, "discarded"),
    ("2001::1", Reach::No, Reach::Permitted, "Teredo"),
    ("2001:20::1", Reach::No, Reach::Permitted, "ORCHID"),
    ("2001:db8::1", Reach::No, Reach::Permitted, "documentation"),
    ("2002:a9fe:a9fe::1", Reach::No, Reach::Permitted, "6to4 of the metadata service"),
    ("3fff::1", Reach::No, Reach::Permitted, "documentation"),
    ("5f00::1", Reach::No, Reach::Permitted, "segment routing"),
    ("fe80::1", Reach::No, Reach::Permitted, "link-local"),
    ("fec0::1", Reach::No, Reach::Permitted, "site-local"),
    ("ff02::1", Reach::No, Reach::Permitted, "multicast"),
    ("ff0e::1", Reach::No, Reach::Permitted, "multicast"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Datagrams arrive, both ways.
    Yes,
    /// Coturn would send there. Nobody is there in the namespace.
    Permitted,
    /// Coturn refuses (403).
    No,
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reaches_what() {
    if !inside("who_reaches_what").await {
        return;
    }
    let host = Host::new().await;
    host.certify();
    closed_once_it_is_on(&host).await;
    let said = host.check().await;
    assert!(said.starts_with("ok   coturn ") && said.contains("asks for credentials"), "{said}");
    nobody_without_credentials();
    no_relays_of_tcp();
    reaches(&PEERS, false);
    within_quotas();
    files_that_coturn_cannot_change();
    tls_at(443);
    let shipped = settings();

    host.restart_with(&format!("{shipped}listening-ip=2a05:d014::10\nrelay-ip=2a05:d014::10\n")).await;
    reaches(&PEERS, false);
    reaches(&PEERS_OF_IPV6, true);

    // The control: it is these lines that refuse, and the peers are there.
    let guards = ["no-tcp-relay", "no-multicast-peers", "denied-peer-ip="];
    let bare = shipped.lines().filter(|line| !guards.iter().any(|guard| line.starts_with(guard)));
    let bare: String = bare.map(|line| format!("{line}\n")).collect();
    host.restart_with(&format!("{bare}listening-ip=2a05:d014::10\nrelay-ip=2a05:d014::10\n")).await;
    let swapped = |(peer, _, bare, what)| (peer, bare, bare, what);
    reaches(&PEERS.map(swapped), false);
    reaches(&PEERS_OF_IPV6.map(swapped), true);
    let listener = TcpListener::bind((PRIVATE, 8080)).unwrap();
    let mut client = Client::tcp(SERVER, Some(credentials("participant")));
    client.allocate(Relayed::Tcp, false).unwrap();
    client.connect((PUBLIC, 8080).into()).unwrap();
    assert_eq!(listener.accept().unwrap().1.ip(), PRIVATE, "a TCP proxy to this host");
}

fn reaches(peers: &[(&str, Reach, Reach, &str)], ipv6: bool) {
    let mut client = Client::udp(SERVER, Some(credentials("participant")));
    client.allocate(Relayed::Udp, ipv6).unwrap();
    for (peer, reach, _, what) in peers {
        let address: IpAddr = peer.parse().unwrap();
        let permission = client.permit(address);
        let channel = client.bind_channel((address, 9999).into());
        let refused = (Err(403), Err(403));
        match reach {
            Reach::No => assert_eq!((permission, channel), refused, "{peer}: {what}"),
            _ => assert_eq!(permission, Ok(()), "{peer}: {what}"),
        }
        if *reach == Reach::Yes {
            delivers(&mut client, peer);
        }
        // A channel's number is taken once it is bound.
        if *reach != Reach::No {
            client = Client::udp(SERVER, Some(credentials("participant")));
            client.allocate(Relayed::Udp, ipv6).unwrap();
        }
    }
    // What is refused is not relayed either: the datagrams to the peers come in their order.
    let there = |wanted: fn(Reach) -> bool| {
        let found = peers.iter().find(|(_, reach, bare, _)| wanted(*reach) && *bare == Reach::Yes);
        found.map(|(peer, ..)| listens(peer))
    };
    if let (Some(refused), Some(allowed)) =
        (there(|reach| reach == Reach::No), there(|reach| reach == Reach::Yes))
    {
        let (denied, open) = (refused.local_addr().unwrap(), allowed.local_addr().unwrap());
        client.permit(open.ip()).unwrap();
        client.send(denied, b"refused");
        client.send(open, b"allowed");
        allowed.recv(&mut [0; 64]).unwrap();
        refused.set_nonblocking(true).unwrap();
        assert!(refused.recv(&mut [0; 64]).is_err(), "{denied} got a datagram");
    }
}

/// Datagrams go to a peer that listens at this address, and come back.
fn delivers(client: &mut Client, peer: &str) {
    let peer = listens(peer);
    let at = peer.local_addr().unwrap();
    client.permit(at.ip()).unwrap();
    client.send(at, b"there");
    let mut data = [0; 64];
    let (length, relay) = peer.recv_from(&mut data).unwrap_or_else(|error| panic!("{at}: {error}"));
    assert_eq!(&data[..length], b"there");
    peer.send_to(b"back", relay).unwrap();
    assert_eq!(client.receive(), b"back");
}

/// A peer at this address. What does not come at all fails the test.
fn listens(address: &str) -> UdpSocket {
    let peer = UdpSocket::bind((address.parse::<IpAddr>().unwrap(), 0)).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer
}

fn nobody_without_credentials() {
    assert_eq!(relay(), Relay::Closed);
    let past = Credentials::new(SECRET, "participant", 1);
    let wrong = Credentials::new("another-secret", "participant", u64::from(u32::MAX));
    let none = Credentials::new("", "participant", u64::from(u32::MAX));
    for connect in [Client::udp, Client::tcp] {
        assert_eq!(connect(SERVER, None).allocate(Relayed::Udp, false), Err(401));
        for (credentials, what) in
            [(&past, "they have ended"), (&wrong, "another secret"), (&none, "no secret")]
        {
            let mut client = connect(SERVER, Some(credentials.clone()));
            assert_eq!(client.allocate(Relayed::Udp, false), Err(401), "{what}");
        }
        assert!(connect(SERVER, Some(credentials("participant"))).allocate(Relayed::Udp, false).is_ok());
    }
}

/// 442: unsupported transport protocol.
fn no_relays_of_tcp() {
    let mut client = Client::tcp(SERVER, Some(credentials("participant")));
    assert_eq!(client.allocate(Relayed::Tcp, false), Err(442));
    // An allocation of datagrams opens no connection either.
    let mut client = Client::tcp(SERVER, Some(credentials("participant")));
    client.allocate(Relayed::Udp, false).unwrap();
    assert!(client.connect((Ipv4Addr::new(18, 184, 0, 77), 80).into()).is_err());
}

/// One participant cannot take all ports, nor hold them without refreshing.
fn within_quotas() {
    let setting = |name: &str| -> usize {
        let settings = settings();
        let line = settings.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.expect(name).parse().unwrap()
    };
    let quota = setting("user-quota");
    let ports = setting("max-port") - setting("min-port") + 1;
    assert!(quota * 10 < setting("total-quota") && setting("total-quota") < ports / 2);
    let allocate = |user: &str| {
        let mut client = Client::udp(SERVER, Some(credentials(user)));
        client.allocate(Relayed::Udp, false).map(|lifetime| (client, lifetime))
    };
    let held: Vec<_> = (0..quota).map(|_| allocate("greedy").unwrap()).collect();
    assert!(held.iter().all(|(_, lifetime)| *lifetime == 600), "an hour was asked for");
    assert_eq!(allocate("greedy").map(drop), Err(486));
    assert!(allocate("modest").is_ok());
}

/// coturn's user has what it needs to read, and can neither change it nor put another file in its place.
fn files_that_coturn_cannot_change() {
    for (path, expected) in [
        ("/etc/turnserver.conf", "root:turnserver 640"),
        ("/etc/turnserver", "root:turnserver 750"),
        ("/etc/turnserver/fullchain.pem", "root:turnserver 640"),
        ("/etc/turnserver/privkey.pem", "root:turnserver 640"),
        ("/etc/letsencrypt/renewal-hooks/deploy/coturn", "root:root 755"),
    ] {
        assert_eq!(access(path), expected, "{path}");
        let mut writes = Command::new("setpriv");
        writes.args(["--reuid", "turnserver", "--regid", "turnserver", "--init-groups", "test", "-w", path]);
        assert_eq!(writes.status().unwrap().code(), Some(1), "{path}");
    }
    assert!(settings().contains(SECRET));
    for process in std::fs::read_dir("/proc").unwrap() {
        let line = std::fs::read_to_string(process.unwrap().path().join("cmdline")).unwrap_or_default();
        assert!(!line.contains(SECRET), "{line}");
    }
}

fn tls_at(port: u16) {
    let mut client = Command::new("openssl");
    client
        .args(["s_client", "-brief", "-connect", &format!("{PRIVATE}:{port}")])
        .stdin(std::process::Stdio::null());
    let output = client.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
