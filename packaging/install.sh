#!/bin/sh
# Installs or upgrades an agent on this host, from a release in S3. For UserData; can be run again at any time.
#
#   install.sh --role bbb|turn --bucket BUCKET --zone-id ZONE --domain DOMAIN
#     --scalelite-url URL           Scalelite's address (bbb only), and where its secret is, never the secret itself:
#     --scalelite-secret REFERENCE  secretsmanager:ID#KEY, file:/PATH or credential:NAME
#     --set KEY=VALUE               any other setting, as often as needed. Numbers, true, false, [lists] and "texts in
#                                   quotes" are taken as they are, anything else as a text
#     --keep                        with the options of the installation before, which others here add to or replace: for
#                                   an upgrade. --version, --release-sha256, --allow-downgrade and --wait are not kept
#     --version VERSION             instead of what BUCKET/PREFIX/latest says
#     --allow-downgrade             also installs a version that is lower than the installed one
#     --minimum VERSION             installs no lower version than this
#     --prefix PREFIX               where the releases are in the bucket: agents
#     --region REGION               the bucket's region: that of this instance
#     --bucket-owner ACCOUNT        the number of the account that has to own the bucket
#     --public-key KEY              a minisign key (RW...): the release, and what says which is the latest, have to be
#                                   signed with it
#     --release-sha256 HASH         the SHA-256 of the release's SHA256SUMS; needs --version
#     --hostname                    gives this host the name that it has in DNS, once it is live: at most 64 characters
#     --guard-metadata              let only root and the agent's user reach EC2's metadata service, and so the role's
#                                   credentials; needs nftables. It lasts until AGENT-metadata.service is disabled
#     --metadata-user USER          let this user reach it too, as often as needed
#     --wait SECONDS                how long to wait, for each thing that may not be there yet: 300
#
# Fetches SHA256SUMS and the package, verifies both, writes /etc/AGENT/config.d/50-install.toml, installs the package,
# starts the service (or restarts it where it runs) and returns once it is ready, which it is when its name is live.
# Changes nothing before everything is fetched and the package's own agent has accepted the settings. If a service that
# was ready is not ready with the new version or settings, the old ones are put back. A version that is lower than the
# installed one is refused, unless the signed word on the latest release says that the fleet goes back.
#
# Exit codes: 0 ready; 1 failed, or not ready in time; 2 the command line is wrong.
#
# Needs root, dpkg, systemd, and aws or curl; with curl this script signs the requests itself, with the instance role's
# keys. Only the shell's builtins handle keys and tokens, in pipes: no command line shows them.
set -eu
umask 022
LC_ALL=C
export LC_ALL

agent='' bucket='' zone='' domain='' url='' secret='' settings='' version=latest prefix=agents public_key=''
guard='' users=''
bucket_owner='' release_sha256='' downgrade='' back_from='' minimum='' keep='' fixed=''
hostname='' longest=64 patience=300 suffix='' region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}}
newline='
'

say() { printf 'install.sh: %s\n' "$*"; }
complain() { printf 'install.sh: %s\n' "$*" >&2; }
die() {
    complain "$@"
    exit 1
}
usage() {
    complain "$*; --help shows all options. Nothing was changed"
    exit 2
}

# --- Words from outside ----------------------------------------------------------------------------------------------

# plain VALUE CLASS: checks that a word from outside is what a word of its class can be. What the metadata service, S3
# and the bucket say passes here before it is used or printed. In curl's configuration, a quote and a line's end would
# begin another option, which could name a file to write.
plain() {
    case $2 in
        account) [ "${#1}" = 12 ] && set -- "$1" 0-9 12 ;;
        code) set -- "$1" A-Za-z0-9 64 ;;
        date) set -- "$1" 0-9TZ:- 20 ;;
        domain)
            # The keys' signature goes there, so these are all domains of AWS's (the SDKs' partitions.json, 2026-11).
            case $1 in
                amazonaws.com | amazonaws.com.cn | amazonaws.eu) return 0 ;;
                c2s.ic.gov | sc2s.sgov.gov | cloud.adc-e.uk | csp.hci.ic.gov) return 0 ;;
            esac
            return 1
            ;;
        hash) [ "${#1}" = 64 ] && set -- "$1" 0-9a-f 64 ;;
        key) set -- "$1" A-Za-z0-9_ 128 ;;
        region) set -- "$1" a-z0-9- 32 ;;
        role) set -- "$1" A-Za-z0-9_+=,.@- 64 ;;
        secret) set -- "$1" A-Za-z0-9/+= 60 ;; # with AWS4 before it, as long as a key of hmac's may be
        session) set -- "$1" A-Za-z0-9/+=_- 8192 ;;
        token) set -- "$1" A-Za-z0-9/+=_- 1024 ;;
        version)
            case $1 in [!0-9]*) return 1 ;; esac
            set -- "$1" A-Za-z0-9.~- 64
            ;;
    esac
    # An unknown class, and a length that is wrong, have left no third word.
    [ $# = 3 ] && [ -n "$1" ] && [ "${#1}" -le "$3" ] || return 1
    # shellcheck disable=SC2254 # the class is a part of the pattern
    case $1 in *[!$2]*) return 1 ;; esac
}

# Prints the beginning of a text from outside without what could steer a terminal.
shown() { printf '%s' "$1" | tr '\n' ' ' | tr -cd ' -~' | head -c 400; }

# --- The command line ------------------------------------------------------------------------------------------------

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --help | -h)
                sed -n '2,/^set -eu/{/^#/s/^#\( \|$\)//p;}' "$0"
                exit 0
                ;;
            --hostname)
                hostname=yes
                shift
                continue
                ;;
            --guard-metadata)
                guard=yes
                shift
                continue
                ;;
            --keep) # main has read them
                shift
                continue
                ;;
            --allow-downgrade)
                downgrade=yes
                shift
                continue
                ;;
            --*=*)
                option=${1%%=*} value=${1#*=}
                shift
                ;;
            --*)
                option=$1
                [ $# -ge 2 ] || usage "$option: a value has to follow (or there is no such option)"
                value=$2
                shift 2
                ;;
            # Not echoed: the argument may be a secret.
            *) usage "something stands on the command line that belongs to no option" ;;
        esac
        take "$option" "$value"
    done
}

# keep_options WORD...: with --keep on the command line, takes the options of the installation before. Those of the
# command line follow, and replace them; its settings replace those of the same key.
keep_options() {
    role='' before=''
    for word; do
        case $word in --keep) keep=yes ;; esac
        case $before$word in --role*) role=${word#--role=} ;; esac
        before=''
        [ "$word" != --role ] || before=--role
    done
    [ -n "$keep" ] || return 0
    file=''
    for kept in /etc/bbb-agent/install.options /etc/turn-agent/install.options; do
        case $role:$kept in
            :* | bbb:/etc/bbb-* | turn:/etc/turn-*) ;;
            *) continue ;;
        esac
        [ -f "$kept" ] || continue
        [ -z "$file" ] || usage "--keep: both agents are here; --role has to say which"
        file=$kept
    done
    [ -n "$file" ] || usage "--keep: no options of an installation are here yet; give them all, once"
    set --
    while IFS= read -r word; do
        case $word in
            '#fixed') fixed=yes ;;
            '#'*) ;;
            *) set -- "$@" "$word" ;;
        esac
    done <"$file"
    parse "$@"
    kept_settings=$settings settings=''
}

# Adds the kept settings that the command line does not set.
merge_settings() {
    [ -n "$keep" ] || return 0
    while IFS= read -r line; do
        case "$newline$settings" in
            *"$newline${line%% = *} = "*) ;;
            *) settings=$settings${line:+$line$newline} ;;
        esac
    done <<LINES
$kept_settings
LINES
    case $fixed$release_sha256$public_key in
        yes) usage "--keep: --release-sha256 has fixed this host to a release, so nothing would verify another one: say \
--version and its --release-sha256, or --public-key" ;;
    esac
}

keep_option() { [ -z "$2" ] || printf '%s\n' "$1" "$2"; }

# Writes the options that --keep takes. None is a secret.
write_options() {
    {
        printf '%s\n' '# Written by install.sh, for its option --keep.' --role "${agent%-agent}" --bucket "$bucket" \
            --zone-id "$zone" --domain "$domain" --prefix "$prefix"
        keep_option --scalelite-url "$url"
        keep_option --scalelite-secret "$secret"
        keep_option --region "$asked_region"
        keep_option --bucket-owner "$bucket_owner"
        keep_option --public-key "$public_key"
        keep_option --minimum "$minimum"
        [ -z "$hostname" ] || echo --hostname
        [ -z "$guard" ] || echo --guard-metadata
        for user in $users; do printf '%s\n' --metadata-user "$user"; done
        printf '%s' "$settings" | while IFS= read -r line; do printf '%s\n' --set "${line%% = *}=${line#* = }"; done
        [ -z "$release_sha256" ] || echo '#fixed'
    } >"/etc/$agent/install.options.new"
    mv "/etc/$agent/install.options.new" "/etc/$agent/install.options"
}

take() {
    case $2 in
        *[[:cntrl:]]*) usage "$1: a control character, such as a line's end, stands in the value" ;;
    esac
    case $1 in
        --role)
            case $2 in
                bbb | turn) agent=$2-agent ;;
                *) usage "--role: bbb or turn, not '$2'" ;;
            esac
            ;;
        --bucket) bucket=$2 ;;
        --zone-id) zone=$2 ;;
        --domain) domain=$2 ;;
        --scalelite-url) url=$2 ;;
        --scalelite-secret) secret=$2 ;;
        --set) add_setting "$2" ;;
        --version) version=$2 ;;
        --prefix) prefix=${2%/} ;;
        --region) region=$2 ;;
        --bucket-owner) bucket_owner=$2 ;;
        --public-key) public_key=$2 ;;
        --metadata-user) add_user "$2" ;;
        --release-sha256) release_sha256=$2 ;;
        --minimum) minimum=$2 ;;
        --wait) patience=$2 ;;
        *) usage "$1: there is no such option" ;;
    esac
}

# A user may come later, with a package of its own, so only the form is checked.
add_user() {
    case $1 in
        '' | *[!a-z0-9_-]* | [!a-z_]* | ?????????????????????????????????*)
            usage "--metadata-user: '$1' is not the name of a user"
            ;;
    esac
    case "$users " in
        *" $1 "*) ;;
        *) users="$users $1" ;;
    esac
}

# is_place TEXT: whether it says where a secret is, and is none itself.
is_place() { case $1 in secretsmanager:?* | file:/?* | credential:?*) ;; *) return 1 ;; esac; }

# The settings are collected as lines of TOML with dotted keys, so that no sections have to be assembled.
add_setting() {
    key=${1%%=*} value=${1#*=}
    case $1 in
        *=*) ;;
        *) usage "--set: KEY=VALUE is needed, for example dns.ttl=120" ;;
    esac
    case $key in
        *[!a-z0-9_.]* | *..* | .* | *.) usage "--set: a key such as dns.ttl is needed before the first =" ;;
        *.*) ;;
        *) usage "--set: a key such as dns.ttl is needed before the first =" ;;
    esac
    case $key in
        dns.zone_id | dns.domain | scalelite.url | scalelite.secret)
            usage "--set: $key has an option of its own"
            ;;
        *secret* | *password*)
            is_place "$value" || usage "--set: $key: a secret is no setting; only where it is may be said \
(secretsmanager:ID#KEY, file:/PATH or credential:NAME)"
            ;;
    esac
    case "$newline$settings" in
        *"$newline$key = "*) usage "--set: $key stands there twice" ;;
    esac
    settings=$settings$key' = '$(toml_value "$value")$newline
}

# Keeps a number, a list or a text in quotes as it is; anything else becomes a text.
toml_value() {
    case $1 in
        true | false | '['*']' | '"'*'"') printf '%s' "$1" ;;
        '' | *[!0-9.]* | .* | *. | *.*.* | 0[0-9]*) toml_text "$1" ;;
        *) printf '%s' "$1" ;;
    esac
}

toml_text() {
    quoted=$1
    case $1 in
        *[\\\"]*) quoted=$(printf '%s' "$1" | sed 's/[\\"]/\\&/g') ;;
    esac
    printf '"%s"' "$quoted"
}

validate() {
    [ -n "$agent" ] || usage "--role is missing: bbb or turn"
    [ -n "$bucket" ] || usage "--bucket is missing"
    [ -n "$zone" ] || usage "--zone-id is missing"
    [ -n "$domain" ] || usage "--domain is missing"
    case $bucket in
        s3://*) usage "--bucket: the name alone, without s3://" ;;
        *[!a-z0-9.-]* | ?? | ? | [!a-z0-9]* | *..*) usage "--bucket: '$bucket' is not the name of a bucket" ;;
    esac
    case $zone in
        *[!A-Z0-9]* | [!Z]* | Z | ?????????????????????????????????*)
            usage "--zone-id: '$zone' is not the id of a hosted zone, such as Z0123456789ABCDEFGHIJ"
            ;;
    esac
    case $domain in
        *[!A-Za-z0-9.-]* | .* | *. | *..* | -* | *- | *.-* | *-.*) usage "--domain: '$domain' is not a domain" ;;
        *.*) ;;
        *) usage "--domain: '$domain' is not a domain such as bbb.example.org" ;;
    esac
    [ "$version" = latest ] || plain "$version" version || usage "--version: '$version' is not a version such as 1.2.3"
    [ -z "$minimum" ] || plain "$minimum" version || usage "--minimum: '$minimum' is not a version such as 1.2.3"
    case $prefix in
        '' | /* | *[!A-Za-z0-9._/-]* | *//* | . | .. | */. | */.. | ./* | ../* | */./* | */../*)
            usage "--prefix: '$prefix' is not a prefix such as agents"
            ;;
    esac
    [ -z "$region" ] || plain "$region" region || usage "--region: '$region' is not a region such as eu-central-1"
    [ -z "$bucket_owner" ] || plain "$bucket_owner" account || usage "--bucket-owner: an account's number of 12 digits is needed"
    case $patience in
        '' | *[!0-9]* | 0* | ??????*) usage "--wait: a number of seconds from 1 to 99999 is needed" ;;
    esac
    case $public_key in
        '') ;;
        *[!A-Za-z0-9+/=]* | [!R]* | R[!W]*) usage "--public-key: not a minisign key: it begins with RW" ;;
    esac
    case ${users:+users}$guard in
        users) usage "--metadata-user: it needs --guard-metadata" ;;
    esac
    [ -z "$release_sha256" ] || plain "$release_sha256" hash || usage "--release-sha256: 64 hexadecimal digits are needed"
    case $version$release_sha256 in
        latest?*) usage "--release-sha256: it fits one version, so --version has to say which" ;;
    esac
    validate_scalelite
    validate_hostname
}

# With the agent's own template the name is known but for the instance's 17 digits, so it is refused before anything is
# fetched. Where settings may have another template, the agent tells the name: see try_settings.
validate_hostname() {
    [ -n "$hostname" ] && [ ! -d "/etc/$agent" ] || return 0
    case "$newline$settings" in
        *"${newline}dns.hostname = "* | *"${newline}dns.name = "*) return 0 ;;
    esac
    case $agent in
        bbb-agent) name=vc-0123456789abcdef0.$domain ;;
        turn-agent) name=tu-0123456789abcdef0.$domain ;;
    esac
    [ "${#name}" -le "$longest" ] || usage "--hostname: $(too_long "$name")"
}

# Linux allows a host 64 characters (HOST_NAME_MAX), DNS allows 253.
too_long() {
    label=${1%%.*}
    printf '%s has %s characters (%s before the first dot, the dot, %s after it), and Linux allows %s in the name of a host: ' \
        "$1" "${#1}" "${#label}" "$((${#1} - ${#label} - 1))" "$longest"
    printf 'choose a shorter domain or dns.hostname, or leave --hostname out'
}

validate_scalelite() {
    case $agent$url$secret in
        turn-agent) return ;;
        turn-agent*) usage "--scalelite-url, --scalelite-secret: a TURN host is in no load balancer" ;;
    esac
    case $url in
        '') ;;
        *[!A-Za-z0-9.:/_~%-]*) usage "--scalelite-url: an address without user, query and spaces is needed" ;;
        http://?* | https://?*) ;;
        *) usage "--scalelite-url: it has to begin with https:// or http://" ;;
    esac
    # The value may be the secret itself, so it is not repeated.
    [ -z "$secret" ] || is_place "$secret" ||
        usage "--scalelite-secret: say where the secret is (secretsmanager:ID#KEY, file:/PATH or credential:NAME); \
the secret itself must not stand on a command line. If it did just now, change it: other users may have seen it"
    case ${url:+url}${secret:+secret} in
        url | secret) usage "--scalelite-url and --scalelite-secret: the one needs the other" ;;
    esac
}

# --- Waiting ---------------------------------------------------------------------------------------------------------

# Prints the seconds since boot: early in boot, the clock may be set while this runs.
now() {
    read -r uptime _ </proc/uptime
    printf '%s' "${uptime%%.*}"
}

# Sleeps for the next pause of a wait that began at $began. Fails when the time is over.
pause() {
    [ $(($(now) - began + pause)) -lt "$patience" ] || return 1
    sleep "$pause"
    pause=$((pause < 8 ? pause * 2 : 15))
}

begin() { began=$(now) pause=1; }

# --- What is needed here ---------------------------------------------------------------------------------------------

check_host() {
    [ "$(id -u)" = 0 ] || die "this installs a package and a service, so it has to be run as root"
    for tool in dpkg dpkg-deb dpkg-query systemctl flock sha256sum stat timeout od; do
        command -v "$tool" >/dev/null || die "the command $tool is missing; this is for Debian and Ubuntu with systemd"
    done
    [ -z "$public_key" ] || command -v minisign >/dev/null ||
        die "--public-key: the command minisign is missing, so nothing can be verified: apt-get install minisign"
    [ -z "$guard" ] || command -v nft >/dev/null ||
        die "--guard-metadata: the command nft is missing, so nothing can be guarded: apt-get install nftables"
    if command -v aws >/dev/null; then
        client=aws
    elif command -v curl >/dev/null; then
        client=curl
    else
        die "neither aws nor curl is here to fetch from S3 with: apt-get install curl"
    fi
    architecture=$(dpkg --print-architecture)
}

# Only one run at a time, for all agents, because dpkg allows no more. The lock ends with this process, however it
# ends. It is on a directory that only root can open: another user can neither hold it nor put a link into its place.
lock() {
    begin
    directory=/run/bbb-agents-install
    mkdir -m 700 "$directory" 2>/dev/null || [ "$(stat -c '%F %u %a' "$directory")" = 'directory 0 700' ] ||
        die "$directory has to be a directory of root's, of mode 700, for the lock. See who made it, and remove it"
    exec 9<"$directory"
    until flock -n 9; do
        say "another install.sh is at work; waiting for it"
        pause || die "another install.sh has been at work for $patience s: see what it waits for (ps -ef)"
    done
}

# --- Fetching --------------------------------------------------------------------------------------------------------
# A try that fails sets $code to S3's error code, if there is one, and $reason; $code decides whether to try again.

# fetch KEY FILE KIBIBYTES: fetches the object, or ends the script.
fetch() {
    object=s3://$bucket/$1
    begin
    until "try_$client" "$1" "$2" "$3"; do
        if [ -f "$2" ] && [ "$(wc -c <"$2")" -ge $(($3 * 1024)) ]; then
            die "$object is larger than $3 KiB: that cannot be it. Nothing was changed"
        fi
        advise "$code"
        if [ -n "$final" ]; then
            die "cannot fetch $object: $reason. $advice. Nothing was changed"
        fi
        pause || die "could not fetch $object within $patience s. The last answer: $reason. $advice. Nothing was changed"
        say "cannot fetch $object yet: $reason; trying again"
    done
}

# Sets the advice on an error of S3's, and whether trying again is useless.
advise() {
    final=yes
    case $1 in
        NoSuchKey | 404) advice="Is that release published there (packaging/publish), under this prefix and version?" ;;
        NoSuchBucket) advice="Is --bucket right, and the account?" ;;
        AccessDenied | AllAccessDisabled | 403)
            # A role that was just created gets its permissions some seconds later.
            [ $(($(now) - began)) -ge 30 ] || final=''
            advice="The instance role needs s3:GetObject on arn:aws:s3:::$bucket/$prefix/*. Where it may not list the \
bucket, this is also the answer for an object that is not there${bucket_owner:+; and for a bucket that account \
$bucket_owner does not own}"
            ;;
        PermanentRedirect | AuthorizationHeaderMalformed | IllegalLocationConstraintException | 301)
            advice="The bucket is in another region than ${region:-the one that was assumed}: say which with --region"
            ;;
        RequestTimeTooSkewed) final='' advice="This host's clock is wrong: see timedatectl" ;;
        *) final='' advice="Does this host reach S3 and its metadata service, and has it an instance role?" ;;
    esac
}

try_aws() {
    code=''
    # Without a region the CLI asks us-east-1 first, which a host without internet access does not reach.
    if [ -z "$region" ] && command -v curl >/dev/null && learn region placement/region; then
        region=$found
    fi
    # The CLI's own retries are few, because this script retries. The limit is on the size of files, in blocks of 512
    # bytes.
    output=$(
        ulimit -f $(($3 * 2))
        AWS_MAX_ATTEMPTS=2 AWS_PAGER='' AWS_METADATA_SERVICE_TIMEOUT=5 AWS_METADATA_SERVICE_NUM_ATTEMPTS=2 \
            timeout "$patience" aws s3api get-object --bucket "$bucket" --key "$1" ${region:+--region "$region"} \
            ${bucket_owner:+--expected-bucket-owner "$bucket_owner"} \
            --cli-connect-timeout 10 --cli-read-timeout 60 --output text "$2" 2>&1 </dev/null
    ) && return 0
    code=$(printf '%s\n' "$output" | sed -n 's/.*An error occurred (\([A-Za-z0-9]*\)).*/\1/p' | head -n 1)
    plain "$code" code || code=''
    reason=$(shown "$(printf '%s\n' "$output" | sed '/^ *$/d' | tail -n 1)")
    reason=${reason:-aws ended without a word, or did not end in time}
    case $output in
        # Ubuntu 20.04's CLI is older than this option.
        *'Unknown options: --expected-bucket-owner'*) ! command -v curl >/dev/null || client=curl ;;
    esac
    return 1
}

try_curl() {
    code=''
    [ -n "$region" ] || learn region placement/region || return 1
    region=${region:-$found}
    learn role iam/security-credentials/ || return 1
    learn_keys "$found" || return 1
    locate "$1" || return 1
    failed=0
    status=$(signed_request | (
        ulimit -f $(($3 * 2))
        exec curl -q --config - --silent --show-error --output "$2" --dump-header "$2.headers" --write-out '%{http_code}' \
            --connect-timeout 10 --speed-limit 1000 --speed-time 30 --max-time "$patience" 2>"$2.error"
    )) || failed=$?
    [ "$failed $status" != "0 200" ] || return 0
    if [ "$failed" != 0 ]; then
        reason="curl ended with $failed: $(shown "$(head -n 1 "$2.error")")"
        return 1
    fi
    code=$(sed -n 's/.*<Code>\([A-Za-z0-9]*\)<.*/\1/p' "$2" | head -n 1)
    plain "$code" code || code=''
    reason="S3 answered $status ${code:-without an error code}"
    where=$(sed -n 's/^x-amz-bucket-region: *\([a-z0-9-]*\).*/\1/Ip; s/.*<Region>\([a-z0-9-]*\)<.*/\1/p' "$2.headers" "$2" | head -n 1)
    ! plain "$where" region || reason="$reason (the bucket's region is $where)"
    code=${code:-$status}
    return 1
}

# Sets the object's address: $scheme, $host and $path. Keys and bucket contain no character that needs to be encoded.
locate() {
    endpoint=${AWS_ENDPOINT_URL_S3:-${AWS_ENDPOINT_URL:-}}
    scheme=https path=/$1
    [ -n "$endpoint$suffix" ] || find_suffix || return 1
    case $endpoint/$bucket in
        /*.*) host=s3.$region.$suffix path=/$bucket/$1 ;; # a name with dots in it is in no certificate
        /*) host=$bucket.s3.$region.$suffix ;;
        *)
            endpoint=${endpoint%/}
            scheme=${endpoint%%://*} host=${endpoint#*://} path=/$bucket/$1
            ;;
    esac
}

# Sets the domain of AWS's services, which differs between partitions: amazonaws.com, amazonaws.com.cn, amazonaws.eu.
find_suffix() {
    learn domain services/domain || return 1
    suffix=$found
}

# learn CLASS KEY: sets $found to what the metadata service says, if it is plain. Anything else is not repeated.
learn() {
    found=$(metadata "$2") || {
        reason="the metadata service does not say $2"
        return 1
    }
    plain "$found" "$1" || {
        reason="the metadata service's answer to $2 is no $1, and was not used"
        return 1
    }
}

# learn_keys ROLE: sets the keys of the instance's role.
learn_keys() {
    keys=$(metadata "iam/security-credentials/$1") || {
        reason="the metadata service has no keys for the role $1"
        return 1
    }
    access_key=$(key_field AccessKeyId) secret_key=$(key_field SecretAccessKey) session=$(key_field Token)
    if ! plain "$access_key" key || ! plain "$secret_key" secret || ! plain "$session" session; then
        reason="the metadata service's keys for the role $1 are none, and were not used"
        return 1
    fi
}

# metadata KEY: asks the instance's metadata service, version 2.
metadata() {
    service=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
    service=${service%/}
    token=$(printf 'request = PUT\nurl = "%s/latest/api/token"\nheader = "%s: 300"\n' "$service" \
        X-aws-ec2-metadata-token-ttl-seconds | ask) || return 1
    plain "$token" token || return 1
    printf 'url = "%s/latest/meta-data/%s"\nheader = "%s: %s"\n' "$service" "$1" X-aws-ec2-metadata-token "$token" | ask
}

# An answer ends up in a variable, so its size is limited: to 64 KiB, or to 10 MB where its size is not said before.
ask() {
    curl -q --config - --silent --fail --noproxy '*' --connect-timeout 5 --max-time 10 \
        --max-filesize 65536 --limit-rate 1M
}

# Prints the request as curl's configuration. Signature Version 4 is described in the Amazon S3 API Reference,
# "Signature Calculations for the Authorization Header".
signed_request() {
    time=$(date -u +%Y%m%dT%H%M%SZ)
    scope=${time%T*}/$region/s3/aws4_request
    nothing=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    owner=${bucket_owner:+x-amz-expected-bucket-owner}
    names="host;x-amz-content-sha256;x-amz-date${owner:+;$owner};x-amz-security-token"
    canonical=$(printf '%s\n' GET "$path" '' "host:$host" "x-amz-content-sha256:$nothing" "x-amz-date:$time" \
        ${owner:+"$owner:$bucket_owner"} "x-amz-security-token:$session" '' "$names" "$nothing")
    canonical=$(printf '%s' "$canonical" | digest)
    key=$(printf 'AWS4%s' "$secret_key" | od -An -v -tx1 | tr -d ' \n')
    for part in "${time%T*}" "$region" s3 aws4_request; do
        key=$(hmac "$key" "$part")
    done
    signature=$(hmac "$key" "AWS4-HMAC-SHA256$newline$time$newline$scope$newline$canonical")
    printf 'url = "%s://%s%s"\nproto = "=%s"\n' "$scheme" "$host" "$path" "$scheme"
    printf 'header = "%s"\n' "x-amz-content-sha256: $nothing" "x-amz-date: $time" "x-amz-security-token: $session" \
        ${owner:+"$owner: $bucket_owner"} \
        "Authorization: AWS4-HMAC-SHA256 Credential=$access_key/$scope, SignedHeaders=$names, Signature=$signature"
}

key_field() { printf '%s\n' "$keys" | sed -n "s/.*\"$1\" *: *\"\\([^\"]*\\)\".*/\\1/p"; }

# Prints the SHA-256 of standard input, in hexadecimal digits.
digest() {
    sum=$(sha256sum)
    printf '%s' "${sum%% *}"
}

# hmac KEY TEXT: prints HMAC-SHA256 (RFC 2104). Key and result are in hexadecimal digits; a key is at most one block
# long.
hmac() {
    rest=$1 inner='' outer=''
    while [ ${#inner} -lt 256 ]; do
        byte=${rest%"${rest#??}"}
        rest=${rest#??}
        inner=$inner$(octal $((0x${byte:-0} ^ 0x36))) outer=$outer$(octal $((0x${byte:-0} ^ 0x5c)))
    done
    sum=$({
        escaped "$inner"
        printf '%s' "$2"
    } | digest)
    {
        escaped "$outer"
        while [ -n "$sum" ]; do
            escaped "$(octal $((0x${sum%"${sum#??}"})))"
            sum=${sum#??}
        done
    } | digest
}

# Prints a byte as the escape that printf knows in all shells.
octal() { printf '\\%d%d%d' $(($1 >> 6)) $(($1 >> 3 & 7)) $(($1 & 7)); }

# Prints the bytes of such escapes: only in a format is \ooo the same in all shells, and the format holds nothing else.
# shellcheck disable=SC2059
escaped() { printf "$1"; }

# --- The release -----------------------------------------------------------------------------------------------------

find_version() {
    case $version${public_key:+ signed} in
        latest) read_latest ;;
        'latest signed') read_signed_latest ;;
    esac
    [ -z "$minimum" ] || dpkg --compare-versions "$version" ge "$minimum" ||
        die "version $version is lower than the --minimum $minimum. Nothing was changed"
    find_installed
    [ -z "$installed" ] || refuse_downgrade
}

read_latest() {
    fetch "$prefix/latest" "$work/latest" 1
    version=$(cat "$work/latest")
    plain "$version" version || no_version latest
}

no_version() {
    die "s3://$bucket/$prefix/$1 holds no version; packaging/publish --latest VERSION BUCKET writes it. Nothing was changed"
}

# The signed text is the version. The trusted comment repeats it, and has the date and, where the fleet goes back, from
# which version. So one object says everything, and no run sees one half of a change.
read_signed_latest() {
    fetch "$prefix/latest.minisig" "$work/latest.minisig" 4
    comment=$(sed -n 's/^trusted comment: //p' "$work/latest.minisig" | head -n 1)
    rest=${comment#bbb-agents latest }
    version=${rest%% *} rest=${rest#* }
    published=${rest%% *} back_from=${rest#"$published"}
    back_from=${back_from#' back from '}
    plain "$version" version || no_version latest.minisig
    plain "$published" date || no_version latest.minisig
    [ -z "$back_from" ] || plain "$back_from" version || no_version latest.minisig
    printf '%s\n' "$version" >"$work/latest"
    verify latest
    [ "$said" = "bbb-agents latest $version $published${back_from:+ back from $back_from}" ] || no_version latest.minisig
    remember
}

# Refuses what is older than what this host has believed before: somebody has put back an old signature.
remember() {
    before=''
    [ ! -f "$cache/latest" ] || before=$(cat "$cache/latest")
    [ -z "$before" ] || plain "$before" date || die "$cache/latest is damaged: remove it. Nothing was changed"
    [ "$(digits "$published")" -ge "$(digits "$before")" ] ||
        die "s3://$bucket/$prefix/latest.minisig is of $published, but this host has seen one of $before: somebody has put \
back an old one. Find out who; packaging/publish --sign KEYFILE --latest VERSION BUCKET writes a new one. Nothing was changed"
    printf '%s\n' "$published" >"$cache/latest.new"
    mv "$cache/latest.new" "$cache/latest"
}

# Prints a date as a number.
digits() { printf '0%s' "$1" | tr -cd 0-9 | sed 's/^0*\(.\)/\1/'; }

find_installed() {
    installed=$(dpkg-query --show --showformat='${db:Status-Status} ${Version}' "$agent" 2>/dev/null) || installed=''
    case $installed in
        'installed '*) installed=${installed#* } ;;
        *) installed='' ;;
    esac
}

refuse_downgrade() {
    dpkg --compare-versions "$version" lt "$installed" || return 0
    if [ -n "$downgrade" ]; then
        return
    fi
    if [ -n "$back_from" ] && dpkg --compare-versions "$installed" le "$back_from"; then
        say "the fleet goes back from $back_from to $version"
        return
    fi
    die "$agent $installed is installed, and $version is lower: --allow-downgrade installs it. Hosts with --public-key go \
back without that where packaging/publish --sign KEYFILE --latest $version BUCKET says so. Nothing was changed"
}

fetch_release() {
    release=$prefix/$version
    fetch "$release/SHA256SUMS" "$work/SHA256SUMS" 64
    [ -z "$release_sha256" ] || [ "$(hash_of "$work/SHA256SUMS")" = "$release_sha256" ] ||
        die "s3://$bucket/$release/SHA256SUMS is not what --release-sha256 says: that release was changed, or the hash is of \
another one. Nothing was changed"
    if [ -n "$public_key" ]; then
        fetch "$release/SHA256SUMS.minisig" "$work/SHA256SUMS.minisig" 4
        verify "$version/SHA256SUMS"
        say "SHA256SUMS is signed with $public_key"
    fi
    package=${agent}_${version}_$architecture.deb
    wanted=$(awk -v name="$package" '$2 == name || $2 == "*" name { print $1 }' "$work/SHA256SUMS")
    [ -n "$wanted" ] || die "release $version has no $package; it has: $(shown "$(awk '{ print $2 }' "$work/SHA256SUMS")")
install.sh: Nothing was changed"
    plain "$wanted" hash || die "s3://$bucket/$release/SHA256SUMS says no good hash of $package. Nothing was changed"
    if [ "$(hash_of "$cache/$package")" = "$wanted" ]; then
        say "$package: is here already"
        fetched=$cache/$package
        return
    fi
    say "fetching $package from s3://$bucket/$release"
    fetched=$work/$package
    fetch "$release/$package" "$fetched" 262144
    found=$(hash_of "$fetched")
    [ "$found" = "$wanted" ] ||
        die "s3://$bucket/$release/$package has the SHA-256 $found, but SHA256SUMS says $wanted: it was changed after it \
was published, or was published by halves. Publish a new version. Nothing was changed"
}

# verify OBJECT: ends the script unless the file of that name is signed; sets $said to the signature's trusted comment.
verify() {
    file=$work/${1##*/}
    said=$(minisign -V -Q -m "$file" -x "$file.minisig" -P "$public_key" 2>"$work/complaint") ||
        die "the signature of s3://$bucket/$prefix/$1 is not one of --public-key ($(shown "$(cat "$work/complaint")")): \
do not install this release before you know why. Nothing was changed"
}

hash_of() {
    if [ -f "$1" ]; then
        digest <"$1"
    fi
}

# --- Settings --------------------------------------------------------------------------------------------------------

write_settings() {
    {
        printf '# Written by install.sh, which replaces it. What you add yourself goes into another file here.\n'
        printf 'dns.zone_id = "%s"\ndns.domain = "%s"\n' "$zone" "$domain"
        if [ -n "$url" ]; then
            printf 'scalelite.url = "%s"\nscalelite.secret = ' "$url"
            toml_text "$secret"
            printf '\n'
        fi
        printf '%s' "$settings"
    } >"$work/50-install.toml"
}

# The package's own agent reads all settings as they will be, before anything is changed.
try_settings() {
    mkdir "$work/tree" "$work/etc"
    dpkg-deb --extract "$fetched" "$work/tree" || die "$fetched cannot be unpacked. Nothing was changed"
    [ ! -d "/etc/$agent" ] || cp -R "/etc/$agent/." "$work/etc/"
    [ -f "$work/etc/config.toml" ] || cp "$work/tree/etc/$agent/config.toml" "$work/etc/config.toml"
    mkdir -p "$work/etc/config.d"
    cp "$work/50-install.toml" "$work/etc/config.d/"
    code=0
    name=$(timeout "$patience" "$work/tree/usr/bin/$agent" hostname --config "$work/etc/config.toml" \
        2>"$work/complaint") || code=$?
    complaint=$(sed "s|$work/etc/|/etc/$agent/|g" "$work/complaint")
    case $code in
        0)
            say "this host's name is $name"
            [ -z "$hostname" ] || [ "${#name}" -le "$longest" ] || die "--hostname: $(too_long "$name"). Nothing was changed"
            ;;
        2) die "$agent $version does not accept the settings. Nothing was changed. It says:
$complaint" ;;
        *)
            [ -z "$hostname" ] || die "$agent $version cannot tell this host's name. Nothing was changed. It says:
$complaint"
            say "$agent $version cannot tell this host's name yet ($(printf '%s' "$complaint" | head -n 1))"
            ;;
    esac
}

# A host that looks for its own name before that is live makes its resolver remember for 15 minutes that there is none.
set_hostname() {
    [ -n "$hostname" ] || return 0
    [ "$(hostnamectl --static)" != "$name" ] || return 0
    hostnamectl set-hostname "$name" || die "hostnamectl cannot set the name $name; run this again"
    say "this host is called $name now"
}

# --- Changing --------------------------------------------------------------------------------------------------------

# Reads systemd's view of the service into $active, $result, $invocation, $job and $words.
look() {
    active='' result='' invocation='' job='' words=''
    systemctl show --property=ActiveState,Result,InvocationID,Job,StatusText "$agent.service" >"$work/unit"
    while IFS='=' read -r property value; do
        case $property in
            ActiveState) active=$value ;;
            Result) result=$value ;;
            InvocationID) invocation=$value ;;
            Job) job=${value#0} ;;
            StatusText) words=$value ;;
        esac
    done <"$work/unit"
}

# Keeps the old version until the new one is ready. If an earlier run was cut short, the version that it kept counts,
# unless the service was not ready then and has been repaired since.
keep_old() {
    if [ "$active" = active ] && [ ! -f "$cache/old/ready" ]; then
        rm -rf "$cache/old"
    fi
    [ ! -d "$cache/old" ] || return 0
    rm -rf "$cache/old.new"
    mkdir "$cache/old.new"
    [ ! -f "$settings_file" ] || cp "$settings_file" "$cache/old.new/50-install.toml"
    [ ! -f "$cache/${agent}_${installed}_$architecture.deb" ] ||
        ln "$cache/${agent}_${installed}_$architecture.deb" "$cache/old.new/package.deb"
    [ "$active" != active ] || : >"$cache/old.new/ready"
    mv "$cache/old.new" "$cache/old"
}

# Says which settings the installation before had and this one has not: a forgotten --set is no wish to have it gone.
say_dropped() {
    [ -f "$settings_file" ] || return 0
    while IFS= read -r line; do
        key=${line%% = *}
        case $line in '#'* | '') continue ;; esac
        grep -q "^$key = " "$work/50-install.toml" || say "no longer set: $line (--keep keeps what was set)"
    done <"$settings_file"
}

place_settings() {
    mkdir -p "${settings_file%/*}"
    cp "$1" "$settings_file.new"
    chmod 644 "$settings_file.new"
    mv "$settings_file.new" "$settings_file"
}

# dpkg FILE: installs, waiting for the holder of dpkg's lock, which at boot is often the system's own upgrade.
unpack() {
    begin
    until output=$(DEBIAN_FRONTEND=noninteractive timeout "$patience" dpkg --force-confdef --force-confold --install "$1" \
        2>&1 </dev/null); do
        case $output in
            *'locked by another process'*) ;;
            *) return 1 ;;
        esac
        say "another process installs packages; waiting for it"
        pause || return 1
    done
}

# Restarts the service, unless the package has already done it.
restart() {
    before=$1
    look
    if [ "$invocation" = "$before" ] && [ -z "$job" ]; then
        systemctl --no-block restart "$agent.service" || return 1
    fi
}

# Waits until the service is ready: it says so, and no job is left that would restart it.
await_ready() {
    began=$(now)
    while :; do
        look
        case $active$job in
            active) return 0 ;;
            failed | inactive) return 1 ;;
        esac
        [ $(($(now) - began)) -lt "$patience" ] || return 1
        sleep 1
    done
}

change() {
    look
    new_package=yes new_settings=yes changed=''
    if [ -n "$installed" ] && [ "$installed" = "$(dpkg-deb --field "$fetched" Version)" ] && [ "$fetched" = "$cache/$package" ]; then
        new_package=''
    fi
    ! cmp -s "$work/50-install.toml" "$settings_file" || new_settings=''
    if [ -z "$new_package$new_settings" ] && [ ! -d "$cache/old" ]; then
        say "$agent $version is installed with these settings"
        return
    fi
    say_dropped
    keep_old
    changed=yes
    before=$invocation
    [ -z "$new_settings" ] || place_settings "$work/50-install.toml"
    if [ -n "$new_package" ]; then
        say "installing $package"
        unpack "$fetched" || {
            complain "dpkg does not install $package:
$output"
            roll_back
        }
    fi
    restart "$before" || roll_back
}

# Closes the metadata service to others. A user that does not exist yet is let in when the unit is started again.
guard_metadata() {
    [ -n "$guard" ] || return 0
    unit=$agent-metadata.service directory=/etc/systemd/system/$agent-metadata.service.d
    {
        printf '# Written by install.sh, which replaces it.\n[Service]\n'
        for user in $users; do
            printf 'ExecStart=-/usr/sbin/nft add element inet %s-metadata users { %s }\n' "$agent" "$user"
        done
    } >"$work/users.conf"
    if [ -z "$new_package" ] && systemctl --quiet is-active "$unit" && cmp -s "$work/users.conf" "$directory/50-install.conf"; then return; fi
    mkdir -p "$directory"
    cp "$work/users.conf" "$directory/50-install.conf"
    systemctl daemon-reload
    { systemctl --quiet enable "$unit" && systemctl restart "$unit"; } ||
        die "--guard-metadata: $unit does not start: see systemctl status $unit. Every user of this host reaches the \
metadata service until it does; run this again"
    say "only root, $agent${users:+ and$users} reach the metadata service now"
}

start() {
    systemctl --quiet enable "$agent.service" || die "systemctl cannot enable $agent.service; run this again"
    look
    case $changed$active$job in
        active) return ;;
        inactive | failed) systemctl --no-block start "$agent.service" || die "systemctl cannot start $agent.service" ;;
    esac
    say "waiting until $agent is ready, at most $patience s"
    await_ready || not_ready
}

not_ready() {
    complain "$agent $version is not ready after $(($(now) - began)) s. systemd says: $active${result:+, $result}${words:+: $words}"
    journalctl --unit="$agent.service" --lines=10 --no-pager --output=cat >&2 || true
    [ ! -f "$cache/old/ready" ] || roll_back
    finish
    die "$agent $version stays installed. The service keeps trying by itself unless systemd says failed; see \
systemctl status $agent, $agent check"
}

# Goes back to the old package and settings, with which the service was ready.
roll_back() {
    if [ ! -f "$cache/old/ready" ]; then
        die "there is nothing to go back to, because the service was not ready before. Repair what is said above, run this again"
    fi
    complain "putting back what was there before"
    look
    before=$invocation
    if [ -f "$cache/old/50-install.toml" ]; then
        place_settings "$cache/old/50-install.toml"
    else
        rm -f "$settings_file"
    fi
    if [ -f "$cache/old/package.deb" ] && ! cmp -s "$cache/old/package.deb" "$fetched"; then
        unpack "$cache/old/package.deb" || complain "dpkg does not install the old package either: $output"
    elif [ -n "$new_package" ]; then
        complain "the old package is not in $cache: version $version stays, with the old settings"
    fi
    restart "$before" || true
    if await_ready; then
        rm -rf "$cache/old"
        die "version $version was not taken over; the service runs as before"
    fi
    die "version $version was not taken over, and the service is not ready as it was before either: see \
systemctl status $agent, $agent check. $cache/old holds what was there"
}

# Keeps the package, in case the next one has to be rolled back; removes older ones.
finish() {
    [ "$fetched" = "$cache/$package" ] || mv "$fetched" "$cache/$package"
    for file in "$cache"/*.deb; do
        [ "$file" = "$cache/$package" ] || rm -f "$file"
    done
    rm -rf "$cache/old"
    write_options
}

main() {
    keep_options "$@"
    parse "$@"
    merge_settings
    validate
    asked_region=$region
    check_host
    cache=/var/cache/$agent work=/var/cache/$agent/work settings_file=/etc/$agent/config.d/50-install.toml
    lock
    mkdir -p "$cache"
    chmod 700 "$cache"
    rm -rf "$work"
    mkdir "$work"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    find_version
    say "$agent $version for $architecture, from s3://$bucket/$prefix, fetched with $client"
    fetch_release
    write_settings
    try_settings
    change
    guard_metadata
    start
    set_hostname
    finish
    look
    say "$agent $version is ready${words:+: $words}"
}

main "$@"
