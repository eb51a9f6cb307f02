# A Debian of its own, made by debootstrap, with a clone of the checkout: sourced by tests/fresh and tests/arm64, which set
#   name       of the script, as it is said
#   place      the directory for all of it
#   packages   what is there besides the minimum, as debootstrap takes it
#   toolchain  the Rust toolchain of this machine's that is there, in $rust; none: nothing of this machine's
#   rights     machine, or container: what needs namespaces or mounts is refused
# It needs root, debootstrap and namespaces. What it needs to reach package registries comes from this machine: DNS,
# proxies, certificate authorities, the configurations of apt, pip and cargo.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # its variables are the scripts', and theirs its own
root=$place/root
release=bookworm
home=/root
checkout=$home/bbb-agents
rust=/opt/rust
authorities=/etc/ssl/certs/ca-certificates.crt
# What Docker leaves to root in a container; the kernel refuses user namespaces below a changed root directory.
container=chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod,audit_write,setfcap

say() { echo "$name: $*"; }

skip() {
    say "skipped: $*"
    exit 77
}

# can_be_made: skips where there can be no such machine.
can_be_made() {
    ((EUID == 0)) || skip "not root"
    command -v debootstrap >/dev/null || skip "debootstrap is missing (tests/prepare test installs it)"
    in_namespaces true 2>/dev/null || skip "this machine lets root make no namespaces"
}

# in_namespaces COMMAND...: all that it starts and mounts ends with it.
in_namespaces() { unshare --mount --pid --fork --kill-child --mount-proc --propagation private "$@"; }

# make_base: sets $base, the Debian as debootstrap makes it.
make_base() {
    base=$place/base-$(sha256sum <<<"$release $packages" | cut -c 1-12)
    [[ ! -d $base ]] || return 0
    say "making a minimal Debian with debootstrap"
    local mirror=()
    mkdir -p "$place"
    if grep -qx 'ID=debian' /etc/os-release; then
        # shellcheck disable=SC2016 # apt's variable
        mapfile -t mirror < <(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 'debian/*$')
    fi
    rm -rf "$place"/base-*
    in_namespaces debootstrap --variant=minbase --include="$packages" "$release" "$base.new" "${mirror[@]}" \
        >"$place/debootstrap.log" || {
        say "debootstrap failed; all that it said is in $place/debootstrap.log" >&2
        exit 1
    }
    mv "$base.new" "$base"
}

# copy FILE PLACE: a file of this machine's, if there is one.
copy() {
    [[ -f $1 ]] || return 0
    install -D -m 0644 "$1" "$root/$2"
}

# make_machine: sets up $root, as new.
make_machine() {
    rm -rf "$root"
    cp -a --reflink=auto "$base" "$root"
    rm -f "$root/etc/resolv.conf"
    copy /etc/resolv.conf etc/resolv.conf
    copy /etc/hosts etc/hosts
    copy "${SSL_CERT_FILE:-$authorities}" usr/local/share/ca-certificates/machine.crt
    # That of this machine, also if it stands on the command line of its apt or in its environment.
    apt-config dump | grep -E '^Acquire::(https?|Check-|Retries|ForceIPv)' >"$root/etc/apt/apt.conf.d/90machine" || true
    copy /etc/pip.conf etc/pip.conf
    copy "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" "$home/.config/pip/pip.conf"
    copy "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$home/.cargo/config.toml"
    mkdir "$root$rust"
    clone
    on_machine update-ca-certificates >"$place/machine.log" 2>&1 || {
        say "the machine does not start; all that it said is in $place/machine.log" >&2
        exit 1
    }
}

# clone: the checkout's last commit, in $root.
clone() {
    [[ -z $(git status --porcelain) ]] || say "what is not committed is not in the clone"
    rm -rf "${root:?}$checkout"
    git clone --quiet --no-hardlinks . "$root$checkout"
}

# environment: what a user has there, and this machine's ways to registries.
environment() {
    printf '%s\0' HOME="$home" PATH="$rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" TERM="${TERM:-dumb}"
    env --null | grep --null-data -E '^((https?|no|all)_proxy|(HTTPS?|NO|ALL)_PROXY|PIP_.*|CARGO_(HTTP|NET|REGISTR|SOURCE).*)=' |
        grep --null-data -v '^PIP_CERT=' || true
    # pip has authorities of its own.
    printf '%s\0' PIP_CERT="$authorities"
}

# on_machine COMMAND...: there.
on_machine() {
    local clean
    mapfile -d '' clean < <(environment)
    # shellcheck disable=SC2016 # variables of that shell
    in_namespaces env -i "${clean[@]}" /bin/bash -c '
        set -euo pipefail
        PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
        root=$1 toolchain=$2 rust=$3 container=$4
        shift 4
        mount --bind "$root" "$root"
        if [[ -n $toolchain ]]; then mount --bind -o ro "$toolchain" "$root$rust"; fi
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount --rbind /sys "$root/sys"
        cd "$root"
        if [[ -n $container ]]; then exec setpriv --bounding-set "-all,+${container//,/,+}" chroot . "$@"; fi
        # The root directory of these namespaces, as user namespaces want it.
        pivot_root . mnt
        exec chroot . /bin/sh -c "umount --lazy /mnt && exec \"\$@\"" sh "$@"
        ' bash "$root" "$toolchain" "$rust" "$([[ $rights == machine ]] || echo "$container")" "$@"
}
