//! What only the virtual machine of `make test-vm` can show of the tool: systemd itself.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

mod bundle;
mod systemd;
mod user;
