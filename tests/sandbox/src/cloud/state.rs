//! The state of the whole cloud, as JSON.

use serde_json::{Value, json};

use super::{Cloud, Host};

impl Cloud {
    /// Returns the state of every part, for an operator or a test in another process. The secrets of Secrets Manager
    /// are left out; those of Scalelite and BBB are included, as operators can read them in reality.
    pub fn state(&self) -> Value {
        let hosts: Vec<Value> = self.hosts().iter().map(|host| self.host_state(host)).collect();
        json!({
            "time": crate::clock::iso8601(self.clock.seconds()),
            "endpoints": self.endpoints(),
            "hosts": hosts,
            "instances": self.fleet.instances(),
            "groups": self.fleet.groups(),
            "zone": { "id": self.zone_id, "name": self.zone_name },
            "records": self.route53.records(&self.zone_id),
            "changes": self.route53.changes(),
            "scalelite": self.scalelite.snapshot(),
            "metrics": self.cloudwatch.data().len(),
            "secrets": self.secrets.summaries(),
            "objects": self.s3.objects(),
            "denied": self.aws.denied(),
            "faults": self.faults.planned(),
        })
    }

    fn endpoints(&self) -> Value {
        let environment: serde_json::Map<String, Value> =
            self.environment().into_iter().map(|(name, value)| (name, Value::String(value))).collect();
        json!({
            "aws": self.aws_url(),
            "imds": format!("http://{}", self.imds_address()),
            "scalelite": self.scalelite_url(),
            "bbb": self.bbb_url(),
            "name_servers": self.dns.addresses(),
            "resolver": self.resolver.address(),
            "environment": environment,
        })
    }

    fn host_state(&self, host: &Host) -> Value {
        json!({
            "instance": host.id(),
            "group": self.fleet.membership(host.id()).map(|(group, _)| group),
            "imds": format!("http://{}", host.imds_address()),
            "imds_disabled": host.imds.is_disabled(),
            "bbb": host.bbb.snapshot(),
            "bbb_url": host.bbb_url,
            "recordings": host.recordings.stages(),
            "root": host.root,
        })
    }
}
