//! Which moment an image claims to be from: the epoch rule, as a value, and its spelling in JSON.
//!
//! Images are reproducible by default, so no clock is asked. The first of these that is known wins: an explicit
//! number of seconds, `$SOURCE_DATE_EPOCH`, the commit time of the clean git work tree that holds the script, the
//! moment the base image claims, and at last zero. The caller finds the first three (a library reads no environment).

use serde::{Deserialize, Serialize};

/// The last second of the year 9999: RFC 3339 has four digits for the year.
pub const MAX_EPOCH: i64 = 253_402_300_799;

/// Where an epoch came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Said explicitly.
    Flag,
    /// From `$SOURCE_DATE_EPOCH`.
    Environment,
    /// The commit time of a clean git work tree.
    Git,
    /// The `created` field of the base image.
    Base,
    /// Nothing was known: 1970-01-01.
    Zero,
}

/// The moment every time stamp of ours in an image is set or clamped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Seconds since 1970-01-01T00:00:00Z, from 0 to [`MAX_EPOCH`].
    pub seconds: i64,
    /// Where it came from.
    pub origin: Origin,
}

/// What a caller knows about the epoch when a build begins; each value in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clues {
    /// An explicit wish.
    pub flag: Option<i64>,
    /// The value of `$SOURCE_DATE_EPOCH`.
    pub environment: Option<i64>,
    /// The commit time of the clean work tree that holds the script or the context.
    pub git: Option<i64>,
}

/// A text that is no epoch.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a number of seconds from 0 to {MAX_EPOCH}")]
pub struct EpochError {
    /// The text.
    pub text: String,
}

impl From<EpochError> for crate::error::Error {
    fn from(error: EpochError) -> Self {
        Self::new(crate::error::ErrorKind::InvalidInput, error)
    }
}

impl Epoch {
    /// Decides the epoch of a build over a base that claims to be `created` (RFC 3339).
    pub fn decide(clues: Clues, created: Option<&str>) -> Self {
        let base = created.and_then(parse_rfc3339);
        let known = [
            (clues.flag, Origin::Flag),
            (clues.environment, Origin::Environment),
            (clues.git, Origin::Git),
            (base, Origin::Base),
        ];
        known
            .into_iter()
            .find_map(|(seconds, origin)| {
                Some(Self {
                    seconds: seconds?.clamp(0, MAX_EPOCH),
                    origin,
                })
            })
            .unwrap_or(Self {
                seconds: 0,
                origin: Origin::Zero,
            })
    }

    /// Spells the epoch as RFC 3339 in UTC with whole seconds, as image configurations do.
    pub fn rfc3339(&self) -> String {
        format_rfc3339(self.seconds)
    }
}

/// Parses what `$SOURCE_DATE_EPOCH` or a flag holds.
///
/// # Errors
/// If the text is not a decimal number of seconds within the range.
pub fn parse_epoch(text: &str) -> Result<i64, EpochError> {
    let seconds = text
        .trim()
        .parse::<i64>()
        .ok()
        .filter(|s| (0..=MAX_EPOCH).contains(s));
    seconds.ok_or_else(|| EpochError {
        text: text.to_owned(),
    })
}

/// Spells seconds since 1970 as `YYYY-MM-DDThh:mm:ssZ`.
pub fn format_rfc3339(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Reads an RFC 3339 moment as seconds since 1970, fractions dropped. `None` if it is not one.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let part = text.get(from..to)?;
        if part.bytes().all(|b| b.is_ascii_digit()) {
            part.parse().ok()
        } else {
            None
        }
    };
    let sign = |at: usize, set: &str| text.get(at..=at).is_some_and(|c| set.contains(c));
    if !(sign(4, "-") && sign(7, "-") && sign(10, "Tt ") && sign(13, ":") && sign(16, ":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = zone_offset(zone)?;
    Some(days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// Seconds east of UTC of `Z` or `±hh:mm`.
fn zone_offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (direction, clock) = match zone.split_at_checked(1)? {
        ("+", clock) => (1, clock),
        ("-", clock) => (-1, clock),
        _ => return None,
    };
    let (hours, minutes) = clock.split_once(':')?;
    Some(direction * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60))
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar, counted in 400-year eras from 1 March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_clue_wins() {
        let all = Clues {
            flag: Some(1),
            environment: Some(2),
            git: Some(3),
        };
        let created = Some("1970-01-01T00:00:04Z");
        let table = [
            (all, created, 1, Origin::Flag),
            (Clues { flag: None, ..all }, created, 2, Origin::Environment),
            (
                Clues {
                    git: Some(3),
                    ..Clues::default()
                },
                created,
                3,
                Origin::Git,
            ),
            (Clues::default(), created, 4, Origin::Base),
            (Clues::default(), None, 0, Origin::Zero),
            (Clues::default(), Some("yesterday"), 0, Origin::Zero),
            (
                Clues::default(),
                Some("1969-12-31T23:59:59Z"),
                0,
                Origin::Base,
            ),
        ];
        for (clues, created, seconds, origin) in table {
            assert_eq!(
                Epoch::decide(clues, created),
                Epoch { seconds, origin },
                "{clues:?} {created:?}"
            );
        }
    }

    #[test]
    fn moments_are_read_and_spelled() {
        let table = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:34:56Z", Some(951_827_696)),
            ("2024-05-14T17:43:22.123456789Z", Some(1_715_708_602)),
            ("2024-05-14T19:43:22+02:00", Some(1_715_708_602)),
            ("9999-12-31T23:59:59Z", Some(MAX_EPOCH)),
            ("2024-13-01T00:00:00Z", None),
            ("2024-05-14", None),
            ("2024-05-14T17:43:22", None),
            ("2024-05-14T17:43:2éZ", None),
            ("", None),
        ];
        for (text, seconds) in table {
            assert_eq!(parse_rfc3339(text), seconds, "{text}");
        }
        assert_eq!(format_rfc3339(951_827_696), "2000-02-29T12:34:56Z");
    }

    #[test]
    fn an_epoch_is_a_number_in_range() {
        assert_eq!(parse_epoch("17").unwrap(), 17);
        for bad in [
            "",
            "-1",
            "1.5",
            "now",
            "253402300800",
            "99999999999999999999",
        ] {
            assert!(parse_epoch(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn spelling_and_reading_are_inverse(seconds in 0..=MAX_EPOCH) {
            prop_assert_eq!(parse_rfc3339(&format_rfc3339(seconds)), Some(seconds));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,40}") {
            let _read = parse_rfc3339(&text);
        }
    }
}
