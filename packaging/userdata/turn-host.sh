#!/bin/bash
# UserData of a TURN host of the sample: registers the host with turn-agent, then installs coturn on it.
# cloud-init runs it once, at the first boot, as root; its output is in /var/log/cloud-init-output.log.
set -euo pipefail

# --- To be filled in: with CloudFormation's Fn::Sub, Terraform's templatefile, or by hand ---
bucket=bbb-sources                 # the bucket to which packaging/publish uploads the agents
region=eu-central-1                # the bucket's region
zone_id=Z0123456789ABCDEFGHIJ
domain=bbb.example.org
# The place of the secret that coturn shares with BigBlueButton, and its key there; never the secret itself.
turn_secret=Turn
turn_secret_key=turnkeyvalue
operator_email=operator@example.org
settings=                          # further settings of the agent: 'dns.spread=100 timeouts.register=300'
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

# install.sh has to be fetched before it can fetch the rest: see bbb-host.sh beside this file.
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
# Returns when the host's name is live on every name server; from then on the service maintains it.
sh /root/install.sh --wait 1800 --role turn --bucket "$bucket" --region "$region" --zone-id "$zone_id" --domain "$domain" \
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
metadata() { printf 'header = "X-aws-ec2-metadata-token: %s"' "$token" | curl -sfK - "http://169.254.169.254/latest/meta-data/$1"; }
token=$(curl -sfX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
public=$(metadata public-ipv4) private=$(metadata local-ipv4)
for address in "$public" "$private"; do
    if [[ ! $address =~ ^[0-9]+(\.[0-9]+){3}$ ]]; then
        echo "the metadata service's public-ipv4 or local-ipv4 is no IPv4 address" >&2
        exit 1
    fi
done

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
