//! As an ordinary user: `store:` is the user's own.

use crate::tool::PROGRAM;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use trimaran_testkit::{Content, ImageMaker, Layout, User, run, skip};

#[test]
fn the_store_is_the_users() {
    for user in [User::with_subids(), User::without_subids()] {
        let Some(user) = user else {
            skip("needs root, and the users trimaran-sub and trimaran-nosub");
            continue;
        };
        let home = user.tempdir();
        let program = user.reachable(Path::new(PROGRAM), home.path());
        let image = ImageMaker::sample().make();
        let readable = tempfile::tempdir().unwrap();
        open(readable.path());
        let source = readable.path().join("layout");
        Layout::create(&source).add("v", &image);
        let from = format!("oci:{}:v", source.display());
        let copied = run(user
            .command(&program, home.path(), &[])
            .args([&from, "store:localhost/mine:1"]))
        .expect_code(0);
        assert_eq!(copied.stdout.trim(), image.digest());
        let root = home.path().join(".local/share/trimaran");
        assert_eq!(root.join("index.json").metadata().unwrap().uid(), user.uid);
        let raw = run(user.command(&program, home.path(), &[]).args([
            "inspect",
            "--raw",
            "store:localhost/mine:1",
        ]))
        .expect_code(0);
        assert_eq!(raw.stdout.as_bytes(), image.root().bytes);
        // A place the user may not write to.
        let denied = run(user
            .command(&program, home.path(), &[])
            .args([&from, "oci:/root/denied:v"]))
        .expect_code(125);
        assert!(denied.stderr.contains("/root/denied"), "{}", denied.stderr);
    }
}

fn open(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
}
