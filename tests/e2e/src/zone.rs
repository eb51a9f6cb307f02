//! What is in the hosts' zone, and what others put there.

use sandbox::route53::{Action, RecordSet, RecordType, Routing};

use crate::Rig;

impl Rig {
    /// The host's full name, without a final dot.
    pub fn fqdn(&self) -> String {
        format!("{}{}.{}", self.prefix, self.host.id().trim_start_matches("i-"), self.cloud.zone_name)
    }

    /// The name of the ownership TXT.
    pub fn ownership(&self) -> String {
        format!("_agent.{}", self.fqdn())
    }

    /// All record sets of hosts as `TYPE name ttl values`, without the zone's own and without the time in ownership
    /// TXTs.
    pub fn records(&self) -> Vec<String> {
        let sets = self.cloud.route53.records(&self.cloud.zone_id).expect("the zone");
        let hosts = sets.iter().filter(|set| !matches!(set.record_type, RecordType::Ns | RecordType::Soa));
        hosts.map(line).collect()
    }

    /// The record sets that this host has when it is registered with these addresses, in the order of
    /// [`Rig::records`].
    pub fn registered(&self, ipv4: Option<&str>, ipv6: Option<&str>) -> Vec<String> {
        let role = if self.prefix == "tu-" { "turn" } else { "bbb" };
        let address = |kind: &str, value: &str| format!("{kind} {}. 60 {value}", self.fqdn());
        let owner = format!("TXT {}. 60 {}", self.ownership(), label(role, self.host.id(), ""));
        let addresses = ipv4.map(|value| address("A", value)).into_iter();
        addresses.chain(ipv6.map(|value| address("AAAA", value))).chain([owner]).collect()
    }

    /// [`Rig::registered`] with the addresses that IMDS reports now.
    pub fn registered_now(&self) -> Vec<String> {
        let facts = self.host.imds.facts().expect("an instance");
        let (ipv4, ipv6) = (facts.public_ipv4.map(|ip| ip.to_string()), facts.ipv6.map(|ip| ip.to_string()));
        self.registered(ipv4.as_deref(), ipv6.as_deref())
    }

    /// Puts a record set into the zone, as somebody else does.
    pub fn put(&self, kind: RecordType, name: &str, values: &[&str]) {
        let set = RecordSet::simple(name, kind, 60, values);
        self.cloud.route53.put(&self.cloud.zone_id, set).expect("a valid record set");
    }

    /// Puts a multivalue answer of this identifier into the zone, as somebody else does.
    pub fn put_share(&self, kind: RecordType, name: &str, identifier: &str, value: &str) {
        let mut set = RecordSet::simple(name, kind, 60, &[value]);
        (set.set_identifier, set.routing) = (Some(identifier.to_owned()), Some(Routing::MultiValue));
        self.cloud.route53.put(&self.cloud.zone_id, set).expect("a valid record set");
    }

    /// [`Rig::registered_now`] of a host that has a share in this name, with this health check.
    pub fn shares_now(&self, shared: &str, check: Option<&str>) -> Vec<String> {
        let own = self.registered_now();
        let (in_label, mark) = match check {
            Some(check) => (format!(",share={shared},check={check},since="), format!(" {check}")),
            None => (format!(",share={shared},since="), String::new()),
        };
        let at = format!("{}.", self.fqdn());
        let share = own.iter().filter(|line| !line.starts_with("TXT"));
        let share = share
            .map(|line| format!("{} {}{mark}", line.replace(&at, &format!("{shared}.")), self.host.id()));
        let share: Vec<String> = share.collect();
        own.iter().map(|line| line.replace(",since=", &in_label)).chain(share).collect()
    }

    /// Gives the host's name to another instance, as that instance's agent does.
    pub fn give_away(&self, instance: &str, address: &str) {
        self.put(RecordType::A, &self.fqdn(), &[address]);
        self.put(RecordType::Txt, &self.ownership(), &[&label("bbb", instance, "1767225600")]);
    }

    /// The accepted batches as `CREATE A`, `DELETE TXT` and so on, each in its order.
    pub fn batches(&self) -> Vec<Vec<String>> {
        let changes = self.cloud.route53.changes();
        changes.iter().map(|batch| batch.changes.iter().map(change).collect()).collect()
    }
}

fn change(change: &sandbox::route53::Change) -> String {
    let action = match change.action {
        Action::Create => "CREATE",
        Action::Delete => "DELETE",
        Action::Upsert => "UPSERT",
    };
    let share = if change.set.routing.is_some() { "share " } else { "" };
    format!("{action} {share}{}", change.set.record_type.as_str())
}

fn line(set: &RecordSet) -> String {
    let values = set.values.iter().map(|value| match value.split_once(",since=") {
        Some((before, _)) => format!("{before},since=\""),
        None => value.clone(),
    });
    let values = values.collect::<Vec<_>>().join(" ");
    let mark = [&set.set_identifier, &set.health_check_id].into_iter().flatten();
    let mark: String = mark.map(|id| format!(" {id}")).collect();
    format!("{} {} {} {values}{mark}", set.record_type.as_str(), set.name, set.ttl.unwrap_or_default())
}

/// The text of an ownership TXT, as the agents write it into Route 53.
pub fn label(role: &str, instance: &str, since: &str) -> String {
    format!(
        "\"heritage=bbb-agents,role={role},instance={instance},region=eu-central-1,account=123456789012,since={since}\""
    )
}
