//! The poller: its calls to the hosts, and the changes that follow. Observed on Scalelite 1.8.5.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use roxmltree::{Document, Node};

use super::store::{Edit, Loaded, ServerState};
use super::{Scalelite, State};
use crate::bbb::CallError;

/// The age below which a meeting counts as at least [`YOUNG_PEOPLE`].
const YOUNG: Duration = Duration::from_secs(15 * 60);
const YOUNG_PEOPLE: u32 = 15;
/// The number of failed polls in a row that take a server offline.
const UNHEALTHY: u32 = 2;

/// A poll whose answers have come but are not saved yet.
#[derive(Debug, Default)]
pub(super) struct Poll {
    /// Each server as it was read, with the people it counted; none when the host did not answer.
    servers: Vec<(Loaded, Option<u32>)>,
    /// The meetings that their hosts no longer know.
    ended: Vec<String>,
}

impl Scalelite {
    /// Runs one complete poll of all servers and meetings.
    pub async fn poll(&self) {
        let poll = self.read().await;
        self.write(poll).await;
    }

    /// Runs the first half of a poll: reads all servers and asks their hosts. Changes before [`Scalelite::poll_end`]
    /// race with the poll, which saves its own changes to the servers as they are now. A load that differs from the
    /// former one puts a server back into the placement set even if it was cordoned or disabled meanwhile.
    pub async fn poll_begin(&self) {
        let poll = self.read().await;
        self.state().poll = Some(poll);
    }

    /// Runs the second half of a poll. Returns false when no poll was begun.
    pub async fn poll_end(&self) -> bool {
        let poll = self.state().poll.take();
        match poll {
            Some(poll) => {
                self.write(poll).await;
                true
            }
            None => false,
        }
    }

    async fn read(&self) -> Poll {
        let (servers, meetings) = {
            let state = self.state();
            if state.redis_down {
                return Poll::default();
            }
            (state.store.all(), state.store.meetings.clone())
        };
        let people = join_all(servers.iter().map(|loaded| self.people(loaded))).await;
        let gone = join_all(meetings.iter().map(|(id, mapped)| {
            let server = servers.iter().find(|loaded| loaded.server.id == mapped.server_id);
            async move {
                match server {
                    Some(server) => self.is_gone(server, id).await,
                    // The server was deleted: the record stays.
                    None => false,
                }
            }
        }))
        .await;
        let ended = meetings.into_keys().zip(gone).filter(|(_, gone)| *gone).map(|(id, _)| id).collect();
        Poll { servers: servers.into_iter().zip(people).collect(), ended }
    }

    async fn people(&self, Loaded { server, .. }: &Loaded) -> Option<u32> {
        let answer = self.network.call(&server.url, server.secret.expose(), "getMeetings", &[]).await.ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        count(&answer, now)
    }

    async fn is_gone(&self, Loaded { server, .. }: &Loaded, meeting: &str) -> bool {
        let parameters = [("meetingID", meeting)];
        let answer =
            self.network.call(&server.url, server.secret.expose(), "getMeetingInfo", &parameters).await;
        matches!(answer, Err(CallError::Refused { key, .. }) if key == "notFound")
    }

    async fn write(&self, poll: Poll) {
        if self.state().redis_down {
            return;
        }
        for (loaded, people) in poll.servers {
            let edit = match people {
                Some(people) => self.state().alive(&loaded, people),
                None => self.unanswered(&loaded).await,
            };
            if let Some(edit) = edit {
                let mut state = self.state();
                let version = state.store.version();
                // A server that was deleted meanwhile stays deleted.
                let _ = state.store.save(loaded, edit, version);
            }
        }
        let mut state = self.state();
        for meeting in poll.ended {
            state.store.meetings.remove(&meeting);
        }
    }

    async fn unanswered(&self, loaded: &Loaded) -> Option<Edit> {
        let meetings = self.state().failed(loaded)?;
        for meeting in meetings {
            // A host that does not answer cannot end a meeting: the poller only warns.
            self.end_mapped(&loaded.server, &meeting).await;
        }
        Some(Edit { load: Some(None), online: Some(false), ..Edit::default() })
    }
}

impl State {
    fn alive(&mut self, loaded: &Loaded, people: u32) -> Option<Edit> {
        self.store.unhealthy.remove(&loaded.server.id);
        let load = f64::from(people) * loaded.server.multiplier;
        // Redis refuses to store it, and with it the whole record.
        if load.is_nan() {
            return None;
        }
        // A server that was never updated has no state, and then no load either.
        let load_edit = (!loaded.server.is_disabled()).then_some(Some(load));
        let empty = loaded.server.state == Some(ServerState::Cordoned) && load == 0.0;
        let state = empty.then_some(ServerState::Disabled);
        Some(Edit { state, load: load_edit, online: Some(true), ..Edit::default() })
    }

    /// Counts a failed poll; returns the meetings to clear when the server goes offline now.
    fn failed(&mut self, loaded: &Loaded) -> Option<Vec<String>> {
        if !loaded.server.online {
            return None;
        }
        let id = &loaded.server.id;
        let failures = self.store.unhealthy.entry(id.clone()).or_default();
        *failures += 1;
        if *failures < UNHEALTHY {
            return None;
        }
        self.store.unhealthy.remove(id);
        Some(self.store.meetings_of(id))
    }
}

/// Returns the people in the answer to `getMeetings` that count as load, without breakout rooms.
fn count(answer: &str, now: Duration) -> Option<u32> {
    let document = Document::parse(answer).ok()?;
    let meetings = document.descendants().filter(|node| node.has_tag_name("meeting"));
    Some(
        meetings
            .filter(|meeting| text(meeting, "isBreakout") != "true")
            .map(|meeting| weigh(&meeting, now))
            .sum(),
    )
}

fn weigh(meeting: &Node<'_, '_>, now: Duration) -> u32 {
    let number = |name| text(meeting, name).parse::<u32>().unwrap_or_default();
    // Moderators count twice: they are participants too.
    let people = number("participantCount").saturating_add(number("moderatorCount"));
    let created = Duration::from_millis(text(meeting, "createTime").parse().unwrap_or_default());
    if created + YOUNG > now { people.max(YOUNG_PEOPLE) } else { people }
}

fn text<'a>(meeting: &Node<'a, '_>, name: &str) -> &'a str {
    let mut children = meeting.children();
    children.find(|child| child.has_tag_name(name)).and_then(|child| child.text()).unwrap_or_default()
}
