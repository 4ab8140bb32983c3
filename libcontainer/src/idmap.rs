//! User and group id mappings, and the sub-id ranges of `/etc/subuid` and `/etc/subgid`. Pure.

use std::fmt;

use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder};
use thiserror::Error;

/// A user may own many ranges, but the kernel accepts at most 340 lines in one `uid_map`.
const MAX_LINES: usize = 340;

/// One line of `/proc/<pid>/uid_map` or `gid_map`: `size` ids from `container` inside are those from `host` outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdMap {
    /// First id inside the user namespace.
    pub container: u32,
    /// First id outside it.
    pub host: u32,
    /// How many ids follow each other.
    pub size: u32,
}

impl From<&LinuxIdMapping> for IdMap {
    fn from(map: &LinuxIdMapping) -> Self {
        Self {
            container: map.container_id(),
            host: map.host_id(),
            size: map.size(),
        }
    }
}

impl From<&IdMap> for LinuxIdMapping {
    fn from(map: &IdMap) -> Self {
        LinuxIdMappingBuilder::default()
            .container_id(map.container)
            .host_id(map.host)
            .size(map.size)
            .build()
            .expect("all fields are set")
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.container, self.host, self.size)
    }
}

/// The mappings of a user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// Users.
    pub uid: Vec<IdMap>,
    /// Groups.
    pub gid: Vec<IdMap>,
}

/// One line of `/etc/subuid`: `count` ids from `start` belong to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubidRange {
    /// First id of the range, as the host sees it.
    pub start: u32,
    /// Ids in the range.
    pub count: u32,
}

/// Why a mapping cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdMapError {
    /// Nothing is mapped.
    #[error("the mapping is empty")]
    Empty,
    /// A line maps no id.
    #[error("mapping {0} has size 0")]
    Zero(IdMap),
    /// A line runs past the last id.
    #[error("mapping {0} runs past the last id, 4294967295")]
    Overflow(IdMap),
    /// Two lines claim the same ids.
    #[error("mappings {0} and {1} overlap {2}")]
    Overlap(IdMap, IdMap, &'static str),
    /// More lines than the kernel takes.
    #[error("{0} mappings, the kernel accepts 340")]
    TooMany(usize),
}

/// The ranges that `/etc/subuid` or `/etc/subgid` gives to the user, by name or by numeric id, in the order of the file.
///
/// A line that cannot be read is skipped, as newuidmap does: the file belongs to the host, and one bad line of one user must not
/// lock out the others.
pub fn parse_subids(text: &str, user: Option<&str>, id: u32) -> Vec<SubidRange> {
    text.lines()
        .filter_map(|line| parse_line(line.trim(), user, id))
        .collect()
}

fn parse_line(line: &str, user: Option<&str>, id: u32) -> Option<SubidRange> {
    let mut fields = line.split(':');
    let (owner, start, count) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() || owner.is_empty() {
        return None;
    }
    let ours = user == Some(owner) || owner.parse() == Ok(id);
    let range = SubidRange {
        start: start.parse().ok()?,
        count: count.parse().ok()?,
    };
    let fits = range.count > 0 && range.start.checked_add(range.count - 1).is_some();
    (ours && fits).then_some(range)
}

/// Maps 0 to `id`, and 1 and up to the ranges, one after the other.
///
/// A range that would run past the last id is cut; a range that holds `id` itself loses nothing, but the id is mapped once only.
pub fn map_user(id: u32, ranges: &[SubidRange]) -> Vec<IdMap> {
    let mut maps = vec![IdMap {
        container: 0,
        host: id,
        size: 1,
    }];
    let mut next: u32 = 1;
    for piece in ranges.iter().flat_map(|range| without(*range, id)) {
        let overlaps = maps
            .iter()
            .any(|map| meets(map.host, map.size, piece.start, piece.count));
        let room = (u32::MAX - next).min(piece.count);
        if overlaps || room == 0 || maps.len() == MAX_LINES {
            continue;
        }
        maps.push(IdMap {
            container: next,
            host: piece.start,
            size: room,
        });
        next += room;
    }
    maps
}

/// The parts of `range` on both sides of `id`.
fn without(range: SubidRange, id: u32) -> Vec<SubidRange> {
    if !meets(range.start, range.count, id, 1) {
        return vec![range];
    }
    let below = SubidRange {
        start: range.start,
        count: id - range.start,
    };
    let above = SubidRange {
        start: id.wrapping_add(1),
        count: range.count - below.count - 1,
    };
    [below, above]
        .into_iter()
        .filter(|part| part.count > 0)
        .collect()
}

fn meets(start: u32, size: u32, other: u32, other_size: u32) -> bool {
    u64::from(start) < u64::from(other) + u64::from(other_size)
        && u64::from(other) < u64::from(start) + u64::from(size)
}

/// Checks what the kernel would refuse with a bare EINVAL.
///
/// # Errors
/// An empty mapping, a line of size 0, ids past the last one, overlaps on either side, more than 340 lines.
pub fn validate(maps: &[IdMap]) -> Result<(), IdMapError> {
    if maps.is_empty() {
        return Err(IdMapError::Empty);
    }
    if maps.len() > MAX_LINES {
        return Err(IdMapError::TooMany(maps.len()));
    }
    for (index, map) in maps.iter().enumerate() {
        if map.size == 0 {
            return Err(IdMapError::Zero(*map));
        }
        let last = map.size - 1;
        if map.container.checked_add(last).is_none() || map.host.checked_add(last).is_none() {
            return Err(IdMapError::Overflow(*map));
        }
        for other in &maps[..index] {
            if meets(map.container, map.size, other.container, other.size) {
                return Err(IdMapError::Overlap(*other, *map, "inside the namespace"));
            }
            if meets(map.host, map.size, other.host, other.size) {
                return Err(IdMapError::Overlap(*other, *map, "outside the namespace"));
            }
        }
    }
    Ok(())
}

/// Reads the text of `/proc/<pid>/uid_map`; lines that are none are skipped.
pub fn parse_map(text: &str) -> Vec<IdMap> {
    text.lines()
        .filter_map(|line| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse);
            let mut next = || numbers.next()?.ok();
            Some(IdMap {
                container: next()?,
                host: next()?,
                size: next()?,
            })
        })
        .collect()
}

/// The text to write into `uid_map`: one line a mapping.
pub fn map_text(maps: &[IdMap]) -> String {
    maps.iter().map(|map| format!("{map}\n")).collect()
}

/// Whether the id exists inside the namespace.
pub fn is_mapped(maps: &[IdMap], id: u32) -> bool {
    maps.iter().any(|map| meets(map.container, map.size, id, 1))
}

/// What an id of the container is on the host.
pub(crate) fn on_host(maps: &[IdMap], id: u32) -> Option<u32> {
    maps.iter().find_map(|map| {
        let offset = id.checked_sub(map.container)?;
        (offset < map.size).then(|| map.host.checked_add(offset))?
    })
}

impl IdMaps {
    /// Only 0, mapped to the caller: what anybody may do without sub-ids.
    pub fn single(uid: u32, gid: u32) -> Self {
        Self {
            uid: vec![IdMap {
                container: 0,
                host: uid,
                size: 1,
            }],
            gid: vec![IdMap {
                container: 0,
                host: gid,
                size: 1,
            }],
        }
    }

    /// Whether nothing but one id of each kind is mapped.
    pub fn is_single(&self) -> bool {
        [&self.uid, &self.gid]
            .iter()
            .all(|maps| matches!(maps.as_slice(), [one] if one.size == 1))
    }

    /// [`validate`] for both kinds.
    ///
    /// # Errors
    /// As [`validate`].
    pub fn validate(&self) -> Result<(), IdMapError> {
        validate(&self.uid)?;
        validate(&self.gid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(container: u32, host: u32, size: u32) -> IdMap {
        IdMap {
            container,
            host,
            size,
        }
    }

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text =
            "# comment\nroot:1:2\nann:100000:65536\n1000:300000:10\nann:400000:5\nbob:500000:1\n";
        let starts = |user, id| {
            parse_subids(text, user, id)
                .iter()
                .map(|range| range.start)
                .collect::<Vec<_>>()
        };
        assert_eq!(starts(Some("ann"), 1000), [100_000, 300_000, 400_000]);
        assert_eq!(starts(None, 1000), [300_000]);
        assert_eq!(starts(Some("bob"), 7), [500_000]);
        assert_eq!(starts(Some("eve"), 7), [0; 0]);
    }

    #[test]
    fn bad_lines_are_skipped() {
        for line in [
            "ann",
            "ann:1",
            "ann:1:",
            "ann:x:1",
            "ann:1:x",
            "ann:1:0",
            "ann:-1:5",
            "ann:1:2:3",
            "ann:4294967295:2",
            ":1:2",
            "ann:99999999999:1",
        ] {
            assert_eq!(parse_subids(line, Some("ann"), 1), [], "{line}");
        }
        assert_eq!(parse_subids("ann:4294967295:1", Some("ann"), 1).len(), 1);
    }

    #[test]
    fn the_user_becomes_root_and_the_ranges_follow() {
        let ranges = [
            SubidRange {
                start: 100_000,
                count: 65_536,
            },
            SubidRange {
                start: 400_000,
                count: 5,
            },
        ];
        assert_eq!(
            map_user(1000, &ranges),
            [
                map(0, 1000, 1),
                map(1, 100_000, 65_536),
                map(65_537, 400_000, 5)
            ]
        );
        assert_eq!(map_user(1000, &[]), [map(0, 1000, 1)]);
        let around = [SubidRange {
            start: 998,
            count: 5,
        }];
        assert_eq!(
            map_user(1000, &around),
            [map(0, 1000, 1), map(1, 998, 2), map(3, 1001, 2)]
        );
    }

    #[test]
    fn what_the_kernel_refuses_is_refused_with_a_reason() {
        assert_eq!(validate(&[]), Err(IdMapError::Empty));
        assert_eq!(
            validate(&[map(0, 0, 0)]),
            Err(IdMapError::Zero(map(0, 0, 0)))
        );
        assert_eq!(validate(&[map(1, 0, u32::MAX)]), Ok(()));
        assert!(matches!(
            validate(&[map(2, 0, u32::MAX)]),
            Err(IdMapError::Overflow(_))
        ));
        assert!(matches!(
            validate(&[map(0, 0, 2), map(1, 9, 1)]),
            Err(IdMapError::Overlap(_, _, "inside the namespace"))
        ));
        assert!(matches!(
            validate(&[map(0, 0, 2), map(2, 1, 1)]),
            Err(IdMapError::Overlap(_, _, "outside the namespace"))
        ));
        let many: Vec<_> = (0..341).map(|n| map(n, n, 1)).collect();
        assert_eq!(validate(&many), Err(IdMapError::TooMany(341)));
        assert_eq!(validate(&many[..340]), Ok(()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn every_mapping_made_is_valid(id: u32, ranges in proptest::collection::vec((any::<u32>(), 1_u32..), 0..12)) {
            let ranges: Vec<_> = ranges.into_iter()
                .filter(|(start, count)| start.checked_add(count - 1).is_some())
                .map(|(start, count)| SubidRange { start, count }).collect();
            let maps = map_user(id, &ranges);
            prop_assert_eq!(validate(&maps), Ok(()));
            prop_assert_eq!(parse_map(&map_text(&maps)), maps);
        }
    }
}
