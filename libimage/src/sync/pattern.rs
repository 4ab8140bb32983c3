//! Patterns that people write for tags and repositories: globs, and regular expressions between slashes.

use std::{fmt, str::FromStr};

use regex_lite::{Regex, RegexBuilder};

use super::SelectionError;

/// Bytes of a pattern: nobody writes more by hand, and matching takes the product of pattern and tag.
const PATTERN_BYTES: usize = 1024;
/// Bytes of a compiled regular expression: the crate's own default is ten times that.
const COMPILED_BYTES: usize = 1 << 20;

/// A glob (`v1.*`, `?` is one character, `[a-z]` and `[!a-z]` are sets; it has to match the whole text), or, between slashes, a
/// regular expression (`/^v1\./`; it may match anywhere). Neither tags nor the ends of repository names hold slashes, so the two
/// cannot be mistaken for each other.
///
/// ```
/// use libimage::sync::Pattern;
/// let pattern: Pattern = "v1.*".parse()?;
/// assert!(pattern.matches("v1.2") && !pattern.matches("dev1.2"));
/// # Ok::<(), libimage::sync::SelectionError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    how: How,
}

#[derive(Debug, Clone)]
enum How {
    Glob(Vec<Piece>),
    Regex(Regex),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Exactly this character.
    Literal(char),
    /// Any one character.
    One,
    /// Any number of any characters.
    Many,
    /// One character inside (or outside) of the ranges.
    Set {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

impl Pattern {
    /// Makes a pattern from a regular expression without slashes around it.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn regex(expression: &str) -> Result<Self, SelectionError> {
        Ok(Self {
            text: format!("/{expression}/"),
            how: How::Regex(regex(expression)?),
        })
    }

    /// Tells whether a text is meant.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match &self.how {
            How::Regex(regex) => regex.is_match(text),
            How::Glob(pieces) => glob(pieces, &text.chars().collect::<Vec<_>>()),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Pattern {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, SelectionError> {
        if text.is_empty() || text.len() > PATTERN_BYTES {
            return Err(SelectionError::Glob {
                glob: text.chars().take(64).collect(),
                problem: "it is empty or has more than 1024 bytes",
            });
        }
        let between = text
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix('/'));
        match between {
            Some(expression) => Self::regex(expression),
            None => Ok(Self {
                text: text.to_owned(),
                how: How::Glob(pieces(text)?),
            }),
        }
    }
}

/// Compiles a regular expression under our limits.
fn regex(expression: &str) -> Result<Regex, SelectionError> {
    RegexBuilder::new(expression)
        .size_limit(COMPILED_BYTES)
        .build()
        .map_err(|source| SelectionError::Regex {
            regex: expression.chars().take(PATTERN_BYTES).collect(),
            source,
        })
}

fn pieces(text: &str) -> Result<Vec<Piece>, SelectionError> {
    let mut pieces = Vec::new();
    let mut rest = text.chars();
    let wrong = |problem| SelectionError::Glob {
        glob: text.to_owned(),
        problem,
    };
    while let Some(character) = rest.next() {
        pieces.push(match character {
            '*' if pieces.last() == Some(&Piece::Many) => continue,
            '*' => Piece::Many,
            '?' => Piece::One,
            '[' => set(&mut rest).ok_or_else(|| wrong("a [ is not closed"))?,
            '\\' => Piece::Literal(rest.next().ok_or_else(|| wrong("it ends with a \\"))?),
            other => Piece::Literal(other),
        });
    }
    Ok(pieces)
}

/// Reads what follows a `[`, up to its `]`; `None` if there is none.
fn set(rest: &mut std::str::Chars<'_>) -> Option<Piece> {
    let negated = rest.as_str().starts_with(['!', '^']);
    if negated {
        rest.next();
    }
    let mut ranges: Vec<(char, char)> = Vec::new();
    loop {
        match rest.next()? {
            // A ] in the first place is an ordinary character, as in every shell.
            ']' if !ranges.is_empty() => return Some(Piece::Set { ranges, negated }),
            first => {
                let mut ahead = rest.clone();
                match (ahead.next(), ahead.next()) {
                    (Some('-'), Some(last)) if last != ']' => {
                        *rest = ahead;
                        ranges.push((first, last));
                    }
                    _ => ranges.push((first, first)),
                }
            }
        }
    }
}

/// Matches greedily and goes back to the last `*` only: time is the product of both lengths at most.
fn glob(pieces: &[Piece], text: &[char]) -> bool {
    let (mut piece, mut at) = (0, 0);
    let mut last: Option<(usize, usize)> = None;
    while at < text.len() {
        let fits = match pieces.get(piece) {
            Some(Piece::Many) => {
                last = Some((piece, at));
                piece += 1;
                continue;
            }
            Some(Piece::Literal(literal)) => *literal == text[at],
            Some(Piece::One) => true,
            Some(Piece::Set { ranges, negated }) => {
                let inside = ranges
                    .iter()
                    .any(|(first, end)| (*first..=*end).contains(&text[at]));
                inside != *negated
            }
            None => false,
        };
        if fits {
            (piece, at) = (piece + 1, at + 1);
        } else if let Some((star, from)) = last {
            last = Some((star, from + 1));
            (piece, at) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    pieces[piece..].iter().all(|piece| *piece == Piece::Many)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_a_shell_user_expects() {
        for (pattern, yes, no) in [
            ("v1.*", vec!["v1.", "v1.2.3"], vec!["v1", "xv1.2", "v2.1"]),
            ("*", vec!["", "anything"], vec![]),
            ("?.?", vec!["1.2"], vec!["1.22", ".", "12"]),
            ("*-rc*", vec!["1-rc", "1-rc1", "-rc"], vec!["1-r", "rc"]),
            ("[0-9]*", vec!["1", "9x"], vec!["x9", ""]),
            ("[!0-9]", vec!["x"], vec!["1", "xx"]),
            ("a[]]b", vec!["a]b"], vec!["ab"]),
            ("a[b-]", vec!["ab", "a-"], vec!["ac"]),
            ("a\\*", vec!["a*"], vec!["ab"]),
            ("a*b*c", vec!["abc", "a-b-bxc"], vec!["ab", "acb"]),
            ("/^v1\\./", vec!["v1.2"], vec!["xv1.2"]),
            ("/rc/", vec!["1-rc2"], vec!["1"]),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            assert_eq!(parsed.to_string(), pattern);
            for text in yes {
                assert!(parsed.matches(text), "{pattern} {text}");
            }
            for text in no {
                assert!(!parsed.matches(text), "{pattern} {text}");
            }
        }
        for bad in ["", "[a", "x\\", "/(/", "/a{4000000000}/"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
        assert!("x".repeat(PATTERN_BYTES + 1).parse::<Pattern>().is_err());
    }

    #[test]
    fn stars_do_not_explode() {
        let pattern: Pattern = format!("{}b", "a*".repeat(100)).parse().unwrap();
        assert!(!pattern.matches(&"a".repeat(2000)));
    }

    proptest::proptest! {
        #[test]
        fn a_glob_without_wildcards_matches_itself_alone(text in "[a-z0-9._-]{1,20}", other in "[a-z0-9._-]{1,20}") {
            let pattern: Pattern = text.parse().unwrap();
            proptest::prop_assert!(pattern.matches(&text));
            proptest::prop_assert_eq!(pattern.matches(&other), text == other);
        }

        #[test]
        fn globs_agree_with_the_same_regular_expression(glob in "[ab*?]{1,8}", text in "[ab]{0,10}") {
            let expression = format!("^{}$", glob.replace('*', ".*").replace('?', "."));
            let regex = Pattern::regex(&expression).unwrap();
            proptest::prop_assert_eq!(glob.parse::<Pattern>().unwrap().matches(&text), regex.matches(&text));
        }

        #[test]
        fn no_text_makes_it_panic(pattern in ".{0,40}", text in ".{0,40}") {
            if let Ok(pattern) = pattern.parse::<Pattern>() {
                proptest::prop_assert_eq!(pattern.matches(&text), pattern.matches(&text));
            }
        }
    }
}
