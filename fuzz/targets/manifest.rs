//! A manifest that parses keeps its bytes, is either an image or an index, and a filtered index is an index again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libimage::digest::Digest;
use libimage::manifest::{Content, Manifest};

fuzz_target!(|raw: &[u8]| {
    let Ok(manifest) = Manifest::parse(raw.to_vec(), None) else {
        return;
    };
    assert_eq!(manifest.raw(), raw);
    assert_eq!(*manifest.digest(), Digest::of(raw));
    if let Content::Index { entries } = manifest.content() {
        if let Ok(smaller) = manifest.filter(|at| at % 2 == 0) {
            let Content::Index { entries: kept } = smaller.content() else {
                panic!("a filtered index is an image");
            };
            assert_eq!(kept.len(), entries.len().div_ceil(2));
        }
    }
});
