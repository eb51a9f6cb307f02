#!/bin/bash
# UserData of a TURN host of the sample: registers the host with turn-agent, then installs coturn on it.
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
# The place of the secret that coturn shares with BigBlueButton, and its key there; never the secret itself.
turn_secret=Turn
turn_secret_key=turnkeyvalue
operator_email=operator@example.org
# Further settings of the agent: 'turn.shared_name=turn.bbb.example.org dns.spread=100 timeouts.register=300'
settings=
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

# install.sh has to be fetched before it can fetch the rest: see bbb-host.sh beside this file.
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
# Returns when the host's name is live on every name server; from then on the service maintains it.
sh /root/install.sh --wait 1800 --role turn --zone-id "$zone_id" --domain "$domain" \
    --hostname --set metrics.certificate=127.0.0.1:443 "$@"

# The agent does not depend on the rest. If it fails: repair it, and run this file again
# (/var/lib/cloud/instance/scripts/part-001).
# coturn, with a certificate of Let's Encrypt: ports 80 and 443 (TCP), 3478 (TCP and UDP) and 32769-65535 (UDP) must be
# open.
# The package starts coturn at once and without settings: it then relays for everybody, into the VPC too. While it is
# masked nothing starts it. The last lines unmask it; where this file ends before them, coturn stays off.
systemctl mask coturn.service
if systemctl is-active --quiet coturn.service; then systemctl stop coturn.service; fi
again apt-get -qq update
again apt-get -qq -o DPkg::Lock::Timeout=300 install -y coturn certbot
public=$(address public-ipv4)
private=$(address local-ipv4)

# coturn's user reads its settings and its certificate, and can change neither: the secret is in the settings.
# At each renewal coturn gets new copies, and is restarted unless it is still masked.
install -d -o root -g turnserver -m 750 /etc/turnserver
install -d /etc/letsencrypt/renewal-hooks/deploy
cat >/etc/letsencrypt/renewal-hooks/deploy/coturn <<'HOOK'
#!/bin/sh
set -e
install -o root -g turnserver -m 640 "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" /etc/turnserver/
[ "$(systemctl is-enabled coturn.service)" = masked ] || systemctl restart coturn.service
HOOK
chmod 755 /etc/letsencrypt/renewal-hooks/deploy/coturn

# At 127.0.0.1 turn-agent asks whether coturn answers.
# BigBlueButton needs UDP to the public addresses of its hosts, and nothing else. So there are no TCP relays (RFC 6062),
# and no peers at this host's own addresses, or in ranges that IANA's registries of special-purpose addresses
# (RFC 6890) call not globally reachable: the VPC, the metadata service, multicast, and whatever leads back to them
# (NAT64, 6to4, Teredo, IPv4-mapped). All of IPv6 that is not global unicast (2000::/3) is among them. coturn itself
# refuses ::, and a range that began with it would contain all of IPv4 (4.6.1). external-ip is the public address
# alone: written as PUBLIC/PRIVATE, both would be allowed as peers, whatever is denied.
# Quotas: a browser has an allocation for each stream and each way to this host (UDP, TCP, TLS). 300 are 100 streams,
# more than BigBlueButton shows at once. All together they may use a third of the ports. An allocation that nobody
# refreshes ends after 10 minutes, as RFC 8656 proposes.
(
    umask 077
    cat >/etc/turnserver.conf.new <<CONF
listening-ip=$private
listening-ip=127.0.0.1
relay-ip=$private
external-ip=$public
listening-port=3478
tls-listening-port=443
min-port=32769
max-port=65535
fingerprint
use-auth-secret
realm=$domain
cert=/etc/turnserver/fullchain.pem
pkey=/etc/turnserver/privkey.pem
no-tlsv1
no-tlsv1_1
no-cli
user-quota=300
total-quota=10900
max-allocate-lifetime=600
no-tcp-relay
no-multicast-peers
denied-peer-ip=$public
denied-peer-ip=$private
denied-peer-ip=0.0.0.0-0.255.255.255
denied-peer-ip=10.0.0.0-10.255.255.255
denied-peer-ip=100.64.0.0-100.127.255.255
denied-peer-ip=127.0.0.0-127.255.255.255
denied-peer-ip=169.254.0.0-169.254.255.255
denied-peer-ip=172.16.0.0-172.31.255.255
denied-peer-ip=192.0.0.0-192.0.0.255
denied-peer-ip=192.0.2.0-192.0.2.255
denied-peer-ip=192.88.99.0-192.88.99.255
denied-peer-ip=192.168.0.0-192.168.255.255
denied-peer-ip=198.18.0.0-198.19.255.255
denied-peer-ip=198.51.100.0-198.51.100.255
denied-peer-ip=203.0.113.0-203.0.113.255
denied-peer-ip=224.0.0.0-255.255.255.255
denied-peer-ip=::1-1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
denied-peer-ip=2001::-2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff
denied-peer-ip=2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff
denied-peer-ip=2002::-2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff
denied-peer-ip=3fff::-3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff
denied-peer-ip=4000::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
CONF
    # A pipe keeps the secret off every command line. An empty one would be a password that everybody knows.
    aws secretsmanager get-secret-value --region "$region" --secret-id "$turn_secret" --query SecretString --output text |
        python3 -c 'import json, re, sys
secret = json.load(sys.stdin)[sys.argv[1]]
if not re.fullmatch("[!-~]+", secret): sys.exit("the secret of coturn is empty, or no plain text without spaces")
print("static-auth-secret=" + secret)' "$turn_secret_key" >>/etc/turnserver.conf.new
)
chown root:turnserver /etc/turnserver.conf.new
chmod 640 /etc/turnserver.conf.new
mv /etc/turnserver.conf.new /etc/turnserver.conf
install -d /etc/systemd/system/coturn.service.d
printf '[Service]\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n' >/etc/systemd/system/coturn.service.d/port-443.conf
again certbot certonly --standalone --non-interactive --agree-tos --keep-until-expiring -m "$operator_email" -d "$(hostname)"
# A certificate that already existed has not called the hook.
RENEWED_LINEAGE=/etc/letsencrypt/live/$(hostname) /etc/letsencrypt/renewal-hooks/deploy/coturn
systemctl unmask coturn.service
systemctl daemon-reload
systemctl enable coturn.service
systemctl restart coturn.service
