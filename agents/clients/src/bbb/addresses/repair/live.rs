//! What the host has of its address outside the files, until its next boot: the address on `lo`, which `dummy-nic` adds
//! and nothing takes away, and the packet filter's rule in the kernel.

use std::io::{ErrorKind, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Output, Stdio};

use plan::addresses::{File, Own, Standing, judge};

use super::super::{sites, values};

/// Takes former addresses of the host away from `lo`, and has the packet filter's rule follow the files. Returns what
/// was changed, in words.
pub(super) fn follow(former: &[Ipv4Addr], own: &Own) -> Result<Vec<String>, String> {
    let mut changed = loopback(former, own)?;
    changed.extend(filter(own)?);
    Ok(changed)
}

/// The present address goes too, where it is there already: `dummy-nic` adds it when it is restarted, and would fail.
fn loopback(former: &[Ipv4Addr], own: &Own) -> Result<Vec<String>, String> {
    let mut changed = Vec::new();
    if former.is_empty() {
        return Ok(changed);
    }
    let shown = run("ip", &["-4", "-oneline", "address", "show", "dev", "lo"], "")?;
    let shown = shown.ok_or("ip is not installed, so nobody knows which addresses lo has")?;
    for address in former.iter().chain([&own.announced]).filter(|address| !address.is_loopback()) {
        let address = format!("{address}/32");
        if shown.split_whitespace().any(|word| word == address) {
            run("ip", &["-4", "address", "delete", &address, "dev", "lo"], "")?;
            changed.push(format!("lo: {address} is taken away; dummy-nic adds the present address"));
        }
    }
    Ok(changed)
}

/// Replaces the rule as it is in the kernel, at once, and leaves all others alone: `rules.v4` would bring back what
/// other programs have changed since the boot.
fn filter(own: &Own) -> Result<Vec<String>, String> {
    let Some(rules) = run("iptables-save", &["-t", "nat"], "")? else { return Ok(Vec::new()) };
    let found = sites(File::Rules, rules.as_bytes()).map_err(|defect| format!("iptables-save: {defect}"))?;
    let (mut script, mut changed) = (String::new(), Vec::new());
    for (site, standing) in found.iter().zip(judge(&values(rules.as_bytes(), &found), own)) {
        let Standing::Other { found, wanted } = standing else { continue };
        let start = rules.get(..site.span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let line = rules.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let (from, to) = (site.span.start - start, site.span.end - start);
        let Some(((before, after), rule)) =
            line.get(..from).zip(line.get(to..)).zip(line.strip_prefix("-A "))
        else {
            continue;
        };
        script.push_str(&format!("-D {rule}\n{before}{wanted}{after}\n"));
        changed.push(format!("iptables: packets to {wanted} are turned back to this host now, not {found}"));
    }
    if changed.is_empty() {
        return Ok(changed);
    }
    let script = format!("*nat\n{script}COMMIT\n");
    match run("iptables-restore", &["--noflush"], &script)? {
        Some(_) => Ok(changed),
        None => {
            Err("iptables-restore is not installed, so the packet filter's rule keeps the old address"
                .to_owned())
        }
    }
}

/// Runs a program of the system with this standard input; returns its output, or none where it is not installed.
fn run(program: &str, arguments: &[&str], input: &str) -> Result<Option<String>, String> {
    let shown = || format!("{program} {}", arguments.join(" "));
    let started = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", shown())),
    };
    let fed = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = fed.and_then(|()| child.wait_with_output());
    let Output { status, stdout, stderr } = output.map_err(|error| format!("{}: {error}", shown()))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        return Err(format!("{}: {status}: {}", shown(), said.trim()));
    }
    Ok(Some(String::from_utf8_lossy(&stdout).into_owned()))
}
