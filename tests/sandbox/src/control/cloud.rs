//! The calls for the state, requests, faults, gates, the clock, keys, secrets, S3 and metrics.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Outcome, Problem, done};
use crate::faults::Planned;
use crate::http::ServiceName;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Role {
    role: String,
}

/// A role that hosts may assume.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trusted {
    arn: String,
    external_id: Option<String>,
    /// The service that takes only this role's keys.
    reserves: Option<ServiceName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ahead {
    seconds: i64,
}

pub(super) async fn call(call: &Call<'_>) -> Option<Outcome> {
    let cloud = call.cloud;
    let (method, path) = call.parts();
    let outcome = match (method, path.as_slice()) {
        ("GET", ["state"]) => Ok(cloud.state()),
        ("GET", ["requests"]) => Ok(requests(call)),
        ("DELETE", ["requests"]) => {
            cloud.journal.clear();
            done()
        }
        ("GET", ["faults"]) => Ok(json!(cloud.faults.planned())),
        ("POST", ["faults"]) => plan(call),
        ("POST", ["faults", "release"]) => {
            cloud.faults.release(usize::MAX);
            done()
        }
        ("DELETE", ["faults"]) => clear_faults(call),
        ("POST", ["gate", name, action @ ("open" | "close")]) => gate(call, name, action).await,
        ("POST", ["clock", "advance"]) => advance(call),
        ("POST", ["credentials", action @ ("expire" | "rotate" | "attach")]) => credentials(call, action),
        ("PUT", ["assumable"]) => assumable(call),
        ("PUT", ["aws-clock"]) => call.body().and_then(|Ahead { seconds }| {
            cloud.aws.set_clock(seconds);
            done()
        }),
        ("GET", ["denied"]) => Ok(json!(cloud.aws.denied())),
        ("PUT", ["denied", action]) => {
            cloud.aws.deny(action);
            done()
        }
        ("DELETE", ["denied", action]) => {
            cloud.aws.allow(action);
            done()
        }
        ("GET", ["secrets"]) => Ok(json!(cloud.secrets.summaries())),
        // The names of secrets may contain slashes.
        ("PUT", ["secrets", name @ ..]) if !name.is_empty() => {
            call.text().map(|value| json!({ "arn": cloud.secrets.put(&name.join("/"), value) }))
        }
        ("DELETE", ["secrets", name @ ..]) if !name.is_empty() => {
            let name = name.join("/");
            if cloud.secrets.delete(&name) {
                done()
            } else {
                Err(Problem::absent(format!("no secret {name}")))
            }
        }
        ("GET", ["s3"]) => Ok(json!(cloud.s3.objects())),
        ("PUT", ["s3", bucket]) => {
            cloud.s3.create_bucket(bucket);
            done()
        }
        ("PUT", ["s3", bucket, key @ ..]) => {
            cloud.s3.put(bucket, &key.join("/"), call.request.body.clone());
            done()
        }
        ("DELETE", ["s3", bucket, key @ ..]) if !key.is_empty() => {
            let key = key.join("/");
            if cloud.s3.remove(bucket, &key) {
                done()
            } else {
                Err(Problem::absent(format!("no object {key} in {bucket}")))
            }
        }
        ("GET", ["metrics"]) => Ok(json!(cloud.cloudwatch.data())),
        ("DELETE", ["metrics"]) => {
            cloud.cloudwatch.clear();
            done()
        }
        _ => return None,
    };
    Some(outcome)
}

fn requests(call: &Call<'_>) -> Value {
    let journal = &call.cloud.journal;
    let tally: Vec<Value> = journal
        .tally()
        .into_iter()
        .map(|((service, action), count)| json!({ "service": service, "action": action, "count": count }))
        .collect();
    json!({ "tally": tally, "requests": journal.entries() })
}

fn service(name: &str) -> Result<ServiceName, Problem> {
    serde_json::from_value(json!(name)).map_err(|error| Problem::bad(format!("no service {name}: {error}")))
}

fn plan(call: &Call<'_>) -> Outcome {
    let planned: Planned = call.body()?;
    call.cloud.faults.plan(planned.clone());
    Ok(json!(planned))
}

fn clear_faults(call: &Call<'_>) -> Outcome {
    let wanted = call.query("service").map(|name| service(&name)).transpose()?;
    call.cloud.faults.clear(wanted);
    done()
}

async fn gate(call: &Call<'_>, name: &str, action: &str) -> Outcome {
    let service = service(name)?;
    let at = match (service, call.query("host")) {
        (ServiceName::Imds | ServiceName::Bbb, Some(_)) => Some(call.host()?),
        (_, Some(_)) => return Err(Problem::bad("only imds and bbb belong to a host")),
        (_, None) => None,
    };
    match (at, action) {
        (Some(host), "open") => host.open(service).await,
        (Some(host), _) => host.close(service).await,
        (None, "open") => call.cloud.open(service).await,
        (None, _) => call.cloud.close(service).await,
    }
    done()
}

fn advance(call: &Call<'_>) -> Outcome {
    let Advance { seconds } = call.body()?;
    call.cloud.clock.advance(Duration::from_secs(seconds));
    Ok(json!({ "time": crate::clock::iso8601(call.cloud.clock.seconds()) }))
}

fn credentials(call: &Call<'_>, action: &str) -> Outcome {
    let Role { role } = call.body()?;
    match action {
        "expire" => call.cloud.vault.expire(&role),
        "attach" => drop(call.cloud.vault.attach(&role, 0)),
        _ => drop(call.cloud.vault.rotate(&role)),
    }
    done()
}

fn assumable(call: &Call<'_>) -> Outcome {
    let Trusted { arn, external_id, reserves } = call.body()?;
    call.cloud.sts.trust(&arn, external_id.as_deref());
    if let Some(service) = reserves {
        call.cloud.aws.reserve(service, Some(&arn));
    }
    done()
}
