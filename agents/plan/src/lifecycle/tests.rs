use super::rig::*;
use super::*;
use crate::membership::State as EntryState;
use crate::recordings::Recordings;
use crate::table;
use crate::work::Meetings;

fn words(action: &Action) -> String {
    match action {
        Action::Start(JOIN) => "start Join".to_owned(),
        Action::Start(Job::Join(state)) => format!("start Join {state}"),
        Action::Start(job) => format!("start {job:?}"),
        Action::Cancel => "cancel".to_owned(),
        Action::Call(call) => format!("call {call:?}"),
        Action::Ready => "ready".to_owned(),
        Action::Remember(Kept { memory, window, overruled, joined: _ }) => {
            let drain = if window.is_some() { " and the drain" } else { "" };
            let overruled: Vec<String> = overruled.iter().map(|why| format!(" without {why:?}")).collect();
            format!("remember {memory:?}{drain}{}", overruled.concat())
        }
        Action::Refuse(_) => "refuse".to_owned(),
        Action::End(result) => format!("end {result:?}"),
    }
}

#[test]
fn every_transition() {
    let rows = table::rows::<4>(include_str!("../tables/lifecycle.md"));
    let shown: Vec<String> = rows
        .iter()
        .map(|[state, happens, ..]| {
            let mut rig = rig(state);
            assert!(state.starts_with(rig.machine.state().name()), "{state}: {:?}", rig.machine.state());
            let event = event(happens, &mut rig);
            let actions: Vec<String> = rig.step(event).iter().map(words).collect();
            let actions = if actions.is_empty() { "nothing".to_owned() } else { actions.join(", ") };
            format!("| {state} | {happens} | {} | {actions} |", rig.machine.state().name())
        })
        .collect();
    let expected: Vec<String> = rows.iter().map(|row| format!("| {} |", row.join(" | "))).collect();
    assert_eq!(shown, expected, "the table would be:\n{}", shown.join("\n"));
}

#[test]
fn what_each_stop_undoes() {
    for [state, cause, on_stop, undone] in table::rows::<4>(include_str!("../tables/stop.md")) {
        let choices = match on_stop.as_str() {
            "any" => vec![OnStop::Leave, OnStop::Cordon, OnStop::Keep],
            "leave" => vec![OnStop::Leave],
            "cordon" => vec![OnStop::Cordon],
            "keep" => vec![OnStop::Keep],
            other => panic!("{other}"),
        };
        let cause = match cause.as_str() {
            "restart" => StopCause::Restart,
            "reboot" => StopCause::Reboot,
            "power off" => StopCause::PowerOff,
            "stop" => StopCause::Stop,
            "unknown" => StopCause::Unknown,
            other => panic!("{other}"),
        };
        let job = match undone.as_str() {
            "nothing" => None,
            "everything" => Some(Job::Leave),
            "cordon, the entry and the name stay" => Some(Job::Cordon),
            "disable, panic and delete, the name stays" => Some(Job::Withdraw(None)),
            "disable, panic and delete, the name stays; cordoned again after the boot" => {
                Some(Job::Withdraw(Some(EntryState::Cordoned)))
            }
            other => panic!("{other}"),
        };
        for on_stop in choices {
            let name = if state == "unregistered" { "unregistered: terminate" } else { &state };
            let name = match name {
                "cordoned" => "cordoned: somebody",
                "draining" => "draining: terminate",
                "leaving" => "leaving: terminate",
                name => name,
            };
            let mut rig = rig(name);
            rig.machine.policy.on_stop = on_stop;
            rig.log.clear();
            rig.step(Event::Stop(cause));
            // A job that no longer fits ends first.
            if let (Some(running), true) = (rig.machine.job(), rig.machine.job() != job) {
                let trouble = Trouble { words: "cancelled".to_owned(), kind: TroubleKind::Cancelled };
                rig.step(Event::Finished(running, Err(trouble)));
            }
            // Nothing has to be done again for an entry that is cordoned.
            let cordoned = job == Some(Job::Cordon) && rig.entry == EntryState::Cordoned;
            let running = rig.machine.job();
            assert!(
                running == job || cordoned && running.is_none(),
                "{state}, {cause:?}, {on_stop:?}: {running:?}, where the table says {undone:?}"
            );
            rig.ends();
            assert_eq!(rig.machine.state(), &State::Ended, "{state}, {cause:?}, {on_stop:?}");
            assert!(rig.log.contains(&Action::End(Ok(()))));
        }
    }
}

#[test]
fn a_stop_ends_in_time_even_if_nothing_answers() {
    let mut rig = rig("stopping");
    assert_eq!(rig.machine.job(), Some(Job::Leave));
    rig.now += policy().stop_patience;
    assert_eq!(rig.step(Event::Tick), [], "it has a moment to say what went wrong");
    let wake = rig.machine.wake().unwrap();
    assert!(wake <= rig.now + Duration::from_secs(1), "{wake:?}");
    rig.now = wake;
    assert_eq!(rig.step(Event::Tick), [Action::Cancel]);
    let trouble = Trouble { words: "cancelled".to_owned(), kind: TroubleKind::Cancelled };
    let actions = rig.step(Event::Finished(Job::Leave, Err(trouble)));
    assert_eq!(actions, [Action::End(Err("there was no time for it".to_owned()))]);
}

#[test]
fn a_host_waits_for_its_turn_and_says_how_long() {
    let mut rig = rig("joining");
    let turn = Duration::from_secs(37);
    let trouble = Trouble { words: "waiting for its turn".to_owned(), kind: TroubleKind::Turn(turn) };
    assert_eq!(rig.step(Event::Finished(Job::Name, Err(trouble.clone()))), []);
    let begun = rig.now;
    assert_eq!(rig.machine.words(begun), "registering the name: waiting for its turn; next try in 37 s");
    rig.now = begun + turn - Duration::from_millis(1);
    assert!(!rig.step(Event::Tick).contains(&Action::Start(Job::Name)), "too early");
    rig.now = begun + turn;
    assert!(rig.step(Event::Tick).contains(&Action::Start(Job::Name)));

    // An operator who calls register does not want to wait for other hosts.
    assert_eq!(rig.step(Event::Finished(Job::Name, Err(trouble))), []);
    assert!(rig.step(Event::Ordered(Order::Register)).contains(&Action::Start(Job::Name)));
}

/// Found by the simulation: with another host's name, Scalelite would send this host's meetings to that host.
#[test]
fn a_host_that_never_got_its_name_does_not_join_after_a_drain() {
    let mut rig = rig("joining").ordered(Order::Drain(None));
    rig.step(Event::Finished(
        Job::Name,
        Err(Trouble { words: "another's".to_owned(), kind: TroubleKind::Lasting }),
    ));
    let actions = rig.step(Event::Ordered(Order::Register));
    assert!(!actions.contains(&Action::Start(JOIN)), "{actions:?}");
    assert!(matches!(rig.machine.state(), State::Joining(joining) if !joining.named));

    let mut rig = super::rig::rig("draining: by hand").ordered(Order::Register);
    assert!(matches!(rig.machine.state(), State::Joining(joining) if joining.named));
    assert_eq!(rig.answer(), [Action::Start(JOIN)]);
}

#[test]
fn what_was_looked_at_before_the_order_is_looked_at_again() {
    let mut rig = rig("serving, looking after the entry");
    assert_eq!(rig.machine.job(), Some(Job::Keep));
    rig.step(Event::Ordered(Order::Check));
    let enabled = Ok(Found::Entry(EntryState::Enabled));
    let actions = rig.step(Event::Finished(Job::Keep, enabled.clone()));
    assert_eq!(actions, [Action::Start(Job::Name)]);
    let actions = rig.step(Event::Finished(Job::Name, Ok(Found::Live)));
    assert_eq!(actions, [Action::Start(Job::Keep)]);
    assert_eq!(rig.step(Event::Finished(Job::Keep, enabled)), [], "once");
}

#[test]
fn a_stop_by_hand_ends_the_protection_from_scale_in_before_it_ends() {
    let ends = |rig: &Rig| rig.log.contains(&Action::End(Ok(())));
    for told_before in [true, false] {
        let mut rig = serving();
        rig.step(Event::Grouped(Ok(Some(false))));
        rig = rig.counted(work(1, 0));
        assert!(rig.calls.contains(&Call::Protect(true)), "{:?}", rig.calls);
        if told_before {
            rig.step(Event::Called(Call::Protect(true), Ok(())));
        }
        rig.step(Event::Stop(StopCause::Stop));
        while rig.machine.job().is_some() {
            rig.answer();
        }
        assert!(!ends(&rig), "the group does not know yet");
        if !told_before {
            rig.step(Event::Called(Call::Protect(true), Ok(())));
            assert!(!ends(&rig), "the group has just been told to protect it");
        }
        // The call is not tried again: an operator who stops the service does not wait for a group that refuses.
        rig.step(Event::Called(Call::Protect(false), Err("denied".to_owned())));
        assert!(ends(&rig), "{:?}", rig.log);
    }
}

#[test]
fn a_second_signal_changes_nothing() {
    let mut rig = rig("stopping");
    let before = rig.machine.clone();
    assert_eq!(rig.step(Event::Stop(StopCause::Restart)), []);
    assert_eq!(rig.machine.state(), before.state());
}

#[test]
fn what_cannot_have_happened_is_an_error() {
    let mut rig = serving();
    let event = Event::Finished(Job::Leave, Ok(Found::Done));
    let error = rig.machine.step(event, rig.now, 0.5).unwrap_err();
    assert_eq!(error.state, "serving");
    let event = Event::Called(Call::Complete(HookResult::Continue), Ok(()));
    assert!(rig.machine.step(event, rig.now, 0.5).is_err());
    rig.step(Event::Stop(StopCause::Restart));
    assert!(rig.machine.step(Event::Tick, rig.now, 0.5).is_err(), "it has ended");
}

#[test]
fn heartbeats_come_well_inside_the_timeout() {
    let mut rig = rig("draining: terminate");
    let begin = rig.now;
    let mut beats = vec![begin];
    rig.live(begin + 50 * MINUTE, "leaving", &work(1, 0), |now, call| {
        if call == Call::Heartbeat {
            beats.push(now);
        }
        Ok(())
    });
    beats.push(rig.now);
    let longest = beats.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(longest <= Some(hook().heartbeat_timeout / 2), "{beats:?}");
}

#[test]
fn the_hooks_ceiling_bounds_the_drain() {
    let mut rig = rig("draining: terminate");
    let ceiling = 20 * MINUTE;
    rig.step(Event::Hooked(Ok(hooks([Hook { ceiling, ..hook() }]))));
    let State::Draining(drain) = rig.machine.state() else { panic!() };
    assert!(drain.deadline < drain.since + ceiling);
}

#[test]
fn a_spot_notice_leaves_half_a_minute_for_leaving() {
    let end = 10 * MINUTE;
    let mut rig = serving();
    rig.now = end - 2 * MINUTE;
    rig.step(Event::Told(Intent { spot: Some(end), ..serve() }));
    let mut rig = rig.settle().counted(work(1, 0));
    rig.now = end - MINUTE / 2;
    assert!(rig.step(Event::Tick).contains(&Action::Start(Job::Leave)));
}

#[test]
fn a_group_does_not_wait_for_ever_for_what_somebody_has_ordered() {
    let mut rig = serving().ordered(Order::Deregister);
    let fails = |rig: &mut Rig, end: Moment| {
        while rig.now < end && rig.machine.state().name() == "leaving" {
            let trouble = Trouble { words: "it does not answer".into(), kind: TroubleKind::Passing };
            for call in std::mem::take(&mut rig.calls) {
                if matches!(call, Call::Heartbeat | Call::Complete(_)) {
                    rig.step(Event::Called(call, Ok(())));
                }
            }
            if rig.machine.state().name() != "leaving" {
                return;
            }
            match rig.machine.job() {
                Some(job) => drop(rig.step(Event::Finished(job, Err(trouble)))),
                None => rig.pass(),
            }
        }
    };
    let day = 24 * 60 * MINUTE;
    fails(&mut rig, day);
    assert_eq!(rig.machine.state().name(), "leaving", "nobody else wants it");
    rig = rig.told(intent("terminate"));
    fails(&mut rig, 2 * day);
    assert!(rig.now < day + 20 * MINUTE, "{:?}", rig.now);
    assert!(matches!(rig.machine.state(), State::Unregistered(Unregistered { trouble: Some(_), .. })));
}

#[test]
fn announcements_say_what_is_left_and_only_once() {
    let mut rig = rig("draining: by hand");
    let mut said = Vec::new();
    rig.live(100 * MINUTE, "leaving", &work(1, 0), |_, call| {
        if let Call::Announce(minutes) = call {
            said.push(minutes);
        }
        Ok(())
    });
    assert_eq!(said, [30, 5]);
}

#[test]
fn nobody_is_told_where_nobody_is() {
    let mut rig = rig("draining: by hand");
    // The drain waits for a recording only.
    rig.live(100 * MINUTE, "leaving", &work(0, 1), |_, call| {
        assert!(!matches!(call, Call::Announce(_)));
        Ok(())
    });
    assert!(matches!(rig.machine.state(), State::Leaving(Leaving { forced: true, .. })));
    let words = rig.machine.words(rig.now);
    assert!(words.contains("as its time is over, with 1 recording (1 to publish)"), "{words}");
}

#[test]
fn protection_follows_the_work_with_hysteresis() {
    let mut rig = serving();
    let mut set = Vec::new();
    let mut throttled = 2;
    let mut answer = |now, call| match call {
        Call::Protect(on) => {
            set.push((now, on));
            throttled -= i32::from(throttled > 0);
            if throttled > 0 { Err("Throttling".to_owned()) } else { Ok(()) }
        }
        _ => Ok(()),
    };
    rig.live(30 * MINUTE, "", &work(1, 0), &mut answer);
    rig.live(34 * MINUTE, "", &work(0, 0), &mut answer);
    rig.live(40 * MINUTE, "", &work(0, 1), &mut answer);
    rig.live(60 * MINUTE, "", &work(0, 0), &mut answer);
    let changes: Vec<bool> = set.iter().map(|(_, on)| *on).collect();
    assert_eq!(changes, [true, true, false], "throttled once, on, off after the second lull only: {set:?}");
    assert!(set[2].0 >= 45 * MINUTE, "{set:?}");
}

#[test]
fn what_nobody_can_count_is_neither_empty_nor_idle() {
    let why = || "no answer".to_owned();
    for unknown in [
        Work { meetings: Meetings::unknown(why()), ..Work::default() },
        Work { recordings: Recordings::unknown(why()), ..Work::default() },
    ] {
        let mut rig = rig("draining: by hand");
        let deadline = rig.now + policy().deadline;
        rig.live(deadline * 2, "leaving", &unknown, |_, _| Ok(()));
        assert!(rig.now >= deadline, "{unknown:?}");
    }
}

#[test]
fn targets_as_the_metadata_service_words_them() {
    for (text, target) in [
        (None, Some(Target::Serve)),
        (Some("InService"), Some(Target::Serve)),
        (Some("Detached"), Some(Target::Serve)),
        (Some("Standby"), Some(Target::Standby)),
        (Some("Terminated"), Some(Target::Terminate)),
        (Some("Warmed:Stopped"), Some(Target::Warm)),
        (Some("Warmed:Running"), Some(Target::Warm)),
        (Some("Warmed:Hibernated"), Some(Target::Warm)),
        (Some("Warmed:Terminated"), Some(Target::Terminate)),
        (Some("Terminating"), None),
        (Some(""), None),
    ] {
        assert_eq!(Target::parse(text), target, "{text:?}");
    }
}

#[test]
fn words_for_every_state() {
    let lines: Vec<String> = [
        "starting",
        "joining",
        "joining, named",
        "serving",
        "cordoned: somebody",
        "cordoned: rebalance",
        "draining: by hand",
        "draining: terminate",
        "leaving: terminate",
        "leaving: terminate, left",
        "unregistered: by hand",
        "unregistered: terminate",
        "warm pool",
        "stopping",
    ]
    .iter()
    .map(|state| {
        let rig = rig(state);
        rig.machine.words(rig.now)
    })
    .collect();
    let expected = [
        "waiting for the instance metadata service",
        "registering the name",
        "the name is registered; joining Scalelite",
        "registered",
        "registered, but an operator has cordoned its entry in Scalelite; enable it there, or call register",
        "registered, but cordoned: EC2 recommends replacing this instance",
        "draining (by hand): counting meetings and recordings; at most 1 h 0 min more",
        "draining (its Auto Scaling group ends this host): counting meetings and recordings; at most 1 h 0 min more",
        "leaving (its Auto Scaling group ends this host)",
        "leaving (its Auto Scaling group ends this host): completing the lifecycle action",
        "not registered: taken out by hand; register brings it back",
        "not registered: its Auto Scaling group ends this host",
        "not registered: this host is in the warm pool",
        "stopping (the host powers off)",
    ];
    assert_eq!(lines, expected);
}

/// A time of day in the order would be as old as the order: the loop may have slept since.
#[test]
fn the_time_of_a_drain_counts_from_the_step_that_takes_the_order() {
    let mut rig = serving();
    let now = rig.now + Duration::from_secs(3600);
    let within = Duration::from_secs(20);
    rig.machine.step(Event::Ordered(Order::Drain(Some(within))), now, 0.5).unwrap();
    assert!(matches!(rig.machine.state(), State::Draining(drain) if drain.deadline == now + within));
}

/// The look was begun while BBB announced another address, and could not be cancelled in time.
#[test]
fn a_look_that_comes_too_late_is_no_operators_decision() {
    let mut rig = rig("joining, with another address, looking at the entry");
    while !rig.calls.contains(&Call::Addresses) {
        rig.now = rig.machine.wake().expect("a look");
        rig.step(Event::Tick);
    }
    rig.step(Event::Announced(crate::addresses::Announced::Right));
    rig.step(Event::Finished(Job::Look, Ok(Found::Entry(EntryState::Disabled))));
    assert_eq!(rig.machine.state().name(), "joining", "{}", rig.machine.words(rig.now));
    assert_eq!(rig.machine.job(), Some(Job::Join(EntryState::Enabled)));
}
