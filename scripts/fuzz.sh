#!/usr/bin/env bash
# Runs the fuzz targets one after the other, each for FUZZ_SECONDS (60). usage: fuzz.sh [TARGET...]
# What a target finds is kept in fuzz/artifacts/; run the binary with that file to see it again.
# The stable compiler can count coverage; what it lacks is the address sanitizer, which safe Rust hardly needs.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
host=$(rustc -vV | sed -n 's/^host: //p')
seconds=${FUZZ_SECONDS:-60}
export RUSTFLAGS="${RUSTFLAGS:-} -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(sed -n 's/^path = "targets\/\(.*\)\.rs"/\1/p' Cargo.toml)
# Without libimage, which only some need, the build takes a fraction of the time.
flags=(--no-default-features)
for target in "${targets[@]}"; do
    flags+=(--bin "$target")
    ! grep -A1 "^path = \"targets/$target.rs\"" Cargo.toml | grep -q images || flags[0]=--features=images
done
cargo build --release --locked --target "$host" "${flags[@]}"
for target in "${targets[@]}"; do
    echo "==> $target, $seconds s"
    mkdir -p "corpus/$target" "artifacts/$target"
    "target/$host/release/$target" -max_total_time="$seconds" -max_len=65536 -print_final_stats=0 -verbosity=0 \
        -artifact_prefix="artifacts/$target/" "corpus/$target"
done
echo "nothing found"
