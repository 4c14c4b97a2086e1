#!/bin/sh
# Runs a fuzz target, or all of them, for some seconds with the repository's own toolchain:
#   fuzz/run.sh [TARGET|all] [SECONDS]
#
# The fuzzer needs flags of the compiler that are not stable; RUSTC_BOOTSTRAP lets a stable compiler take them. The
# address sanitizer is on unless FUZZ_SANITIZER=none. Finds are kept in fuzz/artifacts, inputs in fuzz/corpus.
set -eu
cd "$(dirname "$0")"
target=${1:-all}
seconds=${2:-60}
sanitizer=${FUZZ_SANITIZER:-address}

flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
if [ "$sanitizer" != none ]; then
    flags="$flags -Zsanitizer=$sanitizer"
fi
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags"

# Named for the host, so that build scripts and macros are built without the flags.
host=$(rustc -vV | sed -n 's/^host: //p')
folder=${CARGO_TARGET_DIR:-target}
cargo build --release --target "$host" --bins

if [ "$target" = all ]; then
    targets=$(ls fuzz_targets | sed 's/\.rs$//')
else
    targets=$target
fi
for name in $targets; do
    echo "fuzz: $name for $seconds s"
    mkdir -p "corpus/$name" "artifacts/$name"
    seeds=
    if [ -d "seeds/$name" ]; then
        seeds="seeds/$name"
    fi
    # shellcheck disable=SC2086
    "$folder/$host/release/$name" "corpus/$name" $seeds -artifact_prefix="artifacts/$name/" \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -print_final_stats=1
done
