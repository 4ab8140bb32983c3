//! When an image was made, as its configuration says it.

use serde::Deserialize;

#[derive(Deserialize)]
struct Created {
    created: Option<String>,
}

/// Reads the creation date of a configuration, as seconds and nanoseconds since 1970. `None` if it has none.
pub(super) fn created(config: &[u8]) -> Option<(i64, u32)> {
    let config: Created = serde_json::from_slice(config).ok()?;
    parse(&config.created?)
}

/// Reads RFC 3339.
fn parse(text: &str) -> Option<(i64, u32)> {
    let (date, time) = text.split_once(['T', 't'])?;
    let [year, month, day] = numbers(date, '-')?;
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':')?;
    let sane = (1..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    let digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !sane || !digits {
        return None;
    }
    let nanos = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let offset = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign, offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let minutes = number(hours)? * 60 + number(minutes)?;
            if sign == "-" { -minutes } else { minutes }
        }
    };
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds - offset * 60, nanos))
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(number);
    let found = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(found)
}

fn number(text: &str) -> Option<i64> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Days since 1970-01-01 in the Gregorian calendar: years begin in March, so that the leap day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some((0, 0))),
            ("2000-02-29T12:00:00Z", Some((951_825_600, 0))),
            ("2025-01-01T00:00:00.5Z", Some((1_735_689_600, 500_000_000))),
            ("2025-01-01T02:00:00+02:00", Some((1_735_689_600, 0))),
            ("2024-12-31T23:30:00-00:30", Some((1_735_689_600, 0))),
            ("0001-01-01T00:00:00Z", Some((-62_135_596_800, 0))),
            ("2025-01-01", None),
            ("2025-13-01T00:00:00Z", None),
            ("2025-01-01T00:00:00", None),
            ("2025-01-01T00:00:00.+9Z", None),
            ("x", None),
            ("2025-01-01T00:00:00é", None),
        ] {
            assert_eq!(parse(text), seconds, "{text}");
        }
        assert_eq!(
            created(br#"{"created": "1970-01-01T00:00:01Z"}"#),
            Some((1, 0))
        );
        assert_eq!(created(b"{}"), None);
    }
}
