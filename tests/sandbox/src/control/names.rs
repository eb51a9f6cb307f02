//! The calls for Route 53 and DNS.

use serde_json::json;

use super::{Call, Outcome, Problem, done};
use crate::dns::{Behaviour, Propagation};
use crate::route53::{RecordSet, RecordType, Throttle};

pub(super) fn call(call: &Call<'_>) -> Option<Outcome> {
    let (route53, dns) = (&call.cloud.route53, &call.cloud.dns);
    let (method, path) = call.parts();
    let zone = call.query("zone").unwrap_or_else(|| call.cloud.zone_id.clone());
    let outcome = match (method, path.as_slice()) {
        ("GET", ["records"]) => {
            let records = route53.records(&zone).map(|records| json!(records));
            records.ok_or_else(|| Problem::absent(format!("no zone {zone}")))
        }
        ("PUT", ["records"]) => put(call, &zone),
        ("DELETE", ["records"]) => remove(call, &zone),
        ("GET", ["changes"]) => Ok(json!(route53.changes())),
        ("PUT", ["throttle"]) => throttle(call),
        ("POST", ["processing", "hold"]) => {
            route53.hold_processing(&zone);
            done()
        }
        ("POST", ["processing", "finish"]) => {
            route53.finish_processing(&zone);
            done()
        }
        ("GET", ["dns"]) => {
            Ok(json!({ "name_servers": dns.queries(), "resolver": call.cloud.resolver.queries() }))
        }
        ("DELETE", ["dns"]) => {
            dns.clear_queries();
            done()
        }
        ("POST", ["dns", "flush"]) => {
            call.cloud.resolver.flush();
            done()
        }
        ("PUT" | "POST", ["dns", server, what]) => return server_call(call, server, what),
        _ => return None,
    };
    Some(outcome)
}

fn server_call(call: &Call<'_>, server: &str, what: &str) -> Option<Outcome> {
    let dns = &call.cloud.dns;
    let index = server.parse::<usize>().ok().filter(|index| *index < dns.addresses().len());
    let Some(index) = index else {
        return Some(Err(Problem::absent(format!("no name server {server}"))));
    };
    let result = match (call.method, what) {
        ("PUT", "propagation") => {
            call.body::<Propagation>().map(|propagation| dns.set_propagation(index, propagation))
        }
        ("PUT", "behaviour") => call.body::<Behaviour>().map(|behaviour| dns.behave(index, behaviour)),
        ("POST", "release") => {
            dns.release(index);
            Ok(())
        }
        _ => return None,
    };
    Some(result.and_then(|()| done()))
}

fn put(call: &Call<'_>, zone: &str) -> Outcome {
    let set: RecordSet = call.body()?;
    call.cloud.route53.put(zone, set).map_err(Problem::conflict)?;
    done()
}

fn remove(call: &Call<'_>, zone: &str) -> Outcome {
    let name = call.query("name").ok_or_else(|| Problem::bad("?name= is missing"))?;
    let kind = call.query("type").ok_or_else(|| Problem::bad("?type= is missing"))?;
    let record_type: RecordType =
        serde_json::from_value(json!(kind)).map_err(|error| Problem::bad(format!("?type=: {error}")))?;
    if call.cloud.route53.remove(zone, &name, record_type, call.query("identifier").as_deref()) {
        return done();
    }
    Err(Problem::absent(format!("{name} {kind} is not there, or may not go")))
}

fn throttle(call: &Call<'_>) -> Outcome {
    let throttle: Option<Throttle> = call.body()?;
    call.cloud.route53.set_throttle(throttle);
    done()
}
