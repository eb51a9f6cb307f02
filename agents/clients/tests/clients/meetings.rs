//! The list of meetings, as real hosts give it: with figures that are none, names that are none, and cut off.

use std::time::Duration;

use crate::bbb::{canned, words};
use clients::bbb::{Bbb, Error, Meeting, Meetings};
use sandbox::bbb::cases::{CUT_OFF, ELEMENT_NAME, FORCIBLY_ENDED, NEVER_JOINED, ORPHAN_BREAKOUTS, THOUSAND};

/// The time since 1970 at which the meetings of all cases were created.
const CREATED: Duration = Duration::from_millis(1_585_797_058_247);
const INTERNAL: &str = "ae6befb866168587de62e65a63c0588e1c088019-1585797058247";

/// A breakout room of an older version, with a participant's parameter called `meeting`.
const NESTED_PARENT: &str = "<response><returncode>SUCCESS</returncode><meetings><meeting><meetingID>room-b</meetingID>\
    <participantCount>4</participantCount><attendees><attendee><customdata>\
    <meeting><![CDATA[</meeting><meeting>]]></meeting></customdata></attendee></attendees>\
    <metadata><participantCount>9</participantCount></metadata>\
    <breakout><parentMeetingID>par-1</parentMeetingID><sequence>1</sequence></breakout></meeting></meetings></response>";

/// Returns a meeting as the cases have it.
fn meeting(id: &str, people: u32) -> Meeting {
    Meeting {
        id: Some(id.to_owned()),
        internal_id: Some(INTERNAL.to_owned()),
        participants: Some(people),
        voices: Some(people),
        videos: Some(0),
        breakout: Some(false),
        parent: None,
        joined: Some(true),
        forcibly_ended: Some(false),
        created: Some(CREATED),
    }
}

async fn list(body: &[u8]) -> Meetings {
    let (_served, client) = canned(200, body).await;
    client.prove().await.unwrap();
    client.meetings().await.unwrap()
}

async fn all(body: &[u8]) -> Vec<Meeting> {
    let Meetings { listed, rest } = list(body).await;
    assert_eq!(rest, None);
    listed
}

#[tokio::test]
async fn a_meeting_that_nobody_joined_and_one_that_was_ended_by_force_are_told() {
    let orphan = all(NEVER_JOINED.as_bytes()).await;
    assert_eq!(orphan, [Meeting { joined: Some(false), ..meeting("b418e603", 0) }]);
    let ended = all(FORCIBLY_ENDED.as_bytes()).await;
    assert_eq!(ended, [Meeting { forcibly_ended: Some(true), ..meeting("room-a", 0) }]);
}

#[tokio::test]
async fn breakout_rooms_name_their_parent_in_newer_and_in_older_versions() {
    let rooms = all(ORPHAN_BREAKOUTS.as_bytes()).await;
    let parent = Some("183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1585797058000".to_owned());
    let room = |id| Meeting { breakout: Some(true), parent: parent.clone(), ..meeting(id, 6) };
    assert_eq!(rooms, [room("par-0"), room("par-1"), room("par-2")]);
    assert!(rooms.iter().all(Meeting::is_breakout));

    // The names in there are the front end's, and the marks of a text are no marks.
    let nested = all(NESTED_PARENT.as_bytes()).await;
    let room = Meeting {
        id: Some("room-b".to_owned()),
        participants: Some(4),
        parent: Some("par-1".to_owned()),
        ..Meeting::default()
    };
    assert!(room.is_breakout() && !Meeting::default().is_breakout());
    assert_eq!(nested, [room]);
}

#[tokio::test]
async fn names_that_are_none_hide_nobody() {
    assert_eq!(all(ELEMENT_NAME.as_bytes()).await, [meeting("room-a", 1)]);
    for name in ["1st", "lms:course", "a b", "", "a=b", "?php", "!doctype", "!x", "/customdata", "/", "br/"] {
        let case = ELEMENT_NAME.replace("1st", name);
        assert_eq!(all(case.as_bytes()).await, [meeting("room-a", 1)], "{name}");
    }
    // Such a name ends the meeting too early: its end is unknown, and the next one counts.
    let case = ELEMENT_NAME.replace("1st", "/meeting");
    let two =
        case.replace("</meetings>", "<meeting><participantCount>7</participantCount></meeting></meetings>");
    let people: Vec<_> =
        list(two.as_bytes()).await.listed.iter().map(|meeting| meeting.participants).collect();
    assert_eq!(people, [Some(1), Some(7)]);
    for name in ["/meetings", "/response", "!--", "![CDATA["] {
        let case = ELEMENT_NAME.replace("1st", name);
        let meetings = list(case.as_bytes()).await;
        assert_eq!(meetings.listed.len(), 1, "{name}");
        assert_eq!(meetings.listed[0].participants, Some(1), "{name}");
        assert!(name == "/meetings" || name == "!--" || meetings.rest.is_some(), "{name}: {meetings:?}");
    }
}

#[tokio::test]
async fn a_figure_that_is_none_is_unknown_and_the_others_are_not() {
    let big = Meeting { participants: Some(1000), ..meeting("big", 1000) };
    assert_eq!(all(THOUSAND.as_bytes()).await, std::slice::from_ref(&big));
    for figure in ["many", "-1", "1,00", "99999999999", "", "<b/>"] {
        let case = THOUSAND.replace("1,000", figure);
        let case = case
            .replace("</meetings>", "<meeting><participantCount>2</participantCount></meeting></meetings>");
        let other = Meeting { participants: Some(2), ..Meeting::default() };
        let unknown = Meeting { participants: None, ..big.clone() };
        assert_eq!(all(case.as_bytes()).await, [unknown, other], "{figure}");
    }
}

#[tokio::test]
async fn characters_that_xml_cannot_carry_do_no_harm() {
    let case = NEVER_JOINED;
    let bytes = |name: &[u8]| {
        let (before, after) = case.split_once(">Room<").unwrap();
        [before.as_bytes(), b">", name, b"<", after.as_bytes()].concat()
    };
    for name in [b"\x00\x08\xff\x1b".as_slice(), b"a & b &nbsp; &#0;", b"\xef\xbf\xbe", b"]]>", b"\xc3"] {
        assert_eq!(all(&bytes(name)).await.len(), 1, "{name:?}");
    }
    // An id is kept as it is: BBB knows the meeting by it.
    let id = all(case.replace("b418e603", "a\u{8}&amp;\u{1}b").as_bytes()).await.remove(0).id;
    assert_eq!(id.as_deref(), Some("a\u{8}&\u{1}b"));
}

#[tokio::test]
async fn a_list_that_is_cut_off_has_at_least_these_meetings() {
    let body = CUT_OFF.as_bytes();
    let Meetings { listed, rest } = list(body).await;
    let room = Meeting { breakout: Some(true), ..meeting("b1", 0) };
    assert_eq!(listed, [meeting("room-a", 2), room]);
    let rest = rest.unwrap();
    let bytes = format!("answered getMeetings with an answer that is cut off after {} bytes", body.len());
    assert!(rest.contains(&bytes) && rest.contains("bbb-conf --restart"), "{rest}");
}

#[tokio::test]
async fn wherever_it_is_cut_off_it_has_a_beginning_of_the_meetings() {
    use clients::bbb::answer::Answer;

    let read = |text: &str| {
        let (status, body) = (reqwest::StatusCode::OK, text.as_bytes().to_vec());
        Answer::new("https://bbb/bigbluebutton/api".to_owned(), "getMeetings", status, None, body).meetings()
    };
    let whole = ORPHAN_BREAKOUTS;
    let meetings = read(whole).unwrap();
    assert_eq!((meetings.listed.len(), &meetings.rest), (3, &None));
    let mut most = 0;
    for end in (0..whole.len() - 1).step_by(3) {
        match read(&whole[..end]) {
            Err(error) => assert!(matches!(error, Error::CutOff { .. }) && error.is_retryable(), "{error}"),
            Ok(found) => {
                assert!(found.rest.is_some(), "{end}");
                let complete = found.listed.len().saturating_sub(1);
                assert_eq!(found.listed[..complete], meetings.listed[..complete], "{end}");
                let people = found.listed.iter().map(|meeting| meeting.participants);
                assert!(people.flatten().all(|people| people == 6), "{end}: {found:?}");
                assert!(found.listed.len() >= most, "{end}");
                most = found.listed.len();
            }
        }
    }
    assert_eq!(most, 3);
    // No beginning of a figure is taken for it.
    for end in 0..THOUSAND.len() - 1 {
        for meeting in read(&THOUSAND[..end]).into_iter().flat_map(|found| found.listed) {
            assert!(meeting.participants.is_none_or(|people| people == 1000), "{end}: {meeting:?}");
            assert!(meeting.created.is_none_or(|created| created == CREATED), "{end}: {meeting:?}");
            assert!(meeting.id.is_none_or(|id| id == "big"), "{end}");
        }
    }
}

#[tokio::test]
async fn a_large_real_answer_is_read_whole() {
    let userdata: String =
        (0..15).map(|number| format!("<bbb_{number}>{}</bbb_{number}>", "x".repeat(48))).collect();
    let person = format!(
        "<attendee><userID>w_0123456789ab</userID><fullName>A Person</fullName><role>VIEWER</role>\
         <customdata>{userdata}</customdata></attendee>"
    );
    let body = THOUSAND
        .replace("<attendees></attendees>", &format!("<attendees>{}</attendees>", person.repeat(1500)));
    assert!(body.len() > 1_600_000, "{}", body.len());
    assert_eq!(all(body.as_bytes()).await, [Meeting { participants: Some(1000), ..meeting("big", 1000) }]);
}

#[tokio::test]
async fn a_list_that_is_longer_than_any_real_one_is_not_kept() {
    let many = "<meeting/>".repeat(400_000);
    let Meetings { listed, rest } = list(
        format!("<response><returncode>SUCCESS</returncode><meetings>{many}</meetings></response>")
            .as_bytes(),
    )
    .await;
    assert_eq!(listed, vec![Meeting::default(); 10_000]);
    assert!(rest.unwrap().ends_with("more meetings than any host has"));
}

#[tokio::test]
async fn an_answer_without_a_list_is_none() {
    let (_served, client) = canned(200, "<response><returncode>SUCCESS</returncode></response>").await;
    let error = client.meetings().await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { .. }) && !error.is_retryable(), "{error:?}");
    assert!(words(&error).ends_with("answered getMeetings with no list of meetings"), "{error}");
    for body in [
        "<response><returncode>SUCCESS</returncode><meetings/></response>",
        "<response><returncode>SUCCESS</returncode><messageKey>noMeetings</messageKey></response>",
    ] {
        assert_eq!(all(body.as_bytes()).await, []);
    }
    // A signed call that succeeds is all that readiness needs.
    client.prove().await.unwrap();
    let client: Bbb = canned(200, "<response><returncode>FAILED</returncode></response>").await.1;
    client.prove().await.unwrap_err();
}
