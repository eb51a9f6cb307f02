#!/bin/bash
# UserData of a BigBlueButton host of the sample: registers the host with bbb-agent, then installs BigBlueButton on it.
# cloud-init runs it once, at the first boot, as root; what it prints is in /var/log/cloud-init-output.log.
set -euo pipefail

# --- To be filled in: with CloudFormation's Fn::Sub, Terraform's templatefile, or by hand ---
bucket=bbb-sources                 # where packaging/publish has put the agents
region=eu-central-1                # of the bucket
zone_id=Z0123456789ABCDEFGHIJ
domain=bbb.example.org
scalelite_url=https://scalelite.example.org
# Where the secret is, never the secret itself: whoever may describe the instance can read its UserData.
scalelite_secret='secretsmanager:Scalelite#LOADBALANCER_SECRET'
operator_email=operator@example.org
bbb_release=jammy-300              # with BigBlueButton 3.0, on Ubuntu 22.04
bbb_installer=https://raw.githubusercontent.com/bigbluebutton/bbb-install/v3.0.x-release/bbb-install.sh
# ---

# install.sh itself has to come from somewhere before it can fetch the rest, and a private bucket needs signed requests.
# Here the aws CLI does that, which Ubuntu's images do not have. Better is an image that has the CLI, or install.sh, or the
# agent's package already: a boot then depends on fewer mirrors. install.sh needs no CLI: it signs its requests itself.
if ! command -v aws >/dev/null; then
    if apt-cache show awscli >/dev/null 2>&1 || { apt-get -qq update && apt-cache show awscli >/dev/null 2>&1; }; then
        apt-get -qq -o DPkg::Lock::Timeout=300 install -y awscli
    else
        snap install aws-cli --classic # Ubuntu 24.04 has no package of it
        PATH=$PATH:/snap/bin
    fi
fi

# The network and the role's keys may not be there yet: tried for about five minutes.
for attempt in $(seq 30); do
    if aws s3 cp --only-show-errors --region "$region" "s3://$bucket/agents/install.sh" /root/install.sh; then break; fi
    if [ "$attempt" = 30 ]; then
        echo "cannot fetch s3://$bucket/agents/install.sh: see above; does the instance role have s3:GetObject on it?" >&2
        exit 1
    fi
    sleep 10
done

# Returns when the host's name is live on every name server. From then on the service looks after it, and joins Scalelite
# by itself once BigBlueButton answers. --hostname: BigBlueButton's installer asks for a host that knows its name.
# For releases that are signed add: --public-key RW... (and apt-get install minisign before). To stay on one: --version.
sh /root/install.sh --role bbb --bucket "$bucket" --region "$region" --zone-id "$zone_id" --domain "$domain" \
    --scalelite-url "$scalelite_url" --scalelite-secret "$scalelite_secret" --hostname

# What follows is the host's own: storage for recordings, BigBlueButton, its scripts. The certificate is asked for the name
# that was registered above.
wget -qO /root/bbb-install.sh "$bbb_installer"
bash /root/bbb-install.sh -v "$bbb_release" -s "$(hostname)" -e "$operator_email"
