//! A header of any bytes gives challenges, never a panic, and no more of them than it has characters.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let challenges = libimage::auth::parse_challenges(text);
    let parameters: usize = challenges.iter().map(|c| c.parameters.len() + 1).sum();
    assert!(parameters <= text.len());
    assert!(challenges.iter().all(|c| c.scheme == c.scheme.to_ascii_lowercase()));
});
