//! Which module stands on which level? The ```` ```levels CRATE ```` blocks of `ARCHITECTURE.md`.

use std::collections::BTreeMap;

/// The modules of one crate with their levels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    levels: BTreeMap<String, Option<u32>>,
}

/// A block that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LevelsError {
    /// The page has no block for this crate.
    Missing(String),
    /// The page has two blocks for this crate.
    Twice(String),
    /// A line begins neither with `leaf` nor with `L` and a number.
    Line(String),
    /// A module is named twice.
    Module(String),
    /// The block does not end.
    Open(String),
}

impl Levels {
    /// Reads the block of a crate.
    ///
    /// # Errors
    /// When the block is missing, there twice, or not understood.
    pub fn parse(page: &str, name: &str) -> Result<Levels, LevelsError> {
        let opening = format!("```levels {name}");
        let mut blocks = page
            .lines()
            .zip(0..)
            .filter(|(line, _)| line.trim_end() == opening);
        let (_, at) = blocks
            .next()
            .ok_or_else(|| LevelsError::Missing(name.to_owned()))?;
        if blocks.next().is_some() {
            return Err(LevelsError::Twice(name.to_owned()));
        }
        let mut levels = BTreeMap::new();
        for line in page.lines().skip(at + 1) {
            if line.starts_with("```") {
                return Ok(Levels { levels });
            }
            let mut words = line.split_whitespace();
            let level = match words.next() {
                None => continue,
                Some("leaf") => None,
                Some(word) => {
                    let number = word
                        .strip_prefix('L')
                        .and_then(|number| number.parse().ok());
                    Some(number.ok_or_else(|| LevelsError::Line(line.to_owned()))?)
                }
            };
            for module in words {
                if levels.insert(module.to_owned(), level).is_some() {
                    return Err(LevelsError::Module(module.to_owned()));
                }
            }
        }
        Err(LevelsError::Open(name.to_owned()))
    }

    /// Tells whether the page names the module.
    pub fn has(&self, module: &str) -> bool {
        self.levels.contains_key(module)
    }

    /// Returns the modules.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.levels.keys().map(String::as_str)
    }

    /// Tells whether `from` may import `to`: leaves may be imported by all and import nothing; otherwise only downward.
    pub fn allows(&self, from: &str, to: &str) -> bool {
        match (self.levels.get(from), self.levels.get(to)) {
            _ if from == to => true,
            (Some(Some(_)), Some(None)) => true,
            (Some(Some(from)), Some(Some(to))) => to < from,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Levels, LevelsError};

    #[test]
    fn blocks_are_read_strictly() {
        let page = "text\n```levels a\nleaf error\nL0 x y\n\nL2 z\n```\n```levels b\nL0 q\n```\n";
        let levels = Levels::parse(page, "a").unwrap();
        assert_eq!(
            levels.modules().collect::<Vec<_>>(),
            ["error", "x", "y", "z"]
        );
        for (from, to, allowed) in [
            ("z", "x", true),
            ("x", "z", false),
            ("x", "y", false),
            ("x", "x", true),
            ("x", "error", true),
            ("error", "x", false),
            ("z", "unknown", false),
            ("unknown", "x", false),
        ] {
            assert_eq!(levels.allows(from, to), allowed, "{from} -> {to}");
        }
        let lines = |lines: &str| Levels::parse(&format!("```levels a\n{lines}\n```"), "a");
        assert_eq!(
            Levels::parse(page, "c"),
            Err(LevelsError::Missing("c".into()))
        );
        assert_eq!(lines("level0 x"), Err(LevelsError::Line("level0 x".into())));
        assert_eq!(lines("L0 x\nL1 x"), Err(LevelsError::Module("x".into())));
        assert_eq!(
            Levels::parse("```levels a\nL0 x", "a"),
            Err(LevelsError::Open("a".into()))
        );
    }
}
