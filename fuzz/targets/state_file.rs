//! A hostile record of a container is refused or read, and never panics; one that is read comes back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| libcontainer::fuzzing::record(raw));
