//! `turn-agent`: looks after a TURN host on EC2.

mod cli;
mod role;

use std::process::ExitCode;

use clap::Parser;
use host::commands::{
    addresses, certificate, check, delegate, deregister, fleet, hostname, register, run, settings, status,
    sweep,
};
use host::startup::plain;
use host::{cli as shared, config, process, report, service};

use crate::cli::{Cli, Command};
use crate::role::AGENT;

fn main() -> ExitCode {
    process::protect_memory();
    let Cli { common, command } = Cli::parse();
    let exit = match command {
        Command::Run => service::serve(&AGENT, &common),
        Command::Register(args) => run(&AGENT, &common, async |session| {
            let options = register::Options { only: None, wait: args.wait, dry_run: args.dry_run };
            delegate::register(&session, options).await
        }),
        Command::Deregister(args) => run(&AGENT, &common, async |session| {
            let options = deregister::Options { only: None, wait: args.wait, dry_run: args.dry_run };
            delegate::deregister(&session, options).await
        }),
        Command::Drain(args) => {
            run(&AGENT, &common, async |session| delegate::drain(&session, args.deadline, args.wait).await)
        }
        Command::Sweep(args) => {
            run(&AGENT, &common, async |session| sweep::sweep(&session, args.dry_run).await)
        }
        Command::Status(args) => run(&AGENT, &common, async |session| status::status(&session, args).await),
        Command::Fleet(args) => run(&AGENT, &common, async |session| fleet::fleet(&session, args).await),
        Command::Hostname => run(&AGENT, &common, async |session| hostname::hostname(&session).await),
        Command::Check => run(&AGENT, &common, async |session| check::check(&session).await),
        Command::Addresses => run(&AGENT, &common, async |session| addresses::addresses(&session).await),
        Command::Settings => plain(&AGENT, settings::settings(&AGENT, &common)),
        Command::Certificate => plain(&AGENT, certificate::certificate()),
        Command::Defaults => plain(&AGENT, report::done(config::defaults::file(&AGENT))),
        Command::Completions(args) => plain(&AGENT, shared::completions::<Cli>(args)),
        Command::Man(args) => plain(&AGENT, shared::man::<Cli>(&args)),
    };
    exit.into()
}
