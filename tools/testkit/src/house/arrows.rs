//! Does a crate's source keep to the levels drawn for it?

use super::files::sources;
use super::imports::{Import, imports};
use super::{Levels, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// A place where source and page disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An import to the same or a higher level, or out of a leaf.
    Arrow {
        /// File relative to the crate's `src`.
        file: PathBuf,
        /// Line.
        line: usize,
        /// The importing module.
        from: String,
        /// The imported module.
        to: String,
    },
    /// A path to a name of the crate's root which is no module and is not re-exported from one.
    Unknown {
        /// File relative to the crate's `src`.
        file: PathBuf,
        /// Line.
        line: usize,
        /// The name.
        name: String,
    },
    /// A module which the page does not name.
    Undrawn(String),
    /// A module which only the page knows.
    Imagined(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Arrow {
                file,
                line,
                from,
                to,
            } => {
                write!(
                    f,
                    "{}:{line}: {from} -> {to} is not downward",
                    file.display()
                )
            }
            Finding::Unknown { file, line, name } => {
                write!(
                    f,
                    "{}:{line}: crate::{name} is no module of the page and no re-export of one",
                    file.display()
                )
            }
            Finding::Undrawn(module) => write!(f, "module {module} is missing in the page"),
            Finding::Imagined(module) => write!(f, "module {module} of the page does not exist"),
        }
    }
}

/// Compares the sources in `src` with the levels drawn for them.
///
/// # Panics
/// When a file cannot be read.
pub fn check_crate(src: &Path, levels: &Levels) -> Vec<Finding> {
    let files: Vec<(PathBuf, Source)> = sources(src)
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let relative = path
                .strip_prefix(src)
                .expect("the file was found below src")
                .to_owned();
            (relative, Source::new(&text))
        })
        .collect();
    let test_only: BTreeSet<PathBuf> = files
        .iter()
        .flat_map(|(file, source)| test_files(file, source))
        .collect();
    let is_shipped = |file: &Path| {
        !file
            .ancestors()
            .any(|path| test_only.contains(&path.with_extension("")))
    };
    let roots = root_exports(&files);
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, source) in files.iter().filter(|(file, _)| is_shipped(file)) {
        let Some(module) = module_of(file) else {
            continue;
        };
        seen.insert(module.clone());
        for Import { name, line } in imports(source, depth_of(file)) {
            let target = if levels.has(&name) {
                Some(&name)
            } else {
                roots.get(&name)
            };
            match target {
                Some(to) if levels.allows(&module, to) => {}
                Some(to) => {
                    found.push(Finding::Arrow {
                        file: file.clone(),
                        line,
                        from: module.clone(),
                        to: to.clone(),
                    });
                }
                None => found.push(Finding::Unknown {
                    file: file.clone(),
                    line,
                    name,
                }),
            }
        }
    }
    found.extend(
        seen.iter()
            .filter(|module| !levels.has(module))
            .cloned()
            .map(Finding::Undrawn),
    );
    let imagined = levels.modules().filter(|module| !seen.contains(*module));
    found.extend(imagined.map(|module| Finding::Imagined(module.to_owned())));
    found
}

/// Returns the paths, without extension, of the modules a file declares for tests only.
fn test_files<'a>(file: &'a Path, source: &'a Source) -> impl Iterator<Item = PathBuf> + 'a {
    let stem = file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let dir = file.parent().unwrap_or(Path::new(""));
    let dir = if matches!(stem, "lib" | "main" | "mod") {
        dir.to_owned()
    } else {
        dir.join(stem)
    };
    source
        .test_modules
        .iter()
        .map(move |module| dir.join(module))
}

/// Returns the top-level module a file belongs to; `None` for the crate's root.
fn module_of(file: &Path) -> Option<String> {
    let first = file.components().next()?.as_os_str().to_str()?;
    let module = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(first, "lib.rs" | "main.rs")).then(|| module.to_owned())
}

fn depth_of(file: &Path) -> usize {
    let parts = file.components().count();
    if file.ends_with("mod.rs") {
        parts - 1
    } else {
        parts
    }
}

/// Returns which module each name comes from that the crate's root re-exports.
fn root_exports(files: &[(PathBuf, Source)]) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    let Some((_, root)) = files.iter().find(|(file, _)| file == Path::new("lib.rs")) else {
        return exports;
    };
    for statement in root.program.split(';') {
        let Some((_, path)) = statement.split_once("pub use ") else {
            continue;
        };
        let path = path.trim();
        let path = path
            .strip_prefix("crate::")
            .or_else(|| path.strip_prefix("self::"))
            .unwrap_or(path);
        let Some((module, names)) = path.split_once("::") else {
            continue;
        };
        for name in names
            .split([',', '{', '}'])
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            let name = name.rsplit(" as ").next().unwrap_or(name);
            let name = name.rsplit("::").next().unwrap_or(name);
            exports.insert(name.trim().to_owned(), module.trim().to_owned());
        }
    }
    exports
}

#[cfg(test)]
mod tests {
    use super::check_crate;
    use crate::house::Levels;

    fn findings(files: &[(&str, &str)], page: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let levels = Levels::parse(&format!("```levels x\n{page}\n```"), "x").unwrap();
        check_crate(dir.path(), &levels)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    const GOOD: [(&str, &str); 5] = [
        (
            "lib.rs",
            "pub mod low; pub mod high; mod error; pub use error::{Error, Kind as K}; pub use low::Thing;",
        ),
        ("error.rs", "pub struct Error;"),
        (
            "low.rs",
            "use crate::Error;\n#[cfg(test)]\nmod tests { use crate::high; }",
        ),
        (
            "high/mod.rs",
            "mod part;\n#[cfg(test)]\nmod proof;\nuse crate::{K, Thing, low::x}; use super::low::y;",
        ),
        (
            "high/part.rs",
            "use super::sibling; use crate::high::other; // crate::nothing",
        ),
    ];
    const PAGE: &str = "leaf error\nL0 low\nL1 high";

    #[test]
    fn a_crate_that_keeps_to_its_levels_is_fine() {
        assert_eq!(findings(&GOOD, PAGE), Vec::<String>::new());
        let with_test_file =
            [&GOOD[..], &[("high/proof.rs", "use crate::nothing_known;")]].concat();
        assert_eq!(findings(&with_test_file, PAGE), Vec::<String>::new());
    }

    #[test]
    fn every_broken_rule_is_found() {
        let broken = |file: &'static str, text: &'static str| {
            let others = GOOD.into_iter().filter(|(name, _)| *name != file);
            findings(&others.chain([(file, text)]).collect::<Vec<_>>(), PAGE)
        };
        assert_eq!(
            broken("low.rs", "\nuse crate::high::x;"),
            ["low.rs:2: low -> high is not downward"]
        );
        assert_eq!(
            broken("error.rs", "use crate::low::x;"),
            ["error.rs:1: error -> low is not downward"]
        );
        assert_eq!(
            broken("error.rs", "type T = super::Thing;"),
            ["error.rs:1: error -> low is not downward"]
        );
        assert_eq!(
            broken("low.rs", "fn f() { crate::gone::g() }"),
            ["low.rs:1: crate::gone is no module of the page and no re-export of one"]
        );
        let globbed = broken("low.rs", "use crate::*;");
        assert_eq!(
            globbed,
            ["low.rs:1: crate::* is no module of the page and no re-export of one"]
        );
        assert_eq!(
            broken("extra.rs", ""),
            ["module extra is missing in the page"]
        );
        assert_eq!(
            findings(&GOOD, &format!("{PAGE}\nL2 dream")),
            ["module dream of the page does not exist"]
        );
        assert_eq!(findings(&GOOD, "leaf error\nL0 low high").len(), 3);
    }
}
