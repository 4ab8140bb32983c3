//! passwd and group files of a hostile image: looking a user up never panics, and a number is never another number.
#![no_main]

use libcontainer::spec::{resolve, resolve_group};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8], &[u8])| {
    let (word, passwd, group) = input;
    for word in [word, "root", "user:group", "7:8"] {
        let _found = resolve(word, passwd, group);
        // Without files nobody has a name.
        if let (Ok(found), Some((uid, gid))) = (resolve(word, b"", b""), word.split_once(':'))
            && let (Ok(uid), Ok(gid)) = (uid.parse::<u32>(), gid.parse::<u32>())
        {
            assert_eq!((found.uid, found.gid), (uid, gid), "{word}");
        }
    }
    let _group = resolve_group(word, group);
});
