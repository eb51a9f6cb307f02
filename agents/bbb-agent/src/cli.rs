//! The command line of `bbb-agent`. Help texts, completions and manual pages are generated from it.

use clap::{Args, Parser, Subcommand};
use host::cli::{
    Common, CompletionsArgs, FleetArgs, ManArgs, Only, StatusArgs, SweepArgs, VERSION, deadline_help,
    deadline_parser,
};
use host::report::exit_codes;

const EXAMPLES: &str = "\
Examples:
  bbb-agent check                     is everything in place? changes nothing
  bbb-agent register --wait           get a name, join Scalelite, return when the name is live
  bbb-agent register --dry-run        show what register would do
  bbb-agent status                    why does this host get no meetings?
  bbb-agent fleet                     what do all hosts do?
  bbb-agent drain --wait              new meetings go elsewhere; return when the running ones have ended
  bbb-agent deregister                leave Scalelite and give up the name
  bbb-agent sweep --dry-run           what have dead hosts left behind? changes nothing
  hostnamectl set-hostname \"$(bbb-agent hostname)\"

Settings are read from /etc/bbb-agent/config.toml, config.d/*.toml beside it, BBB_AGENT_* variables and --set;
`bbb-agent defaults` prints all of them with their defaults.";

/// Looks after a BigBlueButton host on EC2: its DNS name in Route 53 and its place in Scalelite
#[derive(Debug, Parser)]
#[command(name = "bbb-agent", version = VERSION, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", exit_codes()))]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the service that looks after this host, until it is told to stop
    ///
    /// systemd starts this. The service gets the host its name, adds it to Scalelite as soon as BBB answers, and
    /// repairs both. When the host's group, EC2 or an operator wants the host out, it lets the running meetings end
    /// first. When it is stopped, it undoes what the cause of the stop demands. SIGHUP makes it read the configuration
    /// again, SIGUSR1 makes it check everything again.
    Run,
    /// Get a DNS name and join Scalelite; does nothing when both are as they should be
    ///
    /// Reads the host's identity from the instance metadata, writes its record sets to Route 53 unless the name
    /// belongs to another instance, waits for the local BBB, and adds and enables the host in Scalelite. Where the
    /// service runs, the service does this; else one command at a time.
    Register(RegisterArgs),
    /// Leave Scalelite and give up the DNS name; ends the meetings that run here
    ///
    /// Disables the host in Scalelite, ends its meetings, deletes its entry, and deletes its record sets if they
    /// belong to this host. Does nothing when the host has left already. Where the service runs, the service does
    /// this; else one command at a time.
    Deregister(DeregisterArgs),
    /// Send new meetings elsewhere and let the running ones end; needs the service
    ///
    /// The service cordons the host in Scalelite and waits until no meeting runs here and no recording has to leave
    /// any more, at most until the deadline. `register` takes the host back; `status` shows the progress.
    Drain(DrainArgs),
    /// Remove what dead hosts have left behind
    ///
    /// Looks through the zone for hosts of this fleet whose instance is gone, as EC2 has to say twice, `sweep.pause`
    /// apart, and removes their record sets and their Scalelite entries. Leaves alone what does not belong to an
    /// agent, what is young, and what belongs to an instance that exists or that EC2 cannot be asked about. May run
    /// beside the service and beside the sweeps of other hosts.
    Sweep(SweepArgs),
    /// Show the state of this host and why it gets no meetings; changes nothing
    Status(StatusArgs),
    /// Show every host of the fleet and what is wrong with it; changes nothing
    ///
    /// One row for each host that the zone, Scalelite, EC2 or a group of the fleet names in this region. What is not
    /// known is shown as `-`.
    Fleet(FleetArgs),
    /// Print this host's full name; needs the instance metadata only
    Hostname,
    /// Check configuration and permissions, one line a check; changes nothing
    ///
    /// Tries the metadata service, coturn, Route 53, the name servers, EC2, Auto Scaling, BBB and Scalelite, not CloudWatch.
    /// The exit code is 1 when a check fails.
    Check,
    /// Internal: set right the address that BBB announces, in the files of BBB, FreeSWITCH and coturn
    ///
    /// For bbb-agent-addresses.socket, through which the service has files set right that only root may write.
    #[command(hide = true)]
    Addresses,
    /// Internal: write the parts of BBB's property files that the agent needs, BBB's secret included, to a socket or a
    /// pipe
    ///
    /// For bbb-agent-settings.socket, through which the service reads files that only root may read.
    #[command(hide = true)]
    Settings,
    /// Internal: put the fleet's certificate into place, which comes on standard input
    ///
    /// For bbb-agent-certificate.socket, through which the service has it put where servers read it.
    #[command(hide = true)]
    Certificate,
    /// Print a configuration file with every setting, commented out
    Defaults,
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print or write the manual pages
    Man(ManArgs),
}

/// Options of `register`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct RegisterArgs {
    /// Do one half only; not while the service runs
    #[arg(long, value_name = "HALF")]
    pub(crate) only: Option<Only>,
    /// Return only once every authoritative DNS server answers with the new record sets
    #[arg(long)]
    pub(crate) wait: bool,
    /// Show what would be done, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Options of `deregister`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct DeregisterArgs {
    /// Do one half only; not while the service runs
    #[arg(long, value_name = "HALF")]
    pub(crate) only: Option<Only>,
    /// Return only once no authoritative DNS server answers with the name any more; use it before registering again
    #[arg(long)]
    pub(crate) wait: bool,
    /// Show what would be done, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Options of `drain`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct DrainArgs {
    #[arg(long, value_name = "SECONDS", help = deadline_help("meetings and recordings"), value_parser = deadline_parser())]
    pub(crate) deadline: Option<u64>,
    /// Return only once the host is empty; ending this command does not end the drain
    #[arg(long)]
    pub(crate) wait: bool,
}
