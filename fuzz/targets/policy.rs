//! A policy never panics; one that parses answers for every scope.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libimage::config::Policy;

fuzz_target!(|text: &str| {
    if let Ok(policy) = Policy::parse(text) {
        for transport in ["docker", "oci", "dir"] {
            let _requirements = policy.requirements(transport, ["registry.example/app:1", "registry.example"]);
        }
    }
});
