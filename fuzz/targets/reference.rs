//! A reference that parses prints itself so that it parses to the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libimage::name::{ImageRef, Name};

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<Name>() {
        let again: Name = name.to_string().parse().expect("what is printed is a name");
        assert_eq!(again, name);
        assert!(!name.repository().starts_with('/') && !name.repository().contains(".."));
    }
    if let Ok(image) = text.parse::<ImageRef>() {
        let again: ImageRef = image.to_string().parse().expect("what is printed is a reference");
        assert_eq!(again, image);
    }
});
