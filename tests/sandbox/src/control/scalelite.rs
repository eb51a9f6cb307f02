//! The calls for Scalelite's settings, its lapses, and what it has served.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Call, Outcome, Problem, done};
use crate::bbb::Limits;
use crate::bbb::checksum::Algorithm;
use crate::scalelite::{Config, Costs, Poller, ServerIds, StrayWatches};

/// What can be changed while Scalelite runs; times are in seconds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// `SERVER_ID_IS_HOSTNAME`.
    ids: ServerIds,
    /// `LOADBALANCER_CHECKSUM_ALGORITHM`.
    algorithms: Vec<Algorithm>,
    processing: f64,
    connect: f64,
    response: f64,
    polled_at_once: bool,
    seed: u64,
    stray_watches: Option<StrayWatches>,
    poller: Poller,
    costs: Option<Costs>,
}

impl Settings {
    fn of(config: Config) -> Self {
        Self {
            ids: config.ids,
            algorithms: config.algorithms,
            processing: config.processing.as_secs_f64(),
            connect: config.limits.connect.as_secs_f64(),
            response: config.limits.response.as_secs_f64(),
            polled_at_once: config.polled_at_once,
            seed: config.seed,
            stray_watches: config.stray_watches,
            poller: config.poller,
            costs: config.costs,
        }
    }

    fn apply(self, config: &mut Config) {
        // Checked by `patch`.
        let time = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        config.ids = self.ids;
        config.algorithms = self.algorithms;
        config.processing = time(self.processing);
        config.limits = Limits { connect: time(self.connect), response: time(self.response) };
        config.polled_at_once = self.polled_at_once;
        config.seed = self.seed;
        config.stray_watches = self.stray_watches;
        config.poller = self.poller;
        config.costs = self.costs;
    }
}

pub(super) fn call(call: &Call<'_>) -> Option<Outcome> {
    let scalelite = &call.cloud.scalelite;
    let (method, path) = call.parts();
    let outcome = match (method, path.as_slice()) {
        ("GET", ["scalelite", "settings"]) => Ok(json!(Settings::of(scalelite.configuration()))),
        ("PATCH", ["scalelite", "settings"]) => patch(call),
        ("GET", ["scalelite", "traffic"]) => Ok(json!(scalelite.traffic())),
        ("DELETE", ["scalelite", "traffic"]) => {
            scalelite.take_traffic();
            done()
        }
        ("PUT", ["scalelite", "lose-polls"]) => call.body().and_then(|times| {
            scalelite.lose_polls(times);
            done()
        }),
        ("POST", ["scalelite", "lose-data"]) => {
            scalelite.lose_data();
            done()
        }
        _ => return None,
    };
    Some(outcome)
}

/// Changes settings: each given key replaces the whole former value.
fn patch(call: &Call<'_>) -> Outcome {
    let scalelite = &call.cloud.scalelite;
    let patch: Map<String, Value> = call.body()?;
    let mut merged = json!(Settings::of(scalelite.configuration()));
    if let Some(merged) = merged.as_object_mut() {
        merged.extend(patch);
    }
    let settings: Settings =
        serde_json::from_value(merged).map_err(|error| Problem::bad(format!("the settings: {error}")))?;
    for (name, seconds) in
        [("processing", settings.processing), ("connect", settings.connect), ("response", settings.response)]
    {
        Duration::try_from_secs_f64(seconds).map_err(|error| Problem::bad(format!("{name}: {error}")))?;
    }
    scalelite.configure(|config| settings.apply(config));
    Ok(json!(Settings::of(scalelite.configuration())))
}
