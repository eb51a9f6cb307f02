#!/bin/bash
# UserData of a BigBlueButton host: verifies a release of the agents, and runs what it has for a host's first boot
# (packaging/host): it registers the host with bbb-agent, then installs BigBlueButton. It needs no aws CLI.
# cloud-init runs it once, at the first boot, as root; its output is in /var/log/cloud-init-output.log.
# shellcheck disable=SC2034 # packaging/host/host.sh reads most of the variables
set -euo pipefail

# --- To be filled in: with CloudFormation's Fn::Sub, Terraform's templatefile, or by hand ---
role=bbb
stack=                             # the CloudFormation stack that waits for this host, named as its group; empty for none
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
# A single server: its name is server_name.domain, and scalelite_url may be empty. Empty where hosts are named after
# their instances.
server_name=
scalelite_url=https://scalelite.example.org
# The secret's place, never the secret itself: everyone who may describe the instance can read its UserData.
scalelite_secret='secretsmanager:Scalelite#LOADBALANCER_SECRET'
operator_email=operator@example.org
# jammy-300 is BigBlueButton 3.0 on Ubuntu 22.04, noble-400 (with the installer v4.0.x-release) 4.0 on 24.04; none
# where the image has BigBlueButton already.
bbb_release=jammy-300
# Further settings of the agent, for example 'bbb.addresses=repair dns.spread=100 timeouts.register=300'.
settings=bbb.addresses=repair
bbb_installer=https://raw.githubusercontent.com/bigbluebutton/bbb-install/v3.0.x-release/bbb-install.sh
bbb_installer_sha256=              # of the file at that address, which else runs as root unverified
# With yes, only root, the agent and these users reach EC2's metadata service, and so the credentials of the role. EC2
# Instance Connect has a user of its own on Ubuntu. The CloudWatch agent's, cwagent, is added where it is installed.
guard_metadata=yes
metadata_users=ec2-instance-connect
# TURN servers that BigBlueButton tells its clients, beside the one that the host runs itself: their name, the place of
# the secret that coturn there shares with BigBlueButton, and its key there. Empty for none.
turn_server=
turn_secret=
turn_secret_key=turnkeyvalue
# The secret in Secrets Manager with one certificate for all hosts (docs/certificates.md); empty where each host gets its
# own from Let's Encrypt, which gives 50 a week for a domain.
certificate=
# The CloudWatch agent sends logs to the log groups LOG_GROUP/system and LOG_GROUP/application; empty for no agent.
log_group=
cloudwatch_agent=https://amazoncloudwatch-agent.s3.amazonaws.com/ubuntu/amd64/latest/amazon-cloudwatch-agent.deb
cloudwatch_agent_sha256=           # of the file at that address, which else runs as root unverified
# Who sends recordings to Scalelite. Without a sender they are lost with the host, so this has to be said: scalelite for
# Scalelite's own script, which needs a file system; none; auto or the path of a program for what an image has.
recordings_sender=
file_system=                       # the EFS file system with Scalelite's spool: fs-..., and the spool's access point:
access_point=                      # fsap-...
data_volume=no                     # yes: the only other EBS disk of the instance is for /var/bigbluebutton; vol-...: this
                                   # volume, which outlives the host of a single server
sender_source=https://raw.githubusercontent.com/blindsidenetworks/scalelite/v1.6.0/bigbluebutton
sender_sha256=                     # of its three files, one behind the other (packaging/host/storage.sh)
sender_gems='redis builder nokogiri:1.15.7 loofah open4 absolute_time journald-logger'
efs_utils=https://github.com/aws/efs-utils/archive/refs/tags/v1.36.0.tar.gz
efs_utils_sha256=
# ---

# step WORDS: says what is done next. Where that fails, these words are the reason.
step() {
    doing=$1
    echo "UserData: $doing"
}

# stop WORDS: ends this, with a reason of its own.
stop() {
    reason=$*
    echo "UserData: $reason" >&2
    exit 1
}

# refuse WORDS: ends this before anything runs as root that is not what it has to be.
refuse() { stop "$*. Nothing of it was run"; }

# ended: says at the end why this host is not ready, if it is not, also to the stack, which then rolls back a first
# deployment. A group's new hosts are protected from scale-in; the group, and a stack that is deleted, may end this one.
doing='begin' reason=''
ended() {
    local code=$?
    trap - EXIT
    set +e
    if [ "$code" = 0 ]; then return 0; fi
    if [ -z "$reason" ]; then reason=$doing; fi
    echo "UserData: this host is not ready. What has failed: $reason" >&2
    signal FAILURE
    if [ "$role" = bbb ]; then
        tell autoscaling 2011-01-01 SetInstanceProtection \
            "AutoScalingGroupName=$stack&ProtectedFromScaleIn=false&InstanceIds.member.1="
    fi
}
trap ended EXIT

# again COMMAND: mirrors, the network, the role's keys and other installations at boot may need some minutes.
again() {
    local attempt
    for attempt in $(seq 30); do
        if "$@"; then return; fi
        echo "attempt $attempt failed: $*" >&2
        sleep 10
    done
    stop "this has failed 30 times: $*"
}

# packages NAME...: installs packages of the distribution.
packages() {
    again apt-get -qq update
    again apt-get -qq -o DPkg::Lock::Timeout=300 install -y "$@"
}

# call SERVICE PATH BODY HEADER...: makes one call of AWS's, and prints the answer; call imds KEY FORM prints what the
# metadata service says, if it has that form. Ubuntu's images have no aws CLI, and its curl may be too old to sign. But
# cloud-init is a Python program, so Python is here. Keys and tokens stay inside of it.
call() { timeout 100 python3 -I -c "$caller" "$region" "$@"; }
caller='
import hashlib, hmac, http.client, json, os, re, sys, time
region, service, path, body, *more = sys.argv[1:]
imds = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254")

def ask(url, method, path, headers, body=""):
    scheme, host = url.rstrip("/").split("://")
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    connection = kind(host, timeout=20)
    connection.request(method, path, body or None, headers)
    answer = connection.getresponse()
    content = answer.read(1 << 20)
    if answer.status != 200:
        code = re.search(rb"(?:<Code>|__type.{1,9}?)([\w.#]{1,60})", content)
        sys.exit("%s answered %s %s" % (host, answer.status, code[1].decode() if code else ""))
    return content

def learn(key, form):
    found = ask(imds, "GET", "/latest/meta-data/" + key, {"X-aws-ec2-metadata-token": token}).decode()
    return plain(found, form, "answer to " + key)

def plain(word, form, what):
    if not re.fullmatch(form, word, re.A): sys.exit("the metadata service gives no good %s: not used" % what)
    return word

def digest(text): return hashlib.sha256(text.encode()).hexdigest()

def signed():
    role = learn("iam/security-credentials/", r"[\w+=,.@-]{1,64}")
    keys = json.loads(ask(imds, "GET", "/latest/meta-data/iam/security-credentials/" + role,
        {"X-aws-ec2-metadata-token": token}))
    access, secret, session = (plain(keys[name], r"[\w/+=-]+", "key")
        for name in ("AccessKeyId", "SecretAccessKey", "Token"))
    url = os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/")
    where = path
    if not url:
        # The signature goes there: these are all domains of AWS (partitions.json of the SDKs, 2026-11).
        url = service + "." + region + "." + learn("services/domain", r"amazonaws\.com(\.cn)?|amazonaws\.eu|c2s\.ic\.gov|"
            r"sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov")
        if service == "s3" and "." not in path.split("/")[1]:
            _, bucket, where = path.split("/", 2)
            url, where = bucket + "." + url, "/" + where
        url = "https://" + url
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = {"host": url.split("://")[1], "x-amz-content-sha256": digest(body), "x-amz-date": now,
        "x-amz-security-token": session, **dict(header.split(":", 1) for header in more)}
    names = sorted(headers)
    method = "POST" if body else "GET"
    request = [method, where, "", *("%s:%s" % (name, headers[name]) for name in names), "", ";".join(names)]
    scope = [now[:8], region, service, "aws4_request"]
    text = "\n".join(["AWS4-HMAC-SHA256", now, "/".join(scope), digest("\n".join(request + [digest(body)]))])
    key = ("AWS4" + secret).encode()
    for part in scope + [text]: key = hmac.new(key, part.encode(), "sha256").digest()
    headers["authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        access, "/".join(scope), ";".join(names), key.hex())
    return ask(url, method, where, headers, body)

try:
    token = ask(imds, "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "300"}).decode()
    plain(token, r"[\w/+=-]{1,1024}", "token")
    sys.stdout.buffer.write(learn(path, body).encode() if service == "imds" else signed())
except Exception as error:
    sys.exit("%s: %s %s" % (service, type(error).__name__, error if isinstance(error, OSError) else ""))
'

# tell SERVICE VERSION ACTION PARAMETERS: calls AWS about this host, whose id is put behind the parameters. It is worth
# some tries, but nothing depends on it.
tell() {
    if [ -z "$stack" ]; then return 0; fi
    local id said=''
    for _ in 1 2 3 4 5; do
        if id=$(call imds instance-id 'i-[0-9a-f]{8,17}') &&
            said=$(call "$1" / "Version=$2&Action=$3&$4$id" content-type:application/x-www-form-urlencoded 2>&1); then return 0; fi
        # A stack that is complete waits for no signal: this host came later.
        case $said in *ValidationError*) break ;; esac
        sleep 5
    done
    echo "UserData: $3: $said" >&2
}

# signal SUCCESS|FAILURE: tells the stack. The id of the signal is what its events show.
signal() {
    local words=''
    if [ "$1" = FAILURE ]; then words=$(tr -c 'A-Za-z0-9./-' + <<<"$reason" | cut -c -44); fi
    tell cloudformation 2010-05-15 SignalResource "StackName=$stack&LogicalResourceId=Group&Status=$1&UniqueId=$words"
}

# fetch NAME FILE: fetches a file of the releases, and only from a bucket of the right account.
fetch() { again call s3 "/$bucket/agents/$1" '' "x-amz-expected-bucket-owner:$bucket_owner" >"$2"; }

# is FILE SHA256: checks a file's content.
is() { [ "$(sha256sum <"$1")" = "$2  -" ]; }

# signed FILE: prints the trusted comment of the signature beside the file, if public_key has signed both.
signed() { minisign -V -Q -P "$public_key" -m "$1" -x "$1.minisig"; }

# released NAME: fetches a file of the release to /root, where only root can write, and verifies it.
released() {
    fetch "$release/$1" "/root/$1.new"
    is "/root/$1.new" "$(awk -v name="$1" '$2 == name || $2 == "*" name { print $1 }' /root/SHA256SUMS)" ||
        refuse "agents/$release/$1 was changed"
    mv "/root/$1.new" "/root/$1"
}

# release_sha256 is the hash of the release's SHA256SUMS, which has the hashes of all files; public_key is what SHA256SUMS
# is signed with. If both are set, both are checked.
step "fetch the release from s3://$bucket"
if [ -n "$public_key" ] && ! command -v minisign >/dev/null; then packages minisign; fi
if [ -z "$release_sha256$public_key" ]; then
    echo "UserData: without release_sha256 or public_key, all who can write to s3://$bucket are root on this host" >&2
fi
release=$version
if [ "$version" = latest ] && [ -n "$release_sha256" ]; then
    refuse "release_sha256 fits one version, so the version cannot be latest"
elif [ "$version" = latest ] && [ -n "$public_key" ]; then
    # What is signed is the version; the signature's comment repeats it, and has the date.
    fetch latest.minisig /root/latest.minisig
    release=$(sed -n 's/^trusted comment: bbb-agents latest \([^ ]*\) .*/\1/p' /root/latest.minisig)
    echo "$release" >/root/latest
    [[ $(signed /root/latest) == "bbb-agents latest $release "* ]] || refuse "agents/latest is not signed with public_key"
elif [ "$version" = latest ]; then
    fetch latest /root/latest
    release=$(cat /root/latest)
fi
[[ $release =~ ^[0-9][A-Za-z0-9.~-]*$ ]] || refuse "agents/latest holds no version"
[ -z "$minimum" ] || dpkg --compare-versions "$release" ge "$minimum" || refuse "$release is lower than the minimum $minimum"
fetch "$release/SHA256SUMS" /root/SHA256SUMS
if [ -n "$public_key" ]; then
    fetch "$release/SHA256SUMS.minisig" /root/SHA256SUMS.minisig
    # The comment keeps an older release, which is signed as well, from being shown as this one.
    [ "$(signed /root/SHA256SUMS)" = "bbb-agents $release" ] || refuse "agents/$release is not signed with public_key"
fi
[ -z "$release_sha256" ] || is /root/SHA256SUMS "$release_sha256" || refuse "agents/$release is not what release_sha256 says"

# The rest is in the release: packaging/host. If it fails: repair it, and run this file again
# (/var/lib/cloud/instance/scripts/part-001).
released host.sh
# shellcheck disable=SC1091 # it was just fetched
. /root/host.sh
