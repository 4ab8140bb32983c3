//! The crate's integration tests, in one binary.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its material has failed"
)]

mod archives_that_lie;
mod artifact;
mod convert;
mod crash;
mod credentials;
mod economy;
mod edit;
mod export;
mod faults2;
mod hostile;
mod layer;
mod layout;
mod listing;
mod net;
mod net_auth;
mod net_copy;
mod net_debian;
mod net_faults;
mod net_local;
mod net_pull;
mod net_tags;
mod referrers;
mod registries;
mod repository;
mod sign;
mod soak;
mod store;
mod sync;
mod transports;
mod trust;
mod trust_net;
mod valid;
mod validate;
mod view;
