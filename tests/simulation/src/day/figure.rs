//! The drawing of a day: hosts, load and drains.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Report;
use super::tally::{Sample, Tally};

const SIZE: (u32, u32) = (960, 640);
const HOSTS: RGBColor = RGBColor(0x6b, 0x9b, 0xd1);
const DRAINS: RGBColor = RGBColor(0xd9, 0x7a, 0x1f);
const LOAD: RGBColor = RGBColor(0x1d, 0x2b, 0x3a);
const FIXED: RGBColor = RGBColor(0xa0, 0x1c, 0x2c);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// Draws the two groups, each with the fixed fleet as a line.
pub(super) fn draw(report: &Report) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let most = [&report.scripts, &report.agents].map(|tally| tally.range().1).into_iter().max();
        let top = f64::from(most.unwrap_or_default().max(report.size)) * 1.25;
        let ended =
            |tally: &Tally| format!("{} meetings ended early, {} recordings lost", tally.ended, tally.lost);
        let names = ["Autoscaling with bbb-agent", "Autoscaling with the sample's scripts"];
        let panels = area.split_evenly((2, 1));
        let fleets = [&report.agents, &report.scripts];
        for ((panel, tally), name) in panels.iter().zip(fleets).zip(names) {
            let caption = format!("{name}: {:.0} instance hours, {}", tally.hours(), ended(tally));
            one(panel, tally, report, &caption, top)?;
        }
        area.present()?;
    }
    text.push('\n');
    Ok(text)
}

/// Draws one group.
fn one(
    panel: &DrawingArea<SVGBackend<'_>, Shift>,
    tally: &Tally,
    report: &Report,
    caption: &str,
    top: f64,
) -> Result<(), Box<dyn Error>> {
    let days = report.options.days;
    let hours = f64::from(days) * 24.0;
    let capacity = f64::from(report.options.capacity);
    // A point for each five minutes of a day; of a longer time fewer.
    let points = |of: &dyn Fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        let step = 5 * days as usize;
        let samples = tally.samples.iter().enumerate().step_by(step);
        samples.map(|(minute, sample)| (minute as f64 / 60.0, of(sample))).collect()
    };
    let mut chart = ChartBuilder::on(panel)
        .caption(caption, ("sans-serif", 17))
        .margin(10)
        .margin_right(30)
        .x_label_area_size(30)
        .y_label_area_size(45)
        .build_cartesian_2d(0.0..hours, 0.0..top)?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .x_labels(if days == 1 { 13 } else { days as usize + 1 })
        .x_label_formatter(&|hour| match days {
            1 => format!("{hour:.0}:00"),
            _ => format!("day {:.0}", hour / 24.0 + 1.0),
        })
        .y_label_formatter(&|hosts| format!("{hosts:.0}"))
        .y_desc("hosts")
        .label_style(("sans-serif", 13))
        .draw()?;
    let hosts = points(&|sample| f64::from(sample.hosts));
    let draining = points(&|sample| f64::from(sample.draining));
    let load = points(&|sample| f64::from(sample.people) / capacity);
    let line =
        |style: ShapeStyle| move |(x, y): (i32, i32)| PathElement::new(vec![(x, y), (x + 14, y)], style);
    let square = |color: RGBColor| {
        move |(x, y): (i32, i32)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], color.mix(0.6).filled())
    };
    chart
        .draw_series(AreaSeries::new(hosts, 0.0, HOSTS.mix(0.45)).border_style(HOSTS))?
        .label("hosts that are paid for")
        .legend(square(HOSTS));
    chart
        .draw_series(AreaSeries::new(draining, 0.0, DRAINS.mix(0.7)).border_style(DRAINS))?
        .label("of them draining")
        .legend(square(DRAINS));
    chart
        .draw_series(LineSeries::new(load, LOAD.stroke_width(2)))?
        .label("hosts that the people would fill")
        .legend(line(LOAD.stroke_width(2)));
    let fixed = [(0.0, f64::from(report.size)), (hours, f64::from(report.size))];
    chart
        .draw_series(LineSeries::new(fixed, FIXED.stroke_width(2)))?
        .label("fixed fleet")
        .legend(line(FIXED.stroke_width(2)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(GRID)
        .label_font(("sans-serif", 13))
        .draw()?;
    Ok(())
}
