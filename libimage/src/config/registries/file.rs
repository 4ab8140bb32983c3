//! One file: its TOML, and what is wrong with it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Entry, Mirror, Pulls, RegistriesError, ShortNameMode, short};
use crate::name::Name;

/// Bytes of one file: the largest list of aliases in use has some tens of kilobytes.
pub(super) const FILE_BYTES: usize = 1 << 20;

/// A file, checked.
pub(super) struct File {
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) search: Option<Vec<String>>,
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) mode: Option<ShortNameMode>,
    pub(super) credential_helpers: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    unqualified_search_registries: Option<Vec<String>>,
    credential_helpers: Option<Vec<String>>,
    short_name_mode: Option<String>,
    #[serde(default)]
    registry: Vec<RawEntry>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    /// Version 1.
    registries: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[derive(Default)]
struct RawEntry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<RawMirror>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[derive(Default)]
struct RawMirror {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
}

pub(super) fn parse(text: &str) -> Result<File, RegistriesError> {
    if text.len() > FILE_BYTES {
        return Err(RegistriesError::TooLarge);
    }
    let document: Document = toml::from_str(text).map_err(|error| RegistriesError::Toml {
        message: error
            .to_string()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
    })?;
    if document.registries.is_some() {
        return Err(RegistriesError::Version1);
    }
    let mut entries = BTreeMap::new();
    for raw in document.registry {
        let (prefix, entry) = entry(raw)?;
        // Of two with the same prefix in one file the first counts, as everywhere.
        entries.entry(prefix).or_insert(entry);
    }
    let search = document.unqualified_search_registries.map(|search| {
        let hosts = search.iter().map(|host| location(host));
        hosts.collect::<Result<Vec<_>, _>>()
    });
    let mode = document.short_name_mode.filter(|mode| !mode.is_empty());
    let mode = mode.map(|mode| mode.parse::<ShortNameMode>());
    Ok(File {
        entries,
        search: search.transpose()?,
        aliases: aliases(document.aliases)?,
        mode: mode.transpose()?,
        credential_helpers: document.credential_helpers,
    })
}

fn entry(raw: RawEntry) -> Result<(String, Entry), RegistriesError> {
    let moved = (!raw.location.is_empty()).then(|| location(&raw.location));
    let moved = moved.transpose()?;
    let prefix = match (raw.prefix.as_str(), &moved) {
        ("", None) => return Err(RegistriesError::NoLocation),
        ("", Some(location)) => location.clone(),
        (prefix, _) => match prefix.strip_prefix("*.") {
            Some(domain) if domain.contains(['/', ':', '@', '*']) || domain.is_empty() => {
                return Err(RegistriesError::Location {
                    text: prefix.to_owned(),
                });
            }
            Some(domain) => format!("*.{}", location(domain)?),
            None => location(prefix)?,
        },
    };
    let mirrors = raw.mirror.into_iter().map(|mirror| {
        let given = !mirror.pull_from_mirror.is_empty();
        if given && raw.mirror_by_digest_only {
            return Err(RegistriesError::TwoRules {
                prefix: prefix.clone(),
            });
        }
        let pulls = if raw.mirror_by_digest_only {
            Pulls::ByDigest
        } else {
            pulls(&mirror.pull_from_mirror)?
        };
        if mirror.location.is_empty() {
            return Err(RegistriesError::NoLocation);
        }
        Ok(Mirror {
            location: location(&mirror.location)?,
            insecure: mirror.insecure,
            pulls,
        })
    });
    let mirrors = mirrors.collect::<Result<_, _>>()?;
    let entry = Entry {
        location: moved,
        insecure: raw.insecure,
        blocked: raw.blocked,
        mirrors,
    };
    Ok((prefix, entry))
}

fn pulls(word: &str) -> Result<Pulls, RegistriesError> {
    match word {
        "" | "all" => Ok(Pulls::All),
        "digest-only" => Ok(Pulls::ByDigest),
        "tag-only" => Ok(Pulls::ByTag),
        other => Err(RegistriesError::Word {
            key: "pull-from-mirror",
            value: other.to_owned(),
            allowed: "all, digest-only, tag-only",
        }),
    }
}

/// Checks `HOST[:PORT][/PATH]`; slashes at the end are dropped.
fn location(text: &str) -> Result<String, RegistriesError> {
    let wrong = || RegistriesError::Location {
        text: text.chars().take(200).collect(),
    };
    let location = text.trim_end_matches('/');
    let usable = !location.is_empty()
        && !location.contains("//")
        && location
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '?' | '#' | '*'));
    if usable {
        Ok(location.to_owned())
    } else {
        Err(wrong())
    }
}

fn aliases(raw: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, RegistriesError> {
    for (name, value) in &raw {
        let bare =
            |text: &str| !text.contains('@') && !text[text.rfind('/').unwrap_or(0)..].contains(':');
        let leads = short::is_short(name)
            && bare(name)
            && (value.is_empty()
                || (!short::is_short(value) && bare(value) && value.parse::<Name>().is_ok()));
        if !leads {
            return Err(RegistriesError::Alias {
                name: name.clone(),
                value: value.clone(),
            });
        }
    }
    Ok(raw)
}
