//! A whole zone, page by page.

use aws_sdk_route53::types as r53;
use plan::dns::{Observed, Source, address_type};
use plan::instance::InstanceId;
use plan::record::Name;
use plan::share::Shares;
use plan::sweep::Zone;

use super::{Error, HostedZone, read_share, routing, share, sort_in};

/// The most record sets in a page (ListResourceRecordSets).
const PAGE: i32 = 300;

/// The position at which a listing continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    name: String,
    kind: Option<r53::RrType>,
    identifier: Option<String>,
}

/// One page of a zone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Page {
    sets: Vec<r53::ResourceRecordSet>,
    next: Option<Cursor>,
}

impl Cursor {
    /// Returns the position of the first record set at or below the domain: Route 53 lists by labels from the right.
    pub fn start(domain: &Name) -> Self {
        Self { name: domain.to_string(), kind: None, identifier: None }
    }

    /// Returns the name at which the listing continues.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl HostedZone {
    /// Reads a page of the record sets at and below the domain (ListResourceRecordSets).
    pub(super) async fn listed(&self, domain: &Name, from: Cursor) -> Result<Page, Error> {
        self.count();
        let request = self.client.list_resource_record_sets().hosted_zone_id(&self.id).max_items(PAGE);
        let request = request.start_record_name(from.name).set_start_record_type(from.kind);
        let page = request.set_start_record_identifier(from.identifier).send().await;
        let page = page.map_err(|error| self.failed("ListResourceRecordSets", &error))?;
        let next = page.next_record_name.filter(|_| page.is_truncated);
        let next = next.filter(|name| Name::remote(name).is_within(domain)).map(|name| Cursor {
            name,
            kind: page.next_record_type,
            identifier: page.next_record_identifier,
        });
        let mut sets = page.resource_record_sets;
        sets.retain(|set| Name::remote(&set.name).is_within(domain));
        Ok(Page { sets, next })
    }
}

impl Page {
    /// Puts the share of an instance in a shared name in its place, and notes what leaves no room for shares. Returns
    /// where the next page begins, if it has more of this name.
    pub(super) fn read_shares(
        self,
        shared: &Name,
        instance: &InstanceId,
        shares: &mut Shares,
    ) -> Option<Cursor> {
        for set in self.sets.iter().filter(|set| Name::remote(&set.name) == *shared) {
            match (address_type(set.r#type.as_str()), share(set)) {
                (Some(kind), Some(share)) if share.instance == *instance => {
                    shares.own.push(read_share(shared.clone(), kind, set, share));
                }
                (Some(_), _) if set.multi_value_answer == Some(true) => {}
                (Some(_), _) => {
                    let routing = match (&set.alias_target, &set.set_identifier) {
                        (None, None) => "a simple",
                        _ => routing(set),
                    };
                    shares.alien = Some(format!("{routing} {} record set", set.r#type));
                }
                (None, _) if set.r#type == r53::RrType::Cname => shares.alien = Some("a CNAME".to_owned()),
                // A text and other types may stand beside shares.
                (None, _) => {}
            }
        }
        self.next.filter(|next| Name::remote(&next.name) == *shared)
    }

    /// Puts the record sets of this page in their places; those of one host may be spread over two pages. Returns
    /// where the next page begins, or `None` after the last page with anything below the domain.
    pub(super) fn read_into(self, zone: &mut Zone) -> Option<Cursor> {
        for set in &self.sets {
            let at = Name::remote(&set.name);
            let host = at.owned().filter(|_| set.r#type == r53::RrType::Txt).unwrap_or(at);
            let nothing = Observed::nothing(Source::Api);
            let mut observed = zone.remove(&host).unwrap_or_else(|| nothing.clone());
            sort_in(&mut observed, &host, &host.ownership(), set);
            if observed != nothing {
                zone.insert(host, observed);
            }
        }
        self.next
    }
}
