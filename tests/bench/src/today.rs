//! The cost of today's solution: shell scripts around the aws CLI. Three calls of the CLI are the scripts' price for a
//! host's name, and most of their time; here the real CLI makes them to the same cloud.

use std::path::Path;

use bench::figures::{Figure, Unit};

use crate::Error;
use crate::commands::Measured;
use crate::record::Runs;
use crate::rig::Rig;

const AWS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/bin/aws");

/// The number of the CLI's calls for one name.
const CALLS: u64 = 3;
/// The number of measured calls; each takes about a second.
const RUNS: usize = 5;

impl Rig {
    /// Compares the measured `register --only dns` with the CLI; returns nothing where `tests/prepare test` has not
    /// installed it.
    pub(crate) async fn today(&self, register: &Measured) -> Result<Vec<Figure>, Error> {
        self.clean()?;
        let zone = &self.cloud.zone_id;
        let list = ["route53", "list-resource-record-sets", "--hosted-zone-id", zone, "--max-items", "1"];
        let Some(runs) = self.cli(&list).await? else { return Ok(Vec::new()) };
        let figure = |what, unit, value, today| {
            let name = format!("register --only dns beside three calls of the aws CLI: {what}");
            Figure::new(name, unit, value).floor(today)
        };
        let agent = &register.agent;
        Ok(vec![
            figure("wall", Unit::Microseconds, agent.wall(0.5), CALLS * runs.wall(0.5)),
            figure("CPU", Unit::Microseconds, agent.cpu(0.5), CALLS * runs.cpu(0.5)),
            figure("peak memory", Unit::Bytes, agent.peak(), runs.peak()),
        ])
    }

    /// Measures a call of the CLI; none where it is not installed.
    pub(crate) async fn cli(&self, arguments: &[&str]) -> Result<Option<Runs>, Error> {
        if !Path::new(AWS).is_file() {
            return Ok(None);
        }
        let environment = [
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("HOME".to_owned(), self.directory.path().display().to_string()),
            ("AWS_DEFAULT_REGION".to_owned(), "eu-central-1".to_owned()),
            ("AWS_CA_BUNDLE".to_owned(), self.authorities.display().to_string()),
        ];
        let mut runs = Runs::default();
        // The first call writes Python's caches.
        for number in 0..=RUNS {
            let run = self.measure_with(Path::new(AWS), arguments, &environment).await?;
            if number > 0 {
                runs.add(run);
            }
        }
        Ok(Some(runs))
    }
}
