//! Services whose TLS is not what it should be: nothing is sent to them.

use e2e::{Rig, Running, at_once};
use sandbox::tls::Authority;
use tokio_rustls::TlsAcceptor;

use crate::server::{Answer, Server, Then};

/// Who is at the address of a service.
#[derive(Clone)]
enum Somebody {
    /// A certificate that an authority has issued which this host does not trust.
    Untrusted,
    /// A trusted certificate for another name.
    OtherName,
    /// One for this name that was trusted once.
    Expired,
    /// Bytes that are no TLS, whatever the client sends.
    Bytes(Vec<u8>, Then),
}

/// A server's hello of TLS 1.2 that never ends: records of one byte each.
const FRAGMENT: &[u8] = b"\x16\x03\x03\x00\x01\x02";

fn somebodies() -> Vec<(Somebody, &'static str)> {
    let bytes = |bytes: &[u8], then| Somebody::Bytes(bytes.to_vec(), then);
    vec![
        (Somebody::Untrusted, "certificate not trusted"),
        (Somebody::OtherName, "certificate not trusted"),
        (Somebody::Expired, "certificate not trusted: certificate expired"),
        (bytes(b"HTTP/1.1 400 Bad Request\r\n\r\nplain HTTP", Then::Close), ""),
        (bytes(b"", Then::Close), ""),
        (bytes(b"\x16\x03\x03\x40\x00\x02", Then::Close), ""),
        (bytes(b"\x16", Then::Silence), ""),
        (bytes(b"", Then::Repeat(FRAGMENT.to_vec())), ""),
        (bytes(b"", Then::Repeat(b"\x14\x03\x03\x00\x01\x01".to_vec())), ""),
        (bytes(b"", Then::Repeat(b"\x15\x03\x03\x00\x02\x01\x00".to_vec())), ""),
        (bytes(b"\x15\x03\x03\x00\x02\x02\x28", Then::Close), ""),
        (bytes(b"\x16\x03\x03\xff\xff", Then::Repeat(vec![0; 4096])), ""),
    ]
}

impl Somebody {
    async fn listen(&self, rig: &Rig) -> Server {
        let acceptor = |authority: &Authority, name: &str| -> TlsAcceptor {
            authority.acceptor(&[name.to_owned()]).unwrap()
        };
        match self {
            Self::Untrusted => Server::with_tls(acceptor(&Authority::new().unwrap(), "127.0.0.1")).await,
            Self::OtherName => {
                Server::with_tls(acceptor(rig.cloud.authority().unwrap(), "other.example.org")).await
            }
            Self::Expired => {
                let authority = rig.cloud.authority().unwrap();
                Server::with_tls(authority.expired_acceptor(&["127.0.0.1".to_owned()]).unwrap()).await
            }
            Self::Bytes(bytes, then) => Server::blurting(Answer::raw(bytes.clone(), then.clone())).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_for_somebody_else_at_the_services_address() {
    let rows = ["scalelite", "aws"].into_iter().flat_map(|service| {
        somebodies().into_iter().map(move |(somebody, words)| (service, somebody, words))
    });
    at_once(rows, async |(service, somebody, words)| {
        let rig = Rig::bbb().await;
        let server = somebody.listen(&rig).await;
        let before = rig.state();
        let url = format!("https://{}", server.address);
        let mut command = rig.command(&["register", "--set", "timeouts.register=10", "--log-level", "debug"]);
        match service {
            "aws" => command.args(["--only", "dns"]).env("AWS_ENDPOINT_URL", url),
            _ => command.args(["--only", "scalelite", "--set", &format!("scalelite.url={url}")]),
        };
        let run = Running::start(command).end().await;
        assert!(run.code > 0, "{service}:\n{run}");
        run.says(&[words, "bbb-agent: "]);
        assert!(!run.stderr.contains("panicked") && run.stderr.len() < 20_000, "{run}");
        assert!(!run.stderr.contains("sandbox-loadbalancer-secret"), "{run}");
        assert_eq!(server.heard(), [""; 0], "a request was sent:\n{run}");
        assert_eq!(rig.state(), before, "{run}");
    })
    .await;
}
