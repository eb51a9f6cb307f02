//! A small HTTP API to look at the cloud and to steer it, for operators with curl and for tests in other processes. It
//! is plain HTTP with JSON in both directions; a call that cannot be carried out gets a 4xx with `{"error": "..."}`.
//! `GET /` lists all calls with an example each.
//!
//! | call | what it does |
//! |---|---|
//! | `GET /state` | everything at once |
//! | `GET`, `DELETE /requests` | the requests so far, with a tally; forget them |
//! | `GET`, `POST`, `DELETE /faults[?service=S]` | planned [faults](crate::faults::Planned) |
//! | `POST /faults/release` | lets held replies go |
//! | `POST /gate/S/close`, `/open` | refuse connections to a service (all AWS services share a listener) |
//! | `POST /clock/advance` `{"seconds": n}` | lets time pass for lifecycle hooks and IMDS tokens |
//! | `GET`, `PATCH /imds[?host=I]` | [facts](crate::fleet::InstanceFacts) of the instance; null removes one |
//! | `POST /imds/{expire-tokens,disable,enable}[?host=I]` | IMDS itself |
//! | `POST`, `DELETE /spot[?host=I]` `{"action": "terminate", "seconds": 120}` | spot interruption notice |
//! | `POST`, `DELETE /rebalance[?host=I]` | rebalance recommendation |
//! | `POST /hosts` `{"number": n}` | adds a host, with `{"number": n, "installed": false, "group": null}` as wanted |
//! | `GET /instances[/I]` | instances |
//! | `POST /instances/I/{hide,reveal,terminate,shut-down,finish}` | EC2's view; ending, step by step |
//! | `PUT /instances/I/lifecycle` `{"state": "Standby"}` | any lifecycle state |
//! | `GET /groups`, `POST /groups[/G]/scale-in` | groups; scale-in by one |
//! | `PUT`, `DELETE /groups/G/hooks/H` | a lifecycle [hook](crate::fleet::Hook) |
//! | `POST /credentials/{expire,rotate,attach}` `{"role": "..."}` | a role's keys; attach: as of a moment ago |
//! | `PUT /assumable` `{"arn": "...", "external_id": "...", "reserves": "route53"}` | a role for STS |
//! | `PUT /aws-clock` `{"seconds": 2820}` | how far AWS's clock is ahead of this machine's |
//! | `GET`, `PUT`, `DELETE /denied/ACTION` | IAM: e.g. `route53:ChangeResourceRecordSets` |
//! | `GET /secrets`, `PUT`, `DELETE /secrets/ID` | Secrets Manager; the body of PUT is the value |
//! | `GET /s3`, `PUT /s3/BUCKET`, `PUT`, `DELETE /s3/BUCKET/KEY` | S3; the body of PUT is the object |
//! | `GET`, `DELETE /metrics` | CloudWatch |
//! | `GET`, `PUT`, `DELETE /records[?zone=Z]` | [record sets](crate::route53::RecordSet), as an outsider |
//! | `GET /changes` | accepted change batches |
//! | `PUT /throttle` | Route 53's [buckets](crate::route53::Throttle), or null |
//! | `POST /processing/{hold,finish}` | Route 53 answers PriorRequestNotComplete meanwhile |
//! | `GET`, `DELETE /dns` | questions to the name servers |
//! | `PUT /dns/N/propagation` | `"immediate"`, `"held"` or `{"after": {"secs": 5, "nanos": 0}}` |
//! | `PUT /dns/N/behaviour` | `"answer"`, `"silent"`, `"refuse"` or `"fail"` |
//! | `POST /dns/N/release`, `POST /dns/flush` | what was held arrives; the resolver forgets |
//! | `GET /scalelite`, `POST /scalelite/{poll,poll-begin,poll-end,hold,release}` | Scalelite and its poller |
//! | `POST /scalelite/meetings` `{"id": "..."}` | a client creates a meeting through the load balancer |
//! | `POST /scalelite/join` `{"id": "..."}` | a client joins it |
//! | `POST /scalelite/servers` `{"url", "secret", "state"}` | an entry, as an operator adds one |
//! | `DELETE /scalelite/servers/ID`, `PUT /scalelite/servers/ID/state` `"cordoned"` | entries |
//! | `PUT /scalelite/refuse-panics` `3` | the next so many panics answer 400 |
//! | `PUT /scalelite/lose-polls` `3`, `POST /scalelite/lose-data` | so many polls are not saved; the pool is lost |
//! | `GET`, `PATCH /scalelite/settings` `{"ids": "hostname"}` | its [configuration](crate::scalelite::Config) |
//! | `GET`, `DELETE /scalelite/traffic` | calls, servers and bytes [served](crate::scalelite::Served) |
//! | `GET /bbb[?host=I]`, `PUT /bbb/mode` | the BBB host; `"ready"`, `"starting"`, `"not_installed"` |
//! | `POST /bbb/install` `{"secret": "..."}`, `POST /bbb/uninstall` | property files and API come, or go |
//! | `POST`, `DELETE /bbb/meetings[/ID]` | [meetings](crate::bbb::NewMeeting) |
//! | `PUT /bbb/parent-ids` `"external"`, `PUT`, `DELETE /bbb/listing` | how `getMeetings` shows them |
//! | `GET`, `POST /recordings[?host=I]` `{"id": "...", "stage": "recorded"}` | recordings come to a [stage](crate::recordings::Stage) |
//! | `POST /recordings/ID/{advance,fail}` | one stage further; its step fails |
//! | `POST /recordings/sender` `{"name": "..."}` | Scalelite's sender is installed, perhaps under another name |
//! | `POST /recordings/files` `{"id": "...", "files": "raw/R", "age_seconds": 60}` | [files](crate::recordings::Recordings::put) of any age |
//! | `PUT /redis` `{"queues": {"rap:archive": 1}, "manner": "locked"}` | jobs in BBB's queues; how their [Redis](crate::redis::Manner) answers |

mod apps;
mod cloud;
mod fleet;
mod help;
mod names;
mod recordings;
mod scalelite;

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::aws::query::{decode, percent_decode};
use crate::cloud::{Cloud, Host};
use crate::faults::Faults;
use crate::fleet::Refusal;
use crate::http::{Gate, Request, Response, Service, ServiceName, json, reply};
use crate::journal::Journal;

/// The control API of a cloud. It ends when this is dropped.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    // A listener lives as long as its gate.
    _gate: Gate,
}

impl Control {
    /// Serves the API on `address`; port 0 chooses one.
    pub async fn start(cloud: Arc<Cloud>, address: SocketAddr) -> std::io::Result<Self> {
        let api: Arc<dyn Service> = Arc::new(Api { cloud });
        let route = Arc::new(move |_: &Request| Arc::clone(&api));
        // The API has its own journal and faults: steering is not part of the cloud's traffic.
        let (address, gate) =
            Gate::listen(address, true, None, route, Faults::default(), Journal::default()).await?;
        Ok(Self { address, _gate: gate })
    }

    /// Returns the address of the API.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[derive(Debug)]
struct Api {
    cloud: Arc<Cloud>,
}

/// The reason why a call was not carried out.
#[derive(Debug)]
struct Problem {
    status: u16,
    message: String,
}

impl Problem {
    fn bad(message: impl Into<String>) -> Self {
        Self { status: 400, message: message.into() }
    }

    fn absent(message: impl Into<String>) -> Self {
        Self { status: 404, message: message.into() }
    }

    fn conflict(message: impl Into<String>) -> Self {
        Self { status: 409, message: message.into() }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::conflict(refusal.message)
    }
}

type Outcome = Result<Value, Problem>;

/// One call with its parsed parts.
struct Call<'a> {
    cloud: &'a Arc<Cloud>,
    method: &'a str,
    path: Vec<String>,
    request: &'a Request,
}

impl Call<'_> {
    /// Returns the method and the segments of the path, for matching.
    fn parts(&self) -> (&str, Vec<&str>) {
        (self.method, self.path.iter().map(String::as_str).collect())
    }

    /// Returns a value of the query.
    fn query(&self, name: &str) -> Option<String> {
        let mut pairs = self.request.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| decode(value))
    }

    /// Reads the body as JSON; an empty one counts as `{}`.
    fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let bytes: &[u8] = if self.request.body.is_empty() { b"{}" } else { &self.request.body };
        serde_json::from_slice(bytes).map_err(|error| Problem::bad(format!("the body: {error}")))
    }

    fn text(&self) -> Result<&str, Problem> {
        std::str::from_utf8(&self.request.body).map_err(|_| Problem::bad("the body is not UTF-8"))
    }

    /// Returns the host named by `?host=`, or the first one.
    fn host(&self) -> Result<Arc<Host>, Problem> {
        let wanted = self.query("host");
        let found = match &wanted {
            Some(id) => self.cloud.host(id),
            None => self.cloud.hosts().into_iter().next(),
        };
        found.ok_or_else(|| Problem::absent(format!("no host {}", wanted.unwrap_or_default())))
    }

    async fn carry_out(&self) -> Outcome {
        // Each module knows its own calls and leaves the others to the next.
        if let Some(outcome) = cloud::call(self).await {
            return outcome;
        }
        if let Some(outcome) = fleet::call(self).await {
            return outcome;
        }
        if let Some(outcome) = names::call(self) {
            return outcome;
        }
        if let Some(outcome) = recordings::call(self) {
            return outcome;
        }
        if let Some(outcome) = scalelite::call(self) {
            return outcome;
        }
        if let Some(outcome) = apps::call(self).await {
            return outcome;
        }
        let message = format!("no such call: {} {}; GET / lists them", self.method, self.request.path);
        Err(Problem::absent(message))
    }
}

/// Returns the answer to a call that has no result.
fn done() -> Outcome {
    Ok(json!({ "done": true }))
}

impl Service for Api {
    fn name(&self) -> ServiceName {
        // The name appears only in the control API's own journal, which is never read.
        ServiceName::Imds
    }

    fn action(&self, request: &Request) -> String {
        format!("{} {}", request.method, request.path)
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            let path: Vec<String> =
                request.path.split('/').filter(|part| !part.is_empty()).map(percent_decode).collect();
            if request.method == "GET" && path.is_empty() {
                return reply(200, "text/plain; charset=utf-8", help::text(request.header("host")));
            }
            let call = Call { cloud: &self.cloud, method: &request.method, path, request };
            match call.carry_out().await {
                Ok(value) => reply(200, "application/json", format!("{value:#}\n")),
                Err(problem) => json(problem.status, &json!({ "error": problem.message })),
            }
        })
    }

    fn error(&self, status: u16, code: &str) -> Response {
        json(status, &json!({ "error": code }))
    }
}
