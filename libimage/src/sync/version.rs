//! Tags as versions, and the ranges people write for them.

use std::{cmp::Ordering, fmt, str::FromStr};

use semver::{Prerelease, Version};

use super::SelectionError;

/// Bytes of a range: the longest sensible one has a few dozen comparisons.
const RANGE_BYTES: usize = 1024;

/// Reads a tag as a version: an optional `v`, one to three numbers, and what follows a `-` as the pre-release. `3.19-alpine` is
/// therefore a pre-release of 3.19.0, as in the field's other tools. `None` if the tag is no version.
#[must_use]
pub fn version_of(tag: &str) -> Option<Version> {
    let (numbers, pre) = match tag.strip_prefix('v').unwrap_or(tag).split_once('-') {
        Some((numbers, pre)) => (
            numbers,
            Prerelease::new(pre).ok().filter(|pre| !pre.is_empty())?,
        ),
        None => (tag.strip_prefix('v').unwrap_or(tag), Prerelease::EMPTY),
    };
    let mut parts = [0; 3];
    for (at, number) in numbers.split('.').enumerate() {
        *parts.get_mut(at)? = digits(number)?;
    }
    let [major, minor, patch] = parts;
    Some(Version {
        pre,
        ..Version::new(major, minor, patch)
    })
}

fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// Compares tags as people read them: runs of digits by their number, everything else by its characters.
#[must_use]
pub fn natural_order(left: &str, right: &str) -> Ordering {
    let (mut one, mut two) = (left.as_bytes(), right.as_bytes());
    while let (Some(first), Some(second)) = (one.first(), two.first()) {
        if first.is_ascii_digit() && second.is_ascii_digit() {
            let (number, rest) = split_number(one);
            let (other, rest_of_other) = split_number(two);
            let order = number
                .len()
                .cmp(&other.len())
                .then_with(|| number.cmp(other));
            if order != Ordering::Equal {
                return order;
            }
            (one, two) = (rest, rest_of_other);
        } else if first == second {
            (one, two) = (&one[1..], &two[1..]);
        } else {
            return first.cmp(second);
        }
    }
    // Leading zeros are the only difference that is left unseen above.
    one.len().cmp(&two.len()).then_with(|| left.cmp(right))
}

/// Splits off a number without its leading zeros.
fn split_number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let zeros = number.iter().take_while(|byte| **byte == b'0').count();
    (&number[zeros..], rest)
}

/// Orders tags from old to new: versions by precedence and above everything else, the rest naturally.
#[must_use]
pub fn version_order(left: &str, right: &str) -> Ordering {
    match (version_of(left), version_of(right)) {
        (Some(one), Some(two)) => one
            .cmp_precedence(&two)
            .then_with(|| natural_order(left, right)),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => natural_order(left, right),
    }
}

/// A range of versions, as users of skopeo and regsync write them.
///
/// | form | meaning |
/// |---|---|
/// | `>=1.2 <2`, `>= 1.2, < 2` | all of them (a space or a comma is "and") |
/// | `^1.4 \|\| 2.x` | any of them |
/// | `=`, `!=`, `>`, `<`, `>=`, `<=`; nothing is `=` | comparisons |
/// | `^1.4` | not another first number that is not 0: `>=1.4 <2`; `^0.2.3` is `>=0.2.3 <0.3` |
/// | `~1.4.2` | `>=1.4.2 <1.5`; `~1` is `>=1 <2` |
/// | `1.x`, `1.2.*`, `1.2`, `*` | anything in place of the wildcards and of what is missing |
/// | `1.2 - 1.4.5` | `>=1.2 <=1.4.5` |
///
/// Pre-releases (`1.3.0-rc1`, and `3.19-alpine` is one too) are only in a range if one of its comparisons that belong together
/// names a pre-release: `>=1.2-0` has them, `>=1.2` has not.
///
/// # References
///
/// <https://github.com/Masterminds/semver#checking-version-constraints>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange {
    text: String,
    any: Vec<Vec<Comparison>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Comparison {
    operator: Operator,
    /// What is missing or a wildcard is 0 here.
    version: Version,
    /// How many numbers were written.
    given: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Tilde,
    Caret,
}

impl VersionRange {
    /// Tells whether a version is inside.
    #[must_use]
    pub fn contains(&self, version: &Version) -> bool {
        self.any.iter().any(|all| {
            let pre_releases = all.iter().any(|one| !one.version.pre.is_empty());
            (version.pre.is_empty() || pre_releases) && all.iter().all(|one| one.holds(version))
        })
    }

    /// Tells whether a tag is a version inside.
    #[must_use]
    pub fn contains_tag(&self, tag: &str) -> bool {
        version_of(tag).is_some_and(|version| self.contains(&version))
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Comparison {
    fn holds(&self, version: &Version) -> bool {
        let order = version.cmp_precedence(&self.version);
        let numbers = |version: &Version| [version.major, version.minor, version.patch];
        let (found, wanted) = (numbers(version), numbers(&self.version));
        // Whether it is the same as far as numbers were written.
        let within = found[..self.given] == wanted[..self.given];
        let whole = self.given == 3;
        match self.operator {
            Operator::Equal if whole => order.is_eq(),
            Operator::Equal => within && order.is_ge(),
            Operator::NotEqual if whole => order.is_ne(),
            Operator::NotEqual => !within,
            // More than 11 begins with 12, and up to 11 ends before it.
            Operator::Greater => order.is_gt() && (whole || !within),
            Operator::LessEqual => order.is_le() || (!whole && within),
            Operator::Less => order.is_lt(),
            Operator::GreaterEqual => order.is_ge(),
            Operator::Tilde => {
                order.is_ge() && found[..self.given.min(2)] == wanted[..self.given.min(2)]
            }
            Operator::Caret => {
                // The first number that is not 0 stays; if all are, the last one written does.
                let fixed = wanted[..self.given]
                    .iter()
                    .position(|number| *number != 0)
                    .map_or(self.given, |at| at + 1);
                order.is_ge() && found[..fixed] == wanted[..fixed]
            }
        }
    }
}

impl FromStr for VersionRange {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, SelectionError> {
        let wrong = |problem| SelectionError::Range {
            range: text.chars().take(RANGE_BYTES).collect(),
            problem,
        };
        if text.len() > RANGE_BYTES {
            return Err(wrong("it has more than 1024 bytes"));
        }
        let any = text
            .split("||")
            .map(group)
            .collect::<Result<Vec<_>, _>>()
            .map_err(wrong)?;
        Ok(Self {
            text: text.to_owned(),
            any,
        })
    }
}

/// Reads the comparisons that belong together.
fn group(text: &str) -> Result<Vec<Comparison>, &'static str> {
    let mut all: Vec<Comparison> = Vec::new();
    let mut rest = separators(text);
    while !rest.is_empty() {
        let upper = rest
            .strip_prefix('-')
            .filter(|after| after.starts_with(char::is_whitespace))
            .map(str::trim_start);
        if let (Some(after), Some(lower)) = (upper, all.last_mut()) {
            if lower.operator != Operator::Equal {
                return Err("a - stands between two versions");
            }
            lower.operator = Operator::GreaterEqual;
            let (version, given, end) = bound(after)?;
            all.push(Comparison {
                operator: Operator::LessEqual,
                version,
                given,
            });
            rest = separators(end);
            continue;
        }
        let (operator, after) = operator(rest)?;
        let (version, given, end) = bound(after.trim_start())?;
        all.push(Comparison {
            operator,
            version,
            given,
        });
        rest = separators(end);
    }
    if all.is_empty() {
        return Err("there is nothing to compare with");
    }
    Ok(all)
}

fn separators(text: &str) -> &str {
    text.trim_start_matches(|character: char| character.is_whitespace() || character == ',')
}

fn operator(text: &str) -> Result<(Operator, &str), &'static str> {
    let end = text
        .find(|character| !"=!<>~^".contains(character))
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let operator = match word {
        "" | "=" | "==" => Operator::Equal,
        "!=" => Operator::NotEqual,
        ">" => Operator::Greater,
        "<" => Operator::Less,
        ">=" | "=>" => Operator::GreaterEqual,
        "<=" | "=<" => Operator::LessEqual,
        "~" | "~>" => Operator::Tilde,
        "^" => Operator::Caret,
        _ => return Err("it has a comparison that does not exist"),
    };
    Ok((operator, rest))
}

/// Reads a version that may end early or in wildcards.
fn bound(text: &str) -> Result<(Version, usize, &str), &'static str> {
    let end = text
        .find(|character: char| character.is_whitespace() || ",<>=!~^".contains(character))
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let word = word.strip_prefix('v').unwrap_or(word);
    // What stands behind + does not matter to any comparison.
    let word = word.split_once('+').map_or(word, |(before, _)| before);
    let (numbers, pre) = word
        .split_once('-')
        .map_or((word, ""), |(numbers, pre)| (numbers, pre));
    let pre = Prerelease::new(pre).map_err(|_| "a pre-release in it is not valid")?;
    let (mut parts, mut given, mut wild) = ([0; 3], 0, false);
    for (at, number) in numbers.split('.').enumerate() {
        if at >= parts.len() {
            return Err("a version in it has more than three numbers");
        }
        if matches!(number, "x" | "X" | "*") {
            wild = true;
            continue;
        }
        parts[at] = digits(number).ok_or("a version in it is none")?;
        // `1.x.3` means `1.x`.
        if wild {
            parts[at] = 0;
        } else {
            given = at + 1;
        }
    }
    let [major, minor, patch] = parts;
    let version = Version {
        pre,
        ..Version::new(major, minor, patch)
    };
    Ok((version, given, rest))
}

#[cfg(test)]
mod tests;
