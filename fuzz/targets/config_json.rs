//! A config.json of any kind is read, checked and planned, as root and without, and never panics; what is planned can be printed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| libcontainer::fuzzing::plan(raw));
