//! What a service may answer that no service should.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::server::{Answer, Then, Trap};

/// A secret that every hostile answer holds in which there is room for one: it must not be repeated.
pub(crate) const BAIT: &str = "bait-Jq7vTz0mYw";

/// An error in all shapes at once; a terminal would obey what is in it.
const COMMANDS: &str = "{\"error\":\"a\\u001b[2Jb\\u009bc\\rd\",\"message\":\"a\\u001b[2Jb\\u009b\",\"__type\":\"a\\u001b[2Jb\"}";
/// The same of AWS and of BBB. Only the later ones of these characters can be written in XML.
const COMMANDS_IN_XML: &str = "<ErrorResponse><Error><Code>a&#x9b;2Jb</Code><Message>a&#x9b;2Jb&#xd;c</Message></Error></ErrorResponse>";

/// The head of an answer whose body is without end.
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A gigabyte of spaces, compressed.
fn bomb() -> Vec<u8> {
    let pipe = "head -c 16777216 /dev/zero | tr '\\0' ' ' | gzip -9";
    let output = std::process::Command::new("/bin/sh").args(["-c", pipe]).output().unwrap();
    assert!(output.status.success() && output.stdout.len() > 1000, "{output:?}");
    // A file of many members is a file.
    output.stdout.repeat(64)
}

/// The length of a body, in bytes, that is just within what the agents read.
const LARGE: usize = 8_000_000;

/// A JSON list that is as long as it may be.
fn list(item: &str) -> String {
    let items = LARGE / (item.len() + 1);
    format!("[{}{item}]", format!("{item},").repeat(items))
}

/// As many attributes of one element as there may be.
fn attributes() -> String {
    (0..LARGE / 12).map(|number| format!(" a{number}=\"\"")).collect()
}

/// Tests all of them with every answer, many at the same time: most of them wait, but each has a cloud of its own.
pub(crate) async fn against_all<C, F>(clients: &[C], test: impl Fn(C, &'static str, Answer, Arc<Trap>) -> F)
where
    C: Copy,
    F: Future<Output = ()> + Send + 'static,
{
    let trap = Arc::new(Trap::set());
    let limit = Arc::new(Semaphore::new(24));
    let mut running = JoinSet::new();
    for &client in clients {
        for (what, answer) in answers(trap.address()) {
            let (limit, test) = (Arc::clone(&limit), test(client, what, answer, Arc::clone(&trap)));
            running.spawn(async move {
                let _permit = limit.acquire_owned().await.unwrap();
                test.await;
            });
        }
    }
    let mut failed = Vec::new();
    while let Some(ended) = running.join_next().await {
        failed.extend(ended.err().map(|error| error.to_string()));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Every kind of them by name. A redirect leads to this address.
pub(crate) fn answers(elsewhere: SocketAddr) -> Vec<(&'static str, Answer)> {
    let redirect =
        |status: &str| Answer::with(status, &format!("Location: http://{elsewhere}/{BAIT}\r\n"), "moved");
    let utf16: Vec<u8> =
        format!("\u{feff}{{\"secret\":\"{BAIT}\"}}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let deep = |open: &str| open.repeat(60_000 / open.len());
    let json = "Content-Type: application/json\r\n";
    let xml = "Content-Type: text/xml\r\n";
    vec![
        (
            "chunks without end",
            Answer::raw(CHUNKED, Then::Repeat(format!("400\r\n{}\r\n", " ".repeat(0x400)).into())),
        ),
        (
            "one chunk of 2^60 bytes",
            Answer::raw(format!("{CHUNKED}1000000000000000\r\n"), Then::Repeat(vec![b' '; 0x10000])),
        ),
        (
            "chunk extensions without end",
            Answer::raw(format!("{CHUNKED}1;"), Then::Repeat(vec![b'x'; 0x1000])),
        ),
        (
            "trailers without end",
            Answer::raw(format!("{CHUNKED}0\r\n"), Then::Repeat(b"X-Trailer: x\r\n".repeat(100))),
        ),
        (
            "a terabyte is announced",
            Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n", Then::Silence),
        ),
        (
            "a terabyte is sent",
            Answer::raw(
                "HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n",
                Then::Repeat(vec![b' '; 0x10000]),
            ),
        ),
        (
            "more bytes than 64 bits count",
            Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", Then::Silence),
        ),
        (
            "two lengths",
            Answer::raw(
                format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 40\r\n\r\n{BAIT}"),
                Then::Close,
            ),
        ),
        (
            "headers without end",
            Answer::raw("HTTP/1.1 200 OK\r\n", Then::Repeat(b"X-Header: x\r\n".repeat(100))),
        ),
        (
            "one header without end",
            Answer::raw("HTTP/1.1 200 OK\r\nX-Header: ", Then::Repeat(vec![b'x'; 0x1000])),
        ),
        (
            "interim answers without end",
            Answer::raw("", Then::Repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20))),
        ),
        ("one byte", Answer::raw("H", Then::Silence)),
        ("one byte of a body", Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Then::Silence)),
        (
            "a byte of the head each second",
            Answer::raw("HTTP/1.1 200 OK\r\n", Then::Drip(b"X-A: x\r\n".to_vec())),
        ),
        (
            "a byte of a body each second",
            Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[", Then::Drip(b"1,".to_vec())),
        ),
        ("nothing, and the connection is cut", Answer::raw("", Then::Close)),
        (
            "the body is cut",
            Answer::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{BAIT}"), Then::Close),
        ),
        ("the chunks are cut", Answer::raw(format!("{CHUNKED}400\r\n{BAIT}"), Then::Close)),
        (
            "something else than HTTP",
            Answer::raw(format!("220 smtp.example.org ESMTP {BAIT}\r\n"), Then::Close),
        ),
        ("redirect 302", redirect("302 Found")),
        ("redirect 307", redirect("307 Temporary Redirect")),
        ("redirect 308", redirect("308 Permanent Redirect")),
        ("gzip bomb", Answer::ok("Content-Encoding: gzip\r\n", bomb())),
        (
            "invalid UTF-8",
            Answer::ok(json, [b"{\"a\":\"\xff\xfe\xc0\x80".as_slice(), BAIT.as_bytes()].concat()),
        ),
        ("UTF-16", Answer::ok("Content-Type: application/json; charset=utf-16\r\n", utf16)),
        ("NUL bytes", Answer::ok(json, vec![0; 1000])),
        ("JSON arrays too deep", Answer::ok(json, deep("["))),
        ("JSON objects too deep", Answer::ok(json, deep("{\"a\":"))),
        ("JSON of another kind", Answer::ok(json, format!("{{\"a\":[{{\"secret\":\"{BAIT}\"}}]}}"))),
        ("a huge number", Answer::ok(json, format!("[{{\"id\":{}}}]", "9".repeat(60_000)))),
        ("XML too deep", Answer::ok(xml, deep("<a>"))),
        ("an empty body", Answer::ok(json, "")),
        (
            "a list of instances that always goes on",
            Answer::ok(
                xml,
                "<DescribeInstancesResponse><nextToken>again</nextToken></DescribeInstancesResponse>",
            ),
        ),
        ("204", Answer::with("204 No Content", "", "")),
        (
            "HTML",
            Answer::ok(
                "Content-Type: text/html\r\n",
                format!("<!DOCTYPE html><html><body>Please log in {BAIT}</body></html>"),
            ),
        ),
        ("a list of nothings", Answer::ok(json, list("0"))),
        ("a list of empty objects", Answer::ok(json, list("{}"))),
        ("a list of empty lists", Answer::ok(json, list("[]"))),
        ("one very long string", Answer::ok(json, format!("{{\"id\":\"{}\"}}", "\\u0041".repeat(LARGE / 6)))),
        (
            "elements without number",
            Answer::ok(xml, format!("<response>{}</response>", "<b/>".repeat(LARGE / 4))),
        ),
        ("attributes without number", Answer::ok(xml, format!("<response{}/>", attributes()))),
        (
            "references without number",
            Answer::ok(xml, format!("<response>{}</response>", "&#65;".repeat(LARGE / 5))),
        ),
        ("an entry of a huge list", Answer::ok(json, format!("{{\"id\":{}}}", list("0")))),
        ("equal signs without number", Answer::ok(xml, "=".repeat(LARGE))),
        ("an error with a terminal's commands", Answer::with("400 Bad Request", json, COMMANDS)),
        ("the same in XML", Answer::with("400 Bad Request", xml, COMMANDS_IN_XML)),
    ]
}
