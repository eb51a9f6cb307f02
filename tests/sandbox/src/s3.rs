//! S3's REST API, as far as releases are published and fetched with it: single objects and listings.
//!
//! | request | answer |
//! |---|---|
//! | `GetObject`, `HeadObject` | the object or its range; 404 `NoSuchKey`; 403 `AccessDenied` without `ListBucket` |
//! | ... with `If-Match` of another object | 412 `PreconditionFailed` |
//! | `PutObject` | puts the object, after its checksums were compared |
//! | ... with `If-None-Match: *`, where the key is taken | 412 `PreconditionFailed` |
//! | ... whose body is not what its checksum or its length says | 400 `BadDigest`, `XAmzContentSHA256Mismatch`, `IncompleteBody` |
//! | `ListObjectsV2`, `HeadBucket` | keys in the order of their bytes, prefixes in common, pages |
//! | no such bucket | 404 `NoSuchBucket` |
//! | `x-amz-expected-bucket-owner` of another account than the bucket's | 403 `AccessDenied` |
//! | ... that is no account's number | 400 `InvalidBucketOwnerAWSAccountID` |
//! | a bucket of another region | 301 `PermanentRedirect`, with that region in `x-amz-bucket-region` |
//! | any other call of S3's | 501 `NotImplemented` |
//!
//! A bucket is named by the path (`s3.REGION.amazonaws.com/BUCKET/KEY`, or any other host) or by the host
//! (`BUCKET.s3.REGION.amazonaws.com/KEY`). For the refusals of the front see [`crate::aws`].
//!
//! Sources: the Amazon S3 API Reference (actions, "Error responses", "Conditional writes") and the user guide's
//! "Checking object integrity" and "Verifying bucket ownership with bucket owner condition".

mod address;
mod answers;
mod body;
mod list;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use hyper::body::Bytes;
use serde::Serialize;

use crate::aws::Denials;
use crate::clock::real_time;
use crate::http::{Request, Response, Service, ServiceName};
use address::Target;
use answers::{Refusal, Refused};

/// One object.
#[derive(Clone, Debug)]
struct Object {
    content: Bytes,
    content_type: String,
    /// The entity tag with its quotes. S3's is an MD5 for some objects and not for others, so a client must not rely
    /// on that.
    etag: String,
    /// The time of the last change, in seconds since 1970.
    modified: u64,
}

impl Object {
    fn new(content: Bytes, content_type: &str) -> Self {
        let etag: String = body::sha256_hex(&content).chars().take(32).collect();
        Self {
            content,
            content_type: content_type.to_owned(),
            etag: format!("\"{etag}\""),
            modified: real_time().as_secs(),
        }
    }
}

#[derive(Debug, Default)]
struct Bucket {
    region: String,
    /// The number of the account that owns it.
    owner: String,
    objects: BTreeMap<String, Object>,
}

/// The facts that the control API shows of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectSummary {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The size in bytes.
    pub size: usize,
    /// The SHA-256 of the content, in hexadecimal digits.
    pub sha256: String,
}

/// S3's API in one region.
#[derive(Debug)]
pub struct S3 {
    region: String,
    account: String,
    denials: Denials,
    buckets: Mutex<BTreeMap<String, Bucket>>,
}

impl S3 {
    /// Creates an S3 without buckets in this region, of this account. While `denials` has `s3:ListBucket`, it does not
    /// tell which keys exist.
    pub fn new(region: &str, account: &str, denials: Denials) -> Arc<Self> {
        let (region, account) = (region.to_owned(), account.to_owned());
        Arc::new(Self { region, account, denials, buckets: Mutex::default() })
    }

    /// Makes a bucket in S3's own region, unless it exists.
    pub fn create_bucket(&self, name: &str) {
        self.create_bucket_in(name, &self.region);
    }

    /// Makes a bucket in another region, which is not served here.
    pub fn create_bucket_in(&self, name: &str, region: &str) {
        let bucket =
            || Bucket { region: region.to_owned(), owner: self.account.clone(), objects: BTreeMap::new() };
        self.buckets().entry(name.to_owned()).or_insert_with(bucket);
    }

    /// Gives a bucket with its objects to another account, which has registered its name anew.
    pub fn give_away(&self, name: &str, account: &str) {
        self.create_bucket(name);
        if let Some(bucket) = self.buckets().get_mut(name) {
            bucket.owner = account.to_owned();
        }
    }

    /// Puts an object as an outsider would, e.g. an attacker; makes the bucket if necessary.
    pub fn put(&self, bucket: &str, key: &str, content: impl Into<Bytes>) {
        self.create_bucket(bucket);
        let object = Object::new(content.into(), "binary/octet-stream");
        self.buckets().get_mut(bucket).map(|bucket| bucket.objects.insert(key.to_owned(), object));
    }

    /// Removes an object; tells whether it existed.
    pub fn remove(&self, bucket: &str, key: &str) -> bool {
        self.buckets().get_mut(bucket).is_some_and(|bucket| bucket.objects.remove(key).is_some())
    }

    /// Returns an object's content.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Bytes> {
        self.buckets().get(bucket)?.objects.get(key).map(|object| object.content.clone())
    }

    /// Returns all keys of a bucket, in order.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.buckets().get(bucket).map(|bucket| bucket.objects.keys().cloned().collect()).unwrap_or_default()
    }

    /// Returns a summary of every object.
    pub fn objects(&self) -> Vec<ObjectSummary> {
        let buckets = self.buckets();
        let summary = |name: &String, (key, object): (&String, &Object)| ObjectSummary {
            bucket: name.clone(),
            key: key.clone(),
            size: object.content.len(),
            sha256: body::sha256_hex(&object.content),
        };
        buckets
            .iter()
            .flat_map(|(name, bucket)| bucket.objects.iter().map(move |object| summary(name, object)))
            .collect()
    }

    fn buckets(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act(&self, request: &Request) -> Result<Response, Refusal> {
        let target = Target::of(request);
        if request.header("x-amz-content-sha256").is_empty() {
            return Err(Refused::MissingHash.into());
        }
        let content = body::checked(request)?;
        let mut buckets = self.buckets();
        let bucket = buckets.get_mut(&target.bucket).ok_or(Refused::NoSuchBucket)?;
        if bucket.region != self.region {
            return Err(Refusal::redirect(&target.bucket, &bucket.region));
        }
        match request.header("x-amz-expected-bucket-owner") {
            "" => {}
            other if !is_account(other) => return Err(Refused::InvalidOwner.into()),
            other if other != bucket.owner => return Err(Refused::AccessDenied.into()),
            _ => {}
        }
        match target.action {
            "HeadBucket" => Ok(answers::bucket(&bucket.region)),
            "ListObjectsV2" => list::answer(&target, &bucket.objects),
            "GetObject" | "HeadObject" => {
                let absent = || self.absent(&target.key);
                let object = bucket.objects.get(&target.key).ok_or_else(absent)?;
                answers::object(request, object)
            }
            "PutObject" => self.put_object(request, &target.key, content, bucket),
            _ => Err(Refused::NotImplemented.into()),
        }
    }

    /// Returns the refusal for an absent key: a client that may not list the bucket is not told that the key is
    /// absent.
    fn absent(&self, key: &str) -> Refusal {
        match self.denials.has("s3:ListBucket") {
            true => Refused::AccessDenied.into(),
            false => Refusal::of_key(Refused::NoSuchKey, key),
        }
    }

    fn put_object(
        &self,
        request: &Request,
        key: &str,
        content: Bytes,
        bucket: &mut Bucket,
    ) -> Result<Response, Refusal> {
        match request.header("if-none-match") {
            "" => {}
            "*" if bucket.objects.contains_key(key) => return Err(Refused::PreconditionFailed.into()),
            "*" => {}
            _ => return Err(Refused::NotImplemented.into()),
        }
        let kind = Some(request.header("content-type")).filter(|kind| !kind.is_empty());
        let object = Object::new(content, kind.unwrap_or("binary/octet-stream"));
        let answer = answers::stored(&object);
        bucket.objects.insert(key.to_owned(), object);
        Ok(answer)
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Service for S3 {
    fn name(&self) -> ServiceName {
        ServiceName::S3
    }

    /// Returns the action with the key, e.g. `GetObject agents/latest`, so that faults and the journal can tell
    /// objects apart.
    fn action(&self, request: &Request) -> String {
        let target = Target::of(request);
        format!("{} {}", target.action, target.key).trim_end().to_owned()
    }

    fn permission(&self, request: &Request) -> String {
        match Target::of(request).action {
            "HeadObject" => "GetObject",
            "HeadBucket" | "ListObjectsV2" => "ListBucket",
            other => other,
        }
        .to_owned()
    }

    fn answer<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Response> {
        let answer = self.act(request).unwrap_or_else(|refusal| refusal.answer());
        Box::pin(std::future::ready(answer))
    }

    fn error(&self, status: u16, code: &str) -> Response {
        Refusal::known(status, code, &self.region).answer()
    }
}
