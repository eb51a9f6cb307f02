//! The command line of `turn-agent`. Help texts, completions and manual pages are generated from it.

use clap::{Args, Parser, Subcommand};
use host::cli::{
    Common, CompletionsArgs, FleetArgs, ManArgs, StatusArgs, SweepArgs, VERSION, deadline_help,
    deadline_parser,
};
use host::report::exit_codes;

const EXAMPLES: &str = "\
Examples:
  turn-agent check                     is everything in place? changes nothing
  turn-agent register --wait           get a name, return when it is live
  turn-agent register --dry-run        show what register would do
  turn-agent status                    how does this host stand?
  turn-agent drain --wait              give up the name, return when the last relay has ended
  turn-agent fleet                     what do all hosts do?
  turn-agent deregister                give up the name
  turn-agent sweep --dry-run           what have dead hosts left behind? changes nothing
  hostnamectl set-hostname \"$(turn-agent hostname)\"

Settings are read from /etc/turn-agent/config.toml, config.d/*.toml beside it, TURN_AGENT_* variables and --set;
`turn-agent defaults` prints all of them with their defaults.";

/// Looks after a TURN host (coturn) on EC2: its DNS name in Route 53
#[derive(Debug, Parser)]
#[command(name = "turn-agent", version = VERSION, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", exit_codes()))]
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
    /// systemd starts this. The service gets the host its name and repairs it. When the host's group, EC2 or an
    /// operator wants the host out, it gives up the name, then waits for the relays in use. When it is stopped, it
    /// undoes what the cause of the stop demands. SIGHUP makes it read the configuration again, SIGUSR1 makes it check everything
    /// again.
    Run,
    /// Get a DNS name; does nothing when it is as it should be
    ///
    /// Reads the host's identity from the instance metadata and writes its record sets to Route 53, unless the name
    /// belongs to another instance. Where the service runs, the service does this; else one command at a time.
    Register(RegisterArgs),
    /// Give up the DNS name; does nothing when the host has none
    ///
    /// Deletes the host's record sets if they belong to this host. Where the service runs, the service does this; else
    /// one command at a time.
    Deregister(DeregisterArgs),
    /// Give up the DNS name, then wait for the relays in use; needs the service
    ///
    /// New clients find other hosts. The service waits until coturn has no relay in use any more, at most until the
    /// deadline. `register` takes the host back; `status` shows the progress.
    Drain(DrainArgs),
    /// Remove what dead hosts have left behind
    ///
    /// Looks through the zone for hosts of this fleet whose instance is gone, as EC2 has to say twice, `sweep.pause`
    /// apart, and removes their record sets. Leaves alone what does not belong to an agent, what is young, and what
    /// belongs to an instance that exists or that EC2 cannot be asked about. May run beside the service and beside the
    /// sweeps of other hosts.
    Sweep(SweepArgs),
    /// Show the state of this host; changes nothing
    Status(StatusArgs),
    /// Show every host of the fleet and what is wrong with it; changes nothing
    Fleet(FleetArgs),
    /// Print this host's full name; needs the instance metadata only
    Hostname,
    /// Check configuration and permissions, one line a check; changes nothing
    ///
    /// Tries the metadata service, coturn, Route 53, the name servers, EC2 and Auto Scaling, but not CloudWatch. The
    /// exit code is 1 when a check fails.
    Check,
    /// Internal: print the addresses in coturn's settings to a socket
    ///
    /// For turn-agent-settings.socket, through which the service reads them where it may not.
    #[command(hide = true)]
    Settings,
    /// Internal: set right the address that coturn announces
    ///
    /// For turn-agent-addresses.socket, through which the service has it done.
    #[command(hide = true)]
    Addresses,
    /// Internal: put the fleet's certificate into place, which comes on standard input
    ///
    /// For turn-agent-certificate.socket, through which the service has it put where servers read it.
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
    /// Return only once every authoritative DNS server answers with the new record sets
    #[arg(long)]
    pub(crate) wait: bool,
    /// Show what would be done, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Options of `drain`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct DrainArgs {
    #[arg(long, value_name = "SECONDS", help = deadline_help("relays"), value_parser = deadline_parser())]
    pub(crate) deadline: Option<u64>,
    /// Return only once no relay is in use; ending this command does not end the drain
    #[arg(long)]
    pub(crate) wait: bool,
}

/// Options of `deregister`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct DeregisterArgs {
    /// Return only once no authoritative DNS server answers with the name any more; use it before registering again
    #[arg(long)]
    pub(crate) wait: bool,
    /// Show what would be done, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
