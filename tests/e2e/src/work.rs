//! The work on a host and the group that waits for it: what a test looks at again and again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sandbox::clock::iso8601;
use sandbox::fleet::{InstanceFacts, Member};
use sandbox::http::ServiceName::{Bbb, Scalelite};
use sandbox::scalelite::ServerState;
use serde_json::{Value, json};

use crate::Rig;

impl Rig {
    /// Returns once the service has counted what goes on so many times more.
    pub async fn counted(&self, times: usize) {
        let before = self.cloud.journal.count(Bbb, "getMeetings");
        self.cloud.journal.reached(Bbb, "getMeetings", before + times).await;
    }

    /// The group's membership of the host.
    pub fn member(&self) -> Member {
        self.cloud.fleet.membership(self.host.id()).expect("a member of the group").1
    }

    /// Puts another server into the pool, which takes meetings: then this host is not the last one.
    pub fn neighbour(&self) {
        let url = "https://neighbour.example.org/bigbluebutton/api";
        self.cloud.scalelite.add_server(url, "their secret", ServerState::Enabled);
    }

    /// Lets EC2 recommend now that the host is replaced.
    pub fn recommended(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
        let change = |facts: &mut InstanceFacts| facts.rebalance = Some(iso8601(now));
        self.host.imds.update(change).expect("facts");
    }

    /// Lets the group end the host.
    pub fn ends(&self) {
        self.cloud.fleet.terminate(self.host.id()).expect("a member of the group");
    }

    /// Fails unless nothing of the host is left: no name, no entry, no meeting.
    pub fn is_gone(&self) {
        assert_eq!(self.records(), [""; 0]);
        assert_eq!(self.cloud.scalelite.servers(), []);
        assert_eq!(self.meetings(), [""; 0]);
    }

    /// Fails unless nothing has happened to the host but that new meetings go elsewhere.
    pub fn is_only_cordoned(&self, meetings: &[&str]) {
        assert_eq!(self.entry().state, ServerState::Cordoned);
        assert_eq!(self.meetings(), meetings);
        assert_eq!(self.records(), self.registered_now());
        let changes = self.changes_in_scalelite();
        assert!(!changes.iter().any(|call| call == "panicServer" || call == "deleteServer"), "{changes:?}");
    }

    /// What the service says that it does, from `status`, whatever its exit code.
    pub async fn words(&self) -> String {
        let status = self.standing().await;
        status.pointer("/service/words").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// `status --json`, whatever its exit code.
    pub async fn standing(&self) -> Value {
        let run = self.run(&["status", "--json"]).await;
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}:\n{run}"))
    }

    /// Returns once the service says something in which all these texts stand.
    pub async fn says(&self, words: &[&str]) {
        let said = async {
            loop {
                let now = self.words().await;
                if words.iter().all(|part| now.contains(part)) {
                    return;
                }
                self.ticked(1).await;
            }
        };
        if tokio::time::timeout(crate::process::PATIENCE, said).await.is_err() {
            panic!("the service does not say {words:?}, but {:?}", self.words().await);
        }
    }

    /// Returns once no meeting runs on the host any more.
    pub async fn until_ended(&self) {
        let ended = async {
            while !self.meetings().is_empty() {
                self.ticked(1).await;
            }
        };
        let ended = tokio::time::timeout(crate::process::PATIENCE, ended).await;
        assert!(ended.is_ok(), "still there: {:?}", self.meetings());
    }

    /// A poll of Scalelite's loses the cordon that `begin` brings about: the entry is cordoned, and gets meetings. A
    /// meeting has to run on the host, or its load would not change.
    pub async fn loses_the_cordon(&self, begin: impl FnOnce()) {
        let scalelite = &self.cloud.scalelite;
        scalelite.poll_begin().await;
        let changes = self.cloud.journal.count(Scalelite, "updateServer");
        begin();
        self.cloud.journal.reached(Scalelite, "updateServer", changes + 1).await;
        assert!(scalelite.poll_end().await);
        let entry = self.entry();
        assert_eq!((entry.state, entry.in_placement), (ServerState::Cordoned, true), "the race is there");
    }
}

/// Schedules a maintenance of the instance, as the metadata service words it (EC2 user guide, "View scheduled events").
pub fn maintained(facts: &mut InstanceFacts, ahead: Duration) {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let time = iso8601((now + ahead).as_secs());
    let (date, clock) = time.trim_end_matches('Z').split_once('T').expect("a time");
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts.as_slice() else { panic!("{date}") };
    let month = month.parse::<usize>().ok().and_then(|month| MONTHS.get(month - 1)).expect("a month");
    let time = format!("{} {month} {year} {clock} GMT", day.trim_start_matches('0'));
    facts.maintenance = vec![json!({
        "Code": "system-reboot",
        "Description": "scheduled reboot",
        "EventId": "instance-event-0d59937288b749b32",
        "NotBefore": time,
        "NotAfter": time,
        "State": "active",
    })];
}
