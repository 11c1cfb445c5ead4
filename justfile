# One command per job. `just` without a name lists them.

_list:
    @just --list

# Start the demo: procedural patient, real association, page at http://127.0.0.1:8080
demo:
    cargo run --release -- demo

# Everything that must hold, as CI runs it
test:
    tests/run

# The long tests too
test-full:
    tests/run --full

# The house rules alone
tidy:
    cargo test --release -p tests --test tidy

# Format and lint
lint:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings

# Licences, bans, advisories (needs cargo-deny)
deny:
    cargo deny check

# Measure against the peers: just bench receive
bench name *arguments:
    tests/bench/run {{name}} {{arguments}}
