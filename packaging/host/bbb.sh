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

# adopt_turn_servers: the agent has BigBlueButton tell its clients the TURN servers of the settings (bbb.turn_server). It
# overwrites the file for that, and may make none. Where the installer has made none either, BigBlueButton's own becomes it;
# where there is none at all, the agent says so.
adopt_turn_servers() {
    local file=/etc/bigbluebutton/turn-stun-servers.xml shipped=/usr/share/bbb-web/WEB-INF/classes/spring/turn-stun-servers.xml
    step "let the agent write $file"
    [ -e "$file" ] || [ ! -e "$shipped" ] || install -o root -g bigbluebutton -m 640 "$shipped" "$file"
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
    case $data_volume:$server_name in
        vol-*:) stop "data_volume=$data_volume needs server_name: only one host at a time can have it" ;;
    esac
    if [ -n "$turn_server" ] && [ -z "$turn_secret" ]; then stop "turn_server needs turn_secret"; fi
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
adopt_recordings
if [ -n "$turn_server" ]; then adopt_turn_servers; fi
install_sender
