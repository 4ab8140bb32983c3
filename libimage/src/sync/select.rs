//! Which of a repository's tags are meant.

use std::collections::BTreeSet;

use super::{Pattern, VersionRange, version_order};
use crate::digest::Digest;

/// What an image of a repository is asked for by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A tag.
    Tag(String),
    /// A digest.
    Digest(Digest),
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => write!(f, "{digest}"),
        }
    }
}

/// What makes one tag newer than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Age {
    /// The version the tag says; tags that are no versions come after (are older than) all that are, in natural order.
    #[default]
    Version,
    /// The creation date in the image's configuration. Every candidate's manifest and configuration have to be fetched for it: two
    /// requests a tag, three for an index.
    Created,
}

/// Only the newest of the tags found by listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// How many.
    pub count: usize,
    /// What makes one tag newer than another.
    pub age: Age,
}

/// Which images of a repository are meant. The default is all tags.
///
/// They are found in this order:
///
/// 1. [`Selection::tags`] and [`Selection::digests`] are taken as they are; if nothing else is asked for, no list is fetched.
/// 2. If a regular expression, a range, an allow list or [`Selection::newest`] is given, or nothing at all, the repository's tags
///    are listed; of these stay those that match the regular expression *and* the range *and* any entry of the allow list (each if
///    given).
/// 3. What matches any entry of the deny list goes; explicit tags too, digests not.
/// 4. Of the listed tags that are left, only the newest stay, if a number is given. Explicit tags are not counted, and stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// These tags.
    pub tags: Vec<String>,
    /// These digests.
    pub digests: Vec<Digest>,
    /// Of the listed tags, those this matches (anywhere, unless it is anchored).
    pub regex: Option<Pattern>,
    /// Of the listed tags, those that are versions in this range.
    pub range: Option<VersionRange>,
    /// Of the listed tags, those any of these matches.
    pub allow: Vec<Pattern>,
    /// No tag that any of these matches.
    pub deny: Vec<Pattern>,
    /// Of the listed tags, only the newest.
    pub newest: Option<Newest>,
}

impl Selection {
    /// Selects one image.
    #[must_use]
    pub fn only(reference: Reference) -> Self {
        let mut selection = Self::default();
        match reference {
            Reference::Tag(tag) => selection.tags.push(tag),
            Reference::Digest(digest) => selection.digests.push(digest),
        }
        selection
    }

    /// Tells whether the repository's tags have to be listed.
    #[must_use]
    pub fn needs_list(&self) -> bool {
        let filtered = self.regex.is_some()
            || self.range.is_some()
            || !self.allow.is_empty()
            || self.newest.is_some();
        filtered || (self.tags.is_empty() && self.digests.is_empty())
    }

    /// Returns what was asked for by name: it needs no list.
    #[must_use]
    pub fn named(&self) -> Vec<Reference> {
        let tags = self.tags.iter().filter(|tag| !self.denies(tag));
        let tags = tags.cloned().map(Reference::Tag);
        let digests = self.digests.iter().cloned().map(Reference::Digest);
        let mut seen = BTreeSet::new();
        tags.chain(digests)
            .filter(|reference| seen.insert(reference.clone()))
            .collect()
    }

    /// Returns the tags of a list that are meant, in the list's order and before only the newest are taken.
    #[must_use]
    pub fn candidates(&self, listed: &[String]) -> Vec<String> {
        let mut seen: BTreeSet<&str> = self.tags.iter().map(String::as_str).collect();
        listed
            .iter()
            .filter(|tag| self.allows(tag) && !self.denies(tag))
            .filter(|tag| seen.insert(tag.as_str()))
            .cloned()
            .collect()
    }

    /// Returns everything that is meant, given the list of tags (which may be empty if none is needed). The newest are found by
    /// their versions; by date somebody has to ask first, and then use [`Selection::candidates`].
    #[must_use]
    pub fn apply(&self, listed: &[String]) -> Vec<Reference> {
        let mut meant = self.named();
        if self.needs_list() {
            let mut candidates = self.candidates(listed);
            if let Some(newest) = self.newest {
                candidates = newest_of(candidates, newest.count, |left, right| {
                    version_order(left, right)
                });
            }
            meant.extend(candidates.into_iter().map(Reference::Tag));
        }
        meant
    }

    fn allows(&self, tag: &str) -> bool {
        self.regex.as_ref().is_none_or(|regex| regex.matches(tag))
            && self
                .range
                .as_ref()
                .is_none_or(|range| range.contains_tag(tag))
            && (self.allow.is_empty() || self.allow.iter().any(|pattern| pattern.matches(tag)))
    }

    fn denies(&self, tag: &str) -> bool {
        self.deny.iter().any(|pattern| pattern.matches(tag))
    }
}

/// Keeps the last ones in the order given, newest first.
pub(super) fn newest_of<T>(
    mut items: Vec<T>,
    count: usize,
    order: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> Vec<T> {
    items.sort_by(|left, right| order(right, left));
    items.truncate(count);
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [&str; 9] = [
        "1.0",
        "1.1",
        "1.2-rc1",
        "1.2",
        "2.0",
        "latest",
        "edge",
        "v1.10",
        "nightly-1",
    ];

    fn listed() -> Vec<String> {
        LIST.map(str::to_owned).to_vec()
    }

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[track_caller]
    fn assert_meant(selection: &Selection, expected: &str) {
        let meant: Vec<String> = selection
            .apply(&listed())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(meant.join(" "), expected);
    }

    fn newest(count: usize) -> Option<Newest> {
        Some(Newest {
            count,
            age: Age::Version,
        })
    }

    #[test]
    fn parts_are_combined_in_the_documented_order() {
        let all = Selection::default();
        assert!(all.needs_list());
        assert_meant(&all, &LIST.join(" "));

        let named = Selection {
            tags: vec!["b".into(), "a".into(), "b".into()],
            ..Selection::default()
        };
        assert!(!named.needs_list());
        assert_meant(&named, "b a");

        let regex = Selection {
            regex: Some(Pattern::regex("^1").unwrap()),
            ..Selection::default()
        };
        assert_meant(&regex, "1.0 1.1 1.2-rc1 1.2");
        assert_meant(
            &Selection {
                regex: Some(Pattern::regex("1").unwrap()),
                deny: vec![pattern("*-rc*"), pattern("/^night/")],
                ..Selection::default()
            },
            "1.0 1.1 1.2 v1.10",
        );
        let range = Selection {
            range: Some("^1.1".parse().unwrap()),
            ..Selection::default()
        };
        assert_meant(&range, "1.1 1.2 v1.10");
        assert_meant(
            &Selection {
                newest: newest(2),
                ..range.clone()
            },
            "v1.10 1.2",
        );
        assert_meant(
            &Selection {
                tags: vec!["1.0".into(), "v1.10".into()],
                newest: newest(1),
                ..range
            },
            "1.0 v1.10 1.2",
        );
        assert_meant(
            &Selection {
                allow: vec![pattern("l*"), pattern("edge")],
                deny: vec![pattern("latest")],
                tags: vec!["latest".into(), "1.0".into()],
                ..Selection::default()
            },
            "1.0 edge",
        );
        let digest = Digest::of(b"x");
        assert_meant(
            &Selection {
                deny: vec![pattern("*")],
                ..Selection::only(Reference::Digest(digest.clone()))
            },
            digest.as_str(),
        );
        assert_meant(
            &Selection {
                newest: newest(3),
                ..Selection::default()
            },
            "2.0 v1.10 1.2",
        );
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_asked_for(
            listed in proptest::collection::vec("v?[0-3](\\.[0-3]){0,2}(-rc[0-2])?|[a-c]{1,3}", 0..20),
            tags in proptest::collection::vec("[a-c]{1,3}", 0..3),
            deny in proptest::collection::vec("[a-c1-2]\\*|\\*-rc\\*", 0..3),
            allow in proptest::collection::vec("[a-cv1-2]\\*", 0..3),
            range in proptest::option::of("\\^[0-3]|>=[0-3]"),
            count in proptest::option::of(0usize..5),
        ) {
            let selection = Selection {
                tags: tags.clone(),
                deny: deny.iter().map(|text| pattern(text)).collect(),
                allow: allow.iter().map(|text| pattern(text)).collect(),
                range: range.map(|text| text.parse().unwrap()),
                newest: count.and_then(newest),
                ..Selection::default()
            };
            let meant = selection.apply(&listed);
            let unique: BTreeSet<_> = meant.iter().collect();
            proptest::prop_assert_eq!(unique.len(), meant.len(), "nothing twice");
            let mut from_list = 0;
            for reference in &meant {
                let Reference::Tag(tag) = reference else { panic!("no digest was asked for") };
                proptest::prop_assert!(!selection.denies(tag));
                if !tags.contains(tag) {
                    from_list += 1;
                    proptest::prop_assert!(listed.contains(tag) && selection.allows(tag));
                }
            }
            if let Some(count) = count {
                proptest::prop_assert!(from_list <= count);
            }
            for tag in tags.iter().filter(|tag| !selection.denies(tag)) {
                proptest::prop_assert!(meant.contains(&Reference::Tag(tag.clone())));
            }
            // What was left out of a full choice is denied, not allowed, or older than everything chosen.
            if selection.needs_list() {
                for tag in listed.iter().filter(|tag| !meant.contains(&Reference::Tag((*tag).clone()))) {
                    let older = count.is_some() && meant.iter().all(|other| match other {
                        Reference::Tag(other) => tags.contains(other) || version_order(tag, other).is_lt(),
                        Reference::Digest(_) => false,
                    });
                    proptest::prop_assert!(!selection.allows(tag) || selection.denies(tag) || older);
                }
            }
        }
    }
}
