//! Clients for everything that the agents talk to. One method makes one call; errors are typed and say whether trying
//! again may help. Nothing here retries, reads a configuration or decides what to do.
//!
//! - [`aws`]: the SDK's settings and errors, with Route 53, EC2, Auto Scaling and CloudWatch below it;
//! - [`imds`]: the instance metadata service;
//! - [`dns`]: the system's resolver, and the zone's own name servers;
//! - [`scalelite`], [`bbb`], [`coturn`]: the services of a fleet;
//! - [`secrets`]: secrets by reference, from a file, systemd or Secrets Manager;
//! - [`systemd`], [`certificate`]: the host itself;
//! - [`helper`]: processes with more powers than the agent's, which systemd starts;
//! - [`scrape`]: Prometheus, which asks the agent;
//! - [`calls`]: how often each service was called;
//! - [`http`]: the one HTTP and TLS stack below all of them;
//! - [`untrusted`]: text from others, made safe for a log or a terminal.

pub mod aws;
pub mod bbb;
pub mod calls;
pub mod certificate;
pub mod coturn;
pub mod dns;
pub mod helper;
pub mod http;
pub mod imds;
pub mod scalelite;
pub mod scrape;
pub mod secrets;
pub mod systemd;
pub mod untrusted;
mod xml;
