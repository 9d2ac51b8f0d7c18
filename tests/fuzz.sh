#!/bin/bash
# Looks for input that a parser cannot stand: libFuzzer, FUZZ_SECONDS (default 30) for each target of tests/src/fuzz/.
#
#   tests/fuzz.sh                 every target, each for FUZZ_SECONDS
#   tests/fuzz.sh dns tls         only these
#   tests/fuzz.sh keep [TARGET…]  adds to tests/corpus/ what was found to reach new code, and nothing else
#
# Stable Rust: the flags below are those of cargo-fuzz without a sanitizer (the parsers are safe Rust; overflow checks and
# debug assertions are on). What was reached is kept in target/fuzz/corpus/ from run to run. Input that failed is put into
# target/fuzz/found/: mend the parser, and move the file to tests/corpus/TARGET/, where `make test` replays it.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH="$HOME/.cargo/bin:$PATH"

HOST=$(rustc -vV | sed -n 's/^host: //p')
OUT=${CARGO_TARGET_DIR:-target}/fuzz
FUZZER=$OUT/$HOST/debug/jaga-fuzz

build() {
    local flags="--cfg jaga_fuzz -Cpasses=sancov-module"
    local pass
    for pass in level=4 inline-8bit-counters pc-table trace-compares; do
        flags+=" -Cllvm-args=-sanitizer-coverage-$pass"
    done
    # With --target the flags stay away from build scripts and macros.
    RUSTFLAGS=$flags cargo build --locked --target "$HOST" --target-dir "$OUT" -p jaga-tests --bin jaga-fuzz || exit 1
}

# Every folder of the corpus is a target; a test holds the two to each other.
targets() {
    if [ $# -gt 0 ]; then printf '%s\n' "$@"; else basename -a tests/corpus/*/; fi
}

run_fuzzer() {
    local name=$1
    shift
    # An input that takes 10 s or 1 GB is a finding, too.
    JAGA_FUZZ_TARGET=$name "$FUZZER" -timeout=10 -rss_limit_mb=1024 -max_len=8192 "$@"
}

fuzz() {
    local name=$1 log="$OUT/$1.log" before
    mkdir -p "$OUT/corpus/$name" "$OUT/found/$name"
    before=$(find "$OUT/found/$name" -type f | wc -l)
    run_fuzzer "$name" -max_total_time="${FUZZ_SECONDS:-30}" -print_final_stats=1 -use_value_profile=1 \
        -artifact_prefix="$OUT/found/$name/" "$OUT/corpus/$name" "tests/corpus/$name" >"$log" 2>&1
    local result=$? runs edges said=nothing
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    if [ $result != 0 ] || [ "$(find "$OUT/found/$name" -type f | wc -l)" != "$before" ]; then
        said="FOUND: $(grep -m1 -A1 -E "panicked at|ERROR: libFuzzer" "$log" | tr '\n' ' '); see $log"
        FOUND=1
    fi
    printf '%-10s %12s runs %8s edges  %s\n' "$name" "${runs:-?}" "${edges:-?}" "$said"
}

# Of what was found only what is short, and only what reaches code that the corpus does not: a corpus is cloned with the code.
keep() {
    local short="$OUT/short/$1"
    mkdir -p "$OUT/corpus/$1"
    rm -rf "$short"
    mkdir -p "$short"
    find "$OUT/corpus/$1" -type f -size -"${FUZZ_KEEP_BYTES:-768}"c -exec cp -t "$short" {} +
    run_fuzzer "$1" -merge=1 -set_cover_merge=1 -use_counters=0 "tests/corpus/$1" "$short" >"$OUT/$1.log" 2>&1
    printf '%-10s %s\n' "$1" "$(grep -o '[0-9]* new files.*' "$OUT/$1.log" | tail -1)"
}

FOUND=0
WORK=fuzz
if [ "${1:-}" = keep ]; then WORK=keep; shift; fi
build
for target in $(targets "$@"); do $WORK "$target"; done
[ $FOUND = 0 ] || { echo "input that failed lies in $OUT/found/"; exit 1; }
