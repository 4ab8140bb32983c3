//! Plans from YAML: skopeo's file as it is, and a form of our own that can say more.
//!
//! Ours begins with `version: 1`:
//!
//! ```yaml
//! version: 1
//! registries:                    # how registries are reached, where that differs from the command line
//!   registry.example.com:
//!     credentials: {username: john, password: secret}
//!     tls-verify: true
//!     cert-dir: /etc/certs
//! sync:
//!   - source: docker://registry.example.com/team/app
//!     target: docker://mirror.example.com/apps/app   # exactly this repository
//!     tags: ["1.0", "2.0"]       # explicit; also digests: [sha256:…]
//!     tag-regex: "^v[0-9]"       # of the listed tags: matches anywhere
//!     semver: ">=1.2 <2"
//!     allow: ["v1.*", "/^v2/"]   # globs, or regular expressions between slashes
//!     deny: ["*-rc*"]
//!     newest: 5
//!     newest-by: version         # or: created
//!     platforms: [linux/amd64, linux/arm64]
//!     suffix: -mirror
//!   - source: docker://registry.example.com
//!     repositories: ["team/*"]   # all repositories of the catalog that match
//!     into: docker://mirror.example.com              # below this place (docker://, dir:, oci:)
//!     scoped: true
//! ```
//!
//! `target` and `into` may be left out: then the destination of the command line is meant. Keys at the top that begin with `x-` are
//! ignored: anchors may be kept there.

mod document;

use serde::de::DeserializeOwned;
use serde_saphyr::{Location, Options, Spanned};

use self::document::{Access, Entries, Entry, Ignored, Ours, Registry, Skopeo};
use super::{
    Age, Newest, Pattern, Place, Reference, Selection, SelectionError, SyncAccess, SyncEntry,
    SyncError, SyncPlan, SyncSource, SyncTarget,
};
use crate::{
    config::{Credentials, Secret},
    name::Name,
};

/// Bytes of a plan: tens of thousands of tags.
const FILE_BYTES: usize = 4 << 20;
/// Maps and lists inside each other: the deepest of ours has five.
const DEPTH: usize = 16;
/// Values in a plan.
const NODES: usize = 200_000;
/// Uses of anchors.
const ALIASES: usize = 1000;

/// Reads a plan from YAML, in skopeo's form or in ours. `name` is the file's, for messages; `target` is where images go of which the
/// file does not say it.
///
/// # Errors
///
/// The file makes no sense: the error names the line and the key.
pub fn read_plan(
    name: &str,
    yaml: &str,
    target: Option<&SyncTarget>,
) -> Result<SyncPlan, SyncError> {
    let reader = Reader { name, target };
    if yaml.len() > FILE_BYTES {
        return Err(SyncError::FileTooLarge {
            file: name.to_owned(),
            limit: FILE_BYTES,
        });
    }
    let keys: Entries<Ignored> = reader.parse(yaml)?;
    let entries = match keys.0.iter().find(|(key, _)| key.value == "version") {
        Some(_) => reader.ours(reader.parse(yaml)?)?,
        None => reader.skopeo(reader.parse(yaml)?)?,
    };
    Ok(SyncPlan { entries })
}

struct Reader<'a> {
    name: &'a str,
    target: Option<&'a SyncTarget>,
}

impl Reader<'_> {
    fn parse<T: DeserializeOwned>(&self, yaml: &str) -> Result<T, SyncError> {
        let budget = serde_saphyr::budget! {
            max_depth: DEPTH,
            max_nodes: NODES,
            max_aliases: ALIASES,
            max_anchors: ALIASES,
            max_documents: 1,
            max_merge_keys: ALIASES,
        };
        let options: Options = serde_saphyr::options! { budget: budget };
        serde_saphyr::from_str_with_options(yaml, options).map_err(|error| {
            // A snippet of the file could show a password.
            let error = error.without_snippet();
            let location = error.location().unwrap_or(Location::UNKNOWN);
            let place = format!(" at line {}, column {}", location.line(), location.column());
            self.wrong(location, first_line(&error.to_string()).replace(&place, ""))
        })
    }

    fn wrong(&self, at: Location, problem: impl Into<String>) -> SyncError {
        SyncError::File {
            file: self.name.to_owned(),
            line: at.line(),
            column: at.column(),
            problem: problem.into(),
        }
    }

    /// Says which key a wrong value belongs to.
    fn value<T, E: std::error::Error>(
        &self,
        key: &str,
        at: Location,
        result: Result<T, E>,
    ) -> Result<T, SyncError> {
        result.map_err(|error| {
            let cause = error.source().map(|cause| format!(": {cause}"));
            self.wrong(at, format!("{key}: {error}{}", cause.unwrap_or_default()))
        })
    }

    fn target(&self, source: &SyncSource) -> Result<SyncTarget, SyncError> {
        self.target.cloned().ok_or_else(|| SyncError::NoTarget {
            source_name: source.to_string(),
        })
    }

    fn skopeo(&self, document: Skopeo) -> Result<Vec<SyncEntry>, SyncError> {
        let mut entries = Vec::new();
        for (host, registry) in document.0 {
            let Some(Registry {
                images,
                images_by_tag_regex,
                images_by_semver,
                access,
            }) = registry
            else {
                continue;
            };
            let access = self.access(access);
            let mut add = |key: &Spanned<String>, selection| {
                let source = SyncSource::Repository(self.repository(&host.value, key)?);
                let target = self.target(&source)?;
                entries.push(SyncEntry {
                    selection,
                    access: access.clone(),
                    ..SyncEntry::new(source, target)
                });
                Ok::<(), SyncError>(())
            };
            for (key, references) in images.unwrap_or_default().0 {
                let mut selection = Selection::default();
                for reference in references.unwrap_or_default() {
                    self.reference(&key.value, &reference, &mut selection)?;
                }
                add(&key, selection)?;
            }
            for (key, regex) in images_by_tag_regex.unwrap_or_default().0 {
                let regex =
                    self.value(&key.value, regex.referenced, Pattern::regex(&regex.value))?;
                let regex = Some(regex);
                add(
                    &key,
                    Selection {
                        regex,
                        ..Selection::default()
                    },
                )?;
            }
            for (key, range) in images_by_semver.unwrap_or_default().0 {
                let range = Some(self.value(&key.value, range.referenced, range.value.parse())?);
                add(
                    &key,
                    Selection {
                        range,
                        ..Selection::default()
                    },
                )?;
            }
        }
        Ok(entries)
    }

    /// Joins a registry and a repository of the file, which must not name a tag.
    fn repository(&self, host: &str, key: &Spanned<String>) -> Result<Name, SyncError> {
        match SyncSource::parse(&format!("docker://{host}/{}", key.value)) {
            Ok((SyncSource::Repository(name), None)) => Ok(name),
            Ok(_) => Err(self.wrong(
                key.referenced,
                format!("{}: a repository is wanted here, without a tag", key.value),
            )),
            Err(error) => Err(self.wrong(key.referenced, format!("{}: {error}", key.value))),
        }
    }

    /// Adds a tag or a digest to a selection.
    fn reference(
        &self,
        key: &str,
        reference: &Spanned<String>,
        selection: &mut Selection,
    ) -> Result<(), SyncError> {
        match reference.value.parse() {
            Ok(digest) => selection.digests.push(digest),
            Err(_) => {
                let tag = super::plan::check_tag(&reference.value);
                self.value(key, reference.referenced, tag)?;
                selection.tags.push(reference.value.clone());
            }
        }
        Ok(())
    }

    fn access(&self, access: Access) -> SyncAccess {
        let credentials = access.credentials.map(|credentials| {
            match (credentials.identitytoken, credentials.username) {
                (Some(token), _) => Credentials::Identity(Secret::new(token)),
                (None, Some(user)) => Credentials::Basic {
                    user,
                    password: Secret::new(credentials.password.unwrap_or_default()),
                },
                (None, None) => Credentials::Anonymous,
            }
        });
        SyncAccess {
            credentials,
            tls_verify: access.tls_verify,
            cert_dir: access.cert_dir.map(Into::into),
        }
    }

    fn ours(&self, document: Ours) -> Result<Vec<SyncEntry>, SyncError> {
        if document.version.value != 1 {
            let problem = format!(
                "version: {} is not known, only 1 is",
                document.version.value
            );
            return Err(self.wrong(document.version.referenced, problem));
        }
        let accesses: Vec<(String, SyncAccess)> = document
            .registries
            .unwrap_or_default()
            .0
            .into_iter()
            .map(|(host, access)| (host.value, self.access(access.unwrap_or_default())))
            .collect();
        let entries = document.sync.into_iter();
        entries.map(|entry| self.entry(entry, &accesses)).collect()
    }

    fn entry(
        &self,
        entry: Entry,
        accesses: &[(String, SyncAccess)],
    ) -> Result<SyncEntry, SyncError> {
        let at = entry.source.referenced;
        let (mut source, reference) = match &entry.repositories {
            None => self.value("source", at, SyncSource::parse(&entry.source.value))?,
            Some(_) => (
                self.value(
                    "source",
                    at,
                    SyncSource::parse_registry(&entry.source.value),
                )?,
                None,
            ),
        };
        if let SyncSource::Registry { repositories, .. } = &mut source {
            *repositories = self.patterns("repositories", entry.repositories.as_deref())?;
        }
        let target = self.entry_target(&entry, &source)?;
        let mut selection = self.selection(&entry)?;
        match reference {
            Some(Reference::Tag(tag)) => selection.tags.push(tag),
            Some(Reference::Digest(digest)) => selection.digests.push(digest),
            None => {}
        }
        let mut platforms = Vec::new();
        for platform in entry.platforms.iter().flatten() {
            let parsed = platform.value.parse();
            platforms.push(self.value("platforms", platform.referenced, parsed)?);
        }
        let host = source.host();
        let access = accesses.iter().find(|(known, _)| Some(&**known) == host);
        Ok(SyncEntry {
            selection,
            suffix: entry.suffix.unwrap_or_default(),
            platforms,
            access: access.map(|(_, access)| access.clone()).unwrap_or_default(),
            ..SyncEntry::new(source, target)
        })
    }

    fn entry_target(&self, entry: &Entry, source: &SyncSource) -> Result<SyncTarget, SyncError> {
        match (&entry.target, &entry.into) {
            (Some(target), Some(_)) => Err(self.wrong(
                target.referenced,
                "target: target and into exclude each other",
            )),
            (Some(target), None) => {
                let parsed = SyncTarget::parse_repository(&target.value);
                self.value("target", target.referenced, parsed)
            }
            (None, Some(into)) => Ok(SyncTarget::Below {
                place: self.value("into", into.referenced, Place::parse(&into.value))?,
                scoped: entry.scoped.unwrap_or_default(),
            }),
            (None, None) => match (self.target(source)?, entry.scoped) {
                (SyncTarget::Below { place, .. }, Some(scoped)) => {
                    Ok(SyncTarget::Below { place, scoped })
                }
                (target, _) => Ok(target),
            },
        }
    }

    fn selection(&self, entry: &Entry) -> Result<Selection, SyncError> {
        let mut selection = Selection {
            allow: self.patterns("allow", entry.allow.as_deref())?,
            deny: self.patterns("deny", entry.deny.as_deref())?,
            ..Selection::default()
        };
        for (key, references) in [("tags", &entry.tags), ("digests", &entry.digests)] {
            for reference in references.iter().flatten() {
                self.reference(key, reference, &mut selection)?;
            }
        }
        if let Some(regex) = &entry.tag_regex {
            let parsed = Pattern::regex(&regex.value);
            selection.regex = Some(self.value("tag-regex", regex.referenced, parsed)?);
        }
        if let Some(range) = &entry.semver {
            let parsed: Result<_, SelectionError> = range.value.parse();
            selection.range = Some(self.value("semver", range.referenced, parsed)?);
        }
        let age = match &entry.newest_by {
            None => Age::Version,
            Some(by) => match by.value.as_str() {
                "version" => Age::Version,
                "created" => Age::Created,
                other => {
                    let problem = format!("newest-by: {other:?} is neither version nor created");
                    return Err(self.wrong(by.referenced, problem));
                }
            },
        };
        selection.newest = entry.newest.map(|count| Newest { count, age });
        Ok(selection)
    }

    fn patterns(
        &self,
        key: &str,
        texts: Option<&[Spanned<String>]>,
    ) -> Result<Vec<Pattern>, SyncError> {
        let texts = texts.unwrap_or_default().iter();
        texts
            .map(|text| self.value(key, text.referenced, text.value.parse()))
            .collect()
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
