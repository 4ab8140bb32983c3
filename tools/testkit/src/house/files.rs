//! Which files belong to the repository?

use std::path::{Path, PathBuf};

/// Returns the repository's root.
///
/// # Panics
/// When the crate does not lie where it does.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("the testkit lies two directories below the root")
        .to_owned()
}

/// Returns the Rust files below a directory, sorted.
///
/// # Panics
/// When a directory cannot be read.
pub fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = text_files(dir);
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    found
}

/// Returns all files below a directory but those of version control and builds, sorted.
///
/// # Panics
/// When a directory cannot be read.
pub fn text_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        let entries =
            std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        for entry in entries {
            let path = entry.expect("a directory's entry can be read").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if path.is_symlink() || matches!(name, "target" | "bin" | ".git") {
                continue;
            }
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
