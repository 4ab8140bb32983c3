//! Rules against a plain reading of what they mean.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn listed(rules: Value) -> Vec<LinuxDeviceCgroup> {
    serde_json::from_value(rules).unwrap()
}

fn of(rules: Value) -> Result<Option<Rules>, CgroupError> {
    let resources: LinuxResources = serde_json::from_value(json!({ "devices": rules })).unwrap();
    Rules::of(&resources, false)
}

fn lines(rules: Value) -> Vec<String> {
    let writes = of(rules).unwrap().unwrap().v1().unwrap();
    let line = |write: &Write| format!("{} {}", write.file, write.value);
    writes.iter().map(line).collect()
}

/// For each kind of access the last rule that matches decides.
pub(in crate::cgroup) fn allowed(
    rules: &Rules,
    kind: Kind,
    major: u32,
    minor: u32,
    access: u8,
) -> bool {
    [MAKE, READ, WRITE]
        .into_iter()
        .filter(|bit| access & bit != 0)
        .all(|bit| {
            let matches = |rule: &&Rule| {
                rule.kind == kind
                    && rule.major.is_none_or(|number| number == major)
                    && rule.minor.is_none_or(|number| number == minor)
                    && rule.access & bit != 0
            };
            let last = rules.rules.iter().rev().find(matches);
            last.map_or(rules.otherwise, |rule| rule.allow)
        })
}

pub(in crate::cgroup) fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Block), Just(Kind::Char)]
}

/// Few numbers, so that rules meet.
pub(in crate::cgroup) fn any_rules() -> impl Strategy<Value = Rules> {
    let number = || proptest::option::of(0..3_u32);
    let rule = (any::<bool>(), any_kind(), number(), number(), 1..=7_u8);
    let rule = rule.prop_map(|(allow, kind, major, minor, access)| Rule {
        allow,
        kind,
        major,
        minor,
        access,
    });
    (any::<bool>(), proptest::collection::vec(rule, 0..10))
        .prop_map(|(otherwise, rules)| Rules { otherwise, rules })
}

/// What the kernel's v1 controller makes of the lines: a verdict for everything, and exceptions that are merged and taken away only
/// literally.
fn kernel_v1(writes: &[Write], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
    let (mut otherwise, mut exceptions) = (true, Vec::<Rule>::new());
    for write in writes {
        let allow = write.file == "devices.allow";
        if write.value == "a" {
            (otherwise, exceptions) = (allow, Vec::new());
            continue;
        }
        let mut words = write.value.split([' ', ':']);
        let mut word = || words.next().unwrap();
        let rule = Rule {
            kind: if word() == "b" {
                Kind::Block
            } else {
                Kind::Char
            },
            major: word().parse().ok(),
            minor: word().parse().ok(),
            access: word().bytes().fold(0, |bits, letter| {
                bits | match letter {
                    b'r' => READ,
                    b'w' => WRITE,
                    _ => MAKE,
                }
            }),
            allow,
        };
        let known = exceptions.iter_mut().find(|one| one.same_devices(&rule));
        match (known, allow == otherwise) {
            (Some(known), true) => known.access &= !rule.access,
            (Some(known), false) => known.access |= rule.access,
            (None, true) => {}
            (None, false) => exceptions.push(rule),
        }
    }
    let about = |rule: &&Rule| {
        rule.kind == kind
            && rule.major.is_none_or(|number| number == major)
            && rule.minor.is_none_or(|number| number == minor)
    };
    let mut about = exceptions.iter().filter(about);
    if otherwise {
        // A use is denied if any of its accesses is an exception.
        !about.any(|rule| rule.access & access != 0)
    } else {
        // One exception must allow all of it; the kernel does not add them up.
        about.any(|rule| access & !rule.access == 0)
    }
}

#[test]
fn what_every_container_may_use_comes_last() {
    let denied = lines(json!([{"allow": false, "access": "rwm"}]));
    assert_eq!(denied[0], "devices.deny a");
    assert_eq!(denied[1], "devices.allow c *:* m");
    assert_eq!(denied.len(), 11);
    let rules = lines(json!([
        {"allow": true, "type": "c", "major": 7, "minor": 7},
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"},
        {"allow": true, "type": "b", "major": 8, "access": "r"},
        {"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rwm"},
    ]));
    assert_eq!(
        rules[..4],
        [
            "devices.deny a",
            "devices.allow b 8:* r",
            "devices.allow c 10:200 rwm",
            "devices.allow c *:* m"
        ],
        "what is void or covered by a later rule is left out"
    );
}

#[test]
fn rules_that_allow_everything_are_none() {
    for rules in [
        json!([]),
        json!([{"allow": true, "access": "rwm"}]),
        json!([{"allow": false}, {"allow": true, "type": "a"}]),
    ] {
        assert_eq!(of(rules.clone()).unwrap(), None, "{rules}");
    }
    let alone = of(json!([{"allow": true, "type": "c", "major": 10, "minor": 200}])).unwrap();
    assert!(
        !alone.unwrap().otherwise,
        "a list without a verdict for the rest denies the rest"
    );
}

#[test]
fn what_v1_cannot_say_is_refused() {
    let rules = json!([
        {"allow": false},
        {"allow": true, "type": "b", "access": "rw"},
        {"allow": false, "type": "b", "major": 8, "access": "w"},
    ]);
    let error = of(rules).unwrap().unwrap().v1().unwrap_err();
    assert!(error.to_string().contains("deny b 8:* w"), "{error}");
    let literally = lines(json!([
        {"allow": false},
        {"allow": true, "type": "b", "major": 8, "access": "rw"},
        {"allow": false, "type": "b", "major": 8, "access": "w"},
        {"allow": false, "type": "b", "major": 9},
    ]));
    assert_eq!(
        literally[1..3],
        ["devices.allow b 8:* rw", "devices.deny b 8:* w"]
    );
    assert!(!literally.iter().any(|line| line.contains("9:*")));
}

#[test]
fn malformed_rules_are_named() {
    for (rule, reason) in [
        (json!({"allow": true, "type": "p"}), "FIFO"),
        (json!({"allow": true, "type": "c", "access": "x"}), "access"),
        (
            json!({"allow": true, "type": "c", "major": 1_i64 << 32}),
            "number",
        ),
    ] {
        let error = Rules::parse(&listed(json!([rule]))).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

proptest! {
    #[test]
    fn reducing_changes_no_verdict(rules in any_rules(), kind in any_kind(), major in 0..4_u32, minor in 0..4_u32, access in 1..=7_u8) {
        let reduced = rules.clone().reduced();
        prop_assert!(reduced.rules.len() <= rules.rules.len());
        prop_assert_eq!(
            allowed(&reduced, kind, major, minor, access),
            allowed(&rules, kind, major, minor, access),
            "{}", rules
        );
    }

    /// One access at a time: the kernel does not add up what several exceptions allow.
    #[test]
    fn what_is_written_for_v1_means_the_same(rules in any_rules(), kind in any_kind(), major in 0..4_u32, minor in 0..4_u32, access in 0..3_u32) {
        let access = 1 << access;
        if let Ok(writes) = rules.v1() {
            prop_assert_eq!(
                kernel_v1(&writes, kind, major, minor, access),
                allowed(&rules, kind, major, minor, access),
                "{}", rules
            );
        }
    }
}
