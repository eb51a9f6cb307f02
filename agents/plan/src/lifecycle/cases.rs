//! Cases in which a flag or a guess once ended meetings, lost recordings or a deadline.

use super::rig::*;
use super::*;
use crate::addresses::Announced;
use crate::membership::State as EntryState;
use crate::recordings::Recordings;
use crate::work::{Figure, Meetings, Room};

fn trouble() -> Trouble {
    Trouble { words: "no answer".to_owned(), kind: TroubleKind::Passing }
}

fn unknown() -> String {
    "no answer".to_owned()
}

fn deadline(rig: &Rig) -> Moment {
    match rig.machine.state() {
        State::Draining(drain) => drain.deadline,
        state => panic!("{state:?}"),
    }
}

/// Starts the service again, with what the former one has kept.
fn restarted(rig: &Rig) -> Rig {
    let kept = rig.log.iter().rev().find_map(|action| match action {
        Action::Remember(kept) => Some(kept.clone()),
        _ => None,
    });
    let mut next = Rig::new(policy(), kept.unwrap_or_default());
    (next.now, next.entry) = (rig.now + MINUTE, rig.entry);
    next
}

// ---- protection from scale-in

fn protected(mut rig: Rig) -> Rig {
    rig.step(Event::Grouped(Ok(Some(true))));
    rig.calls.retain(|call| *call == Call::Count);
    rig
}

#[test]
fn a_host_of_which_anything_is_unknown_is_protected() {
    let recordings = |jobs| Recordings { jobs, ..Recordings::default() };
    for work in [
        Work { meetings: Meetings::unknown(unknown()), ..Work::default() },
        Work { recordings: Recordings::unknown(unknown()), ..Work::default() },
        Work { recordings: recordings(Figure::Unknown(unknown())), ..Work::default() },
    ] {
        let mut rig = serving();
        rig.step(Event::Grouped(Ok(Some(false))));
        let rig = rig.counted(work);
        assert!(rig.calls.contains(&Call::Protect(true)), "{:?}", rig.calls);
    }
}

#[test]
fn protection_ends_when_a_deregister_cannot_finish() {
    let mut rig = protected(serving()).counted(work(1, 0)).ordered(Order::Deregister);
    rig.step(Event::Finished(Job::Leave, Err(trouble())));
    assert_eq!(rig.machine.state().name(), "leaving");
    assert!(rig.calls.contains(&Call::Protect(false)), "{:?}", rig.calls);
}

#[test]
fn protection_ends_when_the_service_is_stopped_by_hand_whatever_is_kept() {
    for on_stop in [OnStop::Leave, OnStop::Cordon, OnStop::Keep] {
        let mut rig = protected(serving()).counted(work(1, 0));
        rig.machine.policy.on_stop = on_stop;
        let actions = rig.step(Event::Stop(StopCause::Stop));
        assert!(actions.contains(&Action::Call(Call::Protect(false))), "{on_stop:?}");
        assert_ne!(rig.machine.state(), &State::Ended, "{on_stop:?}: the group does not know yet");
        rig.ends();
        assert_eq!(rig.machine.state(), &State::Ended, "{on_stop:?}");
    }
}

#[test]
fn a_protection_whose_answer_is_missing_is_asked_for_again() {
    for on in [true, false] {
        let mut rig = serving();
        rig.step(Event::Grouped(Ok(Some(!on))));
        rig.calls.retain(|call| *call == Call::Count);
        let mut rig = rig.counted(work(usize::from(on), 0));
        while !rig.calls.contains(&Call::Protect(on)) {
            rig = rig.counted(work(usize::from(on), 0));
        }
        rig.calls.retain(|call| *call != Call::Protect(on));
        rig.step(Event::Called(Call::Protect(on), Err("no answer in time".to_owned())));
        // It has had its effect all the same, and the host is needed for the contrary.
        while !rig.calls.contains(&Call::Group) {
            rig.pass();
        }
    }
}

#[test]
fn protection_stays_over_a_stop_that_is_not_an_operators() {
    for cause in [StopCause::Restart, StopCause::Unknown] {
        let mut rig = protected(serving()).counted(work(1, 0));
        rig.step(Event::Stop(cause));
        assert!(!rig.calls.contains(&Call::Protect(false)), "{cause:?}");
    }
}

// ---- restarts

#[test]
fn a_forced_leave_is_no_new_drain_after_a_restart() {
    let rig = rig("leaving: terminate, by force");
    let next = restarted(&rig).told(intent("terminate"));
    assert!(
        matches!(next.machine.state(), State::Leaving(Leaving { forced: true, .. })),
        "{:?}",
        next.machine.state()
    );
}

#[test]
fn a_hook_holds_since_the_groups_notice_and_not_since_an_order_before() {
    let mut rig = rig("draining: by hand");
    rig.now += 40 * MINUTE;
    let mut rig = rig.told(intent("terminate"));
    let hook = Hook { ceiling: 30 * MINUTE, ..hook() };
    rig.step(Event::Hooked(Ok(hooks([hook.clone()]))));
    let before = deadline(&rig);
    let mut next = restarted(&rig).told(intent("terminate"));
    next.step(Event::Hooked(Ok(hooks([hook]))));
    assert_eq!(deadline(&next), before);
}

#[test]
fn a_forced_leave_stays_so_over_two_restarts_and_the_groups_notice() {
    let mut rig = rig("draining: by hand");
    rig.now += policy().deadline;
    rig.step(Event::Tick);
    let rig = restarted(&rig).told(serve());
    assert!(matches!(rig.machine.state(), State::Leaving(Leaving { forced: true, .. })));
    let rig = rig.told(intent("terminate"));
    let rig = restarted(&rig).told(intent("terminate"));
    assert!(matches!(rig.machine.state(), State::Leaving(Leaving { forced: true, .. })));
}

#[test]
fn what_was_overruled_stays_so_after_a_restart() {
    let rig = rig("serving, rebalance overruled");
    let mut next = restarted(&rig).told(intent("rebalance")).settle();
    assert_eq!(next.machine.state().name(), "serving");
    next = next.told(intent("standby")).settle();
    assert_eq!(next.machine.state().name(), "cordoned", "only the recommendation was overruled");
}

// ---- stops

#[test]
fn a_stop_for_an_unknown_reason_ends_no_meeting_and_is_made_good() {
    let mut rig = serving().counted(work(1, 0));
    rig.step(Event::Stop(StopCause::Unknown));
    assert_eq!(rig.machine.job(), Some(Job::Cordon));
    let words = rig.machine.words(rig.now);
    assert!(words.contains("nobody says why"), "{words}");
    rig.ends();
    assert_eq!(rig.machine.state(), &State::Ended);
    let next = restarted(&rig).told(serve()).settle();
    assert_eq!((next.machine.state().name(), next.entry), ("serving", EntryState::Enabled));
}

#[test]
fn a_stop_that_cordons_sees_a_poll_come_and_go() {
    for (cause, on_stop) in [(StopCause::Unknown, OnStop::Leave), (StopCause::Stop, OnStop::Cordon)] {
        let mut rig = serving().counted(work(1, 0));
        (rig.machine.policy.on_stop, rig.machine.policy.stop_patience) = (on_stop, 5 * MINUTE);
        rig.step(Event::Stop(cause));
        let begun = rig.now;
        rig.answer();
        let mut rig = rig.counted(work(1, 0)).counted(work(2, 0));
        assert_eq!(rig.machine.job(), Some(Job::Recordon), "{cause:?}: a meeting was placed here");
        rig.answer();
        rig.live(begun + 10 * MINUTE, "ended", &work(2, 0), |_, _| Ok(()));
        assert!(rig.now >= begun + policy().poll, "{cause:?}: {:?}", rig.now - begun);
        assert!(rig.now < begun + 5 * MINUTE, "{cause:?}: {:?}", rig.now - begun);
        assert!(rig.log.contains(&Action::End(Ok(()))));
    }
}

#[test]
fn a_refusal_that_lasts_ends_the_way_out_at_the_second_try() {
    let refused = || Trouble { words: "a wrong secret".to_owned(), kind: TroubleKind::Lasting };
    for state in ["stopping", "leaving: terminate"] {
        let mut rig = rig(state);
        let begun = rig.now;
        rig.step(Event::Finished(Job::Leave, Err(refused())));
        while rig.machine.job().is_none() {
            rig.pass();
        }
        rig.step(Event::Finished(Job::Leave, Err(refused())));
        assert!(rig.now <= begun + Duration::from_secs(2), "{state}: {:?}", rig.now - begun);
        let words = format!("{:?}", rig.machine.state()) + &format!("{:?}", rig.log.last());
        assert!(words.contains("a wrong secret") && !words.contains("left: None"), "{state}: {words}");
    }
    // What an operator has ordered is not given up.
    let mut rig = rig("leaving: by hand");
    for _ in 0..3 {
        while rig.machine.job().is_none() {
            rig.pass();
        }
        rig.step(Event::Finished(Job::Leave, Err(refused())));
        assert_eq!(rig.machine.state().name(), "leaving");
    }
}

// ---- Scalelite's polls

/// Answers the next look at the entry.
fn looked(mut rig: Rig, found: Found) -> Rig {
    rig = rig.until(Job::Keep);
    rig.step(Event::Finished(Job::Keep, Ok(found)));
    rig
}

#[test]
fn a_host_that_no_poll_reaches_is_offline_after_three() {
    let mut rig = fresh().told(serve()).until(JOIN);
    rig.step(Event::Finished(JOIN, Ok(Found::Unpolled)));
    let enabled = rig.now;
    let words = rig.machine.words(rig.now);
    assert!(words.contains("registered; waiting for a poll of Scalelite's (every 1 min)"), "{words}");
    while rig.machine.state().name() == "serving" {
        match rig.machine.job() {
            Some(job) => drop(rig.step(Event::Finished(job, Ok(Found::Unpolled)))),
            None => rig.pass(),
        }
    }
    assert_eq!((rig.machine.state().name(), rig.now - enabled), ("offline", 3 * policy().poll));
    let words = rig.machine.words(rig.now);
    assert!(words.contains("three polls of Scalelite's in a row have not reached this host"), "{words}");
    for found in [Found::Unpolled, Found::Unpolled, Found::Entry(EntryState::Enabled)] {
        assert_eq!(rig.machine.state().name(), "offline");
        rig = looked(rig, found);
    }
    assert_eq!(rig.machine.words(rig.now), "registered");
    // One look without a load is no reason for an alarm, and polls are watched for at once.
    let rig = looked(rig, Found::Unpolled);
    assert_eq!(rig.machine.state().name(), "serving");
    assert!(rig.machine.wake().unwrap() <= rig.now + 2 * policy().poll);
}

#[test]
fn a_cordon_by_an_operator_outlives_every_stop_that_only_cordons() {
    for cause in [StopCause::Unknown, StopCause::Stop] {
        let mut rig = super::rig::rig("cordoned: somebody");
        rig.machine.policy.on_stop = OnStop::Cordon;
        rig.step(Event::Stop(cause));
        rig.ends();
        let next = restarted(&rig).told(serve()).settle();
        assert_eq!(
            (next.machine.state().name(), next.entry),
            ("cordoned", EntryState::Cordoned),
            "{cause:?}"
        );
    }
}

#[test]
fn an_operators_drain_outlives_a_stop_for_an_unknown_reason() {
    let mut rig = rig("draining: by hand");
    rig.step(Event::Stop(StopCause::Unknown));
    rig.ends();
    assert_eq!(restarted(&rig).told(serve()).machine.state().name(), "draining");
}

#[test]
fn a_host_that_nobody_knows_stops_soon() {
    let mut rig = fresh();
    let begun = rig.now;
    rig.step(Event::Stop(StopCause::PowerOff));
    while rig.machine.state() != &State::Ended {
        match rig.machine.job() {
            Some(job) => drop(rig.step(Event::Finished(job, Err(trouble())))),
            None => rig.pass(),
        }
    }
    assert!(rig.now <= begun + Duration::from_secs(12), "{:?}", rig.now - begun);
}

#[test]
fn refusals_say_whether_to_try_again() {
    let refusal = |cell: &str| {
        let mut rig = rig(cell);
        rig.step(Event::Ordered(Order::Register)).into_iter().find_map(|action| match action {
            Action::Refuse(why) => Some(why),
            _ => None,
        })
    };
    assert_eq!(refusal("starting"), Some(Refusal::Starting));
    assert_eq!(refusal("stopping"), Some(Refusal::Stopping));
    assert_eq!(refusal("draining: terminate"), Some(Refusal::Group));
    assert_eq!(refusal("draining: spot notice"), Some(Refusal::Spot));
    assert_eq!(refusal("warm pool"), Some(Refusal::WarmPool));
    assert_eq!(refusal("serving"), None);
    assert!(Refusal::Starting.passes() && !Refusal::Group.passes());
}

// ---- the cordon

#[test]
fn a_host_in_standby_never_enables_its_entry() {
    let rig = fresh().told(intent("standby")).settle();
    assert_eq!(rig.machine.state().name(), "cordoned");
    assert!(!rig.log.contains(&Action::Start(JOIN)), "{:?}", rig.log);
}

#[test]
fn a_lost_cordon_is_made_again_whatever_the_host_is_cordoned_for() {
    for why in ["standby", "rebalance", "maintenance soon"] {
        // The first count may have begun before the cordon.
        let rig = serving().told(intent(why)).settle().counted(work(1, 0)).counted(work(1, 0));
        let rig = rig.counted(work(2, 0));
        assert_eq!(rig.machine.job(), Some(Job::Recordon), "{why}");
        let rig = rig.settle().counted(work(2, 0)).counted(work(2, 0));
        assert_ne!(rig.machine.job(), Some(Job::Recordon), "{why}: what leaked is known now");
    }
}

#[test]
fn breakout_rooms_and_half_a_list_are_no_leaks() {
    let leaks = |rig: &Rig| rig.log.contains(&Action::Start(Job::Recordon));
    let mut half = work(1, 0);
    half.meetings.unlisted = Some("cut off".to_owned());
    let mut rig = serving().told(intent("standby")).settle().counted(half.clone()).counted(half);
    rig = rig.counted(work(2, 0));
    assert!(!leaks(&rig), "the second meeting may have been there before");
    let mut rooms = work(2, 0);
    let room = Room::Breakout(Some("0".to_owned()));
    rooms.meetings.listed.push(crate::work::Meeting { room, ..meeting("room", 2) });
    rig = rig.counted(rooms.clone());
    assert!(!leaks(&rig), "a breakout room comes with its meeting");
    rooms.meetings.listed.remove(0);
    rig = rig.counted(rooms);
    assert!(!leaks(&rig), "and may outlive it");
    assert!(leaks(&rig.counted(work(3, 0)).settle()), "a meeting of its own proves it");
}

#[test]
fn an_entry_that_never_stays_cordoned_is_not_enabled_without_end() {
    let mut rig = serving().told(intent("standby")).settle().counted(work(0, 0));
    let mut recordons = 0;
    for meetings in 1..20 {
        rig = rig.counted(work(meetings, 0));
        recordons += usize::from(rig.machine.job() == Some(Job::Recordon));
        rig = rig.settle().counted(work(meetings, 0)).counted(work(meetings, 0));
    }
    assert_eq!(recordons, 5);
}

// ---- recordings after the deadline

/// Lives on after a deadline that has ended meetings, and returns after how long the lifecycle action was completed.
fn completed_after(work: &Work, hook: Hook) -> Duration {
    let mut rig = rig("draining: terminate").hooked(hook);
    let over = deadline(&rig);
    rig.live(over + MINUTE, "leaving", &super::rig::work(1, 0), |_, _| Ok(()));
    let mut completed = None;
    rig.live(over + 600 * MINUTE, "unregistered", work, |now, call| {
        if let Call::Complete(_) = call {
            completed = Some(now - over);
        }
        Ok(())
    });
    completed.expect("it was completed")
}

fn recordings(count: usize) -> Work {
    work(0, count)
}

#[test]
fn the_recordings_of_meetings_that_a_deadline_has_ended_are_waited_for() {
    let patience = policy().after_deadline;
    assert!(completed_after(&recordings(1), hook()) >= patience, "to the limit of the setting");
    let unknown = Work { recordings: Recordings::unknown(unknown()), ..Work::default() };
    assert!(completed_after(&unknown, hook()) >= patience, "unknown is not none");
    let short = Hook { ceiling: 50 * MINUTE, ..hook() };
    assert!(completed_after(&recordings(1), short) < MINUTE, "within the time that the hook allows");
}

#[test]
fn a_host_leaves_as_soon_as_its_last_recording_has_left() {
    let mut rig = rig("leaving: terminate, by force, left");
    let begun = rig.now;
    rig.live(begun + 5 * MINUTE, "unregistered", &recordings(1), |_, call| {
        assert!(!matches!(call, Call::Complete(_)), "a recording is still here");
        Ok(())
    });
    let words = rig.machine.words(rig.now);
    assert!(words.contains("its meetings have ended, waiting for 1 recording (1 to publish)"), "{words}");
    rig.live(begun + 10 * MINUTE, "unregistered", &recordings(0), |_, _| Ok(()));
    assert_eq!(rig.machine.state().name(), "unregistered");
    assert!(rig.now < begun + 7 * MINUTE, "{:?}", rig.now - begun);
}

/// Returns after how long the lifecycle action of a host that the group ends is completed, with one recording that
/// never leaves.
fn let_go_after(mut rig: Rig) -> Duration {
    let begun = rig.now;
    let mut completed = None;
    rig.live(begun + 600 * MINUTE, "unregistered", &recordings(1), |now, call| {
        if let Call::Complete(_) = call {
            completed = Some(now - begun);
        }
        Ok(())
    });
    completed.expect("it was completed")
}

#[test]
fn the_recordings_of_meetings_that_an_order_has_ended_are_waited_for() {
    let ended = |rig: Rig| let_go_after(rig.told(intent("terminate")).hooked(hook()));
    let out = serving().counted(work(1, 0)).ordered(Order::Deregister);
    // The group takes the host while it leaves, when it has left, and before an order while it drains.
    assert!(ended(serving().counted(work(1, 0)).ordered(Order::Deregister)) >= policy().after_deadline);
    assert!(ended(out.settle()) >= policy().deadline);
    let drained = rig("draining: terminate").hooked(hook()).counted(work(1, 0));
    assert!(let_go_after(drained.ordered(Order::Deregister)) >= policy().after_deadline);
}

#[test]
fn a_meeting_that_ends_shortly_before_the_deadline_has_its_recording_waited_for() {
    let mut rig = rig("draining: terminate").hooked(hook());
    let over = deadline(&rig);
    rig.live(over - MINUTE, "leaving", &work(1, 0), |_, _| Ok(()));
    rig.live(over + 600 * MINUTE, "unregistered", &recordings(1), |_, _| Ok(()));
    let waited = rig.now - over;
    assert!(waited + 2 * MINUTE >= policy().after_deadline && waited < policy().after_deadline, "{waited:?}");
}

#[test]
fn recordings_that_a_drain_has_waited_for_in_vain_are_not_waited_for_once_more() {
    let mut rig = rig("draining: terminate").hooked(hook());
    let over = deadline(&rig);
    rig.live(over + 100 * MINUTE, "unregistered", &recordings(1), |_, _| Ok(()));
    assert!(rig.now < over + MINUTE, "{:?}", rig.now - over);
}

#[test]
fn a_deadline_by_hand_does_not_wait_for_recordings_because_the_host_stays() {
    let mut rig = rig("draining: by hand");
    rig.live(100 * MINUTE, "unregistered", &recordings(1), |_, _| Ok(()));
    assert_eq!(rig.machine.state().name(), "unregistered");
    assert!(rig.now < 70 * MINUTE, "{:?}", rig.now);
}

// ---- what waits for nobody

#[test]
fn a_meeting_that_nobody_joins_does_not_hold_a_drain_to_its_deadline() {
    let mut empty = work(0, 0);
    empty.meetings.listed.push(meeting("lonely", 0));
    let mut rig = rig("draining: terminate");
    let begun = rig.now;
    rig.live(begun + 50 * MINUTE, "leaving", &empty, |_, _| Ok(()));
    let waited = rig.now - begun;
    assert!(waited >= policy().rules.empty_meeting && waited < 35 * MINUTE, "{waited:?}");
}

// ---- the metadata service

#[test]
fn one_answer_takes_no_notice_back() {
    let glitch = Intent::default();
    for notice in ["terminate", "standby", "warm pool", "rebalance", "spot notice", "maintenance soon"] {
        let notice = intent(notice);
        let mut heard = Heard::default();
        assert_eq!(heard.hear(notice, true), Some(notice), "a notice is believed at once");
        assert_eq!(heard.hear(glitch, true), None, "{notice:?}");
        assert_eq!(heard.hear(notice, true), None, "{notice:?}: nothing has changed");
        assert_eq!(heard.hear(glitch, true), None, "{notice:?}: not twice in a row");
        assert!(heard.doubts());
        assert_eq!(heard.hear(glitch, false), None, "{notice:?}: not answered");
        assert_eq!(heard.hear(glitch, true), Some(glitch), "{notice:?}");
    }
}

#[test]
fn a_service_that_has_taken_the_host_out_does_not_serve_at_the_first_word() {
    let window = Window { since: MINUTE, deadline: 60 * MINUTE, held: None, forced: false };
    let drained = Kept { window: Some(window), ..Memory::Joined.into() };
    let cordoned = Kept::from(Memory::Cordoned);
    for (kept, doubted, believed) in [
        (&drained, ["serve", "standby", "rebalance"].as_slice(), ["terminate", "spot notice"].as_slice()),
        (&cordoned, &["serve"], &["standby", "rebalance", "maintenance soon", "terminate"]),
        (&Kept::default(), &[], &["serve", "standby", "terminate"]),
    ] {
        for words in doubted {
            let mut heard = Heard::new(kept);
            assert_eq!(heard.hear(intent(words), true), None, "{words}");
            assert_eq!(heard.hear(intent(words), true), Some(intent(words)), "{words}");
        }
        for words in believed {
            assert_eq!(Heard::new(kept).hear(intent(words), true), Some(intent(words)), "{words}");
        }
    }
}

// ---- the clock of the day

/// EC2 takes the host back so long from now, by a clock that may be wrong.
fn taken_back(rig: &Rig, target: Target, left: Duration) -> Intent {
    Intent { target, spot: Some(rig.now + left), ..serve() }
}

#[test]
fn a_clock_that_is_set_moves_the_end_of_a_spot_notice() {
    let second = Duration::from_secs(1);
    for target in [Target::Serve, Target::Terminate] {
        let rig = serving().counted(work(1, 0));
        // An hour behind, then right.
        let wrong = taken_back(&rig, target, 62 * MINUTE);
        let right = taken_back(&rig, target, 2 * MINUTE);
        let mut rig = rig.told(wrong);
        assert!(deadline(&rig) > rig.now + 50 * MINUTE, "{target:?}");
        rig.step(Event::Told(right));
        assert_eq!(deadline(&rig), right.spot.unwrap() - 30 * second, "{target:?}");
        // A minute ahead, then right: the meetings get the minute back, and are told of the new end.
        let rig = serving().counted(work(1, 0));
        let (wrong, right) = (taken_back(&rig, target, MINUTE), taken_back(&rig, target, 2 * MINUTE));
        let mut rig = rig.told(wrong);
        assert_eq!(deadline(&rig), wrong.spot.unwrap() - 30 * second, "{target:?}");
        rig.calls.clear();
        let actions = rig.step(Event::Told(right));
        assert_eq!(deadline(&rig), right.spot.unwrap() - 30 * second, "{target:?}");
        assert!(actions.contains(&Action::Call(Call::Announce(2))), "{target:?}: {actions:?}");
    }
}

#[test]
fn a_spot_notice_that_turns_out_to_be_later_prolongs_no_other_deadline() {
    let rig = serving().counted(work(1, 0)).ordered(Order::Drain(Some(MINUTE / 4)));
    let before = deadline(&rig);
    let (wrong, right) =
        (taken_back(&rig, Target::Serve, MINUTE), taken_back(&rig, Target::Serve, 2 * MINUTE));
    let mut rig = rig.told(wrong);
    rig.step(Event::Told(right));
    assert_eq!(deadline(&rig), before);
    // Nor does it give a host more than the group's drain has.
    let rig = serving().counted(work(1, 0)).told(Intent { target: Target::Terminate, ..serve() });
    let before = deadline(&rig);
    let (wrong, right) =
        (taken_back(&rig, Target::Terminate, MINUTE), taken_back(&rig, Target::Terminate, 1000 * MINUTE));
    let mut rig = rig.told(wrong);
    assert_ne!(deadline(&rig), before);
    rig.step(Event::Told(right));
    assert_eq!(deadline(&rig), before);
}

// ---- the address that BBB announces

#[test]
fn a_host_that_comes_back_looks_at_its_bbb_before_it_joins() {
    let rig = super::rig::rig("serving, looking at the addresses");
    let out = rig.looked(Announced::Right).ordered(Order::Deregister).settle();
    assert_eq!(out.machine.state().name(), "unregistered");
    let mut rig = out.ordered(Order::Register);
    rig.answer();
    assert_eq!(rig.machine.job(), None, "what was seen before says nothing");
    assert!(rig.machine.words(rig.now).contains("finding out which address BBB announces"));
    let rig = rig.looked(Announced::Right);
    assert_eq!(rig.machine.job(), Some(JOIN));
}

#[test]
fn an_order_to_serve_all_the_same_outlives_the_service() {
    let rig = super::rig::rig("serving, the address overruled, looking again");
    let kept = rig.log.iter().rev().find_map(|action| match action {
        Action::Remember(kept) => Some(kept.clone()),
        _ => None,
    });
    let policy = rig.machine.policy.clone();
    let mut next = Rig::new(policy, kept.unwrap());
    next.now = rig.now + MINUTE;
    let next = next.told(serve()).settle();
    assert_eq!(next.machine.state().name(), "serving", "before it has looked");
    let next = next.looked(other_address()).settle();
    assert_eq!(next.machine.state().name(), "serving");
    // The order is over with the reason.
    let next = next.looked(Announced::Right).settle().looked(other_address()).settle();
    assert_eq!(next.machine.state().name(), "cordoned");
}
