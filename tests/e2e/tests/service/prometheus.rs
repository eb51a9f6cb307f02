//! What Prometheus reads at a service, with its own tools where they are installed.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use e2e::{Rig, skipped};
use sandbox::bbb::{NewMeeting, Participants};
use sandbox::http::ServiceName::{Bbb, Route53};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Command;

const OFTEN: &str = "metrics.interval=10";
const UNPACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/prometheus/usr/bin");

/// An address at which nothing listens.
fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn setting(address: SocketAddr) -> String {
    format!("metrics.listen={address}")
}

/// A program of Prometheus'; none where `tests/prepare` could not unpack it, which is told.
fn tool(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(UNPACKED).join(name);
    if !path.is_file() {
        skipped(&format!("{name} is not in target/tools: run tests/prepare test"));
        return None;
    }
    Some(path)
}

async fn asked(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> Option<String> {
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}

async fn get(address: SocketAddr, path: &str) -> Option<String> {
    asked(TcpStream::connect(address).await.ok()?, path).await
}

/// Reads again and again until the answer is as expected; between two answers the service goes on.
async fn until(rig: &Rig, address: SocketAddr, path: &str, right: impl Fn(&str) -> bool) -> String {
    loop {
        match get(address, path).await {
            Some(text) if right(&text) => return text,
            _ => rig.ticked(1).await,
        }
    }
}

/// The value of a series; none where it is absent.
fn value(text: &str, series: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(value.parse().unwrap())
}

#[tokio::test]
async fn values_follow_what_happens() {
    let rig = Rig::bbb().await;
    let address = free();
    let mut service = rig.serve(None, &[OFTEN, &setting(address)]);
    service.said("-> serving:", 1).await;
    let (id, parent) = ("a".to_owned(), String::new());
    let participants = Participants { moderators: 2, viewers: 5, listeners: 3, voices: 4, videos: 1 };
    rig.host.bbb.start(NewMeeting { id, breakout: false, parent, participants, ..NewMeeting::default() });
    let text =
        until(&rig, address, "/metrics", |text| value(text, "bbb_agent_participants") == Some(7.0)).await;
    let known = ["registered", "meetings", "voice_participants", "video_streams", "recordings_pending"];
    let values = known.map(|name| value(&text, &format!("bbb_agent_{name}")));
    assert_eq!(values, [Some(1.0), Some(1.0), Some(4.0), Some(1.0), Some(0.0)], "{text}");
    assert!(value(&text, "bbb_agent_jobs_total{job=\"join\",outcome=\"done\"}") >= Some(1.0), "{text}");
    assert_eq!(value(&text, "bbb_agent_log_lines_dropped_total"), Some(0.0));
    for service in ["route53", "autoscaling", "secretsmanager", "scalelite", "bbb", "imds"] {
        let series = format!("bbb_agent_calls_total{{service=\"{service}\",outcome=\"answered\"}}");
        assert!(value(&text, &series) >= Some(1.0), "{series}: {text}");
    }
    let of_route53 = value(&text, "bbb_agent_calls_total{service=\"route53\",outcome=\"answered\"}");
    assert_eq!(of_route53, Some(rig.calls(Route53).len() as f64), "{text}");
    // That is a TURN host's, and nothing was sent to CloudWatch.
    assert!(!text.contains("bbb_agent_relays") && !text.contains("cloudwatch_messages"), "{text}");
    let info = text.lines().find(|line| line.starts_with("bbb_agent_info{")).unwrap();
    for label in ["version=\"", "role=\"bbb\"", "group=\"bbb-fleet\"", "instance_id=\"i-0123456789abcdef0\""]
    {
        assert!(info.contains(label), "{info}");
    }
    let secret = rig.host.bbb.snapshot().secret;
    assert!(!text.contains(secret.expose()), "{text}");
    // BBB dies: what cannot be counted any more is absent, and the host takes no meetings.
    rig.host.close(Bbb).await;
    let text = until(&rig, address, "/metrics", |text| !text.contains("bbb_agent_participants")).await;
    assert_eq!(value(&text, "bbb_agent_meetings"), None, "{text}");
    until(&rig, address, "/metrics", |text| value(text, "bbb_agent_registered") == Some(0.0)).await;
    service.signal("TERM").await;
    service.end().await;
    assert!(TcpStream::connect(address).await.is_err(), "it ends with the service");
}

#[tokio::test]
async fn a_drain_is_counted_with_its_cause_and_its_end() {
    let rig = Rig::bbb().await;
    let address = free();
    let mut service = rig.serve(None, &[OFTEN, &setting(address)]);
    service.said("-> serving:", 1).await;
    rig.meet("a");
    let ordered = rig.begin(&["drain"]);
    let text = until(&rig, address, "/metrics", |text| value(text, "bbb_agent_draining") == Some(1.0)).await;
    assert_eq!(value(&text, "bbb_agent_registered"), Some(0.0), "{text}");
    rig.expect(0, &["register"]).await;
    let series = "bbb_agent_drains_total{cause=\"hand\",end=\"taken_back\"}";
    let text = until(&rig, address, "/metrics", |text| value(text, series) == Some(1.0)).await;
    assert_eq!(value(&text, "bbb_agent_draining"), Some(0.0), "{text}");
    drop(ordered);
}

#[tokio::test]
async fn a_place_that_is_taken_stops_nothing() {
    let rig = Rig::bbb().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut service = rig.serve(None, &[OFTEN, &setting(address)]);
    service.said(&format!("cannot listen at {address} (metrics.listen): "), 1).await;
    service.said("-> serving:", 1).await;
    drop(taken);
    // It tries again by itself.
    until(&rig, address, "/metrics", |text| value(text, "bbb_agent_registered") == Some(1.0)).await;
    service.said("listening for Prometheus works again", 1).await;
}

#[tokio::test]
async fn a_turn_host_at_a_socket_of_its_own() {
    let rig = Rig::turn().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sock");
    let mut service = rig.serve(None, &[OFTEN, &format!("metrics.listen={}", path.display())]);
    service.said("-> serving:", 1).await;
    let stream = UnixStream::connect(&path).await.unwrap();
    let text = asked(stream, "/metrics").await.unwrap();
    assert_eq!(value(&text, "turn_agent_registered"), Some(1.0), "{text}");
    assert!(text.contains("role=\"turn\"") && !text.contains("bbb_agent"), "{text}");
    assert!(!text.contains("turn_agent_meetings"), "{text}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    service.signal("TERM").await;
    service.end().await;
    assert!(!path.exists());
}

/// The linter of Prometheus' own tool, and a Prometheus that scrapes the service.
#[tokio::test]
async fn a_real_prometheus_reads_it() {
    let (Some(promtool), Some(prometheus)) = (tool("promtool"), tool("prometheus")) else { return };
    let rig = Rig::bbb().await;
    let (address, own) = (free(), free());
    let mut service = rig.serve(None, &[OFTEN, &setting(address)]);
    service.said("-> serving:", 1).await;
    let text = until(&rig, address, "/metrics", |text| text.contains("bbb_agent_meetings ")).await;
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let output = check.wait_with_output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}\n{text}", String::from_utf8_lossy(&said));

    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("prometheus.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: bbb-agent\n  static_configs:\n  - targets: \
         ['{address}']\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut server = Command::new(prometheus);
    server.arg(format!("--config.file={}", config.display()));
    server.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
    server.arg(format!("--web.listen-address={own}")).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = server.kill_on_drop(true).spawn().unwrap();
    let query = async |query: &str| {
        let path = format!("/api/v1/query?query={query}");
        until(&rig, own, &path, |text| text.contains("\"metric\"") && text.contains("\"1\"]")).await
    };
    query("up").await;
    query("bbb_agent_registered").await;
    // OpenMetrics was accepted as a whole: what stands last is there, and the info has its labels.
    let info = query("bbb_agent_info").await;
    assert!(info.contains("\"instance_id\":\"i-0123456789abcdef0\""), "{info}");
    query("count(bbb_agent_log_lines_dropped_total)").await;
}
