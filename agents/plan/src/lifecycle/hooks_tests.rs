//! The group's hooks, a launch, a BBB that stays silent, and a recommendation that nothing follows.

use super::rig::*;
use super::*;
use crate::work::Meetings;

fn launching(limit: Duration) -> Policy {
    Policy { launch: Some(Launching { limit, at_limit: HookResult::Abandon }), ..policy() }
}

/// Two termination hooks: this agent's, and a log shipper's with shorter times.
fn two() -> Hooks {
    let logs =
        Hook { name: "logs".to_owned(), heartbeat_timeout: 3 * MINUTE, ceiling: 30 * MINUTE, own: false };
    hooks([hook(), logs])
}

fn deadline(rig: &Rig) -> Moment {
    match rig.machine.state() {
        State::Draining(drain) => drain.deadline,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_hook_gets_its_heartbeat_and_the_first_ceiling_holds() {
    let mut rig = rig("draining: terminate");
    let begun = rig.now;
    rig.calls.retain(|call| *call != Call::Hook);
    rig.step(Event::Hooked(Ok(two())));
    assert!(deadline(&rig) < begun + 30 * MINUTE, "the log shipper's hook ends first");
    let mut beats = vec![begun];
    rig.live(begun + 25 * MINUTE, "leaving", &work(1, 0), |now, call| {
        if call == Call::Heartbeat {
            beats.push(now);
        }
        Ok(())
    });
    let longest = beats.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(longest <= Some(3 * MINUTE / 2), "{beats:?}");
}

#[test]
fn hooks_that_others_complete_are_not_waited_for_once_the_host_has_left() {
    let mut rig = rig("draining: terminate");
    rig.calls.retain(|call| *call != Call::Hook);
    let others = Hooks {
        terminating: two().terminating.into_iter().map(|hook| Hook { own: false, ..hook }).collect(),
        ..Hooks::default()
    };
    rig.step(Event::Hooked(Ok(others)));
    let begun = rig.now;
    let mut calls = Vec::new();
    rig.live(begun + 25 * MINUTE, "unregistered", &work(0, 0), |_, call| {
        calls.push(call);
        Ok(())
    });
    assert_eq!(rig.machine.state().name(), "unregistered");
    assert!(calls.contains(&Call::Heartbeat) && !calls.iter().any(|call| matches!(call, Call::Complete(_))));
}

#[test]
fn a_group_without_hooks_is_asked_again() {
    let mut rig = rig("draining: terminate");
    rig.calls.retain(|call| *call != Call::Hook);
    rig.step(Event::Hooked(Ok(Hooks::default())));
    rig.step(Event::Called(Call::Heartbeat, Ok(())));
    let begun = rig.now;
    while !rig.calls.contains(&Call::Hook) {
        assert!(rig.now < begun + 2 * MINUTE, "the group is not asked again");
        rig.pass();
    }
    // Somebody has added one meanwhile.
    let actions = rig.step(Event::Hooked(Ok(two())));
    assert!(actions.contains(&Action::Call(Call::Heartbeat)), "{actions:?}");
}

#[test]
fn hooks_are_known_before_they_are_needed() {
    let mut rig = fresh();
    rig.step(Event::Told(serve()));
    assert!(rig.calls.contains(&Call::Hook));
    rig.step(Event::Hooked(Ok(two())));
    let mut rig = rig.settle();
    assert_eq!(rig.machine.hooks(), Some(two().terminating.as_slice()));
    let actions = rig.step(Event::Told(intent("terminate")));
    // It is asked whether they still are, and does not wait for the answer.
    for call in [Call::Heartbeat, Call::Hook] {
        assert!(actions.contains(&Action::Call(call)), "{actions:?}");
    }
    assert!(deadline(&rig) < rig.now + 30 * MINUTE);
}

// ---- launches

/// Starts a host that a launch hook holds.
fn held(policy: Policy) -> Rig {
    launched(Rig::new(policy, Memory::Fresh), serve())
}

fn launched(mut rig: Rig, intent: Intent) -> Rig {
    rig.step(Event::Told(intent));
    rig.step(Event::Hooked(Ok(Hooks { launching: Some(15 * MINUTE), ..Hooks::default() })));
    rig
}

fn launch_calls(rig: &Rig) -> Vec<Call> {
    let calls = rig.log.iter().filter_map(|action| match action {
        Action::Call(call @ (Call::LaunchHeartbeat | Call::Launched(_))) => Some(*call),
        _ => None,
    });
    calls.collect()
}

#[test]
fn a_launch_ends_when_scalelite_has_reached_the_host() {
    let mut rig = held(launching(60 * MINUTE));
    assert_eq!(launch_calls(&rig), [Call::LaunchHeartbeat]);
    rig.step(Event::Called(Call::LaunchHeartbeat, Ok(())));
    rig = rig.until(JOIN);
    rig.step(Event::Finished(JOIN, Ok(Found::Unpolled)));
    assert_eq!(launch_calls(&rig).last(), Some(&Call::LaunchHeartbeat), "no poll has come yet");
    let mut rig = rig.until(Job::Keep);
    rig.answer();
    let done = Call::Launched(HookResult::Continue);
    assert_eq!(launch_calls(&rig).last(), Some(&done));
    rig.step(Event::Called(done, Err("no".to_owned())));
    while launch_calls(&rig).iter().filter(|call| **call == done).count() < 2 {
        rig.pass();
    }
    rig.step(Event::Called(done, Ok(())));
    let calls = launch_calls(&rig).len();
    rig.now += 90 * MINUTE;
    rig.step(Event::Tick);
    assert_eq!(launch_calls(&rig).len(), calls, "it has ended");
}

#[test]
fn a_launch_that_takes_too_long_ends_as_the_settings_say() {
    let mut rig = held(launching(60 * MINUTE));
    rig.step(Event::Called(Call::LaunchHeartbeat, Ok(())));
    rig.now += 60 * MINUTE;
    rig.step(Event::Tick);
    assert_eq!(launch_calls(&rig).last(), Some(&Call::Launched(HookResult::Abandon)));
}

#[test]
fn a_host_in_the_warm_pool_holds_nobody_up_and_is_launched_anew() {
    let mut rig = launched(Rig::new(launching(60 * MINUTE), Memory::Fresh), intent("warm pool"));
    let done = Call::Launched(HookResult::Continue);
    assert_eq!(launch_calls(&rig), [done]);
    rig.step(Event::Called(done, Ok(())));
    rig = rig.told(serve());
    assert_eq!(launch_calls(&rig), [done, Call::LaunchHeartbeat]);
}

#[test]
fn without_a_setting_no_launch_hook_is_touched() {
    assert_eq!(launch_calls(&held(policy())), []);
}

// ---- silence

fn silent() -> Work {
    Work { meetings: Meetings::unknown("no answer".to_owned()), ..Work::default() }
}

/// Lives for an hour with a BBB that was last seen with this much work, and tells whether the group was told.
fn reported(last: Option<Work>, after: Option<Duration>) -> bool {
    let mut rig = serving();
    rig.machine.policy.unhealthy_after = after;
    for work in last.into_iter().chain([silent()]) {
        rig = rig.counted(work);
    }
    let mut told = false;
    let end = rig.now + 60 * MINUTE;
    rig.live(end, "draining", &silent(), |_, call| {
        told |= call == Call::Unhealthy;
        Ok(())
    });
    told
}

#[test]
fn only_a_bbb_that_died_without_meetings_is_reported() {
    let after = Some(20 * MINUTE);
    assert!(reported(Some(work(0, 0)), after));
    assert!(!reported(Some(work(1, 0)), after), "the meeting may still run");
    assert!(!reported(None, after), "nobody knows whether meetings run");
    assert!(!reported(Some(work(0, 0)), None), "off");
    assert!(!reported(Some(work(0, 0)), Some(90 * MINUTE)), "not yet");
}
