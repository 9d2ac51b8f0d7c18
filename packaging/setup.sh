#!/bin/bash
# Installs what is missing on Debian or Ubuntu to build (`setup.sh build`), to test (`test`) or to measure (`bench`) jaga.
#
# Silent and without the network when nothing is missing. Needs no right it does not use: as root it calls apt
# itself, as a user through sudo. No daemon that a package brings is left running or enabled.
set -euo pipefail
export LC_ALL=C # what apt says is read

BUILD="clang|clang-19|clang-18|clang-17|clang-16|clang-15|clang-14 libelf-dev zlib1g-dev libpcap-dev pkg-config make gcc g++ libc6-dev"
TEST="prometheus prometheus-alertmanager iproute2 tcpdump curl openssh-client openssh-server rsync tinyproxy nginx-light
      python3 softflowd nfdump sqlite3 dpkg-dev util-linux e2fsprogs btrfs-progs nftables
      dns2tcp iodine ptunnel netcat-openbsd gdb rclone fuse3 dcmtk restic smbclient samba python3-pyftpdlib
      postgresql|postgresql-18|postgresql-17|postgresql-16|postgresql-15|postgresql-14 postgresql-common mariadb-server
      gpg gpg-agent openssl p7zip-full zip orthanc"
BENCH="fatrace auditd inotify-tools"
# Another kernel to test on, in software emulation: x86_64 only, as the programs that run there come from here.
[ "$(uname -m)" != x86_64 ] || TEST+=" qemu-system-x86 seabios busybox-static|busybox cpio xz-utils"
RUST_MINOR=89   # rust-version in Cargo.toml, 1.x

main() {
    local wanted=() missing=() kind package
    for kind in "${@:-build}"; do
        case $kind in
            build) wanted+=($BUILD) ;;
            test) wanted+=($TEST) ;;
            bench) wanted+=($BENCH) ;;
            *) echo "setup: unknown word '$kind'; say 'build', 'test', 'bench' or several" >&2; exit 2 ;;
        esac
    done
    for package in "${wanted[@]}"; do
        present "$package" || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
    [[ " $* " != *" test "* ]] || fetch_guest_kernels
    check_rust
}

# Whether one of a|b|c is installed.
present() {
    local one
    for one in ${1//|/ }; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$one" 2>/dev/null)" = installed ] && return 0
    done
    return 1
}

# The first of a|b|c that apt can install.
choose() {
    local one
    for one in ${1//|/ }; do
        [ -n "$(apt-cache policy "$one" 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -v '(none)')" ] && { echo "$one"; return; }
    done
    echo "${1%%|*}"
}

install_packages() {
    command -v apt-get >/dev/null || {
        echo "setup: no apt-get here; install these with your own package manager: $*" >&2
        exit 1
    }
    SUDO=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { echo "setup: missing: $*; run as root: apt-get install $*" >&2; exit 1; }
        SUDO=sudo
    fi
    local names=() package
    for package in "$@"; do names+=("$(choose "$package")"); done
    echo "setup: installing ${names[*]}"
    hold_services
    # Package lists may be absent or name versions that the mirror has dropped: fetch them only then.
    if ! quietly $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${names[@]}"; then
        echo "setup: fetching package lists"
        quietly $SUDO apt-get update || { cat "$LOG" >&2; exit 1; }
        names=()
        for package in "$@"; do names+=("$(choose "$package")"); done
        quietly $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${names[@]}" || {
            cat "$LOG" >&2
            echo "setup: apt-get could not install ${names[*]}; what it said stands above" >&2
            exit 1
        }
    fi
    disable_services "${names[@]}"
}

# Kernels with BPF trampolines for the tests' guests, unpacked and never installed: Debian 12's, and the one of Debian 13 and
# RHEL 10, which has rung 1's tracepoints. Once: they stay in target/guest. Without them the tests that want them say so,
# and the rest of the set-up is worth having.
fetch_guest_kernels() {
    local guest
    [ "$(uname -m)" = x86_64 ] || return 0
    guest=$(dirname "${BASH_SOURCE[0]}")/../target/guest
    mkdir -p "$guest" && guest=$(realpath "$guest")
    fetch_guest_kernel "$guest/6.1" bookworm
    fetch_guest_kernel "$guest/6.12" bookworm-backports
}

# Debian's name for its newest small kernel, as this suite has it. apt's own lists and sources stay as they are.
fetch_guest_kernel() {
    local place=$1 suite=$2 image part apt
    [ ! -e "$place/vmlinuz" ] || return 0
    part=$place.part
    rm -rf "$part" && mkdir -p "$part/apt/lists/partial" "$part/apt/archives/partial" || return 0
    apt=(-o Dir::Etc::SourceList="$part/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists="$part/apt/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$part/apt")
    # apt verifies what it downloads. Nothing is left half done: the folder gets its name at the end.
    if debian_source "$suite" >"$part/apt/sources.list" && quietly apt-get "${apt[@]}" update &&
        image=$(apt-cache "${apt[@]}" depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | grep .) &&
        echo "setup: fetching $image for the tests' guests, into target/guest" &&
        (cd "$part" && quietly apt-get "${apt[@]}" download "$image" && rm -r apt && dpkg-deb -x "$image"_*.deb . && rm ./*.deb &&
            find lib -name '*.ko.xz' -exec xz -d {} + && mv boot/vmlinuz-* vmlinuz && busybox depmod -b "$part" "$(ls lib/modules)"); then
        mv "$part" "$place"
    else
        cat "${LOG:-/dev/null}" >&2
        rm -rf "$part"
        echo "setup: no kernel of Debian's $suite for the tests' guests: tests that want it will not run" >&2
    fi
}

# A line for apt's sources, by the mirror that this machine takes Debian from.
debian_source() {
    local keys=/usr/share/keyrings/debian-archive-keyring.gpg mirror
    mirror=$(debian_mirror)
    # apt knows it by its lists.
    [ -n "$mirror" ] || { as_root apt-get update && mirror=$(debian_mirror); }
    [ -n "$mirror" ] && [ -e $keys ] || { echo "no mirror of Debian's, or no '$keys', here" >"${LOG:=$(mktemp)}"; return 1; }
    echo "deb [signed-by=$keys] $mirror $1 main"
}

debian_mirror() {
    # shellcheck disable=SC2016 # apt's own names
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 'Component: main' 2>/dev/null |
        sed -n '/-security/d; s/^Debian \([a-z].*\)/\1/p' | head -1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then quietly "$@"; else quietly sudo "$@"; fi
}

quietly() {
    LOG=${LOG:-$(mktemp)}
    "$@" >"$LOG" 2>&1
}

# Packages such as prometheus start a daemon when they are installed. policy-rc.d is Debian's way to say no;
# one that is already there is the owner's, and stays.
hold_services() {
    local policy=/usr/sbin/policy-rc.d
    [ -e $policy ] && return
    printf '#!/bin/sh\nexit 101\n' | $SUDO tee $policy >/dev/null
    $SUDO chmod 755 $policy
    trap "$SUDO rm -f $policy" EXIT
}

# Not started now must also mean not started at the next boot.
disable_services() {
    command -v systemctl >/dev/null || return 0
    local package unit
    for package in "$@"; do
        for unit in $(dpkg -L "$package" 2>/dev/null | sed -n 's|^\(/usr\)\?/lib/systemd/system/\([^@]*\.\(service\|socket\|timer\)\)$|\2|p'); do
            if [ "$(systemctl is-enabled "$unit" 2>/dev/null)" = enabled ]; then
                $SUDO systemctl disable "$unit" >/dev/null 2>&1 && echo "setup: $unit is installed, not enabled" || true
            fi
        done
    done
}

check_rust() {
    export PATH="$HOME/.cargo/bin:$PATH"
    local version
    version=$({ cargo --version 2>/dev/null || true; } | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p')
    [ "${version:-0}" -ge $RUST_MINOR ] && return
    [ -z "$version" ] || echo "setup: cargo 1.$version is too old, jaga needs 1.$RUST_MINOR" >&2
    if ! command -v rustup >/dev/null && [ "$(apt-cache policy rustup 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -v '(none)')" ]; then
        install_packages rustup
    fi
    if command -v rustup >/dev/null; then
        echo "setup: installing the stable Rust toolchain with rustup"
        rustup toolchain install stable --profile minimal --component clippy --component rustfmt && rustup default stable && return
    fi
    rust_from_its_own_site && return
    echo "setup: could not install a Rust toolchain; see https://rustup.rs, then run make again" >&2
    exit 1
}

# Debian 12 and Ubuntu 22.04 package neither a new enough cargo nor rustup.
rust_from_its_own_site() {
    local missing=() package init place
    for package in curl ca-certificates; do present $package || missing+=($package); done
    [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
    echo "setup: installing Rust's own rustup and the stable toolchain for $(id -un), in ~/.rustup and ~/.cargo"
    init=https://static.rust-lang.org/rustup/dist/$(uname -m)-unknown-linux-gnu/rustup-init
    # Nothing is made, entered or removed unless there is such a place: `cd ""` stays where it is, and succeeds.
    place=$(mktemp -d) || return
    (
        trap 'rm -r "$place"' EXIT
        cd "$place" || exit
        for file in $init $init.sha256; do curl --proto '=https' --tlsv1.2 -sSfLO $file || exit; done
        echo "$(cut -c1-64 rustup-init.sha256)  rustup-init" | sha256sum --check --status || {
            echo 'setup: what came from static.rust-lang.org is not what its checksum says' >&2
            exit 1
        }
        chmod +x rustup-init
        # What it says on standard output is how to set PATH, which the Makefile does.
        ./rustup-init -y --quiet --no-modify-path --profile minimal --component clippy,rustfmt --default-toolchain stable >/dev/null
    )
}

main "$@"
