//! What is in the runnable root file system?

use super::Tree;
use std::path::Path;
use std::process::Command;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
app:x:1000:1000:An ordinary user:/home/app:/bin/sh
";
const GROUP: &str = "root:x:0:
daemon:x:1:
tty:x:5:
staff:x:50:app
nogroup:x:65534:
app:x:1000:
extra:x:2000:app
";

impl Tree {
    /// Makes a complete small root file system around `/bin/busybox` of Debian's `busybox-static`: all applets as symbolic links,
    /// user `app` (1000:1000, also in `staff` and `extra`), `/tmp` with mode 1777. `None` where busybox is missing or needs shared
    /// libraries.
    pub fn busybox() -> Option<Tree> {
        let program = ["/bin/busybox", "/usr/bin/busybox"]
            .map(Path::new)
            .into_iter()
            .find(|path| path.exists())?;
        let bytes = std::fs::read(program)
            .ok()
            .filter(|bytes| is_static(bytes))?;
        let listed = Command::new(program).arg("--list-full").output().ok()?;
        let applets = String::from_utf8(listed.stdout).ok()?;
        let mut tree = Tree::new();
        for (path, mode) in [
            ("bin", 0o755),
            ("dev", 0o755),
            ("etc", 0o755),
            ("home", 0o755),
            ("lib", 0o755),
            ("mnt", 0o755),
            ("proc", 0o755),
            ("root", 0o700),
            ("run", 0o755),
            ("sbin", 0o755),
            ("sys", 0o755),
            ("tmp", 0o1777),
            ("usr", 0o755),
            ("usr/bin", 0o755),
            ("usr/lib", 0o755),
            ("usr/sbin", 0o755),
            ("var", 0o755),
            ("var/tmp", 0o1777),
        ] {
            tree = tree.dir(path, mode);
        }
        tree = tree
            .dir("home/app", 0o755)
            .owner(1000, 1000)
            .file("etc/passwd", 0o644, PASSWD)
            .file("etc/group", 0o644, GROUP)
            .file("etc/shadow", 0o640, "root:*:19000:0:99999:7:::\n")
            .file("etc/hostname", 0o644, "busybox\n")
            .file(
                "etc/os-release",
                0o644,
                "ID=busybox\nPRETTY_NAME=\"Busybox (testkit)\"\n",
            )
            .file("etc/not-executable", 0o644, "#!/bin/sh\n")
            .file("bin/busybox", 0o755, bytes);
        let mut paths: Vec<&str> = applets
            .lines()
            .map(|path| path.trim_start_matches('/'))
            .collect();
        paths.sort_unstable();
        paths.dedup();
        let known = |path: &&&str| {
            ["bin/", "sbin/", "usr/bin/", "usr/sbin/"]
                .iter()
                .any(|dir| path.starts_with(dir))
        };
        for path in paths
            .iter()
            .filter(known)
            .filter(|path| **path != "bin/busybox")
        {
            tree = tree.symlink(path, "/bin/busybox");
        }
        Some(tree)
    }
}

/// Tells whether an ELF file asks for no interpreter.
fn is_static(elf: &[u8]) -> bool {
    // A dynamic executable holds its loader's path in the first pages; a static busybox does not mention one there.
    let head = &elf[..elf.len().min(4096)];
    elf.starts_with(b"\x7fELF")
        && !head
            .windows(3)
            .any(|window| window == b"/ld" || window == b"ld-")
}

#[cfg(test)]
mod tests {
    use crate::image::Tree;

    #[test]
    fn busybox_tree_holds_a_shell() {
        let Some(tree) = Tree::busybox() else {
            return crate::skip("needs busybox-static");
        };
        let has = |path: &str| tree.entries().iter().any(|entry| entry.path == path);
        assert!(has("bin/busybox") && has("bin/sh") && has("etc/passwd"));
    }
}
