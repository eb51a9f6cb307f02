//! Who reaches the metadata service, and with it the credentials of the instance's role, on a guarded host.

use crate::guest::Guest;
use crate::stage::Stage;
use crate::{Outcome, ensure};

const UNIT: &str = "bbb-agent-metadata.service";
/// What every process with the role's credentials begins with.
const ASK: &str = "curl --silent --fail --max-time 5 --request PUT \
                   --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token";
/// curl's exit code for "connection refused".
const REFUSED: i32 = 7;
/// A container with a network of its own, whose packets the host forwards.
const CONTAINER: &str = "ip netns add box && ip link add outside type veth peer name eth0 netns box \
    && ip address add 10.9.9.1/24 dev outside && ip link set outside up \
    && ip -n box address add 10.9.9.2/24 dev eth0 && ip -n box link set eth0 up \
    && ip -n box route add default via 10.9.9.1 && echo 1 >/proc/sys/net/ipv4/ip_forward";

/// Checks who gets an answer: before the guard, with it, after others have changed the firewall, and after a reboot.
pub(super) async fn guard(stage: &Stage<'_>) -> Outcome {
    let guest = stage.installed().await?;
    guest.run("useradd", &["--system", "cwagent"]).await?;
    guest.run("/bin/sh", &["-c", CONTAINER]).await?;
    for user in ["root", "bbb-agent", "nobody", "cwagent"] {
        ensure(asks(&guest, user).await? == 0, || {
            format!("{user} gets no answer from a host without a guard")
        })?;
    }
    let options = ["--guard-metadata", "--metadata-user", "cwagent", "--metadata-user", "nobody-yet"];
    let (code, said) = stage.install_again(&guest, &options).await?;
    ensure(code == 0, || format!("install.sh ended with {code}:\n{said}"))?;
    guarded(&guest).await?;
    let contained = guest.ends("ip", &["netns", "exec", "box", "/bin/sh", "-c", ASK]).await?;
    ensure(contained.0 == REFUSED, || format!("a container was not refused: {contained:?}"))?;

    // iptables-persistent, which BBB's installer brings, replaces all rules of iptables.
    guest.run("/bin/sh", &["-c", "iptables-save | iptables-restore"]).await?;
    guarded(&guest).await?;
    // The agent needs the service at its start, and goes on working.
    guest.run("systemctl", &["restart", "bbb-agent.service"]).await?;
    guest.reaches("bbb-agent.service", "active").await?;

    let guest = guest.reboot(stage.world, &stage.disk, async || Ok(())).await?;
    guest.reaches("bbb-agent.service", "active").await?;
    guarded(&guest).await?;
    stage.joined().await?;
    guest.power_off().await
}

/// Checks that the guard is up, and that it lets in those that it should and nobody else.
async fn guarded(guest: &Guest) -> Outcome {
    guest.reaches(UNIT, "active").await?;
    for user in ["root", "bbb-agent", "cwagent"] {
        let code = asks(guest, user).await?;
        ensure(code == 0, || format!("{user} should get an answer; curl ended with {code}"))?;
    }
    for user in ["nobody", "redis", "bbb-agent-settings"] {
        let code = asks(guest, user).await?;
        ensure(code == REFUSED, || format!("{user} should be refused; curl ended with {code}"))?;
    }
    Ok(())
}

/// Asks for a token as this user; returns curl's exit code.
async fn asks(guest: &Guest, user: &str) -> Outcome<i32> {
    let arguments = ["--reuid", user, "--clear-groups", "/bin/sh", "-c", ASK];
    Ok(guest.ends("setpriv", &arguments).await?.0)
}
