//! A registries.conf never panics, and whatever it says: a place has a name, a mirror by digest only serves no tag, what is blocked is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libimage::{
    config::Registries,
    name::{ImageRef, Name},
};

fuzz_target!(|text: &str| {
    let Ok(registries) = Registries::parse(text) else {
        return;
    };
    for name in [
        "docker.io/library/debian:12",
        "registry.example:5000/a/b:1",
        "registry.example/app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ] {
        let name: Name = name.parse().expect("a name");
        if let Ok(place) = registries.place(&name) {
            for endpoint in place.mirrors.iter().chain([&place.location]) {
                let again: Name = endpoint.name.to_string().parse().expect("what is printed is a name");
                assert_eq!(again.digest(), name.digest(), "nobody is sent to another image's digest");
            }
        }
    }
    for short in ["debian", "a/b:1", "registry.example/app"] {
        let image = ImageRef::parse_or_bare(short).expect("a reference");
        if let Ok(candidates) = registries.candidates(&image) {
            assert!(!candidates.is_empty());
        }
    }
});
