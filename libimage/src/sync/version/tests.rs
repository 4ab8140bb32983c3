//! Ranges as the field's tools understand them.

use super::*;

fn range(text: &str) -> VersionRange {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn tags_are_versions_or_not() {
    for (tag, version) in [
        ("1.2.3", Some("1.2.3")),
        ("v1.2.3", Some("1.2.3")),
        ("1", Some("1.0.0")),
        ("1.2", Some("1.2.0")),
        ("20.04", Some("20.4.0")),
        ("20240131", Some("20240131.0.0")),
        ("1.2.3-rc.1", Some("1.2.3-rc.1")),
        ("3.19-alpine", Some("3.19.0-alpine")),
        ("latest", None),
        ("1.2.3.4", None),
        ("1.x", None),
        ("", None),
        ("v", None),
        ("1.", None),
        ("-rc", None),
        ("1-", None),
        ("1.0-rc_1", None),
        ("1.0-01", None),
        ("99999999999999999999", None),
    ] {
        assert_eq!(
            version_of(tag)
                .map(|version| version.to_string())
                .as_deref(),
            version,
            "{tag}"
        );
    }
}

#[test]
fn ranges() {
    for (text, inside, outside) in [
        (
            ">=1.2 <2",
            "1.2 1.2.0 1.99.1 v1.5",
            "1.1.9 2 2.0.0 1.5.0-rc1 latest",
        ),
        (">= 1.2, < 2", "1.2 1.99", "2.0"),
        (">=1.2 <=2", "1.2 2.0 2.9.9", "3.0"),
        ("^1.4", "1.4 1.4.7 1.99", "1.3.9 2.0"),
        ("^0.2.3", "0.2.3 0.2.9", "0.2.2 0.3.0 1.0"),
        ("^0.2", "0.2.0 0.2.9", "0.1 0.3"),
        ("^0.0.3", "0.0.3", "0.0.4 0.0.2"),
        ("^0.0", "0.0.0 0.0.9", "0.1.0"),
        ("^0", "0.0.1 0.9", "1.0"),
        ("^1.x", "1.0 1.9", "2.0 0.9"),
        ("~1.4.2", "1.4.2 1.4.9", "1.4.1 1.5"),
        ("~1.4", "1.4.0 1.4.9", "1.5 1.3"),
        ("~1", "1.0 1.9", "2.0"),
        ("~1.x", "1.0 1.9", "2.0"),
        ("1.x", "1.0 1.9.9 v1", "2.0 0.9"),
        ("1.2.x", "1.2.0 1.2.9", "1.3"),
        ("1.2", "1.2.0 1.2.9", "1.3 1.1"),
        ("1.2.3", "1.2.3 v1.2.3", "1.2.4"),
        ("=1.2.3", "1.2.3", "1.2.4"),
        ("*", "0.0.0 99", "1.0-rc1 latest"),
        ("!=1.2.3", "1.2.4 1", "1.2.3"),
        ("!=1.2", "1.3 1.1", "1.2.0 1.2.9"),
        (">11", "12 11.0.0-x 12.1", "11 11.1"),
        (">11.1", "11.2 12", "11.1 11.1.5"),
        ("<=2.x", "2.9 1.0", "3.0"),
        ("<2", "1.9.9", "2.0 2.0.0-rc1"),
        ("1.2 - 1.4.5", "1.2.0 1.4.5", "1.4.6 1.1"),
        ("2.3.4 - 4.5", "2.3.4 4.5.9", "4.6"),
        ("^1.4 || 3.x", "1.5 3.1", "2.0 4.0"),
        (
            ">=1.2.3-0",
            "1.2.3 1.2.3-rc1 1.3.0-beta 2",
            "1.2.2 1.2.2-rc1",
        ),
        (">=1.2.3-0, <2", "1.5.0-beta 1.5", "2.0"),
        (">=1.2.3-beta", "1.2.3-beta 1.2.3-gamma", "1.2.3-alpha"),
        ("~1.2.3-beta", "1.2.3-beta 1.2.9 1.2.4-x", "1.3 1.2.3-alpha"),
        ("1.2.3-rc1", "1.2.3-rc1", "1.2.3"),
        (">= v0.22.0", "0.22.0 v1.0", "0.21"),
        (">=1.0+build", "1.0", "0.9"),
    ] {
        let range = range(text);
        for tag in inside
            .split(' ')
            .filter(|tag| !tag.ends_with("-x") || text.contains('-'))
        {
            assert!(range.contains_tag(tag), "{text} has {tag}");
        }
        for tag in outside.split(' ') {
            assert!(!range.contains_tag(tag), "{text} has not {tag}");
        }
    }
}

#[test]
fn what_is_no_range_says_so() {
    for text in [
        "", "  ", ">=", "latest", "1.2.3.4", ">>1", "1 ||", "^1 - 2", "1.2.3-01", "1..2", "<>1",
        "1.2 -",
    ] {
        let Err(SelectionError::Range { range, .. }) = text.parse::<VersionRange>() else {
            panic!("{text:?} is a range")
        };
        assert_eq!(range, text);
    }
}

#[test]
fn orders() {
    let mut tags = [
        "v1.10.0",
        "1.2",
        "latest",
        "1.2.0-rc1",
        "build9",
        "v1.9.3",
        "build10",
        "edge",
    ];
    tags.sort_by(|left, right| version_order(left, right));
    assert_eq!(
        tags,
        [
            "build9",
            "build10",
            "edge",
            "latest",
            "1.2.0-rc1",
            "1.2",
            "v1.9.3",
            "v1.10.0"
        ]
    );
    let mut tags = ["a10", "a9", "a09", "a", "b1", "a9b"];
    tags.sort_by(|left, right| natural_order(left, right));
    assert_eq!(tags, ["a", "a09", "a9", "a9b", "a10", "b1"]);
}

proptest::proptest! {
    #[test]
    fn caret_and_tilde_are_what_the_table_says(major in 0u64..3, minor in 0u64..3, patch in 0u64..3, v in proptest::array::uniform3(0u64..4)) {
        let version = Version::new(v[0], v[1], v[2]);
        let low = Version::new(major, minor, patch);
        let high = match (major, minor) {
            (0, 0) => Version::new(0, 0, patch + 1),
            (0, minor) => Version::new(0, minor + 1, 0),
            (major, _) => Version::new(major + 1, 0, 0),
        };
        let caret = range(&format!("^{low}"));
        proptest::prop_assert_eq!(caret.contains(&version), version >= low && version < high);
        let tilde = range(&format!("~{low}"));
        proptest::prop_assert_eq!(tilde.contains(&version), version >= low && version < Version::new(major, minor + 1, 0));
    }

    #[test]
    fn comparisons_are_the_order_of_versions(a in proptest::array::uniform3(0u64..3), b in proptest::array::uniform3(0u64..3)) {
        let (version, bound) = (Version::new(a[0], a[1], a[2]), Version::new(b[0], b[1], b[2]));
        for (operator, expected) in [
            (">", version > bound), ("<", version < bound), (">=", version >= bound), ("<=", version <= bound),
            ("=", version == bound), ("!=", version != bound), ("", version == bound),
        ] {
            proptest::prop_assert_eq!(range(&format!("{operator}{bound}")).contains(&version), expected);
        }
    }

    #[test]
    fn natural_order_is_an_order(a in "[a0-9.]{0,6}", b in "[a0-9.]{0,6}", c in "[a0-9.]{0,6}") {
        for order in [natural_order, version_order] {
            proptest::prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
            proptest::prop_assert_eq!(order(&a, &b).is_eq(), a == b);
            if order(&a, &b).is_le() && order(&b, &c).is_le() {
                proptest::prop_assert!(order(&a, &c).is_le());
            }
        }
    }

    #[test]
    fn no_text_makes_a_range_panic(text in "[0-9.x*^~<>=!|, v-]{0,30}", tag in "[0-9.v-]{0,12}") {
        if let Ok(range) = text.parse::<VersionRange>() {
            proptest::prop_assert!(!range.contains_tag(&tag) || version_of(&tag).is_some());
        }
    }
}
