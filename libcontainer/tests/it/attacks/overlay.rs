//! Attributes by which an overlay finds other files, crafted in a directory that a container could write.

use std::path::Path;

use libcontainer::rootfs::{Overlay, PreparedRoot, Root};
use rustix::fs::XattrFlags;

fn set(path: &Path, name: &str, value: &[u8]) -> bool {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).is_ok()
}

#[test]
fn no_attribute_names_another_file() {
    if !rustix::process::geteuid().is_root() {
        return trimaran_testkit::skip("needs root");
    }
    for (user, prefix) in [(false, "trusted"), (true, "user")] {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in [
            "lower/secret",
            "lower/sub",
            "upper/moved",
            "upper/absolute",
            "upper/sub",
            "work",
        ] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        std::fs::write(path("lower/secret/key"), "secret").unwrap();
        std::fs::write(path("upper/copied"), "").unwrap();
        // The layer above has deleted it.
        let device = rustix::fs::makedev(0, 0);
        let mode = rustix::fs::Mode::empty();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("upper/secret"),
            rustix::fs::FileType::CharacterDevice,
            mode,
            device,
        )
        .unwrap();
        let name = |word: &str| format!("{prefix}.overlay.{word}");
        let crafted = set(&path("upper/moved"), &name("redirect"), b"secret")
            && set(&path("upper/absolute"), &name("redirect"), b"/secret")
            && set(&path("upper/sub"), &name("redirect"), b"../secret");
        if !crafted {
            return trimaran_testkit::skip("the temporary directory takes no such attributes");
        }
        // A file whose content is said to be elsewhere.
        set(&path("upper/copied"), &name("redirect"), b"/secret/key");
        set(&path("upper/copied"), &name("metacopy"), b"");
        let root = PreparedRoot::open(&Root::Overlay(Overlay {
            lowers: vec![path("lower")],
            upper: Some(path("upper")),
            work: Some(path("work")),
            userxattr: user,
            ..Overlay::default()
        }));
        let Ok(root) = root else {
            return trimaran_testkit::skip(
                "the temporary directory cannot hold an upper directory",
            );
        };
        for file in [
            "secret/key",
            "moved/key",
            "absolute/key",
            "sub/key",
            "copied",
        ] {
            let found = root.read_file(file, 100).ok().flatten().unwrap_or_default();
            assert_ne!(found, b"secret", "{prefix}: {file}");
        }
    }
}
