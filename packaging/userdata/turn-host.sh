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
again apt-get -qq update
again apt-get -qq -o DPkg::Lock::Timeout=300 install -y coturn certbot
metadata() { printf 'header = "X-aws-ec2-metadata-token: %s"' "$token" | curl -sfK - "http://169.254.169.254/latest/meta-data/$1"; }
token=$(curl -sfX PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)
public=$(metadata public-ipv4) private=$(metadata local-ipv4)

# At each renewal coturn gets copies that its user can read, and is restarted.
install -d -o turnserver -g turnserver -m 700 /etc/turnserver
install -d /etc/letsencrypt/renewal-hooks/deploy
cat >/etc/letsencrypt/renewal-hooks/deploy/coturn <<'HOOK'
#!/bin/sh
set -e
install -o turnserver -g turnserver -m 400 "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" /etc/turnserver/
systemctl restart coturn
HOOK
chmod 755 /etc/letsencrypt/renewal-hooks/deploy/coturn

# At 127.0.0.1 turn-agent asks whether coturn answers. Nothing is relayed to private addresses: the hosts of a fleet
# are reached by their public ones.
(
    umask 077
    cat >/etc/turnserver.conf <<CONF
listening-ip=$private
listening-ip=127.0.0.1
relay-ip=$private
external-ip=$public/$private
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
no-multicast-peers
denied-peer-ip=0.0.0.0-0.255.255.255
denied-peer-ip=10.0.0.0-10.255.255.255
denied-peer-ip=100.64.0.0-100.127.255.255
denied-peer-ip=127.0.0.0-127.255.255.255
denied-peer-ip=169.254.0.0-169.254.255.255
denied-peer-ip=172.16.0.0-172.31.255.255
denied-peer-ip=192.168.0.0-192.168.255.255
denied-peer-ip=::1
denied-peer-ip=fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
denied-peer-ip=fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff
CONF
    # A pipe keeps the secret off every command line.
    aws secretsmanager get-secret-value --region "$region" --secret-id "$turn_secret" --query SecretString --output text |
        python3 -c 'import json, sys; print("static-auth-secret=" + json.load(sys.stdin)[sys.argv[1]])' "$turn_secret_key" \
            >>/etc/turnserver.conf
)
chown turnserver:turnserver /etc/turnserver.conf
install -d /etc/systemd/system/coturn.service.d
printf '[Service]\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n' >/etc/systemd/system/coturn.service.d/port-443.conf
systemctl daemon-reload
again certbot certonly --standalone --non-interactive --agree-tos --keep-until-expiring -m "$operator_email" -d "$(hostname)"
# A certificate that already existed has not called the hook.
RENEWED_LINEAGE=/etc/letsencrypt/live/$(hostname) /etc/letsencrypt/renewal-hooks/deploy/coturn
