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

# announce_turn: has BigBlueButton tell its clients the TURN servers at one name (BigBlueButton's documentation, "Configure
# TURN"). bbb-install.sh -c does the same with the secret on its command line; here a pipe carries it.
announce_turn() {
    local file=/etc/bigbluebutton/turn-stun-servers.xml
    step "have BigBlueButton announce the TURN servers at $turn_server"
    (
        umask 077
        coturn_secret | python3 -I -c "$turn_servers" "$turn_server" >"$file.new"
    )
    chown root:bigbluebutton "$file.new"
    chmod 640 "$file.new"
    mv "$file.new" "$file"
    again systemctl restart bbb-web.service
}
turn_servers='
import sys
from xml.sax.saxutils import quoteattr
name, secret = sys.argv[1], sys.stdin.read().strip() or sys.exit(1)
schema = "http://www.springframework.org/schema/beans"
kind = "org.bigbluebutton.web.services.turn."
print("<?xml version=\"1.0\" encoding=\"UTF-8\"?>")
print("<!-- bbb-agent wrote this at the first boot -->")
print("<beans xmlns=%s xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"" % quoteattr(schema))
print("    xsi:schemaLocation=%s>" % quoteattr(schema + " " + schema + "/spring-beans-2.5.xsd"))
addresses = ["turn:%s:3478" % name, "turns:%s:443?transport=tcp" % name]
for number, address in enumerate(addresses):
    print("  <bean id=\"turn%d\" class=\"%sTurnServer\">" % (number, kind))
    for index, value in enumerate([secret, address, "86400"]):
        print("    <constructor-arg index=\"%d\" value=%s/>" % (index, quoteattr(value)))
    print("  </bean>")
print("  <bean id=\"stunTurnService\" class=\"%sStunTurnService\">" % kind)
print("    <property name=\"stunServers\"><set/></property>")
print("    <property name=\"turnServers\"><set>%s</set></property>"
    % "".join("<ref bean=\"turn%d\"/>" % number for number in range(len(addresses))))
print("  </bean>\n</beans>")
'

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
if [ -n "$turn_server" ]; then announce_turn; fi
install_sender
