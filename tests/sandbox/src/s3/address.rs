//! The bucket, the object and the action of a request.

use crate::aws::query::{Params, percent_decode};
use crate::aws::{PARTITIONS, Partition};
use crate::http::Request;

/// The parsed target of a request.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) bucket: String,
    /// The key; empty for the bucket itself.
    pub(super) key: String,
    /// S3's name of the call; `Unknown` for calls that the sandbox does not have.
    pub(super) action: &'static str,
    pub(super) query: Params,
}

/// The parameters of `GetObject` and `PutObject`: only the name of the call, as some SDKs add it. Others name a
/// version, a part, an ACL and so on, and make it another call.
const OF_OBJECTS: [&str; 1] = ["x-id"];
/// The parameters of `ListObjectsV2`.
const OF_LISTS: [&str; 9] = [
    "list-type",
    "prefix",
    "delimiter",
    "max-keys",
    "start-after",
    "continuation-token",
    "encoding-type",
    "fetch-owner",
    "x-id",
];

impl Target {
    pub(super) fn of(request: &Request) -> Self {
        let path = request.path.trim_start_matches('/');
        let (bucket, key) = match bucket_of_host(request.header("host")) {
            Some(bucket) => (bucket, path),
            None => path.split_once('/').map_or((path, ""), |(bucket, key)| (bucket, key)),
        };
        let query = Params::of_query(&request.query);
        let action = action(&request.method, bucket, key, &query);
        Self { bucket: bucket.to_owned(), key: percent_decode(key), action, query }
    }
}

/// Returns the bucket in `BUCKET.s3.REGION.DOMAIN` or `BUCKET.s3.DOMAIN`, with the domain of any partition; no other
/// host names a bucket.
fn bucket_of_host(host: &str) -> Option<&str> {
    let host = host.split_once(':').map_or(host, |(name, _)| name);
    let below = |partition: &Partition| host.strip_suffix(partition.domain)?.strip_suffix('.');
    let name = PARTITIONS.iter().find_map(below)?;
    let (bucket, region) = name.split_once(".s3").filter(|(bucket, _)| !bucket.is_empty())?;
    let valid = region.is_empty() || region.strip_prefix('.').is_some_and(|region| !region.contains('.'));
    valid.then_some(bucket)
}

fn action(method: &str, bucket: &str, key: &str, query: &Params) -> &'static str {
    let only = |allowed: &[&str]| query.names().all(|name| allowed.contains(&name));
    match (method, key) {
        _ if bucket.is_empty() => "Unknown",
        ("GET", "") if query.get("list-type") == Some("2") && only(&OF_LISTS) => "ListObjectsV2",
        ("HEAD", "") if only(&[]) => "HeadBucket",
        (_, "") => "Unknown",
        ("GET", _) if only(&OF_OBJECTS) => "GetObject",
        ("HEAD", _) if only(&OF_OBJECTS) => "HeadObject",
        ("PUT", _) if only(&OF_OBJECTS) => "PutObject",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::bucket_of_host;

    #[test]
    fn a_bucket_may_be_named_by_the_host() {
        for (host, bucket) in [
            ("sources.s3.eu-central-1.amazonaws.com", Some("sources")),
            ("sources.s3.eu-central-1.amazonaws.com:8443", Some("sources")),
            ("sources.s3.amazonaws.com", Some("sources")),
            ("sources.s3.cn-north-1.amazonaws.com.cn", Some("sources")),
            ("s3.eu-central-1.amazonaws.com", None),
            ("s3.amazonaws.com", None),
            ("127.0.0.1:4566", None),
            ("aws.sandbox.test", None),
        ] {
            assert_eq!(bucket_of_host(host), bucket, "{host}");
        }
    }
}
