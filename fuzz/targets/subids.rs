//! Subordinate ids and id maps of any text make maps that the kernel's rules allow: nothing overlaps, nothing wraps around.
#![no_main]

use libcontainer::idmap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, u32)| {
    let (text, id) = input;
    let ranges = idmap::parse_subids(text, Some("user"), id);
    let maps = idmap::map_user(id, &ranges);
    assert!(idmap::validate(&maps).is_ok(), "{ranges:?} of {text:?} make {maps:?}");
    assert!(idmap::is_mapped(&maps, 0), "root of the namespace exists");
    assert_eq!(idmap::parse_map(&idmap::map_text(&maps)), maps);
    let read = idmap::parse_map(text);
    for probe in [0, 1, id, u32::MAX] {
        let _mapped = idmap::is_mapped(&read, probe);
    }
});
