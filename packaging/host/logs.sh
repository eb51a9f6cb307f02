#!/bin/bash
# Sends the logs of a host to CloudWatch with the CloudWatch agent; host.sh runs it, early: the log of a first boot that
# fails is then there, too.
# shellcheck disable=SC2154 # UserData sets the variables

# cwagent reads the logs as a member of these groups. The log groups have their retention already.
configure_logs() {
    local group
    for group in adm systemd-journal; do usermod -aG "$group" cwagent; done
    sed "s|SYSTEMLOGS_PLACEHOLDER|$log_group/system|; s|APPLICATIONLOGS_PLACEHOLDER|$log_group/application|
        s|\"retention_in_days\": [0-9]*|\"retention_in_days\": -1|" "/root/$role-agent.json" >/root/cloudwatch.json
    again /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 -s \
        -c file:/root/cloudwatch.json
}

install_logs() {
    local package=/root/amazon-cloudwatch-agent.deb architecture=amd64
    # bash's own word: no command that can fail.
    if [ "$HOSTTYPE" = aarch64 ]; then architecture=arm64; fi
    cloudwatch_agent=${cloudwatch_agent/ARCHITECTURE/$architecture}
    step "install the CloudWatch agent"
    released "$role-agent.json"
    if [ ! -x /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl ]; then
        again wget -qO "$package" "$cloudwatch_agent"
        [ -z "$cloudwatch_agent_sha256" ] || is "$package" "$cloudwatch_agent_sha256" ||
            refuse "$cloudwatch_agent is not what cloudwatch_agent_sha256 says"
        again apt-get -qq -o DPkg::Lock::Timeout=300 install -y "$package"
    fi
    configure_logs
}
