//! The meaning of BBB's answers. The HTTP status alone does not tell it.

use reqwest::{StatusCode, Url};

use super::envelope::{self, NoEnvelope, Opened};
use super::meetings::Reading;
use super::{CHAT, Error, Meetings, Version};
use crate::untrusted::clean;
use crate::xml::Step;

/// A complete answer to one call.
pub struct Answer {
    api: String,
    call: &'static str,
    status: StatusCode,
    location: Option<String>,
    body: Vec<u8>,
}

impl Answer {
    /// Creates an answer from the API's address, the call, the HTTP status, the `Location` header and the body.
    pub fn new(
        api: String,
        call: &'static str,
        status: StatusCode,
        location: Option<String>,
        body: Vec<u8>,
    ) -> Self {
        Self { api, call, status, location, body }
    }

    /// Parses BBB's versions.
    pub fn version(self) -> Result<Version, Error> {
        let (mut version, mut bbb) = (None, None);
        let opened = self.open(|path, step| {
            if let ([_], Step::End { name, text: Some(text) }) = (path, step) {
                match name.as_str() {
                    "version" => version = Some(clean(text)),
                    "bbbVersion" => bbb = Some(clean(text)),
                    _ => {}
                }
            }
        })?;
        match (version, opened.defect) {
            (Some(api), _) => Ok(Version { api, bbb }),
            (None, Some(defect)) => Err(self.cut_off(defect.to_string())),
            (None, None) => Err(self.unexpected("no version".to_owned())),
        }
    }

    /// Parses the running meetings. Fails only where nothing can be said about them.
    pub fn meetings(self) -> Result<Meetings, Error> {
        let mut reading = Reading::default();
        let opened = self.open(|path, step| reading.step(path, step))?;
        if opened.defect.is_none() && !reading.has_list && opened.key != "noMeetings" {
            return Err(self.unexpected("no list of meetings".to_owned()));
        }
        let rest = match opened.defect {
            Some(defect) => Some(self.cut_off(defect.to_string()).to_string()),
            None if reading.is_endless => {
                Some(self.unexpected("more meetings than any host has".to_owned()).to_string())
            }
            None => None,
        };
        Ok(Meetings { listed: reading.meetings(), rest })
    }

    /// Checks that the call succeeded, whatever else the answer says.
    pub fn done(self) -> Result<(), Error> {
        self.open(|_, _| {}).map(drop)
    }

    /// Judges everything up to the `returncode`, and passes each step through a successful answer to `each`.
    fn open(&self, each: impl FnMut(&[String], &Step)) -> Result<Opened, Error> {
        self.judge_status()?;
        let (api, call) = (self.api.clone(), self.call);
        match envelope::open(&String::from_utf8_lossy(&self.body), each) {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(refusal)) if refusal.key == "unsupportedRequest" => {
                Err(Error::Unsupported { api, call, words: refusal.message })
            }
            Ok(Err(refusal)) => Err(Error::Refused { api, call, key: refusal.key, message: refusal.message }),
            Err(NoEnvelope::CutOff(defect)) => Err(self.cut_off(defect.to_string())),
            Err(NoEnvelope::Other(what)) => {
                Err(self.unexpected(format!("{what}; is this the address of a BigBlueButton?")))
            }
        }
    }

    /// Judges the HTTP status. BBB itself always answers with 200, so any other one is nginx's. A missing location
    /// (404) means that nginx lacks the part of its configuration that comes with BBB, because BBB answers for every
    /// path below `/bigbluebutton/api`; only the chat is missing in older versions.
    fn judge_status(&self) -> Result<(), Error> {
        let (api, call, status) = (self.api.clone(), self.call, self.status.as_u16());
        let not_ready =
            |words| Error::NotReady { api: api.clone(), words: format!("{words} ({})", self.status) };
        Err(match status {
            200 => return Ok(()),
            404 if call == CHAT => {
                Error::Unsupported { api, call, words: format!("HTTP status {}", self.status) }
            }
            404 => not_ready("the web server does not know BigBlueButton's API"),
            500.. => not_ready("it is starting, stopped or broken"),
            301 | 302 | 303 | 307 | 308 => Error::Redirected { api, call, status, to: self.redirected_to() },
            401 | 403 => Error::Forbidden { api, call, status },
            429 => Error::Throttled { api, call },
            _ => self
                .unexpected(format!("HTTP status {}; is this the address of a BigBlueButton?", self.status)),
        })
    }

    /// Describes where a redirect leads, without the path and the query, which may hold the checksum.
    fn redirected_to(&self) -> String {
        let here = Url::parse(&self.api).ok();
        let there = here.as_ref().zip(self.location.as_deref()).and_then(|(here, to)| here.join(to).ok());
        match there {
            Some(there) if here.is_some_and(|here| here.origin() == there.origin()) => {
                "another path of the same address".to_owned()
            }
            Some(there) if there.has_host() => clean(&there.origin().ascii_serialization()),
            _ => "nowhere".to_owned(),
        }
    }

    fn cut_off(&self, what: String) -> Error {
        Error::CutOff { api: self.api.clone(), call: self.call, what }
    }

    fn unexpected(&self, what: String) -> Error {
        Error::Unexpected { api: self.api.clone(), call: self.call, what }
    }
}
