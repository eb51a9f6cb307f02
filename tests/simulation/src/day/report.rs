//! The table of a day.

use std::fmt;

use super::tally::Tally;
use super::{Options, figure};

/// The outcome of a day on the three fleets.
#[derive(Clone, Debug)]
pub struct Report {
    pub(super) options: Options,
    /// The people that a host is to have on average.
    pub(super) target: f64,
    /// The size of the fixed fleet.
    pub(super) size: u32,
    pub(super) fixed: Tally,
    pub(super) scripts: Tally,
    pub(super) agents: Tally,
}

/// A row of the table: its name, and the cell of each fleet.
type Row = (String, [String; 3]);

impl Report {
    fn fleets(&self) -> [&Tally; 3] {
        [&self.fixed, &self.scripts, &self.agents]
    }

    /// Returns the rules of the simulated world that the agents have broken.
    pub fn broken(&self) -> &[String] {
        &self.agents.broken
    }

    /// Returns the meetings that the group's scale-in has ended early, by fleet: fixed, without agents, with agents.
    pub fn ended(&self) -> [usize; 3] {
        self.fleets().map(|tally| tally.ended)
    }

    /// Returns the recordings that were lost with the instance when the group had ended it, by fleet.
    pub fn lost(&self) -> [usize; 3] {
        self.fleets().map(|tally| tally.lost)
    }

    /// Returns the `create` calls that count as refused in a thousand, by fleet.
    pub fn refused(&self) -> [f64; 3] {
        self.fleets().map(|tally| 1000.0 * f64::from(tally.refused()) / f64::from(tally.creates.max(1)))
    }

    /// Returns the percentage of instance hours that each fleet needs less than the fixed one.
    pub fn saved(&self) -> [f64; 3] {
        self.fleets().map(|tally| 100.0 - 100.0 * tally.hours() / self.fixed.hours())
    }

    /// Draws hosts, load and drains over the day as SVG.
    ///
    /// # Errors
    /// Fails when the drawing fails.
    pub fn figure(&self) -> Result<String, String> {
        figure::draw(self).map_err(|error| error.to_string())
    }

    fn rows(&self) -> Vec<Row> {
        let row = |name: &str, cell: &dyn Fn(&Tally) -> String| (name.to_owned(), self.fleets().map(cell));
        let saved = self.saved().map(|percent| format!("{percent:.0} %"));
        let price = self.options.price;
        let mut rows = vec![
            row("hosts", &|tally| match tally.range() {
                (least, most) if least == most => most.to_string(),
                (least, most) => format!("{least} to {most}"),
            }),
            row("instance hours", &|tally| format!("{:.0}", tally.hours())),
            row(&format!("cost at {price} USD an hour"), &|tally| {
                format!("{:.0} USD", tally.hours() * price)
            }),
            ("fewer hours than the fixed fleet".to_owned(), saved),
            row("**meetings ended early** by scale-in", &|tally| format!("**{}**", tally.ended)),
            row("**recordings lost** by scale-in", &|tally| format!("**{}**", tally.lost)),
        ];
        if self.options.spot > 0.0 {
            rows.push(row("spot interruptions", &|tally| tally.interruptions.to_string()));
            rows.push(row("meetings ended, recordings lost by them", &|tally| {
                format!("{}, {}", tally.interrupted, tally.lost_by_spot)
            }));
        }
        rows.push(row("`create` calls refused: no server, host full", &|tally| {
            let share = 1000.0 * f64::from(tally.refused()) / f64::from(tally.creates.max(1));
            format!("{}, {} ({share:.1} in 1,000)", tally.unplaced, tally.full)
        }));
        rows.push(row("meetings on a host that got overfull", &|tally| {
            format!("{:.1} %", 100.0 * f64::from(tally.crowded) / f64::from(tally.creates.max(1)))
        }));
        rows.push(row("people's time on overfull hosts", &|tally| format!("{:.1} %", tally.crowded_time())));
        rows.push(row("worst wait for capacity", &|tally| format!("{} min", tally.wait.as_secs() / 60)));
        rows
    }
}

/// The lines of docs/figures.md between which the table is kept.
const MARKS: [&str; 2] =
    ["<!-- Made by tests/day --keep. -->\n", "<!-- The end of what tests/day has made. -->\n"];

/// Returns the document with this report in the place of the one that it keeps; none if it keeps none.
pub fn keep(document: &str, report: &Report) -> Option<String> {
    let [begin, end] = MARKS;
    let (before, rest) = document.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}{report}{end}{after}"))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { seed, days, peak, capacity, boot, spot, sizes, .. } = &self.options;
        let (creates, target) = (self.agents.creates, self.target);
        let days = if *days == 1 { "1 day".to_owned() } else { format!("{days} days") };
        let most = self.fixed.peak();
        writeln!(
            f,
            "Seed {seed}, {days}, {creates} meetings; about {peak} people planned for, {most} at the fullest."
        )?;
        writeln!(
            f,
            "A host takes {capacity} people, is to have {target} on average, and boots in {boot} minutes."
        )?;
        let (least, greatest) = sizes;
        writeln!(f, "Groups of {least} to {greatest} hosts, of which EC2 takes back {spot} % in an hour.\n")?;
        let head = ["fixed fleet", "autoscaling with the sample's scripts", "autoscaling with bbb-agent"];
        writeln!(f, "| | {} |\n|---|---|---|---|", head.join(" | "))?;
        for (name, cells) in self.rows() {
            writeln!(f, "| {name} | {} |", cells.join(" | "))?;
        }
        Ok(())
    }
}
