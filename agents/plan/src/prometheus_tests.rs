use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::lifecycle::{Leaving, Upkeep};

/// The rules of promtool's linter that concern names and help texts.
#[test]
fn names_keep_to_prometheus_conventions() {
    let metrics = Metric::ALL.map(|metric| (metric.series().name, metric.series().help, false));
    let counters = Counter::ALL.map(|counter| (counter.name(), counter.help(), true));
    let all = [&metrics[..], &counters[..]].concat();
    let names: BTreeSet<&str> = all.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names.len(), all.len(), "each name is there once");
    for (name, help, _) in all {
        let mut characters = name.chars();
        assert!(characters.all(|character| character.is_ascii_lowercase() || character == '_'), "{name}");
        for suffix in ["_total", "_count", "_sum", "_bucket", "_info", "_created"] {
            assert!(!name.ends_with(suffix), "{name}");
        }
        let abbreviations = ["s", "ms", "sec", "b", "kb", "mb", "m", "h", "d"];
        let types = ["counter", "gauge", "histogram", "summary"];
        let other_units = ["milliseconds", "minutes", "hours", "days", "percent"];
        for part in name.split('_') {
            assert!(!abbreviations.contains(&part) && !types.contains(&part), "{name}");
            assert!(!other_units.contains(&part), "{name}: not a base unit");
        }
        assert!(help.ends_with('.') && !help.contains(['\n', '\\', '"']), "{name}: {help}");
    }
    for metric in Metric::ALL {
        let Series { name, unit, .. } = metric.series();
        assert_eq!(name.ends_with("_seconds"), unit == Unit::Seconds, "{metric:?}");
    }
}

fn scrape(data: &[Datum], info: &[(&'static str, String)], counts: &Counts, format: Format) -> String {
    let calls = [("route53", "answered", 4), ("route53", "refused", 1)];
    Scrape { agent: "bbb-agent", info, data, counts, dropped_lines: 3, calls: &calls, retries: 2 }
        .render(format)
}

#[test]
fn one_scrape_in_both_formats() {
    let data = [
        Datum { metric: Metric::Registered, value: 1.0 },
        Datum { metric: Metric::CertificateDaysLeft, value: 1.5 },
    ];
    let info = [("version", "1.2.3".to_owned()), ("role", "bbb".to_owned())];
    let mut counts = Counts::default();
    counts.ended(Job::Name, None);
    counts.ended(Job::Name, None);
    counts.ended(Job::Name, Some(&TroubleKind::Passing));
    counts.sent(true);
    let text = "\
# HELP bbb_agent_info The agent and the host that it looks after.
# TYPE bbb_agent_info gauge
bbb_agent_info{version=\"1.2.3\",role=\"bbb\"} 1
# HELP bbb_agent_registered 1 where the host has its name and takes new meetings or TURN clients, else 0.
# TYPE bbb_agent_registered gauge
bbb_agent_registered 1
# HELP bbb_agent_certificate_remaining_seconds Time until the certificate of the host expires; negative when it has expired.
# TYPE bbb_agent_certificate_remaining_seconds gauge
bbb_agent_certificate_remaining_seconds 129600
# HELP bbb_agent_jobs_total Tries to change or check the name of the host or its entry in Scalelite, by job and outcome \
(done, waiting, failed, cancelled).
# TYPE bbb_agent_jobs_total counter
bbb_agent_jobs_total{job=\"name\",outcome=\"done\"} 2
bbb_agent_jobs_total{job=\"name\",outcome=\"failed\"} 1
# HELP bbb_agent_cloudwatch_messages_total Messages with metrics to CloudWatch, by outcome (taken, dropped).
# TYPE bbb_agent_cloudwatch_messages_total counter
bbb_agent_cloudwatch_messages_total{outcome=\"taken\"} 1
# HELP bbb_agent_log_lines_dropped_total Lines of the log that were dropped because nobody took them in time.
# TYPE bbb_agent_log_lines_dropped_total counter
bbb_agent_log_lines_dropped_total 3
# HELP bbb_agent_calls_total HTTP requests, by service (autoscaling, bbb, cloudwatch, ec2, imds, route53, scalelite, \
secretsmanager, sts) and outcome (answered, refused, failed).
# TYPE bbb_agent_calls_total counter
bbb_agent_calls_total{service=\"route53\",outcome=\"answered\"} 4
bbb_agent_calls_total{service=\"route53\",outcome=\"refused\"} 1
# HELP bbb_agent_retries_total Calls that were tried again after a pause.
# TYPE bbb_agent_retries_total counter
bbb_agent_retries_total 2
";
    assert_eq!(scrape(&data, &info, &counts, Format::Text), text);
    let open = text
        .replace("# HELP bbb_agent_info ", "# HELP bbb_agent ")
        .replace("# TYPE bbb_agent_info gauge", "# TYPE bbb_agent info")
        .replace(
            "# TYPE bbb_agent_certificate_remaining_seconds gauge\n",
            "# TYPE bbb_agent_certificate_remaining_seconds gauge\n# UNIT bbb_agent_certificate_remaining_seconds seconds\n",
        );
    let open: String = open
        .lines()
        .map(|line| match line.starts_with('#') {
            true => format!("{}\n", line.replace("_total ", " ")),
            false => format!("{line}\n"),
        })
        .collect();
    assert_eq!(scrape(&data, &info, &counts, Format::OpenMetrics), open + "# EOF\n");
}

#[test]
fn the_format_is_the_client_s_choice() {
    let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
    for accept in ["", "*/*", "text/plain;version=0.0.4", "text/html"] {
        assert_eq!(Format::accepted(accept), Format::Text, "{accept}");
    }
}

#[test]
fn each_drain_is_counted_once_with_its_end() {
    let leaving = |forced| {
        State::Leaving(Leaving {
            cause: Cause::Group,
            forced,
            until: Duration::ZERO,
            part: Upkeep::at(Duration::ZERO),
            window: None,
            met: None,
            left: None,
            complete: Upkeep::at(Duration::ZERO),
        })
    };
    for (state, end) in [(leaving(false), "left"), (leaving(true), "deadline"), (State::Ended, "stopped")] {
        let mut counts = Counts { draining: Some(Cause::Group), ..Counts::default() };
        for _ in 0..3 {
            counts.follow(&state);
        }
        let text = scrape(&[], &[], &counts, Format::Text);
        let line = format!("bbb_agent_drains_total{{cause=\"group\",end=\"{end}\"}} 1\n");
        assert_eq!((text.matches("drains_total{").count(), text.contains(&line)), (1, true), "{text}");
    }
    let mut counts = Counts::default();
    counts.follow(&State::Starting);
    assert_eq!(counts, Counts::default(), "nothing has drained");
}

proptest! {
    /// Whatever stands in a label stays in its quotes, and each line is a comment or a sample.
    #[test]
    fn any_label_and_value_keep_to_the_grammar(label in ".*", value in -1e12_f64..1e12) {
        let data = [Datum { metric: Metric::Participants, value }];
        for format in [Format::Text, Format::OpenMetrics] {
            let text = scrape(&data, &[("name", label.clone())], &Counts::default(), format);
            let info = text.split('\n').find(|line| line.starts_with("bbb_agent_info{")).unwrap();
            let quoted = info.strip_prefix("bbb_agent_info{name=\"").unwrap().strip_suffix("\"} 1").unwrap();
            let mut read = String::new();
            let mut characters = quoted.chars();
            while let Some(character) = characters.next() {
                prop_assert!(character != '"');
                read.push(match character {
                    '\\' => match characters.next().unwrap() { 'n' => '\n', other => other },
                    other => other,
                });
            }
            prop_assert_eq!(&read, &label);
            let sample = text.split('\n').find_map(|line| line.strip_prefix("bbb_agent_participants ")).unwrap();
            prop_assert_eq!(sample.parse::<f64>().unwrap(), value);
            prop_assert_eq!(text.split('\n').count(), text.matches('\n').count() + 1);
            prop_assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics);
        }
    }
}
