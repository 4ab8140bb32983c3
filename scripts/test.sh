#!/usr/bin/env bash
# The README's test command: sets up what it needs, then formatting, lints, documentation, all tests (those of the house
# among them), as root and as an ordinary user, and a count of what was skipped and why.
# The tests themselves drop to the users `trimaran-sub` and `trimaran-nosub` where they test the rootless paths.
set -euo pipefail
cd "$(dirname "$0")/.."
started=$SECONDS
step() { printf '\n==> %s (%d s)\n' "$*" $((SECONDS - started)); }

# Skips may only fall; a new one needs a reason and a change of this number. It is what a machine has that lacks nothing.
allowed_skips=${TRIMARAN_ALLOWED_SKIPS:-0}
[[ $EUID -eq 0 ]] || allowed_skips=${TRIMARAN_ALLOWED_SKIPS:-1000}

step "setting up"
scripts/setup.sh test
TRIMARAN_SKIP_LOG=$(mktemp)
export TRIMARAN_SKIP_LOG
chmod 666 "$TRIMARAN_SKIP_LOG"
trap 'rm -f "$TRIMARAN_SKIP_LOG"' EXIT

step "formatting"
cargo fmt --all --check
step "shell scripts parse"
for s in .ci/run scripts/*.sh scripts/vm/*.sh scripts/vm/steps/*.sh examples/scripts/*.sh; do bash -n "$s"; done
step "lints"
cargo clippy --locked --workspace --all-targets -- -D warnings
cargo clippy --locked -p libimage --no-default-features -- -D warnings
cargo clippy --locked -p libcontainer -- -D warnings
# What only `make test-vm` runs.
cargo clippy --locked -p libcontainer -p trimaran-run --features libcontainer/_vm,trimaran-run/_vm --test vm -- -D warnings
step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
step "tests"
cargo test --locked --workspace
if command -v cargo-deny >/dev/null; then
    step "licences and advisories"
    cargo deny --offline check bans licenses sources
fi

step "done"
skipped=$(wc -l <"$TRIMARAN_SKIP_LOG")
if ((skipped)); then
    echo "skipped, and why:"
    sort "$TRIMARAN_SKIP_LOG" | sed 's/^/  /'
fi
echo "$skipped tests skipped"
if ((skipped > allowed_skips)); then
    echo "more tests were skipped than the $allowed_skips that may be: something this machine should have is missing" >&2
    exit 1
fi
