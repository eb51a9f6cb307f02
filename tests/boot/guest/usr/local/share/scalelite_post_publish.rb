#!/bin/sh
# scalelite_post_publish.rb -m RECORDING: a stand-in for Scalelite's sender, which BBB runs after it has published a
# format. Like the original it packs the recording in work_dir, copies the archive to the spool, where it gets its name
# when it is complete, and leaves its mark. Where it fails, BBB warns, and never runs it again.
set -eu
recording=$2
here=$(dirname "$0")
setting() { sed -n "s/^$1: //p" "$here/../scalelite.yml"; }
work=$(setting work_dir)
spool=$(setting spool_dir)
status=/var/bigbluebutton/recording/status
tar -cf "$work/$recording.tar" -C /var/bigbluebutton/published "presentation/$recording"
cp "$work/$recording.tar" "$spool/.$recording.tar.part"
mv "$spool/.$recording.tar.part" "$spool/$recording.tar"
rm "$work/$recording.tar"
date >"$status/published/$recording-sender.done"
