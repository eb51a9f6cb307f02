#!/bin/bash
# The first boot of a TURN host; host.sh runs it. coturn needs the ports 80 and 443 (TCP), 3478 (TCP and UDP) and
# 32769-65535 (UDP).
# shellcheck disable=SC2154 # UserData sets the variables

# The package starts coturn at once and without settings: it then relays for everybody, into the VPC too. While it is
# masked nothing starts it. The last lines of start_coturn unmask it; where this ends before them, coturn stays off.
install_coturn() {
    step "install coturn"
    again systemctl mask coturn.service
    if systemctl is-active --quiet coturn.service; then again systemctl stop coturn.service; fi
    if [ -n "$certificate" ]; then packages coturn; else packages coturn certbot; fi
}

# certificates: prints where coturn reads its certificate.
certificates() { if [ -n "$certificate" ]; then echo /local/certs; else echo /etc/turnserver; fi; }

# use_certificate: now that coturn's group exists, it may read the fleet's certificate.
use_certificate() {
    await_certificate
    step "let coturn read the fleet's certificate"
    again env "PATH=/usr/lib/$role-agent:$PATH" use-certificate "$role-agent"
}

# coturn's user reads its settings and its certificate, and can change neither: the secret is in the settings.
# At each renewal coturn gets new copies, and is restarted unless it is still masked.
renew_by_hook() {
    install -d -o root -g turnserver -m 750 /etc/turnserver
    install -d /etc/letsencrypt/renewal-hooks/deploy
    cat >/etc/letsencrypt/renewal-hooks/deploy/coturn <<'HOOK'
#!/bin/sh
set -e
install -o root -g turnserver -m 640 "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" /etc/turnserver/
[ "$(systemctl is-enabled coturn.service)" = masked ] || systemctl restart coturn.service
HOOK
    chmod 755 /etc/letsencrypt/renewal-hooks/deploy/coturn
}

# log_to_file: cloudwatch/turn-agent.json reads this file, as a member of adm.
log_to_file() {
    step "have coturn write a log"
    if [ ! -e /var/log/coturn.log ]; then install -o turnserver -g adm -m 640 /dev/null /var/log/coturn.log; fi
    install -d /etc/logrotate.d
    printf '/var/log/coturn.log {\n    weekly\n    rotate 4\n    maxsize 100M\n    copytruncate\n    compress\n    missingok\n}\n' \
        >/etc/logrotate.d/coturn
}

# secret_of STAGE: prints the version of coturn's secret that has this label in Secrets Manager. Only a rotation has
# another than AWSCURRENT.
secret_of() {
    local said
    if { said=$(call secretsmanager / "{\"SecretId\":\"$turn_secret\",\"VersionStage\":\"$1\"}" \
        content-type:application/x-amz-json-1.1 x-amz-target:secretsmanager.GetSecretValue 2>&1 >&3); } 3>&1; then return; fi
    case $1:$said in AWSPREVIOUS:*ResourceNotFound* | AWSPENDING:*ResourceNotFound*) return ;; esac
    echo "$said" >&2
    return 1
}

# coturn_secrets: prints the secret that coturn shares with BigBlueButton, and those before and after it in a rotation
# (docs/turn.md), because BigBlueButton hosts do not change at once. A pipe keeps them off every command line. An empty one
# would be a password that everybody knows.
coturn_secrets() {
    local stage
    for stage in AWSCURRENT AWSPREVIOUS AWSPENDING; do again secret_of "$stage"; done |
        python3 -I -c 'import json, re, sys
text, secrets = sys.stdin.read().strip() or sys.exit(1), []
while text:
    answer, end = json.JSONDecoder().raw_decode(text)
    text = text[end:].strip()
    secret = json.loads(answer["SecretString"])[sys.argv[1]]
    if not re.fullmatch("[!-~]+", secret): sys.exit("the secret of coturn is empty, or no plain text without spaces")
    if secret not in secrets: secrets.append(secret)
print(*secrets, sep="\n")' "$turn_secret_key"
}

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
configure_coturn() (
    public=$(address public-ipv4)
    private=$(address local-ipv4)
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
cert=$(certificates)/fullchain.pem
pkey=$(certificates)/privkey.pem
no-tlsv1
no-tlsv1_1
no-cli
log-file=/var/log/coturn.log
simple-log
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
    coturn_secrets | sed 's|^|static-auth-secret=|' >>/etc/turnserver.conf.new
    chown root:turnserver /etc/turnserver.conf.new
    chmod 640 /etc/turnserver.conf.new
    mv /etc/turnserver.conf.new /etc/turnserver.conf
)

# A certificate that already existed has not called the hook.
certify() {
    local name
    name=$(hostname)
    step "get a certificate for $name"
    slowly certbot certonly --standalone --non-interactive --agree-tos --keep-until-expiring -m "$operator_email" -d "$name"
    RENEWED_LINEAGE=/etc/letsencrypt/live/$name /etc/letsencrypt/renewal-hooks/deploy/coturn
}

start_coturn() {
    step "start coturn"
    install -d /etc/systemd/system/coturn.service.d
    printf '[Service]\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n' >/etc/systemd/system/coturn.service.d/port-443.conf
    again systemctl unmask coturn.service
    again systemctl daemon-reload
    again systemctl enable coturn.service
    again systemctl restart coturn.service
}

install_agent
install_coturn
if [ -z "$certificate" ]; then renew_by_hook; fi
log_to_file
step "configure coturn"
configure_coturn
if [ -n "$certificate" ]; then use_certificate; else certify; fi
start_coturn
