//! Which machine an image is for, and which entry of an index fits one best.

use std::{fmt, str::FromStr};

use crate::error::{Error, ErrorKind};

/// An operating system and a processor, as the image specification names them (Go's words: `amd64`, `arm64`).
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, `arm`, `386`, `ppc64le`, `s390x`, `riscv64` ….
    pub architecture: String,
    /// `v7`, `v8`, `v2` …: a generation of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The version of the operating system (Windows only).
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
}

/// Why a text is no platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{input:?} is no platform (OS/ARCHITECTURE[/VARIANT], for example linux/arm64/v8)")]
pub struct PlatformError {
    /// What was given.
    pub input: String,
}

impl From<PlatformError> for Error {
    fn from(error: PlatformError) -> Self {
        Self::new(ErrorKind::InvalidReference, error)
    }
}

impl Platform {
    /// Returns the platform of this machine: the kernel's name for the processor, and on amd64 the newest level it has.
    #[must_use]
    pub fn host() -> Self {
        let uname = rustix::system::uname();
        let machine = uname.machine().to_string_lossy().into_owned();
        let (architecture, variant) = from_machine(&machine);
        let variant = if architecture == "amd64" {
            amd64_level()
        } else {
            variant.map(str::to_owned)
        };
        Self {
            os: "linux".to_owned(),
            architecture,
            variant,
            os_version: None,
        }
    }

    /// Tells how well an image for `candidate` runs on this platform: higher is better, `None` is not at all.
    ///
    /// An image for an earlier generation of the processor runs on a later one. Versions of an operating system matter on
    /// Windows, where those of one build (the first three numbers) fit each other.
    #[must_use]
    pub fn rank(&self, candidate: &Self) -> Option<u64> {
        let wanted = architecture(&self.architecture);
        if self.os != candidate.os
            || wanted != architecture(&candidate.architecture)
            || candidate.is_unknown()
        {
            return None;
        }
        let version = version_rank(self.os_version.as_deref(), candidate.os_version.as_deref())?;
        let ours = self
            .variant
            .as_deref()
            .unwrap_or_else(|| default_variant(wanted));
        let theirs = candidate
            .variant
            .as_deref()
            .unwrap_or_else(|| default_variant(wanted));
        let variant = if ours == theirs {
            u32::MAX
        } else {
            // Generations run what was made for earlier ones: arm v8 runs v7 and v6, amd64 v3 runs v2 and v1.
            let (ours, theirs) = (generation(ours)?, generation(theirs)?);
            (theirs < ours).then_some(theirs)?
        };
        Some(u64::from(variant) << 32 | u64::from(version))
    }

    /// Tells whether this names the same platform as `other`, which may say more: without a version of the operating system it
    /// names every version, and a variant that is not said is the usual one, or any where there is none.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let (ours, theirs) = (
            architecture(&self.architecture),
            architecture(&other.architecture),
        );
        let usual = default_variant(ours);
        let variant = match (self.variant.as_deref(), other.variant.as_deref()) {
            (None, _) if usual.is_empty() => true,
            (mine, other) => mine.unwrap_or(usual) == other.unwrap_or(usual),
        };
        let version = match (&self.os_version, &other.os_version) {
            (None, _) => true,
            (Some(_), None) => false,
            (ours, theirs) => version_rank(ours.as_deref(), theirs.as_deref()).is_some(),
        };
        self.os == other.os && ours == theirs && variant && version
    }

    /// Returns the position of the candidate that fits best, the first of equals; `None` fits nowhere (attestations have the
    /// platform `unknown/unknown`).
    pub fn best<'a>(
        &self,
        candidates: impl IntoIterator<Item = Option<&'a Self>>,
    ) -> Option<usize> {
        let ranked = candidates
            .into_iter()
            .enumerate()
            .filter_map(|(at, candidate)| Some((self.rank(candidate?)?, at)));
        ranked
            .max_by_key(|&(rank, at)| (rank, std::cmp::Reverse(at)))
            .map(|(_, at)| at)
    }

    /// Tells whether this is the placeholder of entries that are no images (attestations).
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" || self.architecture == "unknown"
    }
}

/// Translates `uname -m`.
fn from_machine(machine: &str) -> (String, Option<&'static str>) {
    let (architecture, variant) = match machine {
        "x86_64" => ("amd64", None),
        "i386" | "i486" | "i586" | "i686" => ("386", None),
        "aarch64" => ("arm64", Some("v8")),
        // A 64-bit kernel that shows itself as 32-bit.
        "armv8l" => ("arm", Some("v8")),
        "armv7l" => ("arm", Some("v7")),
        "armv6l" => ("arm", Some("v6")),
        "armv5tel" | "armv5tejl" => ("arm", Some("v5")),
        "loongarch64" => ("loong64", None),
        other => (other, None),
    };
    (architecture.to_owned(), variant)
}

/// Unifies the kernel's words with the specification's, for people who type the former.
fn architecture(word: &str) -> &str {
    match word {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "armhf" => "arm",
        "i386" => "386",
        other => other,
    }
}

/// Tells how well versions of an operating system fit: exactly, the same build (the newest revision is best), not known.
fn version_rank(wanted: Option<&str>, found: Option<&str>) -> Option<u32> {
    let (Some(wanted), Some(found)) = (wanted, found) else {
        return Some(0);
    };
    if wanted == found {
        return Some(u32::MAX);
    }
    let build = |version: &str| {
        version
            .split('.')
            .take(3)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let revision = found.split('.').nth(3).and_then(|text| text.parse().ok());
    let same = build(wanted).len() == 3 && build(wanted) == build(found);
    same.then(|| revision.unwrap_or(0_u32).min(u32::MAX - 2) + 1)
}

/// What an entry without a variant means.
fn default_variant(architecture: &str) -> &'static str {
    match architecture {
        "arm" => "v7",
        "arm64" => "v8",
        "amd64" => "v1",
        _ => "",
    }
}

fn generation(variant: &str) -> Option<u32> {
    // arm64 has `v8.1` and so on: tenths.
    let (major, minor) = variant
        .strip_prefix('v')?
        .split_once('.')
        .unwrap_or((variant.strip_prefix('v')?, "0"));
    Some(major.parse::<u16>().ok()?.into())
        .and_then(|major: u32| Some(major * 1000 + u32::from(minor.parse::<u8>().ok()?)))
}

/// The level of the x86-64 psABI this processor reaches.
fn amd64_level() -> Option<String> {
    #[cfg(target_arch = "x86_64")]
    {
        let v2 = is_x86_feature_detected!("sse4.2")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("ssse3");
        let v3 = v2
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("movbe");
        let v4 = v3
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        let level = match (v2, v3, v4) {
            (_, _, true) => "v4",
            (_, true, _) => "v3",
            (true, ..) => "v2",
            _ => "v1",
        };
        Some(level.to_owned())
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// `OS/ARCHITECTURE[/VARIANT][:OS.VERSION]`.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        if let Some(version) = &self.os_version {
            write!(f, ":{version}")?;
        }
        Ok(())
    }
}

/// Reads `OS/ARCHITECTURE[/VARIANT]`; a version of the operating system stands behind a colon, or behind the system in
/// parentheses (`windows/amd64:10.0.20348`, `windows(10.0.20348)/amd64`).
impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(input: &str) -> Result<Self, PlatformError> {
        let wrong = || PlatformError {
            input: input.chars().take(80).collect(),
        };
        let (rest, version) = match input.rsplit_once(':') {
            Some((rest, version)) => (rest, Some(version)),
            None => (input, None),
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let (os, processor, variant) = match parts[..] {
            [os, processor] => (os, processor, None),
            [os, processor, variant] => (os, processor, Some(variant)),
            _ => return Err(wrong()),
        };
        let (os, version) = match (
            os.strip_suffix(')').and_then(|os| os.split_once('(')),
            version,
        ) {
            (Some((os, version)), None) => (os, Some(version)),
            (Some(_), Some(_)) => return Err(wrong()),
            (None, version) => (os, version),
        };
        let words = [Some(os), Some(processor), variant, version];
        if !words.into_iter().flatten().all(is_word) {
            return Err(wrong());
        }
        Ok(Self {
            os: os.to_ascii_lowercase(),
            architecture: architecture(&processor.to_ascii_lowercase()).to_owned(),
            variant: variant.map(str::to_ascii_lowercase),
            os_version: version.map(str::to_owned),
        })
    }
}

fn is_word(word: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !word.is_empty() && word.len() <= 32 && word.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn the_entry_that_fits_best_is_chosen() {
        // What is wanted, what there is, which one it gets.
        let cases: [(&str, &[&str], Option<usize>); 22] = [
            (
                "windows/amd64:10.0.17763.1",
                &[
                    "windows/amd64:10.0.20348.9",
                    "windows/amd64:10.0.17763.2",
                    "windows/amd64:10.0.17763.10",
                ],
                Some(2),
            ),
            (
                "windows/amd64:10.0.17763.2",
                &["windows/amd64:10.0.17763.10", "windows/amd64:10.0.17763.2"],
                Some(1),
            ),
            (
                "windows/amd64:10.0.17763",
                &["windows/amd64", "windows/amd64:10.0.17763.1"],
                Some(1),
            ),
            ("windows/amd64", &["windows/amd64:10.0.20348.1"], Some(0)),
            (
                "windows(10.0.20348)/amd64",
                &["windows/amd64:10.0.17763.1"],
                None,
            ),
            ("windows/amd64:10.0", &["windows/amd64:10.0.17763"], None),
            ("linux/amd64", &["linux/arm64", "linux/amd64"], Some(1)),
            ("linux/amd64", &["linux/amd64/v3", "linux/amd64"], Some(1)),
            (
                "linux/amd64/v3",
                &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"],
                Some(1),
            ),
            (
                "linux/amd64/v4",
                &["linux/amd64", "linux/amd64/v3"],
                Some(1),
            ),
            ("linux/arm/v8", &["linux/arm/v6", "linux/arm/v7"], Some(1)),
            (
                "linux/arm/v7",
                &["linux/arm/v8", "linux/arm/v6", "linux/arm/v5"],
                Some(1),
            ),
            ("linux/arm/v6", &["linux/arm/v7"], None),
            ("linux/arm", &["linux/arm/v5", "linux/arm/v7"], Some(1)),
            ("linux/arm/v6", &["linux/arm"], None),
            ("linux/arm64", &["linux/arm64/v8"], Some(0)),
            ("linux/arm64/v8", &["linux/arm64"], Some(0)),
            ("linux/arm64", &["linux/arm/v7"], None),
            ("linux/x86_64", &["linux/amd64"], Some(0)),
            ("linux/amd64", &["windows/amd64"], None),
            ("linux/amd64", &["linux/amd64", "linux/amd64"], Some(0)),
            ("linux/amd64", &["unknown/unknown"], None),
        ];
        for (wanted, entries, expected) in cases {
            let entries: Vec<Platform> = entries.iter().map(|entry| platform(entry)).collect();
            assert_eq!(
                platform(wanted).best(entries.iter().map(Some)),
                expected,
                "{wanted} of {entries:?}"
            );
        }
        assert_eq!(platform("linux/amd64").best([None]), None);
        assert_eq!(
            platform("unknown/unknown").best([Some(&platform("unknown/unknown"))]),
            None
        );
    }

    #[test]
    fn a_platform_covers_those_that_say_more() {
        for (general, special, expected) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/amd64/v1", true),
            ("linux/amd64", "linux/amd64/v3", false),
            ("linux/amd64/v1", "linux/amd64", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm", "linux/arm/v7", true),
            ("linux/arm", "linux/arm/v6", false),
            ("linux/s390x", "linux/s390x/z15", true),
            ("linux/s390x/z15", "linux/s390x", false),
            ("windows/amd64", "windows/amd64:10.0.17763.1", true),
            (
                "windows/amd64:10.0.17763",
                "windows/amd64:10.0.17763.1",
                true,
            ),
            ("windows/amd64:10.0.17763", "windows/amd64", false),
            (
                "windows/amd64:10.0.17763",
                "windows/amd64:10.0.20348",
                false,
            ),
            ("linux/amd64", "windows/amd64", false),
        ] {
            assert_eq!(
                platform(general).covers(&platform(special)),
                expected,
                "{general} {special}"
            );
        }
    }

    #[test]
    fn this_machine_runs_its_own_images() {
        let host = Platform::host();
        assert_eq!(host.os, "linux");
        let plain = Platform {
            variant: None,
            ..host.clone()
        };
        assert!(
            host.rank(&plain).is_some() && host.rank(&host).is_some(),
            "{host}"
        );
        for (machine, expected) in [
            ("x86_64", "amd64"),
            ("aarch64", "arm64"),
            ("armv7l", "arm"),
            ("i686", "386"),
            ("riscv64", "riscv64"),
        ] {
            assert_eq!(from_machine(machine).0, expected);
        }
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for bad in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/amd64/v1/x",
            "linux/a b",
            "linux/amd64/",
            "*/amd64",
            "windows/amd64:",
            "windows()/amd64",
            "windows(10.0/amd64",
            "windows(1)/amd64:2",
            "windows/amd64:10/0",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
        assert_eq!(platform("Linux/ARM64/V8").to_string(), "linux/arm64/v8");
    }

    /// Platforms as they occur, close enough to each other that they match often.
    fn any_platform() -> impl proptest::strategy::Strategy<Value = Platform> {
        use proptest::prelude::*;
        let os = prop_oneof![Just("linux"), Just("windows"), Just("unknown")];
        let architecture = prop_oneof![Just("amd64"), Just("arm64"), Just("arm"), Just("unknown")];
        let variant = proptest::option::of((1_u8..10).prop_map(|number| format!("v{number}")));
        let version =
            proptest::option::of((1_u8..3, 0_u8..4).prop_map(|(a, b)| format!("10.0.{a}.{b}")));
        (os, architecture, variant, version).prop_map(|(os, architecture, variant, os_version)| {
            Platform {
                os: os.to_owned(),
                architecture: architecture.to_owned(),
                variant,
                os_version,
            }
        })
    }

    proptest::proptest! {
        #[test]
        fn a_platform_is_what_it_displays(text in "[a-z]{1,8}/[a-z0-9]{1,8}(/v[0-9]{1,2})?(:[0-9.]{1,12})?") {
            let platform: Platform = text.parse().unwrap();
            proptest::prop_assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform);
        }

        #[test]
        fn matching_keeps_its_promises(wanted in any_platform(), there in proptest::collection::vec(any_platform(), 0..12)) {
            let best = wanted.best(there.iter().map(Some));
            let fits = |candidate: &Platform| wanted.rank(candidate).is_some();
            // Something is found exactly if something fits, and nothing fits better.
            proptest::prop_assert_eq!(best.is_some(), there.iter().any(fits));
            if let Some(at) = best {
                let rank = wanted.rank(&there[at]);
                proptest::prop_assert!(there.iter().all(|other| wanted.rank(other) <= rank));
                proptest::prop_assert!(there[..at].iter().all(|other| wanted.rank(other) < rank), "the first of equals");
                proptest::prop_assert_eq!((&there[at].os, &there[at].architecture), (&wanted.os, &wanted.architecture));
            }
            // What is wanted exactly is taken whatever else there is; nothing is an image for an unknown machine.
            if wanted.is_unknown() {
                proptest::prop_assert_eq!(best, None);
            } else if let Some(same) = there.iter().position(|other| *other == wanted) {
                proptest::prop_assert_eq!(wanted.rank(&there[best.unwrap()]), wanted.rank(&there[same]));
            }
            // The order among different candidates does not matter for how well the best one fits.
            let reversed = wanted.best(there.iter().rev().map(Some));
            let rank = |at: usize| wanted.rank(&there[at]);
            proptest::prop_assert_eq!(best.and_then(rank), reversed.and_then(|at| rank(there.len() - 1 - at)));
        }

        #[test]
        fn what_runs_does_so_transitively(a in any_platform(), b in any_platform(), c in any_platform()) {
            let plain = |platform: Platform| Platform { os_version: None, ..platform };
            let (a, b, c) = (plain(a), plain(b), plain(c));
            if a.rank(&b).is_some() && b.rank(&c).is_some() {
                proptest::prop_assert!(a.rank(&c).is_some(), "{} runs {}, which runs {}", a, b, c);
            }
        }
    }
}
