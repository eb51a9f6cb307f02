//! The filters of DescribeInstances: `Filter.n.Name` and `Filter.n.Value.m`.

use crate::aws::query::Params;
use crate::fleet::{Instance, Refusal};

/// One filter: an instance passes when any of its values matches any of the filter's.
pub(super) struct Filter {
    name: String,
    values: Vec<String>,
}

impl Filter {
    pub(super) fn read(params: &Params) -> Result<Vec<Self>, Refusal> {
        params.indices("Filter").into_iter().map(|index| Self::read_one(params, index)).collect()
    }

    fn read_one(params: &Params, index: u32) -> Result<Self, Refusal> {
        let name = params.required(&format!("Filter.{index}.Name"))?.to_owned();
        let values = params.list(&format!("Filter.{index}.Value"));
        let known = [
            "instance-id",
            "ip-address",
            "private-ip-address",
            "network-interface.addresses.association.public-ip",
            "network-interface.addresses.private-ip-address",
            "network-interface.ipv6-addresses.ipv6-address",
            "instance-state-name",
            "instance-state-code",
            "instance-lifecycle",
            "availability-zone",
            "tag-key",
        ];
        if !known.contains(&name.as_str()) && !name.starts_with("tag:") {
            return Err(Refusal::new("InvalidParameterValue", format!("The filter '{name}' is invalid")));
        }
        if values.is_empty() {
            return Err(Refusal::new("InvalidParameterValue", format!("The filter '{name}' has no values")));
        }
        if values.len() > 200 {
            return Err(Refusal::new("FilterLimitExceeded", "The maximum number of filter values is 200"));
        }
        Ok(Self { name, values })
    }

    pub(super) fn passes(&self, instance: &Instance) -> bool {
        let has = self.of(instance);
        self.values.iter().any(|pattern| has.iter().any(|value| matches(pattern, value)))
    }

    /// Returns the instance's values to which this filter applies.
    fn of(&self, instance: &Instance) -> Vec<String> {
        let facts = &instance.facts;
        match self.name.as_str() {
            "instance-id" => vec![facts.instance_id.clone()],
            "ip-address" | "network-interface.addresses.association.public-ip" => text(facts.public_ipv4),
            "private-ip-address" | "network-interface.addresses.private-ip-address" => text(facts.local_ipv4),
            "network-interface.ipv6-addresses.ipv6-address" => text(facts.ipv6),
            "instance-state-name" => vec![instance.state.as_str().to_owned()],
            "instance-state-code" => vec![instance.state.code().to_string()],
            "instance-lifecycle" => {
                facts.life_cycle.iter().filter(|cycle| *cycle != "on-demand").cloned().collect()
            }
            "availability-zone" => vec![facts.availability_zone.clone()],
            "tag-key" => facts.tags.keys().cloned().collect(),
            other => {
                let tag = other.strip_prefix("tag:").and_then(|key| facts.tags.get(key));
                tag.into_iter().cloned().collect()
            }
        }
    }
}

fn text(value: Option<impl ToString>) -> Vec<String> {
    value.into_iter().map(|value| value.to_string()).collect()
}

/// Matches EC2's wildcards: `*` is any text, `?` any character, a backslash makes the next character literal.
fn matches(pattern: &str, value: &str) -> bool {
    let mut pattern_chars = pattern.chars();
    let mut value_chars = value.chars();
    match pattern_chars.next() {
        None => value.is_empty(),
        Some('*') => {
            let rest = pattern_chars.as_str();
            matches(rest, value) || (value_chars.next().is_some() && matches(pattern, value_chars.as_str()))
        }
        Some('?') => value_chars.next().is_some() && matches(pattern_chars.as_str(), value_chars.as_str()),
        Some('\\') => {
            pattern_chars.next() == value_chars.next()
                && matches(pattern_chars.as_str(), value_chars.as_str())
        }
        Some(character) => {
            value_chars.next() == Some(character) && matches(pattern_chars.as_str(), value_chars.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards_match_as_in_ec2() {
        for (pattern, value, expected) in [
            ("bbb", "bbb", true),
            ("bbb", "bbbb", false),
            ("b*", "bbb", true),
            ("*-0", "bbb-0", true),
            ("b?b", "bab", true),
            ("b?b", "bb", false),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, value), expected, "{pattern} against {value}");
        }
    }
}
