#!/bin/bash
# Runs every suite, goes on after a failing one, and prints seconds per suite at the end.
#
# Suites are found, not listed: each file in a crate's tests/ folder is one. Live tests (live_*) need root: as a user
# with sudo they run through it; without, they say what did not run, and with CI=true that is a failure.
set -uo pipefail
cd "$(dirname "$0")/.."
# A user's path on Debian lacks what mounts, formats and shapes.
export PATH="$HOME/.cargo/bin:$PATH:/usr/sbin:/sbin"

SAID=$(mktemp -d) || exit
TABLE=$SAID/.table FAILED=$SAID/.failed
: >"$TABLE" >"$FAILED"
trap 'rm -rf "$SAID"' EXIT

suite() {
    echo "── $1: ${*:2}"
    # No pipe: it would wait for a daemon that outlives a failing test.
    timed "$@" > >(exec tee "$SAID/$1") 2>&1
}

# A suite beside the others, shown when it has ended.
suite_beside() {
    timed "$@" >"$SAID/$1" 2>&1
}

timed() {
    local name=$1 start=$EPOCHREALTIME result=ok
    shift
    "$@" || { result=FAILED; echo "$name" >>"$FAILED"; }
    awk -v a="$start" -v b="$EPOCHREALTIME" -v n="$name" -v r="$result" \
        'BEGIN { printf "%8.1f s  %-6s  %s\n", b - a, r, n }' >>"$TABLE"
}

# All test targets of the workspace, by name, once each: a file, or a folder with a main.rs.
test_targets() {
    for file in */tests/*.rs; do basename "$file" .rs; done
    for file in */tests/*/main.rs; do basename "$(dirname "$file")"; done
}

# Prefix under which a live test gets the rights it needs.
as_root() {
    [ "$(id -u)" = 0 ] && return
    sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null && sudo true; } || return
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="sudo -E env PATH=$PATH"
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="sudo -E env PATH=$PATH"
}

# `--workspace` everywhere: with -p, cargo resolves other features and builds the dependencies again.
suite fmt cargo fmt --all --check
suite clippy cargo clippy --locked --workspace --all-targets -- -D warnings
# Builds the program itself, too: `cargo build` would do it a second time, with other features of what it depends on.
suite build cargo test --locked --workspace --all-targets --no-run
# The program without the kernel side, without libpcap, without both: each must build. No tests: they need both.
features() {
    local some
    for some in "" ebpf pcap; do
        cargo check --locked -p jaga --bins --no-default-features --features "$some" || return
    done
}
suite features features
export JAGA_BIN="$PWD/target/debug/jaga"
suite unit cargo test --locked --workspace --lib --bins
suite docs cargo test --locked --workspace --doc
suite packs "$JAGA_BIN" test rules/packs
# A machine of its own, in software emulation, which needs one processor for minutes and nothing of this one.
(as_root; suite_beside live_guest cargo test --locked --workspace --test live_guest -- --test-threads=1 --nocapture) &
GUEST=$!
for target in $(test_targets | sort -u | grep -v '^live_'); do
    suite "$target" cargo test --locked --workspace --test "$target"
done
wait "$GUEST"
echo "── live_guest, which ran beside the others"
cat "$SAID/live_guest"
# One after the other, on an otherwise idle machine: they measure bytes and wait for real daemons.
as_root
for target in $(test_targets | sort -u | grep '^live_' | grep -v '^live_guest$'); do
    suite "$target" cargo test --locked --workspace --test "$target" -- --test-threads=1 --nocapture
done

echo
cat "$TABLE"
echo "   in all: $SECONDS s"
[ -s "$FAILED" ] || exit 0
# Once more, where whoever looks for it looks first.
while read -r name; do
    printf '\n── %s failed with:\n' "$name"
    grep -A 12 -E "panicked at|^error|FAILED" "$SAID/$name" | cut -c1-2000 | tail -n 80
done <"$FAILED"
echo "failed: $(paste -sd' ' "$FAILED")"
exit 1
