//! The two files as YAML has them, before anything in them is understood.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};
use serde_saphyr::Spanned;

/// A map in the file's order, whose keys know where they stand.
#[derive(Debug)]
pub(super) struct Entries<T>(pub(super) Vec<(Spanned<String>, T)>);

/// A value that does not matter.
pub(super) type Ignored = IgnoredAny;

/// skopeo's file: registries by host. Keys with `x-` are left out.
#[derive(Debug)]
pub(super) struct Skopeo(pub(super) Vec<(Spanned<String>, Option<Registry>)>);

/// What skopeo's file says about a registry.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) images: Option<Entries<Option<Vec<Spanned<String>>>>>,
    pub(super) images_by_tag_regex: Option<Entries<Spanned<String>>>,
    pub(super) images_by_semver: Option<Entries<Spanned<String>>>,
    pub(super) access: Access,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRegistry {
    images: Option<Entries<Option<Vec<Spanned<String>>>>>,
    images_by_tag_regex: Option<Entries<Spanned<String>>>,
    images_by_semver: Option<Entries<Spanned<String>>>,
    credentials: Option<Login>,
    tls_verify: Option<bool>,
    cert_dir: Option<String>,
}

/// How a registry is reached.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Access {
    pub(super) credentials: Option<Login>,
    pub(super) tls_verify: Option<bool>,
    pub(super) cert_dir: Option<String>,
}

/// A user; the names are skopeo's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) identitytoken: Option<String>,
}

/// Our own file.
#[derive(Debug)]
pub(super) struct Ours {
    pub(super) version: Spanned<u64>,
    pub(super) registries: Option<Entries<Option<Access>>>,
    pub(super) sync: Vec<Entry>,
}

/// An entry of our own file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Entry {
    pub(super) source: Spanned<String>,
    pub(super) target: Option<Spanned<String>>,
    pub(super) into: Option<Spanned<String>>,
    pub(super) scoped: Option<bool>,
    pub(super) repositories: Option<Vec<Spanned<String>>>,
    pub(super) tags: Option<Vec<Spanned<String>>>,
    pub(super) digests: Option<Vec<Spanned<String>>>,
    pub(super) tag_regex: Option<Spanned<String>>,
    pub(super) semver: Option<Spanned<String>>,
    pub(super) allow: Option<Vec<Spanned<String>>>,
    pub(super) deny: Option<Vec<Spanned<String>>>,
    pub(super) newest: Option<usize>,
    pub(super) newest_by: Option<Spanned<String>>,
    pub(super) platforms: Option<Vec<Spanned<String>>>,
    pub(super) suffix: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for Map<T> {
            type Value = Entries<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Map(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Registry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawRegistry::deserialize(deserializer)?;
        Ok(Self {
            images: raw.images,
            images_by_tag_regex: raw.images_by_tag_regex,
            images_by_semver: raw.images_by_semver,
            access: Access {
                credentials: raw.credentials,
                tls_verify: raw.tls_verify,
                cert_dir: raw.cert_dir,
            },
        })
    }
}

impl<'de> Deserialize<'de> for Skopeo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Skopeo;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of registries")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Skopeo, A::Error> {
                let mut registries = Vec::new();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    if is_private(&key.value) {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        registries.push((key, map.next_value()?));
                    }
                }
                Ok(Skopeo(registries))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

impl<'de> Deserialize<'de> for Ours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Ours;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map with the keys version, registries and sync")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ours, A::Error> {
                let (mut version, mut registries, mut sync) = (None, None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "version" => version = Some(map.next_value()?),
                        "registries" => registries = map.next_value()?,
                        "sync" => sync = map.next_value()?,
                        key if is_private(key) => drop(map.next_value::<IgnoredAny>()?),
                        key => {
                            return Err(A::Error::unknown_field(
                                key,
                                &["version", "registries", "sync"],
                            ));
                        }
                    }
                }
                Ok(Ours {
                    version: version.ok_or_else(|| A::Error::missing_field("version"))?,
                    registries,
                    sync: sync.unwrap_or_default(),
                })
            }
        }
        deserializer.deserialize_map(Map)
    }
}

fn is_private(key: &str) -> bool {
    key.starts_with("x-")
}
