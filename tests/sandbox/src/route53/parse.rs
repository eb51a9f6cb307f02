//! Reading of requests. Anything that the schema does not have is refused.

use roxmltree::{Document, Node};

use super::batch::{Action, Change};
use super::record::{Alias, RecordSet, RecordType, Routing};
use super::xml::{NAMESPACE, Refusal};

/// A `ChangeResourceRecordSets` request, not yet checked against the zone.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) comment: Option<String>,
    pub(crate) changes: Vec<Change>,
}

/// Reads a `ChangeResourceRecordSetsRequest`.
///
/// # Errors
/// Fails with `MalformedInput` for another document, with `InvalidInput` for one that breaks the schema.
pub(crate) fn change_batch(body: &[u8]) -> Result<Batch, Refusal> {
    let malformed = || {
        Refusal::new(
            400,
            "MalformedInput",
            "ChangeBatch is not valid, expected ChangeResourceRecordSetsRequest",
        )
    };
    let text = std::str::from_utf8(body).map_err(|_| malformed())?;
    let document = Document::parse(text).map_err(|_| malformed())?;
    let root = document.root_element();
    if root.tag_name().name() != "ChangeResourceRecordSetsRequest"
        || root.tag_name().namespace() != Some(NAMESPACE)
    {
        return Err(malformed());
    }
    let [batch] = children(root, ["ChangeBatch"])?;
    let [comment, changes] = children(required(batch, "ChangeBatch")?, ["Comment", "Changes"])?;
    let changes = elements(required(changes, "Changes")?, "Change")?
        .into_iter()
        .map(change)
        .collect::<Result<Vec<_>, _>>()?;
    if changes.is_empty() {
        return Err(invalid(
            "1 validation error detected: Value '[]' at 'changeBatch.changes' failed to satisfy \
                            constraint: Member must have length greater than or equal to 1",
        ));
    }
    Ok(Batch { comment: comment.map(text_of), changes })
}

fn change(node: Node<'_, '_>) -> Result<Change, Refusal> {
    let [action, set] = children(node, ["Action", "ResourceRecordSet"])?;
    let action = text_of(required(action, "Action")?);
    let action = Action::parse(&action).ok_or_else(|| {
        invalid(&format!(
            "Invalid XML ; cvc-enumeration-valid: Value '{action}' is not facet-valid with respect to enumeration \
             '[CREATE, DELETE, UPSERT]'. It must be a value from the enumeration."
        ))
    })?;
    let set = record_set(required(set, "ResourceRecordSet")?, action)?;
    Ok(Change { action, set })
}

fn record_set(node: Node<'_, '_>, action: Action) -> Result<RecordSet, Refusal> {
    let [
        name,
        record_type,
        identifier,
        weight,
        region,
        failover,
        multivalue,
        ttl,
        records,
        alias,
        health_check,
    ] = children(
        node,
        [
            "Name",
            "Type",
            "SetIdentifier",
            "Weight",
            "Region",
            "Failover",
            "MultiValueAnswer",
            "TTL",
            "ResourceRecords",
            "AliasTarget",
            "HealthCheckId",
        ],
    )?;
    let name = text_of(required(name, "Name")?);
    let type_text = text_of(required(record_type, "Type")?);
    let record_type = RecordType::parse(&type_text)
        .ok_or_else(|| invalid(&format!("Invalid XML ; record type '{type_text}' is not known here")))?;
    let identifier = identifier.map(text_of);
    let context = format!(
        "in Change with [Action={}, Name={name}, Type={type_text}, SetIdentifier={}]",
        action.as_str(),
        identifier.as_deref().unwrap_or("null")
    );
    let routing = routing(weight, region, failover, multivalue, &context)?;
    check_identifier(identifier.as_deref(), routing.as_ref(), &context)?;
    let ttl = ttl.map(|node| number(node, "TTL", 2_147_483_647)).transpose()?;
    let values = match records {
        None => Vec::new(),
        Some(records) => elements(records, "ResourceRecord")?
            .into_iter()
            .map(|record| {
                let [value] = children(record, ["Value"])?;
                Ok(text_of(required(value, "Value")?))
            })
            .collect::<Result<_, Refusal>>()?,
    };
    let alias = alias.map(alias_target).transpose()?;
    let exactly_one = match (&alias, ttl, values.is_empty()) {
        (Some(_), None, true) | (None, Some(_), false) => None,
        (None, ..) => Some("none"),
        (Some(_), ..) => Some("more than one"),
    };
    if let Some(found) = exactly_one {
        return Err(invalid(&format!(
            "Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or \
             TrafficPolicyInstanceId], but found {found} {context}"
        )));
    }
    let health_check_id = health_check.map(text_of);
    Ok(RecordSet {
        name,
        record_type,
        set_identifier: identifier,
        routing,
        ttl,
        values,
        alias,
        health_check_id,
    })
}

const POLICIES: &str =
    "[Weight, Region, Failover, GeoLocation, MultiValueAnswer, GeoProximity, or CidrRoutingConfig]";

fn routing(
    weight: Option<Node<'_, '_>>,
    region: Option<Node<'_, '_>>,
    failover: Option<Node<'_, '_>>,
    multivalue: Option<Node<'_, '_>>,
    context: &str,
) -> Result<Option<Routing>, Refusal> {
    let mut found = Vec::new();
    if let Some(node) = weight {
        let weight =
            u8::try_from(number(node, "Weight", 255)?).map_err(|_| invalid("Invalid XML ; Weight"))?;
        found.push(Routing::Weight(weight));
    }
    if let Some(node) = region {
        found.push(Routing::Region(text_of(node)));
    }
    if let Some(node) = failover {
        match text_of(node).as_str() {
            role @ ("PRIMARY" | "SECONDARY") => found.push(Routing::Failover(role.to_owned())),
            role => {
                return Err(invalid(&format!("Invalid XML ; Failover '{role}' is not PRIMARY or SECONDARY")));
            }
        }
    }
    if let Some(node) = multivalue {
        match text_of(node).as_str() {
            "true" => found.push(Routing::MultiValue),
            other => {
                return Err(invalid(&format!(
                    "Invalid request: MultiValueAnswer cannot be '{other}' {context}"
                )));
            }
        }
    }
    if found.len() > 1 {
        let message =
            format!("Invalid request: Expected exactly one of {POLICIES}, but found more than one {context}");
        return Err(invalid(&message));
    }
    Ok(found.pop())
}

fn check_identifier(
    identifier: Option<&str>,
    routing: Option<&Routing>,
    context: &str,
) -> Result<(), Refusal> {
    match (identifier, routing) {
        (None, Some(_)) => Err(invalid(&format!("Invalid request: Missing field 'SetIdentifier' {context}"))),
        (Some(_), None) => Err(invalid(&format!(
            "Invalid request: Expected exactly one of {POLICIES}, but found none {context}"
        ))),
        (Some(identifier), Some(_)) if !(1..=128).contains(&identifier.chars().count()) => {
            Err(invalid(&format!("Invalid XML ; SetIdentifier must have 1 to 128 characters {context}")))
        }
        _ => Ok(()),
    }
}

fn alias_target(node: Node<'_, '_>) -> Result<Alias, Refusal> {
    let [zone, name, health] = children(node, ["HostedZoneId", "DNSName", "EvaluateTargetHealth"])?;
    Ok(Alias {
        hosted_zone_id: text_of(required(zone, "HostedZoneId")?),
        dns_name: text_of(required(name, "DNSName")?),
        evaluate_target_health: text_of(required(health, "EvaluateTargetHealth")?) == "true",
    })
}

fn number(node: Node<'_, '_>, what: &str, maximum: u32) -> Result<u32, Refusal> {
    let text = text_of(node);
    text.parse().ok().filter(|&number| number <= maximum).ok_or_else(|| {
        invalid(&format!(
            "Invalid XML ; cvc-datatype: Value '{text}' of {what} is not in the range 0 to {maximum}"
        ))
    })
}

/// Returns the children with these names, each at most once; any other child is refused.
fn children<'a, 'input, const N: usize>(
    node: Node<'a, 'input>,
    names: [&str; N],
) -> Result<[Option<Node<'a, 'input>>; N], Refusal> {
    let mut found = [None; N];
    for child in node.children().filter(Node::is_element) {
        let name = child.tag_name().name();
        let slot = names.iter().position(|known| *known == name).and_then(|index| found.get_mut(index));
        match slot {
            Some(slot) if slot.is_none() && child.tag_name().namespace() == Some(NAMESPACE) => {
                *slot = Some(child);
            }
            _ => return Err(unexpected(name)),
        }
    }
    Ok(found)
}

/// Returns the children, which must all have one name.
fn elements<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Result<Vec<Node<'a, 'input>>, Refusal> {
    let children: Vec<_> = node.children().filter(Node::is_element).collect();
    match children.iter().find(|child| child.tag_name().name() != name) {
        Some(other) => Err(unexpected(other.tag_name().name())),
        None => Ok(children),
    }
}

fn required<'a, 'input>(node: Option<Node<'a, 'input>>, name: &str) -> Result<Node<'a, 'input>, Refusal> {
    node.ok_or_else(|| {
        invalid(&format!(
            "Invalid XML ; cvc-complex-type.2.4.b: The content is not complete. '{name}' is expected."
        ))
    })
}

fn text_of(node: Node<'_, '_>) -> String {
    node.text().unwrap_or_default().to_owned()
}

fn unexpected(name: &str) -> Refusal {
    invalid(&format!(
        "Invalid XML ; cvc-complex-type.2.4.a: Invalid content was found starting with element '{name}'."
    ))
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(400, "InvalidInput", message)
}
