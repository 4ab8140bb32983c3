//! Which tags are meant: patterns.

use regex_lite::Regex;

use super::RepositoryError;

/// A pattern a tag may match.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TagFilter {
    /// A regular expression that matches anywhere in the tag, as `grep` does.
    Regex(Regex),
    /// A glob that matches the whole tag: `*`, `?` and `[a-z]`.
    Glob(String),
}

impl TagFilter {
    /// Reads a regular expression.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn regex(pattern: &str) -> Result<Self, RepositoryError> {
        match Regex::new(pattern) {
            Ok(regex) => Ok(Self::Regex(regex)),
            Err(source) => Err(RepositoryError::Pattern {
                pattern: pattern.to_owned(),
                source,
            }),
        }
    }

    /// Takes a glob; every text is one.
    #[must_use]
    pub fn glob(pattern: &str) -> Self {
        Self::Glob(pattern.to_owned())
    }

    /// Tells whether a tag matches.
    #[must_use]
    pub fn matches(&self, tag: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(tag),
            Self::Glob(glob) => glob_matches(glob, tag),
        }
    }
}

/// Tells whether a glob matches the whole of a text: `*` is anything, `?` one character, `[abc]`, `[a-z]` and `[!a-z]` one
/// character of a set. A bracket that is never closed stands for itself.
#[must_use]
pub fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // Where the last star was, and how much it has swallowed: going back there alone keeps this from being exponential.
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        if glob.get(at) == Some(&'*') {
            star = Some((at, seen));
            at += 1;
        } else if let Some(length) = one(&glob[at..], text[seen]) {
            (at, seen) = (at + length, seen + 1);
        } else if let Some((back, swallowed)) = star {
            star = Some((back, swallowed + 1));
            (at, seen) = (back + 1, swallowed + 1);
        } else {
            return false;
        }
    }
    glob[at..].iter().all(|rest| *rest == '*')
}

/// Matches one character; returns how much of the glob it took.
fn one(glob: &[char], character: char) -> Option<usize> {
    match glob.first()? {
        '?' => Some(1),
        '[' => match set(glob, character) {
            Some((length, matches)) => matches.then_some(length),
            None => (character == '[').then_some(1),
        },
        other => (*other == character).then_some(1),
    }
}

/// Reads a set; `None` if it is never closed.
fn set(glob: &[char], character: char) -> Option<(usize, bool)> {
    let negated = matches!(glob.get(1), Some('!' | '^'));
    let start = 1 + usize::from(negated);
    // A bracket right at the start of a set is a member of it.
    let close = start + 1 + glob.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let members = &glob[start..close];
    let mut found = false;
    let mut at = 0;
    while at < members.len() {
        match members[at..] {
            [low, '-', high, ..] => {
                found |= (low..=high).contains(&character);
                at += 3;
            }
            [member, ..] => {
                found |= member == character;
                at += 1;
            }
            [] => break,
        }
    }
    Some((close + 1, found != negated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_tags() {
        let table = [
            ("*", "", true),
            ("*", "v1", true),
            ("v?", "v1", true),
            ("v?", "v10", false),
            ("v1*", "v10-rc", true),
            ("*-rc", "v10-rc", true),
            ("*a*b", "xaab", true),
            ("*a*b", "xaac", false),
            ("v[0-9]", "v7", true),
            ("v[!0-9]", "v7", false),
            ("v[]x]", "v]", true),
            ("v[", "v[", true),
            ("", "x", false),
            ("latest", "latest2", false),
        ];
        for (glob, text, expected) in table {
            assert_eq!(glob_matches(glob, text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn a_hostile_glob_is_no_burden() {
        let text = "a".repeat(2000);
        assert!(!glob_matches(&"*a".repeat(200).add_b(), &text));
    }

    trait AddB {
        fn add_b(self) -> String;
    }
    impl AddB for String {
        fn add_b(self) -> String {
            self + "b"
        }
    }

    #[test]
    fn expressions_match_anywhere_and_bad_ones_are_named() {
        assert!(TagFilter::regex("^v[0-9]+$").unwrap().matches("v12"));
        assert!(TagFilter::regex("rc").unwrap().matches("v1-rc2"));
        let error = TagFilter::regex("v(").unwrap_err();
        assert!(error.to_string().contains("v("));
    }
}
