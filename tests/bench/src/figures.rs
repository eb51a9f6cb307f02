//! A measured figure with its floor and its aim, and its text forms.

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Time, in microseconds.
    Microseconds,
    /// Memory or size, in bytes.
    Bytes,
    /// CPU time in a second, in microseconds: millionths of a core.
    Share,
    /// A number of things.
    Count,
}

impl Unit {
    /// Formats a value with its unit.
    pub fn show(self, value: u64) -> String {
        match self {
            Self::Microseconds if value < 1_000_000 => {
                format!("{}.{:02} ms", value / 1000, value % 1000 / 10)
            }
            Self::Microseconds => format!("{}.{:02} s", value / 1_000_000, value % 1_000_000 / 10_000),
            Self::Bytes => {
                let tenths = value * 10 / (1024 * 1024);
                format!("{}.{} MiB", tenths / 10, tenths % 10)
            }
            Self::Share => format!("{}.{:04} %", value / 10_000, value % 10_000),
            Self::Count => value.to_string(),
        }
    }
}

/// The aim for a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// At most this, in the figure's unit.
    AtMost(u64),
    /// At most this many times the floor.
    Times(f64),
}

/// One measured figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The name, as `subject: quantity`, by which the row is found on another day.
    pub name: String,
    /// The unit of [`Figure::value`], [`Figure::late`] and [`Figure::floor`].
    pub unit: Unit,
    /// The median of all runs, or the only value.
    pub value: u64,
    /// The value that nine of ten runs stayed below; none for a value that does not vary.
    pub late: Option<u64>,
    /// The least that any program would need, or the cost of today's scripts, measured in the same run.
    pub floor: Option<u64>,
    /// The aim, where one was decided.
    pub aim: Option<Aim>,
}

impl Figure {
    /// Creates a figure without anything to compare it with.
    pub fn new(name: impl Into<String>, unit: Unit, value: u64) -> Self {
        Self { name: name.into(), unit, value, late: None, floor: None, aim: None }
    }

    /// Adds the value that nine of ten runs stayed below.
    #[must_use]
    pub fn late(self, late: u64) -> Self {
        Self { late: Some(late), ..self }
    }

    /// Adds the floor.
    #[must_use]
    pub fn floor(self, floor: u64) -> Self {
        Self { floor: Some(floor), ..self }
    }

    /// Adds the aim.
    #[must_use]
    pub fn aim(self, aim: Aim) -> Self {
        Self { aim: Some(aim), ..self }
    }

    /// Returns the value in times of the floor; none without a floor, or where the floor is zero.
    #[allow(clippy::cast_precision_loss)]
    pub fn ratio(&self) -> Option<f64> {
        // The values are far below 2^53, so nothing is lost.
        self.floor.filter(|floor| *floor > 0).map(|floor| self.value as f64 / floor as f64)
    }

    /// Tells whether the aim is met; none without an aim. An aim in times of the floor is missed where there is no
    /// ratio.
    pub fn met(&self) -> Option<bool> {
        self.aim.map(|aim| match aim {
            Aim::AtMost(most) => self.value <= most,
            Aim::Times(most) => self.ratio().is_some_and(|ratio| ratio <= most),
        })
    }

    /// Formats the aim; empty without one.
    pub fn aim_in_words(&self) -> String {
        match self.aim {
            None => String::new(),
            Some(Aim::AtMost(0)) => "0".to_owned(),
            Some(Aim::AtMost(most)) => format!("at most {}", self.unit.show(most)),
            Some(Aim::Times(most)) => format!("at most {most} x"),
        }
    }
}

const HEADINGS: [&str; 7] = ["figure", "measured", "p90", "floor", "ratio", "aim", ""];

/// Formats the figures as a Markdown table, in aligned columns so that it can be read as plain text.
pub fn table(figures: &[Figure]) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(figures.iter().map(row));
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = String::new();
    for (number, cells) in rows.iter().enumerate() {
        text.push_str(&line(cells, &widths));
        if number == 0 {
            text.push_str(&line(&rule, &widths));
        }
    }
    text
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    format!("| {} |\n", padded.join(" | "))
}

fn row(figure: &Figure) -> [String; HEADINGS.len()] {
    let show = |value: Option<u64>| value.map_or_else(String::new, |value| figure.unit.show(value));
    let ratio = figure.ratio().map_or_else(String::new, in_times);
    let met = match figure.met() {
        None => "",
        Some(true) => "met",
        Some(false) => "**MISSED**",
    };
    [
        figure.name.clone(),
        figure.unit.show(figure.value),
        show(figure.late),
        show(figure.floor),
        ratio,
        figure.aim_in_words(),
        met.to_owned(),
    ]
}

/// Formats a ratio with as many decimals as are meaningful.
pub fn in_times(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_with_their_units() {
        for (unit, value, text) in [
            (Unit::Microseconds, 9_518, "9.51 ms"),
            (Unit::Microseconds, 1_095_000, "1.09 s"),
            (Unit::Bytes, 7_926_904, "7.5 MiB"),
            (Unit::Share, 260, "0.0260 %"),
            (Unit::Count, 4, "4"),
        ] {
            assert_eq!(unit.show(value), text);
        }
    }

    #[test]
    fn aims_are_met_or_missed() {
        let figure = |value, floor, aim| Figure {
            floor,
            aim,
            ..Figure::new("register: wall", Unit::Microseconds, value)
        };
        for (value, floor, aim, met) in [
            (250, Some(100), Some(Aim::Times(2.5)), Some(true)),
            (251, Some(100), Some(Aim::Times(2.5)), Some(false)),
            (0, Some(0), Some(Aim::Times(2.5)), Some(false)),
            (5000, None, Some(Aim::AtMost(5000)), Some(true)),
            (5001, None, Some(Aim::AtMost(5000)), Some(false)),
            (1, Some(100), None, None),
        ] {
            assert_eq!(figure(value, floor, aim).met(), met, "{value} {floor:?} {aim:?}");
        }
    }

    #[test]
    fn the_table_is_markdown_in_columns() {
        let figures = [
            Figure::new("register: wall", Unit::Microseconds, 9_510)
                .late(11_000)
                .floor(6_070)
                .aim(Aim::Times(2.5)),
            Figure::new("register: Route 53 calls", Unit::Count, 2).aim(Aim::AtMost(1)),
        ];
        let expected = "\
| figure                   | measured | p90      | floor   | ratio | aim           |            |
| ------------------------ | -------- | -------- | ------- | ----- | ------------- | ---------- |
| register: wall           | 9.51 ms  | 11.00 ms | 6.07 ms | 1.57  | at most 2.5 x | met        |
| register: Route 53 calls | 2        |          |         |       | at most 1     | **MISSED** |
";
        assert_eq!(table(&figures), expected);
    }
}
