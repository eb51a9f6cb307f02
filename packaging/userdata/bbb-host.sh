#!/bin/bash
# UserData of a BigBlueButton host of the sample: registers the host with bbb-agent, then installs BigBlueButton on it.
# cloud-init runs it once, at the first boot, as root; its output is in /var/log/cloud-init-output.log.
set -euo pipefail

# --- To be filled in: with CloudFormation's Fn::Sub, Terraform's templatefile, or by hand ---
bucket=bbb-sources                 # the bucket to which packaging/publish uploads the agents
bucket_owner=123456789012          # the account that owns the bucket: otherwise a bucket of that name is not used
region=eu-central-1                # the bucket's region
# What packaging/publish says at its end. version=1.2.3 and release_sha256 fix hosts to one release; public_key alone
# lets them follow the latest one, and minimum=1.2.3 keeps a new host from an older release. With neither, everybody who
# can write to the bucket is root on the hosts.
version=latest
release_sha256=
public_key=
minimum=
zone_id=Z0123456789ABCDEFGHIJ
domain=bbb.example.org
scalelite_url=https://scalelite.example.org
# The secret's place, never the secret itself: everyone who may describe the instance can read its UserData.
scalelite_secret='secretsmanager:Scalelite#LOADBALANCER_SECRET'
operator_email=operator@example.org
bbb_release=jammy-300              # with BigBlueButton 3.0, on Ubuntu 22.04
# Further settings of the agent, for example 'bbb.addresses=repair dns.spread=100 timeouts.register=300'.
settings=bbb.addresses=repair
bbb_installer=https://raw.githubusercontent.com/bigbluebutton/bbb-install/v3.0.x-release/bbb-install.sh
bbb_installer_sha256=              # of the file at that address, which else runs as root unverified
# With yes, only root, the agent and these users reach EC2's metadata service, and so the credentials of the role. EC2
# Instance Connect has a user of its own on Ubuntu; the CloudWatch agent may have one: cwagent.
guard_metadata=yes
metadata_users=ec2-instance-connect
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

# stop WORDS: ends this before anything runs as root that is not what it has to be.
stop() {
    echo "UserData: $*. Nothing of it was run" >&2
    exit 1
}

# fetch NAME FILE: fetches a file of the releases, and only from a bucket of the right account.
fetch() {
    again aws s3api get-object --region "$region" --bucket "$bucket" --expected-bucket-owner "$bucket_owner" \
        --key "agents/$1" "$2" >/dev/null
}

# is FILE SHA256: checks a file's content.
is() { [ "$(sha256sum <"$1")" = "$2  -" ]; }

# signed FILE: prints the trusted comment of the signature beside the file, if public_key has signed both.
signed() { minisign -V -Q -P "$public_key" -m "$1" -x "$1.minisig"; }

# address KEY: prints an address that the metadata service says. Another answer could be an option for curl.
address() {
    local token found
    token=$(curl -q -sfX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
    [[ $token =~ ^[A-Za-z0-9/+=_-]+$ ]] || stop "the metadata service gives no token"
    found=$(printf 'header = "X-aws-ec2-metadata-token: %s"' "$token" |
        curl -q -sfK - "http://169.254.169.254/latest/meta-data/$1")
    [[ $found =~ ^[0-9]{1,3}(\.[0-9]{1,3}){3}$ ]] || stop "the metadata service says no address for $1"
    echo "$found"
}

# install.sh has to be fetched before it can fetch the rest, and a private bucket needs signed requests. Here the aws
# CLI signs them, which Ubuntu's images do not have. It is better to have the CLI, install.sh or the agent's package in
# the image: a boot then depends on fewer mirrors. install.sh needs no CLI: it signs its requests itself.
if ! command -v aws >/dev/null; then
    again apt-get -qq update
    if apt-cache show awscli >/dev/null 2>&1; then
        again apt-get -qq -o DPkg::Lock::Timeout=300 install -y awscli
    else
        again snap install aws-cli --classic # Ubuntu 24.04 has no package of it, and snapd is not ready at a first boot
        PATH=$PATH:/snap/bin
    fi
fi
if [ -n "$public_key" ] && ! command -v minisign >/dev/null; then
    again apt-get -qq update
    again apt-get -qq -o DPkg::Lock::Timeout=300 install -y minisign
fi
if [ "$guard_metadata" = yes ] && ! command -v nft >/dev/null; then
    again apt-get -qq update
    again apt-get -qq -o DPkg::Lock::Timeout=300 install -y nftables
fi

# install.sh fetches the rest. It comes to /root, where only root can write, and runs when it has been verified:
# release_sha256 is the hash of the release's SHA256SUMS, which has the hashes of all files, install.sh included;
# public_key is what SHA256SUMS is signed with. If both are set, both are checked.
if [ -z "$release_sha256$public_key" ]; then
    echo "UserData: without release_sha256 or public_key, all who can write to s3://$bucket are root on this host" >&2
fi
release=$version
if [ "$version" = latest ] && [ -n "$release_sha256" ]; then
    stop "release_sha256 fits one version, so the version cannot be latest"
elif [ "$version" = latest ] && [ -n "$public_key" ]; then
    # What is signed is the version; the signature's comment repeats it, and has the date.
    fetch latest.minisig /root/latest.minisig
    release=$(sed -n 's/^trusted comment: bbb-agents latest \([^ ]*\) .*/\1/p' /root/latest.minisig)
    echo "$release" >/root/latest
    [[ $(signed /root/latest) == "bbb-agents latest $release "* ]] || stop "agents/latest is not signed with public_key"
elif [ "$version" = latest ]; then
    fetch latest /root/latest
    release=$(cat /root/latest)
fi
[[ $release =~ ^[0-9][A-Za-z0-9.~-]*$ ]] || stop "agents/latest holds no version"
[ -z "$minimum" ] || dpkg --compare-versions "$release" ge "$minimum" || stop "$release is lower than the minimum $minimum"
fetch "$release/SHA256SUMS" /root/SHA256SUMS
if [ -n "$public_key" ]; then
    fetch "$release/SHA256SUMS.minisig" /root/SHA256SUMS.minisig
    # The comment keeps an older release, which is signed as well, from being shown as this one.
    [ "$(signed /root/SHA256SUMS)" = "bbb-agents $release" ] || stop "agents/$release is not signed with public_key"
fi
[ -z "$release_sha256" ] || is /root/SHA256SUMS "$release_sha256" || stop "agents/$release is not what release_sha256 says"
fetch "$release/install.sh" /root/install.sh.new
is /root/install.sh.new "$(sed -n 's/ [ *]install\.sh$//p' /root/SHA256SUMS)" || stop "agents/$release/install.sh was changed"
mv /root/install.sh.new /root/install.sh

# The further settings, and what install.sh has to verify, as options.
set -- --version "$version" --bucket "$bucket" --bucket-owner "$bucket_owner" --region "$region"
for setting in $settings; do set -- "$@" --set "$setting"; done
if [ -n "$minimum" ]; then set -- "$@" --minimum "$minimum"; fi
if [ -n "$public_key" ]; then set -- "$@" --public-key "$public_key"; fi
if [ -n "$release_sha256" ]; then set -- "$@" --release-sha256 "$release_sha256"; fi
if [ "$guard_metadata" = yes ]; then set -- "$@" --guard-metadata; fi
for user in $metadata_users; do set -- "$@" --metadata-user "$user"; done
# Returns when the host's name is live on every name server. From then on the service maintains it, and joins Scalelite
# by itself once BigBlueButton answers. --hostname: BigBlueButton's installer requires a host that knows its name.
sh /root/install.sh --wait 1800 --role bbb --zone-id "$zone_id" --domain "$domain" \
    --scalelite-url "$scalelite_url" --scalelite-secret "$scalelite_secret" --hostname "$@"

# The rest is the host's own: storage for recordings, BigBlueButton, its scripts. The certificate is requested for the
# name that was registered above.
# The agent does not depend on the rest. If it fails: repair it, and run this file again
# (/var/lib/cloud/instance/scripts/part-001).
# The installer's way of asking the metadata service for the addresses fails on a host that only allows IMDSv2, and it
# would then announce the private address to all clients. So it is given the addresses.
IP=$(address public-ipv4)
INTERNAL_IP=$(address local-ipv4)
export IP INTERNAL_IP
again wget -qO /root/bbb-install.sh "$bbb_installer"
[ -z "$bbb_installer_sha256" ] || is /root/bbb-install.sh "$bbb_installer_sha256" ||
    stop "$bbb_installer is not what bbb_installer_sha256 says"
bash /root/bbb-install.sh -v "$bbb_release" -s "$(hostname)" -e "$operator_email"
