#!/bin/bash
# What a host does at its first boot. UserData (packaging/userdata), which has verified this file, runs it with its own
# variables and functions; the other files here are fetched and verified in the same way when they are needed.
# shellcheck disable=SC2154 # UserData sets the variables

# options: collects in the array $options what install.sh is told: the further settings, and what it has to verify.
options() {
    local setting user
    options=(--role "$role" --zone-id "$zone_id" --domain "$domain" --hostname
        --version "$version" --bucket "$bucket" --bucket-owner "$bucket_owner" --region "$region")
    if [ "$role" = turn ]; then
        options+=(--set metrics.certificate=127.0.0.1:443)
    else
        options+=(--set "recordings.sender=$(sender)")
        if [ -n "$server_name" ]; then options+=(--set "dns.name=$server_name.$domain"); fi
        if [ -n "$turn_server" ]; then
            options+=(--set "bbb.turn_server=$turn_server" --set "bbb.turn_secret=secretsmanager:$turn_secret#$turn_secret_key")
        fi
        if [ -n "$scalelite_url" ]; then
            options+=(--scalelite-url "$scalelite_url" --scalelite-secret "$scalelite_secret")
        fi
    fi
    if [ -n "$certificate" ]; then options+=(--set "tls.certificate=secretsmanager:$certificate"); fi
    for setting in $settings; do options+=(--set "$setting"); done
    if [ -n "$minimum" ]; then options+=(--minimum "$minimum"); fi
    if [ -n "$public_key" ]; then options+=(--public-key "$public_key"); fi
    if [ -n "$release_sha256" ]; then options+=(--release-sha256 "$release_sha256"); fi
    if [ "$guard_metadata" = yes ]; then options+=(--guard-metadata); fi
    for user in $metadata_users; do options+=(--metadata-user "$user"); done
    if [ "$guard_metadata" = yes ] && [ -n "$log_group" ]; then options+=(--metadata-user cwagent); fi
}

# sender: prints who sends recordings from this host, as the agent has to know it: without a sender they are lost with
# the host, and the agent would wait for one that never comes, or not wait. So this is the operator's choice.
sender() {
    case $recordings_sender in
        scalelite) echo /usr/local/bigbluebutton/core/scripts/post_publish/scalelite_post_publish.rb ;;
        none | auto | /*) echo "$recordings_sender" ;;
        *) stop "recordings_sender has to say who sends recordings: scalelite, none, auto, or the path of a program" ;;
    esac
}

# install_agent: returns when the host's name is live on every name server, which a certificate needs. From then on the
# service maintains it, and joins Scalelite by itself once BigBlueButton answers.
install_agent() {
    step "install $role-agent $release"
    if [ "$guard_metadata" = yes ] && ! command -v nft >/dev/null; then packages nftables; fi
    options
    released install.sh
    sh /root/install.sh --wait 1800 "${options[@]}"
}

# await_certificate: waits until the agent has put the fleet's certificate where servers read it.
await_certificate() {
    step "wait for the fleet's certificate"
    "$role-agent" status --wait-for certificate --timeout 900 ||
        stop "the fleet's certificate is not here after 15 minutes ($role-agent check says why)"
}

# address KEY: prints an address that the metadata service says. Another answer could be an option for some program.
address() { again call imds "$1" '\d{1,3}(\.\d{1,3}){3}'; }

# slowly COMMAND: tries three times at most, because Let's Encrypt refuses a name after five failures an hour.
slowly() {
    local pause
    for pause in 120 600 0; do
        if "$@"; then return; fi
        if [ "$pause" = 0 ]; then stop "this has failed three times: $*"; fi
        echo "this has failed: $*; it is tried again in $pause s" >&2
        sleep "$pause"
    done
}

# await_registered: waits for the agent's word. A host that is not meant to be registered, because it is in a warm pool
# or on its way out, is no failure (exit code 6).
await_registered() {
    local code=0
    step "wait until this host is registered"
    "$role-agent" status --wait-for registered --timeout 1800 || code=$?
    case $code in
        0) signal SUCCESS ;;
        6) ;;
        *) stop "this host is not registered after 30 minutes ($role-agent status says why)" ;;
    esac
}

if [ -n "$log_group" ]; then
    released logs.sh
    # shellcheck source=packaging/host/logs.sh
    . /root/logs.sh
    install_logs
fi
released "$role.sh"
# shellcheck disable=SC1090 # bbb.sh or turn.sh
. "/root/$role.sh"
await_registered
