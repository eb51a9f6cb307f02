//! A drain waits for what goes on, whoever can see it, and people are told until when.

use std::time::Duration;

use e2e::{Rig, Running, at_once};
use sandbox::cloud::Options;
use sandbox::fleet::LifecycleState;
use sandbox::http::ServiceName::{AutoScaling, Bbb, Scalelite};
use sandbox::recordings::Stage;
use sandbox::scalelite::ServerState;

const SERVING: &str = "-> serving:";
const DRAINING: &str = "-> draining:";
const OUT: &str = "-> unregistered:";
const RECORDING: &str = "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000";

/// Counts beyond those in which a host that has nothing to wait for leaves: one comes every second, and Scalelite's poll,
/// which has to come and go first, every five.
const LONG: usize = 12;

async fn serving(settings: &[&str]) -> (Rig, Running) {
    let rig = Rig::start(Options::with_tls()).await;
    let mut service = rig.serve(None, settings);
    service.said(SERVING, 1).await;
    (rig, service)
}

/// The group ends the host, which is cordoned.
async fn ends(rig: &Rig, service: &mut Running) {
    rig.cloud.journal.clear();
    rig.ends();
    service.said(DRAINING, 1).await;
    rig.cloud.journal.reached(Scalelite, "updateServer", 1).await;
}

#[tokio::test]
async fn a_job_of_which_only_redis_knows_is_waited_for() {
    // In a queue, or in the hands of a worker that has not made a file yet: the spool is as empty as an idle host's.
    at_once(["queue", "worker"], async |place| {
        let (rig, mut service) = serving(&[]).await;
        let redis = rig.host.recordings.redis();
        let works = |works: bool| redis.set_worker("bbb:4711:rap:archive,rap:publish", works);
        match place {
            "queue" => rig.host.recordings.reach(RECORDING, Stage::Queued).unwrap(),
            _ => works(true),
        }
        ends(&rig, &mut service).await;
        rig.counted(LONG).await;
        assert_eq!(rig.member().state, LifecycleState::TerminatingWait, "{place}");
        assert_eq!(rig.entry().state, ServerState::Cordoned, "{place}");
        assert_eq!(rig.cloud.journal.count(AutoScaling, "Complete"), 0, "{place}");
        match place {
            "queue" => redis.set_queue("rap:archive", 0),
            _ => works(false),
        }
        service.said(OUT, 1).await;
        assert_eq!(rig.member().state, LifecycleState::TerminatingProceed, "{place}");
    })
    .await;
}

#[tokio::test]
async fn breakout_rooms_are_part_of_their_meeting() {
    let (rig, mut service) = serving(&[]).await;
    rig.meet("room");
    rig.counted(2).await;
    ends(&rig, &mut service).await;
    rig.counted(3).await;
    // The class goes into groups. Scalelite has placed nothing here: there is nothing to cordon again, for which the host
    // would be enabled for a moment.
    for room in ["room-1", "room-2"] {
        rig.host.bbb.start_breakout(room, "room", 2);
    }
    rig.counted(LONG).await;
    assert_eq!(rig.changes_in_scalelite(), ["updateServer"], "the cordon, once");
    assert_eq!(rig.entry().state, ServerState::Cordoned);
    assert_eq!(rig.status(4).await["service"]["meetings"], 1);
    assert_eq!(rig.member().state, LifecycleState::TerminatingWait);
    rig.host.bbb.end_all();
    service.said(OUT, 1).await;
    assert_eq!(rig.member().state, LifecycleState::TerminatingProceed);
}

#[tokio::test]
async fn a_bbb_whose_settings_are_gone_may_still_have_meetings() {
    // An upgrade has removed the files. With and without a reload of the agent's own configuration.
    at_once([false, true], async |reload| {
        let (rig, mut service) = serving(&[]).await;
        rig.meet("room");
        rig.counted(2).await;
        rig.host.files.remove().unwrap();
        if reload {
            service.signal("HUP").await;
            service.said("SIGHUP: the configuration was read again", 1).await;
        }
        ends(&rig, &mut service).await;
        rig.ticked(LONG).await;
        assert_eq!(rig.member().state, LifecycleState::TerminatingWait, "{reload}");
        assert_eq!((rig.meetings(), rig.entry().state), (vec!["room".to_owned()], ServerState::Cordoned));
        rig.host.install("sandbox-bbb-secret").unwrap();
        rig.host.bbb.end_meeting("room");
        service.said(OUT, 1).await;
        assert_eq!(rig.member().state, LifecycleState::TerminatingProceed, "{reload}");
    })
    .await;
}

/// What a meeting reads when its end has been moved.
async fn announced(rig: &Rig, times: usize) -> Vec<String> {
    rig.cloud.journal.reached(Bbb, "sendChatMessage", times).await;
    rig.host.bbb.meeting("room").expect("a meeting").chat
}

async fn draining(deadline: &str) -> (Rig, Running) {
    let (rig, service) = serving(&["drain.announce=1,2,60", "drain.message={minutes}"]).await;
    rig.meet("room");
    rig.counted(2).await;
    rig.expect(0, &["drain", "--deadline", deadline]).await;
    (rig, service)
}

#[tokio::test]
async fn a_deadline_that_an_order_moves_is_announced_anew() {
    let (rig, _service) = draining("100").await;
    assert_eq!(announced(&rig, 1).await, ["2"]);
    // Neither earlier nor later is what people have read true any more.
    rig.expect(0, &["drain", "--deadline", "1700"]).await;
    assert_eq!(announced(&rig, 2).await, ["2", "29"]);
    rig.expect(0, &["drain", "--deadline", "1200"]).await;
    assert_eq!(announced(&rig, 3).await, ["2", "29", "20"]);
    rig.counted(3).await;
    assert_eq!(rig.cloud.journal.count(Bbb, "sendChatMessage"), 3, "each of them once");
}

#[tokio::test]
async fn a_deadline_that_ec2_moves_is_announced_anew() {
    let (rig, _service) = draining("1700").await;
    assert_eq!(announced(&rig, 1).await, ["29"]);
    // Half a minute of it is for leaving.
    rig.cloud.interrupt(rig.host.id(), "terminate", Duration::from_secs(1200)).unwrap();
    assert_eq!(announced(&rig, 2).await, ["29", "20"]);
    rig.counted(3).await;
    assert_eq!(rig.cloud.journal.count(Bbb, "sendChatMessage"), 2, "each of them once");
}

#[tokio::test]
async fn a_meeting_that_cannot_be_told_does_not_keep_the_others_from_it() {
    at_once([(200, "notFound"), (500, "")], async |(status, code)| {
        let (rig, _service) = serving(&["drain.announce=60", "drain.message={minutes}"]).await;
        for room in ["another", "room"] {
            rig.meet(room);
        }
        rig.counted(2).await;
        // The first one has ended since they were listed, or BBB is out of breath.
        rig.refuse(Bbb, "sendChatMessage", status, code, Some(1));
        rig.expect(0, &["drain", "--deadline", "1200"]).await;
        assert_eq!(announced(&rig, 2).await, ["20"], "{status}");
    })
    .await;
}
