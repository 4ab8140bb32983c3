//! `-v SOURCE:TARGET[:OPTIONS]`, read. Pure.

use oci_spec::runtime::Mount;
use std::{
    path::{Component, Path, PathBuf},
    str::FromStr,
};
use thiserror::Error;

const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "slave", "rslave", "shared", "rshared",
];

/// One `-v SOURCE:TARGET[:OPTIONS]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Path on the host; [`Volume::based_on`] makes it absolute.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: String,
    /// Whether the container may only read it.
    pub read_only: bool,
    /// Mount options beside `ro`/`rw`, as the specification names them.
    pub options: Vec<String>,
}

/// Why a `-v` word cannot be followed.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum VolumeError {
    /// Not two or three parts.
    #[error("volume {0:?} is not SOURCE:TARGET[:OPTIONS]")]
    Shape(String),
    /// The source is a name.
    #[error(
        "volume source {0:?} is a name, and there are no named volumes: for a directory write ./{0} or its absolute path"
    )]
    Name(String),
    /// The target is not usable.
    #[error("volume target {0:?} is not an absolute path below / without `..`")]
    Target(String),
    /// A word nobody knows.
    #[error("unknown volume option {0:?}")]
    Unknown(String),
    /// An option that is known and not done here.
    #[error("volume option {0:?} is not supported")]
    Unsupported(String),
    /// Two words that exclude each other.
    #[error("volume options {0:?} and {1:?} exclude each other")]
    Conflict(String, String),
}

impl From<VolumeError> for crate::error::Error {
    fn from(error: VolumeError) -> Self {
        let kind = match &error {
            VolumeError::Unsupported(option) => crate::error::ErrorKind::Unsupported {
                feature: format!("volume option {option}"),
            },
            _ => crate::error::ErrorKind::InvalidSpec {
                field: "mounts".to_owned(),
            },
        };
        Self::new(kind, "read the volumes").with_source(error)
    }
}

impl FromStr for Volume {
    type Err = VolumeError;

    fn from_str(word: &str) -> Result<Self, VolumeError> {
        let parts: Vec<&str> = word.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [source, target] => (*source, *target, ""),
            [source, target, options] => (*source, *target, *options),
            _ => return Err(VolumeError::Shape(word.to_owned())),
        };
        if source.is_empty() || word.contains('\0') {
            return Err(VolumeError::Shape(word.to_owned()));
        }
        // A bare name means a named volume in docker; making it a directory would put the data somewhere unexpected.
        if !source.starts_with(['/', '.']) {
            return Err(VolumeError::Name(source.to_owned()));
        }
        let path = Path::new(target);
        let names = path
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .count();
        let climbs = path.components().any(|part| part == Component::ParentDir);
        if !path.is_absolute() || names == 0 || climbs {
            return Err(VolumeError::Target(target.to_owned()));
        }
        let (read_only, options) = read_options(options)?;
        Ok(Self {
            source: source.into(),
            target: target.to_owned(),
            read_only,
            options,
        })
    }
}

/// Whether it is read-only, and the words the runtime takes.
fn read_options(text: &str) -> Result<(bool, Vec<String>), VolumeError> {
    let mut options: Vec<String> = Vec::new();
    let mut seen: Vec<(usize, &str)> = Vec::new();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        let group = match word {
            "ro" | "rw" => 0,
            "bind" | "rbind" => 1,
            "suid" | "nosuid" => 2,
            "dev" | "nodev" => 3,
            "exec" | "noexec" => 4,
            word if PROPAGATIONS.contains(&word) => 5,
            // SELinux labels, shared and private: where SELinux is not enforced there is nothing to relabel, and scripts say it
            // everywhere. Where it is, the runtime refuses labels as a whole.
            "z" | "Z" => continue,
            "U" | "O" | "idmap" | "copy" | "nocopy" => {
                return Err(VolumeError::Unsupported(word.to_owned()));
            }
            _ => return Err(VolumeError::Unknown(word.to_owned())),
        };
        if let Some((_, other)) = seen
            .iter()
            .find(|(known, other)| *known == group && *other != word)
        {
            return Err(VolumeError::Conflict((*other).to_owned(), word.to_owned()));
        }
        seen.push((group, word));
        if group != 0 && !options.iter().any(|known| known == word) {
            options.push(word.to_owned());
        }
    }
    Ok((seen.contains(&(0, "ro")), options))
}

impl Volume {
    /// The same volume with a relative source taken from `directory`.
    #[must_use]
    pub fn based_on(mut self, directory: &Path) -> Self {
        if self.source.is_relative() {
            self.source = directory.join(&self.source);
        }
        self
    }

    /// The mount: recursive, private, without device nodes and set-uid programs, unless the options say otherwise.
    pub fn to_mount(&self) -> Mount {
        let mut options = self.options.clone();
        let mut default = |choices: &[&str], word: &str| {
            if !options
                .iter()
                .any(|known| choices.contains(&known.as_str()))
            {
                options.push(word.to_owned());
            }
        };
        default(&["bind", "rbind"], "rbind");
        default(&PROPAGATIONS, "rprivate");
        default(&["suid", "nosuid"], "nosuid");
        default(&["dev", "nodev"], "nodev");
        options.push(if self.read_only { "ro" } else { "rw" }.to_owned());
        let mut mount = Mount::default();
        mount
            .set_destination(PathBuf::from(&self.target))
            .set_typ(Some("bind".to_owned()))
            .set_source(Some(self.source.clone()))
            .set_options(Some(options));
        mount
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(word: &str) -> Vec<String> {
        let volume: Volume = word.parse().unwrap();
        volume.to_mount().options().clone().unwrap()
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(
            options("/a:/b"),
            ["rbind", "rprivate", "nosuid", "nodev", "rw"]
        );
        assert_eq!(
            options("/a:/b:"),
            ["rbind", "rprivate", "nosuid", "nodev", "rw"]
        );
        assert_eq!(
            options("/a:/b:ro"),
            ["rbind", "rprivate", "nosuid", "nodev", "ro"]
        );
        assert_eq!(
            options("/a:/b:ro,Z,bind,rslave,suid,dev,noexec"),
            ["bind", "rslave", "suid", "dev", "noexec", "ro"]
        );
        assert_eq!(
            options("/a:/b:ro,ro,rbind,rbind"),
            ["rbind", "rprivate", "nosuid", "nodev", "ro"]
        );
        let relative: Volume = "./data:/data".parse().unwrap();
        assert_eq!(
            relative.based_on(Path::new("/srv/ann")).source,
            Path::new("/srv/ann/./data")
        );
    }

    #[test]
    fn every_mistake_is_named() {
        let text = |word: &str| word.parse::<Volume>().unwrap_err();
        for word in ["", "/data", ":/x", "/a:/b:ro:x", "/a\0:/b"] {
            assert!(matches!(text(word), VolumeError::Shape(_)), "{word:?}");
        }
        assert_eq!(text("data:/x"), VolumeError::Name("data".to_owned()));
        for target in ["x", "", "/", "//", "/.", "/a/../b", "../x"] {
            assert_eq!(
                text(&format!("/a:{target}")),
                VolumeError::Target(target.to_owned()),
                "{target:?}"
            );
        }
        assert_eq!(text("/a:/b:RO"), VolumeError::Unknown("RO".to_owned()));
        assert_eq!(text("/a:/b:U"), VolumeError::Unsupported("U".to_owned()));
        assert_eq!(
            text("/a:/b:ro,rw"),
            VolumeError::Conflict("ro".to_owned(), "rw".to_owned())
        );
        assert_eq!(
            text("/a:/b:shared,rprivate"),
            VolumeError::Conflict("shared".to_owned(), "rprivate".to_owned())
        );
        assert!(text("data:/x").to_string().contains("./data"));
    }
}
