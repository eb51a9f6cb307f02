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
    # -d: nginx and HAProxy get the certificate in /local/certs, and Let's Encrypt is not asked.
    bash /root/bbb-install.sh -v "$bbb_release" -s "$(hostname)" -e "$operator_email" ${certificate:+-d} || return
    [ -n "$(ss -Hltn 'sport = :443')" ] || {
        echo "bbb-install.sh has ended, and nothing listens at port 443: is there a certificate for $(hostname)?" >&2
        return 1
    }
}

# check_choices: refuses what cannot work before anything is installed.
check_choices() {
    local codename
    step "check what was chosen"
    sender
    case $recordings_sender:$file_system:$access_point in
        scalelite::* | scalelite:*:) stop "recordings_sender=scalelite needs file_system and access_point: where to send recordings" ;;
        *::?*) stop "access_point needs file_system" ;;
        *:?*:) stop "file_system needs access_point" ;;
    esac
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    case $bbb_release in
        none | "$codename"-*) ;;
        *) stop "bbb_release=$bbb_release is not for this system, which is ${codename:-of no name}" ;;
    esac
}

check_choices
released storage.sh
# shellcheck source=packaging/host/storage.sh
. /root/storage.sh
mount_storage
install_agent
if [ -n "$certificate" ]; then await_certificate; fi
if [ "$bbb_release" != none ]; then install_bbb; fi
install_sender
