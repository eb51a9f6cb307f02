//! Counts the work on the host: the one place that asks BBB, the spool and Redis, or looks at coturn's sockets, for the
//! service, its metrics and `status` alike.

use std::time::Duration;

use plan::image::Origin;
use plan::recordings::Recordings;
use plan::relay;
use plan::work::{Figure, Meeting, Meetings, Room, Work};
use tokio::time::timeout;

use crate::identity::Host;
use crate::retry::Patience;
use crate::session::{Session, now, within};
use clients::bbb::recordings::Redis;
use clients::bbb::{self, Bbb, Installation, NotReady};
use clients::coturn;

/// The longest time for the list of meetings.
const PATIENCE: Duration = Duration::from_secs(10);

/// Counts the work on the host. `local` are BBB's settings as they were just read; `entered` tells whether the host has
/// taken meetings since its boot: then a BBB of which nothing can be found is unknown, and else not installed yet.
pub async fn count(
    session: &Session,
    host: &Host,
    local: Option<&Result<Installation, NotReady>>,
    entered: bool,
) -> Work {
    let Some(local) = local else {
        return Work { relays: relays(session, host).await, ..Work::default() };
    };
    let absent = matches!(local, Err(error) if error.may_come());
    let installed = !absent || entered || answers(session, host).await;
    let meetings = async {
        match bbb(session, local) {
            // Nobody can have come to a name that leads nowhere.
            Ok(_) if !entered && leads_nowhere(session, host, local) => Meetings::default(),
            Ok(bbb) => meetings(&bbb).await,
            Err(_) if !installed => Meetings::default(),
            Err(why) => Meetings::unknown(why),
        }
    };
    let (meetings, recordings) = tokio::join!(meetings, recordings(session, host, installed));
    Work { meetings, recordings, relays: None }
}

/// Counts the relays that coturn has in use; returns `None` where they are not counted.
async fn relays(session: &Session, host: &Host) -> Option<Figure<u64>> {
    let ports = session.settings.relays.as_ref()?;
    let asked = session.coturn(host).map(|address| address.port());
    Some(match coturn::sockets().await {
        Ok(sockets) => Figure::Known(relay::in_use(&sockets, asked, ports)),
        Err(error) => Figure::Unknown(format!("cannot count coturn's relays: {error}")),
    })
}

/// Returns the BBB on this host, or why it cannot be asked.
pub fn bbb(session: &Session, local: &Result<Installation, NotReady>) -> Result<Bbb, String> {
    let installation = match local {
        Ok(installation) => installation,
        // Perhaps the host had another name before: its meetings run on.
        Err(NotReady::OtherHost { installation, .. }) => installation,
        Err(error) => return Err(error.to_string()),
    };
    let client = session.local_client(&installation.server_url).map_err(|failure| failure.headline())?;
    Ok(Bbb::of(client, installation))
}

/// Tells whether BBB still has the name of an image that was made for no host.
fn leads_nowhere(session: &Session, host: &Host, local: &Result<Installation, NotReady>) -> bool {
    match local {
        Err(NotReady::OtherHost { installation, .. }) => {
            session.origin(installation, host) == Origin::Nowhere
        }
        _ => false,
    }
}

/// Tells whether a BBB answers although its property files are not there.
async fn answers(session: &Session, host: &Host) -> bool {
    let url = host.server_url();
    let url = url.trim_end_matches('/').trim_end_matches("/api").trim_end_matches("/bigbluebutton");
    let Ok(client) = session.local_client(url) else { return false };
    let bbb = Bbb::new(client, url, String::new().into());
    matches!(timeout(PATIENCE, bbb.version()).await, Ok(Ok(_)))
}

async fn meetings(bbb: &Bbb) -> Meetings {
    match timeout(PATIENCE, bbb.meetings()).await {
        Ok(Ok(found)) => shown(found, Duration::from_secs(now())),
        Ok(Err(error)) => Meetings::unknown(error.to_string()),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            Meetings::unknown(format!("BigBlueButton did not list its meetings within {seconds} s"))
        }
    }
}

/// Converts BBB's list, as it was read at this time since 1970.
fn shown(found: bbb::Meetings, now: Duration) -> Meetings {
    let listed = found.listed.into_iter().enumerate();
    Meetings {
        listed: listed.map(|(number, room)| meeting(number, room, now)).collect(),
        unlisted: found.rest,
    }
}

fn meeting(number: usize, room: bbb::Meeting, now: Duration) -> Meeting {
    let breakout = room.is_breakout();
    // A meeting that nobody has joined yet has been empty since it was created.
    let lonely = room.joined == Some(false);
    let empty_for = room.created.filter(|_| lonely).map(|created| now.saturating_sub(created));
    let people = match room.participants {
        Some(people) => Figure::Known(people),
        None => Figure::Unknown("BigBlueButton does not say how many people are in a meeting".to_owned()),
    };
    Meeting {
        id: room.id.or_else(|| room.internal_id.clone()).unwrap_or_else(|| format!("without id {number}")),
        internal: room.internal_id,
        room: if breakout { Room::Breakout(room.parent) } else { Room::Main },
        empty_for: empty_for.filter(|_| people == Figure::Known(0)),
        people,
        voices: room.voices,
        videos: room.videos,
        ended: room.forcibly_ended == Some(true),
    }
}

/// Looks at the recordings on this host; `installed` tells whether BBB is or may be there.
pub async fn recordings(session: &Session, host: &Host, installed: bool) -> Recordings {
    let (Some(spool), Some(settings)) = (session.spool(), &session.settings.bbb) else {
        return Recordings::default();
    };
    let Some(address) = settings.recordings.redis else { return spool.look(None, installed).await };
    let password = session.redis_password(host, Patience::once(within(PATIENCE))).await;
    match password {
        Ok(password) => {
            let found = spool.look(Some(&Redis { address, password }), installed).await;
            if found.jobs.known().is_none() {
                session.forget_redis_password();
            }
            found
        }
        Err(failure) => {
            let why = failure.headline();
            Recordings { jobs: Figure::Unknown(why), ..spool.look(None, installed).await }
        }
    }
}
