#!/bin/bash
# The first boot of a BigBlueButton host; host.sh runs it.
# shellcheck disable=SC2154 # UserData sets the variables

# The installer's way of asking the metadata service for the addresses fails on a host that only allows IMDSv2, and it
# would then announce the private address to all clients. So it is given the addresses. The certificate is requested for
# the name that the agent has registered.
install_bbb() {
    step "install BigBlueButton ($bbb_release)"
    IP=$(address public-ipv4)
    INTERNAL_IP=$(address local-ipv4)
    export IP INTERNAL_IP
    again wget -qO /root/bbb-install.sh "$bbb_installer"
    [ -z "$bbb_installer_sha256" ] || is /root/bbb-install.sh "$bbb_installer_sha256" ||
        refuse "$bbb_installer is not what bbb_installer_sha256 says"
    slowly run_installer
}

# run_installer: the installer may also end without an error where it got no certificate: nothing listens at 443 then.
run_installer() {
    bash /root/bbb-install.sh -v "$bbb_release" -s "$(hostname)" -e "$operator_email" || return
    [ -n "$(ss -Hltn 'sport = :443')" ] || {
        echo "bbb-install.sh has ended, and nothing listens at port 443: is there a certificate for $(hostname)?" >&2
        return 1
    }
}

install_agent
if [ "$bbb_release" != none ]; then install_bbb; fi
