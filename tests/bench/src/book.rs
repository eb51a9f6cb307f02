//! The directory in which figures are kept: for each day a readable table, and the ratios for `--compare`.

use std::fs;
use std::path::{Path, PathBuf};

use bench::arguments::{Against, Effort};
use bench::figures::{self, Figure};
use bench::kept::{Kept, Machine, ratios};

use crate::Error;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("figures")
}

/// Returns the figures to compare with, and the name of their file.
pub(crate) fn open(against: &Against) -> Result<(String, Kept), Error> {
    let path = match against {
        Against::File(path) => path.clone(),
        Against::Newest => newest()?,
    };
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = fs::read_to_string(&path).map_err(|error| named(&error))?;
    let kept = toml::from_str(&text).map_err(|error| named(&error))?;
    Ok((path.file_name().unwrap_or_default().display().to_string(), kept))
}

/// Returns the file of the latest day.
fn newest() -> Result<PathBuf, Error> {
    let none = |error| format!("tests/bench/figures: {error}; --keep writes the first ones");
    let mut files = Vec::new();
    for entry in fs::read_dir(directory()).map_err(none)? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    Ok(files.into_iter().max().ok_or("tests/bench/figures has none to compare with: --keep writes them")?)
}

/// Writes today's two files, and replaces those written earlier today. Returns the name of the table's file.
pub(crate) fn keep(
    date: &str,
    machine: &Machine,
    effort: Effort,
    conditions: &str,
    measured: &[Figure],
) -> Result<String, Error> {
    let kept = Kept { date: date.to_owned(), machine: machine.clone(), ratios: ratios(measured) };
    fs::create_dir_all(directory())?;
    fs::write(directory().join(date).with_extension("toml"), toml::to_string_pretty(&kept)?)?;
    let Machine { cpu, cores, memory, kernel, compiler, agents } = machine;
    let Effort { runs, seconds, reactions, sweeps, .. } = effort;
    let text = format!(
        "# Figures of {date}\n\n\
         {agents}; {compiler}.\n\
         {cpu}, {cores} cores, {memory} MiB; Linux {kernel}.\n\
         {conditions}.\n\n\
         {runs} runs of each command, {sweeps} of the sweep that waits, {reactions} of each reaction, {seconds} s of the service while \
         nothing happens; medians.\n\n{}",
        figures::table(measured)
    );
    fs::write(directory().join(date).with_extension("md"), text)?;
    Ok(format!("tests/bench/figures/{date}.md"))
}
