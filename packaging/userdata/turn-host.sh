#!/bin/bash
# UserData of a TURN host of the sample: registers the host with turn-agent, then installs coturn on it.
# cloud-init runs it once, at the first boot, as root; what it prints is in /var/log/cloud-init-output.log.
set -euo pipefail

# --- To be filled in: with CloudFormation's Fn::Sub, Terraform's templatefile, or by hand ---
bucket=bbb-sources                 # where packaging/publish has put the agents
region=eu-central-1                # of the bucket
zone_id=Z0123456789ABCDEFGHIJ
domain=bbb.example.org
# ---

# install.sh itself has to come from somewhere before it can fetch the rest: see bbb-host.sh beside this file.
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

# Returns when the host's name is live on every name server; the service looks after it from then on.
sh /root/install.sh --role turn --bucket "$bucket" --region "$region" --zone-id "$zone_id" --domain "$domain" --hostname

# What follows is the host's own: coturn with its settings (/etc/turnserver.conf: realm, certificate, shared secret).
apt-get -qq -o DPkg::Lock::Timeout=300 install -y coturn
