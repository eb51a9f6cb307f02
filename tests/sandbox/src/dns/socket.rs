//! Sockets and messages, the part of hickory-server: the code above it gets a question and gives a reply.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use serde::Serialize;
use tokio::net::{TcpListener, UdpSocket};

use super::lookup::Found;
use crate::http::pause;
use crate::route53::DnsName;

/// The time for which an idle TCP connection stays open.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// The number of answers that one TCP connection can have under way.
const TCP_ANSWERS: usize = 32;
/// The largest UDP answer, even if the client would accept more.
const MAX_UDP: u16 = 4096;
/// The number of tries for a port that is free for both UDP and TCP.
const PORT_TRIES: usize = 64;

/// The transport of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// A client's question.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) name: DnsName,
    pub(crate) record_type: RecordType,
    pub(crate) transport: Transport,
}

/// A reply: the answer, and the rest of its header.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) found: Found,
    pub(crate) recursion_available: bool,
}

/// A function that answers questions; none means silence.
pub(crate) type Respond = Arc<dyn Fn(&Question) -> Option<Reply> + Send + Sync>;

/// One address with its UDP and TCP sockets, which close when it is dropped.
pub(crate) struct Socket {
    pub(crate) address: SocketAddr,
    _server: Server<Handler>,
}

impl Socket {
    /// Binds both sockets on the same port (0 chooses one), and answers questions.
    pub(crate) async fn bind(address: SocketAddr, respond: Respond, delay: Duration) -> io::Result<Self> {
        let (udp, tcp) = bind_both(address).await?;
        let address = udp.local_addr()?;
        let mut server = Server::new(Handler { respond, delay });
        server.register_socket(udp);
        server.register_listener(tcp, TCP_IDLE, TCP_ANSWERS);
        Ok(Self { address, _server: server })
    }
}

async fn bind_both(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = PORT_TRIES;
    loop {
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            // Another program may have the TCP port with UDP's number: then another port is tried.
            Err(error) if address.port() != 0 || tries == 0 => return Err(error),
            Err(_) => tries -= 1,
        }
    }
}

pub(crate) struct Handler {
    respond: Respond,
    delay: Duration,
}

// `RequestHandler` is declared with async_trait; this is the code that the macro would write.
impl RequestHandler for Handler {
    fn handle_request<'life0, 'life1, 'async_trait, R, T>(
        &'life0 self,
        request: &'life1 Request,
        response_handle: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'async_trait>>
    where
        R: ResponseHandler + 'async_trait,
        T: Time + 'async_trait,
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.handle(request, response_handle))
    }
}

impl Handler {
    async fn handle(&self, request: &Request, mut response_handle: impl ResponseHandler) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        let reply = match question(request) {
            Ok(question) => (self.respond)(&question),
            Err(code) => Some(Reply { found: Found::only(code), recursion_available: false }),
        };
        let Some(Reply { found, recursion_available }) = reply else { return nothing_sent(request) };
        metadata.response_code = found.code;
        metadata.authoritative = found.authoritative;
        metadata.recursion_available = recursion_available;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload().clamp(512, MAX_UDP)).set_version(0);
            edns
        });
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let response = builder.build(metadata, &found.answers, &found.authorities, [], []);
        pause(self.delay).await;
        // A client that has gone away is not an error of the server's.
        response_handle.send_response(response).await.unwrap_or_else(|_| nothing_sent(request))
    }
}

fn question(request: &Request) -> Result<Question, ResponseCode> {
    if request.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return Err(ResponseCode::BADVERS);
    }
    let [query] = request.queries.queries() else { return Err(ResponseCode::FormErr) };
    if query.query_class() != DNSClass::IN
        || matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR)
    {
        return Err(ResponseCode::Refused);
    }
    let transport = if request.protocol() == Protocol::Udp { Transport::Udp } else { Transport::Tcp };
    let name = DnsName::from_labels(query.name().iter());
    Ok(Question { name, record_type: query.query_type(), transport })
}

fn nothing_sent(request: &Request) -> ResponseInfo {
    let metadata = Metadata::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
    ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
}
