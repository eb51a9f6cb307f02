#!/bin/bash
# Where the recordings of a BigBlueButton host are, and where they go: a disk of their own, the spool on EFS, and
# Scalelite's sender, as the AWS sample has them. bbb.sh runs it.
# shellcheck disable=SC2154 # UserData sets the variables

recordings=/var/bigbluebutton
spool=/mnt/bbb-recordings
core=/usr/local/bigbluebutton/core/scripts
label=bbb-data
former_user=                       # the number that BigBlueButton's user had on the host that has left its recordings

# free_disks: lists the EBS disks that nothing uses: without partitions, and not mounted. On Nitro their names change from
# boot to boot, and the root's disk may be any of them; other disks than EBS's are empty after a stop.
free_disks() {
    local disk type
    while read -r disk type; do
        case $type:$(lsblk -dno MODEL "$disk" | sed 's/ *$//'):$disk in
            'disk:Amazon Elastic Block Store':* | disk::/dev/xvd*) ;;
            *) continue ;;
        esac
        if [ "$(lsblk -nro NAME "$disk" | wc -l)" = 1 ] && [ -z "$(lsblk -nro MOUNTPOINT "$disk")" ]; then echo "$disk"; fi
    done < <(lsblk -dnpo NAME,TYPE)
}

# volume_disk: prints the disk that is the volume $data_volume (on Nitro, its serial number is the volume's id).
volume_disk() { lsblk -dnpo NAME,SERIAL | awk -v serial="${data_volume/-/}" '$2 == serial { print $1 }'; }

# attach_volume: attaches the volume that outlives its hosts. The host before this one may have it until it is gone.
attach_volume() {
    local id said=''
    step "attach the volume $data_volume"
    id=$(again call imds instance-id 'i-[0-9a-f]{8,17}')
    for _ in $(seq 180); do
        if [ -n "$(volume_disk)" ]; then return 0; fi
        said=$(call ec2 / "Version=2016-11-15&Action=AttachVolume&Device=/dev/sdf&VolumeId=$data_volume&InstanceId=$id" \
            content-type:application/x-www-form-urlencoded 2>&1) || echo "$data_volume is not attached yet: $said" >&2
        sleep 10
    done
    stop "$data_volume is not attached after 30 minutes: $said"
}

# mount_data_volume: mounts the only free disk, or the volume that is named. It is formatted if it has nothing that blkid knows, used as it is if it
# has a file system with our label, and else left alone. What an image has brought to the place moves to the new disk.
mount_data_volume() {
    local disks disk found code=0
    step "mount the data volume at $recordings"
    if mountpoint -q "$recordings"; then return 0; fi
    if [ "$data_volume" = yes ]; then
        disks=$(free_disks)
        [ "$(grep -c . <<<"$disks")" = 1 ] || stop "one free disk is needed for $recordings; there are: ${disks:-none}"
    else
        attach_volume
        disks=$(volume_disk)
    fi
    disk=$disks
    found=$(blkid -p -s LABEL -o value "$disk") || code=$?
    if [ "$code" = 2 ]; then
        mkfs.ext4 -q -L "$label" "$disk"
        mkdir -p /run/bbb-data "$recordings"
        mount "$disk" /run/bbb-data
        cp -a "$recordings/." /run/bbb-data/
        umount /run/bbb-data
    elif [ "$code" != 0 ] || [ "$found" != "$label" ]; then
        stop "$disk holds something without the label $label: it is not formatted"
    fi
    mkdir -p "$recordings"
    to_fstab "UUID=$(blkid -p -s UUID -o value "$disk")" "$recordings" ext4 defaults,nofail,x-systemd.device-timeout=60
    mount "$recordings"
    if [ -d "$recordings/recording" ]; then former_user=$(stat -c %u "$recordings/recording"); fi
}

# adopt_recordings: gives the recordings of a former host to BigBlueButton's user, whose number is chosen at each
# installation.
adopt_recordings() {
    local user
    if [ -z "$former_user" ]; then return 0; fi
    step "take over the recordings at $recordings"
    user=$(id -u bigbluebutton)
    if [ "$user" = "$former_user" ]; then return 0; fi
    chown -R --from="$former_user" bigbluebutton:bigbluebutton "$recordings"
}

# to_fstab DEVICE DIRECTORY TYPE OPTIONS: has systemd mount it at each boot.
to_fstab() {
    sed -i "\\, $2 ,d" /etc/fstab
    echo "$1 $2 $3 $4 0 0" >>/etc/fstab
}

# install_efs_utils: EFS's mount helper, which encrypts, and signs in with the instance's role. Ubuntu has no package.
install_efs_utils() {
    local directory=/root/efs-utils
    if command -v mount.efs >/dev/null; then return 0; fi
    step "build amazon-efs-utils"
    packages binutils stunnel4 nfs-common gettext-base
    again wget -qO /root/efs-utils.tar.gz "$efs_utils"
    [ -z "$efs_utils_sha256" ] || is /root/efs-utils.tar.gz "$efs_utils_sha256" ||
        refuse "$efs_utils is not what efs_utils_sha256 says"
    rm -rf "$directory"
    mkdir "$directory"
    tar -xzf /root/efs-utils.tar.gz -C "$directory" --strip-components 1
    (cd "$directory" && ./build-deb.sh)
    again apt-get -qq -o DPkg::Lock::Timeout=300 install -y "$directory"/build/amazon-efs-utils*.deb
}

mount_spool() {
    install_efs_utils
    step "mount the spool of $file_system at $spool"
    mkdir -p "$spool"
    to_fstab "$file_system:/" "$spool" efs "_netdev,nofail,tls,iam,accesspoint=$access_point"
    if ! mountpoint -q "$spool"; then again mount "$spool"; fi
}

# mount_storage: runs before BigBlueButton is installed.
mount_storage() {
    if [ "$data_volume" != no ]; then mount_data_volume; fi
    if [ -n "$file_system" ]; then mount_spool; fi
}

# fetch_sender: fetches Scalelite's scripts, which are not ours to ship. sender_sha256 is that of the three files, one
# behind the other.
fetch_sender() {
    local name
    mkdir -p /root/sender
    for name in scalelite_post_publish.rb scalelite_batch_import.sh scalelite_prune_recordings; do
        again wget -qO "/root/sender/$name" "$sender_source/$name"
    done
    cat /root/sender/scalelite_post_publish.rb /root/sender/scalelite_batch_import.sh \
        /root/sender/scalelite_prune_recordings >/root/sender.all
    [ -z "$sender_sha256" ] || is /root/sender.all "$sender_sha256" ||
        refuse "$sender_source is not what sender_sha256 says"
}

# install_sender: runs when BigBlueButton is installed. The access point makes every file the spool's (user 1000, group
# 2000), whoever writes it.
install_sender() {
    if [ "$recordings_sender" != scalelite ]; then return 0; fi
    step "install Scalelite's sender of recordings"
    fetch_sender
    install -m 755 /root/sender/scalelite_post_publish.rb /root/sender/scalelite_batch_import.sh "$core/post_publish/"
    install -m 755 /root/sender/scalelite_prune_recordings /etc/cron.daily/
    printf '# Written by UserData.\nwork_dir: %s/recording/scalelite\nspool_dir: %s\nextra_rsync_opts: []\n' \
        "$recordings" "$spool" >"$core/scalelite.yml"
    if ! getent group scalelite-spool >/dev/null; then groupadd -g 2000 scalelite-spool; fi
    usermod -aG scalelite-spool bigbluebutton
    install -d -o bigbluebutton -g bigbluebutton "$recordings/recording/scalelite"
    packages rsync ruby-dev libsystemd-dev build-essential
    # shellcheck disable=SC2086 # several gems
    set -- $sender_gems
    for gem; do again gem install --conservative --no-document "$gem"; done
    # The workers are in the group from their next start on.
    again systemctl try-restart bbb-rap-resque-worker.service bbb-rap-starter.service
}
