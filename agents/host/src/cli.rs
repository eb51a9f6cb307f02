//! The parts of the command line that the agents share.

use std::path::PathBuf;

use clap::builder::{PossibleValue, RangedU64ValueParser};
use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;
use serde::{Deserialize, Serialize};

use crate::config::choices::Choice;
use crate::config::load::Flags;
use crate::config::row::Range;
use crate::config::table::DRAIN_ORDER;
use crate::log::Level;
use crate::report::{self, Exit, Failure};
use crate::terminal::Color;

/// The version with the commit: `1.2.3 (commit abc1234)`.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("SOURCE_COMMIT"), ")");

/// Options of every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Read this file instead of the one in /etc; drop-ins are read from config.d beside it
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Set one setting; overrides files and environment, for example --set dns.ttl=120
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,

    /// What to log to standard error or the journal (default: the setting log.level)
    #[arg(long, value_name = "LEVEL", global = true)]
    pub log_level: Option<Level>,
}

/// The values of `--log-level` are the words of the setting log.level.
impl ValueEnum for Level {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Error, Self::Warn, Self::Info, Self::Debug]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (word, _, meaning) = Self::WORDS.iter().find(|(_, level, _)| level == self)?;
        Some(PossibleValue::new(*word).help(*meaning))
    }
}

/// Returns the help of `drain --deadline`, which waits for this work.
pub fn deadline_help(work: &str) -> String {
    let Range { least, most, unit } = DRAIN_ORDER;
    format!("How long to wait for {work}, in {unit} ({least} to {most}; default: the setting drain.deadline)")
}

/// Returns the parser of `drain --deadline`.
pub fn deadline_parser() -> RangedU64ValueParser {
    RangedU64ValueParser::from(DRAIN_ORDER.least..=DRAIN_ORDER.most)
}

impl Common {
    /// Returns the options that are about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { file: self.config.clone(), set: self.set.clone() }
    }
}

/// One half of the work of `register` and `deregister`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Only {
    /// The host's name in Route 53
    Dns,
    /// The host's entry in Scalelite
    Scalelite,
}

impl Only {
    /// Reports whether the host's name is included.
    pub fn names(only: Option<Self>) -> bool {
        only != Some(Self::Scalelite)
    }

    /// Reports whether the Scalelite entry is included.
    pub fn pools(only: Option<Self>) -> bool {
        only != Some(Self::Dns)
    }
}

/// Options of `status`.
#[derive(Args, Clone, Copy, Debug)]
pub struct StatusArgs {
    /// Print JSON; docs/reference-json.md lists its fields
    #[arg(long)]
    pub json: bool,

    /// Wait until the host is in this state; exit code 6 if it is not meant to be
    #[arg(long, value_name = "STATE", conflicts_with = "json")]
    pub wait_for: Option<WaitFor>,

    /// How long to wait, in seconds (default: the setting timeouts.register)
    #[arg(long, value_name = "SECONDS", requires = "wait_for")]
    pub timeout: Option<u64>,

    /// When to use colours
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Color,
}

/// The state that `status --wait-for` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WaitFor {
    /// The name is registered, and the host has joined Scalelite, if there is one
    Registered,
    /// The fleet's certificate (tls.certificate) is where servers read it
    Certificate,
}

/// Options of `fleet`.
#[derive(Args, Clone, Copy, Debug)]
pub struct FleetArgs {
    /// Print JSON; docs/reference-json.md lists its fields
    #[arg(long)]
    pub json: bool,

    /// Look again every so many seconds, on a terminal, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "10", require_equals = true)]
    #[arg(conflicts_with = "json", value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub watch: Option<u64>,

    /// Look from a machine that is no host of the fleet; needs the settings aws.region and, unless the environment has keys,
    /// aws.profile
    #[arg(long)]
    pub outside: bool,

    /// When to use colours
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Color,
}

/// Options of `sweep`.
#[derive(Args, Clone, Copy, Debug)]
pub struct SweepArgs {
    /// Show every host of the fleet and what would be removed, change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `completions`.
#[derive(Args, Clone, Copy, Debug)]
pub struct CompletionsArgs {
    /// The shell to complete in
    pub shell: Shell,
}

/// Options of `man`.
#[derive(Args, Clone, Debug)]
pub struct ManArgs {
    /// Write a page for the agent and one for each command into this directory, instead of the agent's to standard
    /// output
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Prints the completion script for a shell.
pub fn completions<C: CommandFactory>(args: CompletionsArgs) -> Result<Exit, Failure> {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    report::answer(String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Prints or writes the manual pages.
pub fn man<C: CommandFactory>(args: &ManArgs) -> Result<Exit, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(Exit::Failed, "cannot write the manual pages").because(error);
    match &args.dir {
        Some(dir) => clap_mangen::generate_to(C::command(), dir).map_err(failed)?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(C::command()).render(&mut page).map_err(failed)?;
            report::answer(String::from_utf8_lossy(&page))?;
        }
    }
    Ok(Exit::Done)
}
