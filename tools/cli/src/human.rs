//! Sizes and ages as people read them.

use std::time::Duration;

/// A size with three significant digits and a decimal unit: `987 B`, `4.52 MB`, `1.20 GB`.
pub fn bytes(size_bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if size_bytes < 1000 {
        return format!("{size_bytes} B");
    }
    let mut value = size_bytes as f64 / 1000.0;
    let mut unit = 0;
    // 999.5 would be printed as 1000: it belongs to the next unit already.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value < 9.995 {
        2
    } else {
        usize::from(value < 99.95)
    };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// An age in its largest unit: `40 seconds ago`, `3 weeks ago`.
pub fn age(age: Duration) -> String {
    const UNITS: [(u64, &str); 6] = [
        (365 * 86_400, "year"),
        (30 * 86_400, "month"),
        (7 * 86_400, "week"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
    ];
    let seconds = age.as_secs();
    let (count, unit) = UNITS
        .iter()
        .find(|(length, _)| seconds >= *length)
        .map_or((seconds, "second"), |(length, unit)| {
            (seconds / length, *unit)
        });
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// A short duration: `85 ms`, `1.24 s`, `2 min 5 s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match duration.as_millis() {
        millis @ ..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{:.2} s", duration.as_secs_f64()),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (size, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (12_340, "12.3 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (4_520_000, "4.52 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn ages() {
        for (seconds, text) in [
            (0, "0 seconds ago"),
            (1, "1 second ago"),
            (3_599, "59 minutes ago"),
            (86_400, "1 day ago"),
            (90_000_000, "2 years ago"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn durations() {
        for (millis, text) in [(85, "85 ms"), (1_240, "1.24 s"), (125_000, "2 min 5 s")] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }
}
