//! Shell patterns for one component of a path, with the rules of Go's `filepath.Match`: `*`, `?`, `[a-z]`, `[^a-z]`, and `\`
//! before a character that means itself.

/// Tells whether a component holds any character that makes it a pattern.
pub(crate) fn is_pattern(component: &[u8]) -> bool {
    component.iter().any(|byte| b"*?[\\".contains(byte))
}

/// Tells whether `name` matches `pattern`; `None` if the pattern is malformed.
///
/// Works on bytes, so `?` is one byte of a name, as the file system sees it.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> Option<bool> {
    check(pattern)?;
    let (mut p, mut n) = (0, 0);
    // Where to go on after the last star if what follows it does not match here: one byte further.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(_) => name.get(n).and_then(|byte| single(&pattern[p..], *byte)),
            None if n == name.len() => return Some(true),
            None => None,
        };
        match (step, retry) {
            (Some(used), _) => (p, n) = (p + used, n + 1),
            (None, Some((after_star, at))) if at < name.len() => {
                retry = Some((after_star, at + 1));
                (p, n) = (after_star, at + 1);
            }
            (None, _) => return Some(false),
        }
    }
}

/// Matches one byte against the start of a well-formed pattern, and returns how many bytes of the pattern that took.
fn single(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern[0] {
        b'?' => Some(1),
        b'\\' => (pattern[1] == byte).then_some(2),
        b'[' => {
            let (negated, ranges, length) = class(pattern)?;
            (ranges
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&byte))
                != negated)
                .then_some(length)
        }
        other => (other == byte).then_some(1),
    }
}

/// The ranges of a class: whether it is negated, the ranges, its length in bytes.
type Class = (bool, Vec<(u8, u8)>, usize);

/// Reads a class from its `[` to its `]`.
fn class(pattern: &[u8]) -> Option<Class> {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut ranges = Vec::new();
    while ranges.is_empty() || *pattern.get(at)? != b']' {
        let low = literal(pattern, &mut at)?;
        let mut high = low;
        if pattern.get(at) == Some(&b'-') {
            at += 1;
            high = literal(pattern, &mut at)?;
        }
        ranges.push((low, high));
    }
    Some((negated, ranges, at + 1))
}

/// Reads one possibly escaped character inside a class.
fn literal(pattern: &[u8], at: &mut usize) -> Option<u8> {
    if b"-]".contains(pattern.get(*at)?) {
        return None;
    }
    if pattern[*at] == b'\\' {
        *at += 1;
    }
    let byte = *pattern.get(*at)?;
    *at += 1;
    Some(byte)
}

/// Reads the whole pattern once, so that a malformed one is told whatever the name.
fn check(pattern: &[u8]) -> Option<()> {
    let mut at = 0;
    while at < pattern.len() {
        at += match pattern[at] {
            b'\\' => pattern.get(at + 1).map(|_| 2)?,
            b'[' => class(&pattern[at..])?.2,
            _ => 1,
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_as_in_go() {
        // From the table of Go's path/filepath tests, without separators.
        let table: &[(&str, &str, Option<bool>)] = &[
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "a", Some(true)),
            ("a*", "abc", Some(true)),
            ("a*b*c*d*e*", "axbxcxdxe", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
            ("ab[c]", "abc", Some(true)),
            ("ab[b-d]", "abc", Some(true)),
            ("ab[e-g]", "abc", Some(false)),
            ("ab[^c]", "abc", Some(false)),
            ("ab[^e-g]", "abc", Some(true)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "ab", Some(false)),
            ("[\\]a]", "]", Some(true)),
            ("[\\-]", "-", Some(true)),
            ("[x\\-]", "x", Some(true)),
            ("[x\\-]", "z", Some(false)),
            ("[\\-x]", "x", Some(true)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[x-]", "x", None),
            ("[-x]", "x", None),
            ("\\", "a", None),
            ("[a-b-c]", "a", None),
            ("[", "a", None),
            ("[^", "a", None),
            ("[^bc", "a", None),
            ("a[", "a", None),
            ("a[", "ab", None),
            ("*x", "xxx", Some(true)),
            ("", "", Some(true)),
            ("", "a", Some(false)),
            ("?", "", Some(false)),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                *expected,
                "{pattern} {name}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in "[a-c*?\\\\\\[\\]^-]{0,8}", name in "[a-c-]{0,8}") {
            let _matched = matches(pattern.as_bytes(), name.as_bytes());
        }

        #[test]
        fn an_escaped_name_matches_itself(name in "[a-c*?\\\\\\[\\]^-]{0,8}") {
            let escaped: Vec<u8> = name.bytes().flat_map(|byte| [b'\\', byte]).collect();
            prop_assert_eq!(matches(&escaped, name.as_bytes()), Some(true));
        }
    }
}
