#!/bin/bash
# UserData of a BigBlueButton host of the sample: registers the host with bbb-agent, then installs BigBlueButton on it.
# cloud-init runs it once, at the first boot, as root; its output is in /var/log/cloud-init-output.log.
set -euo pipefail

# --- To be filled in: with CloudFormation's Fn::Sub, Terraform's templatefile, or by hand ---
bucket=bbb-sources                 # the bucket to which packaging/publish uploads the agents
region=eu-central-1                # the bucket's region
zone_id=Z0123456789ABCDEFGHIJ
domain=bbb.example.org
scalelite_url=https://scalelite.example.org
# The secret's place, never the secret itself: everyone who may describe the instance can read its UserData.
scalelite_secret='secretsmanager:Scalelite#LOADBALANCER_SECRET'
operator_email=operator@example.org
bbb_release=jammy-300              # with BigBlueButton 3.0, on Ubuntu 22.04
settings=                          # further settings of the agent: 'dns.spread=100 timeouts.register=300'
bbb_installer=https://raw.githubusercontent.com/bigbluebutton/bbb-install/v3.0.x-release/bbb-install.sh
# ---

# again COMMAND: mirrors, the network, the role's keys and other installations at boot may need some minutes.
again() {
    local attempt
    for attempt in $(seq 30); do
        if "$@"; then return; fi
        echo "attempt $attempt failed: $*" >&2
        sleep 10
    done
    return 1
}

# install.sh has to be fetched before it can fetch the rest, and a private bucket needs signed requests. Here the aws
# CLI signs them, which Ubuntu's images do not have. It is better to have the CLI, install.sh or the agent's package in
# the image: a boot then depends on fewer mirrors. install.sh needs no CLI: it signs its requests itself.
if ! command -v aws >/dev/null; then
    again apt-get -qq update
    if apt-cache show awscli >/dev/null 2>&1; then
        again apt-get -qq -o DPkg::Lock::Timeout=300 install -y awscli
    else
        snap install aws-cli --classic # Ubuntu 24.04 has no package of it
        PATH=$PATH:/snap/bin
    fi
fi
again aws s3 cp --only-show-errors --region "$region" "s3://$bucket/agents/install.sh" /root/install.sh

# The further settings, as options.
set --
for setting in $settings; do set -- "$@" --set "$setting"; done
# Returns when the host's name is live on every name server. From then on the service maintains it, and joins Scalelite
# by itself once BigBlueButton answers. --hostname: BigBlueButton's installer requires a host that knows its name. For
# signed releases add: --public-key RW... (and apt-get install minisign before). To stay on one release: --version.
sh /root/install.sh --wait 1800 --role bbb --bucket "$bucket" --region "$region" --zone-id "$zone_id" --domain "$domain" \
    --scalelite-url "$scalelite_url" --scalelite-secret "$scalelite_secret" --hostname "$@"

# The rest is the host's own: storage for recordings, BigBlueButton, its scripts. The certificate is requested for the
# name that was registered above.
# The agent does not depend on the rest. If it fails: repair it, and run this file again
# (/var/lib/cloud/instance/scripts/part-001).
# The installer's way of asking the metadata service for the addresses fails on a host that only allows IMDSv2, and it
# would then announce the private address to all clients. So it is given the addresses.
metadata() { printf 'header = "X-aws-ec2-metadata-token: %s"' "$token" | curl -sfK - "http://169.254.169.254/latest/meta-data/$1"; }
token=$(curl -sfX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
IP=$(metadata public-ipv4) INTERNAL_IP=$(metadata local-ipv4)
export IP INTERNAL_IP
again wget -qO /root/bbb-install.sh "$bbb_installer"
bash /root/bbb-install.sh -v "$bbb_release" -s "$(hostname)" -e "$operator_email"
