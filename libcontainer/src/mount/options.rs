//! The words of a mount's option list, as `mount(8)` and the runtime specification spell them. Pure.

use thiserror::Error;

use crate::error::{Error, ErrorKind};
use crate::sys::mount::MountAttributes;

const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;
/// All bits of the access time mode; they have to be cleared when one is set.
const ATIME: u64 = 0x70;
const RELATIME: u64 = 0x0;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x20_0000;

/// A word, the attributes it sets, the attributes it clears.
type Word = (&'static str, u64, u64);

/// Words about attributes of a mount. With an `r` in front they are about the whole tree (`rro`).
const ATTRIBUTES: [Word; 18] = [
    ("ro", RDONLY, 0),
    ("rw", 0, RDONLY),
    ("nosuid", NOSUID, 0),
    ("suid", 0, NOSUID),
    ("nodev", NODEV, 0),
    ("dev", 0, NODEV),
    ("noexec", NOEXEC, 0),
    ("exec", 0, NOEXEC),
    ("noatime", NOATIME, ATIME),
    ("atime", 0, NOATIME),
    ("relatime", RELATIME, ATIME),
    ("norelatime", 0, RELATIME),
    ("strictatime", STRICTATIME, ATIME),
    ("nostrictatime", 0, STRICTATIME),
    ("nodiratime", NODIRATIME, 0),
    ("diratime", 0, NODIRATIME),
    ("nosymfollow", NOSYMFOLLOW, 0),
    ("symfollow", 0, NOSYMFOLLOW),
];

/// How mounts and unmounts travel between copies of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`.
    pub flag: u64,
    /// The whole tree.
    pub recursive: bool,
}

impl Propagation {
    /// Reads `private`, `rslave` and the like.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let (bare, recursive) = match word.strip_prefix('r') {
            Some(bare) => (bare, true),
            None => (word, false),
        };
        let flag = match bare {
            "shared" => libc::MS_SHARED,
            "slave" => libc::MS_SLAVE,
            "private" => libc::MS_PRIVATE,
            "unbindable" => libc::MS_UNBINDABLE,
            _ => return None,
        };
        Some(Self { flag, recursive })
    }
}

/// Why a list of options cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionError {
    /// The option is known, and not done here.
    #[error("mount option {word:?} is not supported")]
    Unsupported {
        /// The option.
        word: String,
    },
    /// A bind mount has no file system to hand this option to.
    #[error("bind mounts have no option {word:?}")]
    NotForBind {
        /// The option.
        word: String,
    },
}

impl OptionError {
    /// The facade's error, for the mount at `field`.
    pub(crate) fn into_error(self, field: String) -> Error {
        let kind = match &self {
            Self::Unsupported { word } => ErrorKind::Unsupported {
                feature: format!("mount option {word}"),
            },
            Self::NotForBind { .. } => ErrorKind::InvalidSpec { field },
        };
        Error::new(kind, "mount options").with_source(self)
    }
}

/// What a list of options says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// Attributes of the mount itself.
    pub attributes: MountAttributes,
    /// Attributes of the mount and all mounts below it.
    pub recursive_attributes: MountAttributes,
    /// Propagation, in the order given.
    pub propagation: Vec<Propagation>,
    /// It is a bind mount.
    pub bind: bool,
    /// It is a bind mount of a whole tree.
    pub recursive: bool,
    /// What is on the mount point is copied into the new tmpfs.
    pub copy_up: bool,
    /// Options for the file system itself: `size=64k`, `newinstance`.
    pub data: Vec<(String, Option<String>)>,
}

impl MountOptions {
    /// Reads a list of options; `kind` is the mount's `type`.
    ///
    /// # Errors
    /// An option that is known but not supported, or that a bind mount cannot have.
    pub fn parse<S: AsRef<str>>(kind: Option<&str>, words: &[S]) -> Result<Self, OptionError> {
        let mut options = Self {
            bind: kind == Some("bind"),
            ..Self::default()
        };
        for word in words.iter().map(AsRef::as_ref) {
            options.word(word)?;
        }
        if options.bind
            && let Some((key, _)) = options.data.first()
        {
            return Err(OptionError::NotForBind { word: key.clone() });
        }
        Ok(options)
    }

    fn word(&mut self, word: &str) -> Result<(), OptionError> {
        match word {
            // `defaults` and the words of mount(8) for who may mount mean nothing here.
            "" | "defaults" | "async" | "auto" | "noauto" | "user" | "nouser" | "users"
            | "owner" | "_netdev" | "nofail" | "loud" | "nolazytime" | "noiversion" | "nomand" => {}
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "tmpcopyup" => self.copy_up = true,
            "remount" | "idmap" | "ridmap" | "copy-symlink" | "src-nofollow" | "dest-nofollow" => {
                return Err(OptionError::Unsupported {
                    word: word.to_owned(),
                });
            }
            _ => {
                if let Some(propagation) = Propagation::parse(word) {
                    self.propagation.push(propagation);
                } else if !self.attribute(word) {
                    self.datum(word);
                }
            }
        }
        Ok(())
    }

    /// Takes `word` if it is about attributes.
    fn attribute(&mut self, word: &str) -> bool {
        let find = |wanted: &str| ATTRIBUTES.iter().find(|(known, ..)| *known == wanted);
        // `relatime` is a word of its own, so the plain words are looked up first.
        if let Some((_, set, clear)) = find(word) {
            apply(&mut self.attributes, *set, *clear);
            return true;
        }
        if let Some((_, set, clear)) = word.strip_prefix('r').and_then(find) {
            apply(&mut self.recursive_attributes, *set, *clear);
            return true;
        }
        false
    }

    fn datum(&mut self, word: &str) {
        let datum = match word.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (word.to_owned(), None),
        };
        self.data.push(datum);
    }

    /// The attributes a new mount is made with (`fsmount` has nothing to clear: a new mount has no attribute but `relatime`).
    #[must_use]
    pub fn new_mount_attributes(&self) -> u64 {
        self.attributes.set | self.recursive_attributes.set
    }
}

/// A later word wins over an earlier one.
fn apply(attributes: &mut MountAttributes, set: u64, clear: u64) {
    attributes.set = attributes.set & !clear | set;
    attributes.clear = attributes.clear & !(set & !ATIME) | clear;
    // Of the access time modes the kernel wants all bits cleared, or none.
    if attributes.clear & ATIME != 0 || attributes.set & ATIME != 0 {
        attributes.clear |= ATIME;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> MountOptions {
        MountOptions::parse(None, words).unwrap()
    }

    #[test]
    fn the_last_word_wins() {
        assert_eq!(
            parse(&["ro", "rw"]).attributes,
            MountAttributes {
                clear: RDONLY,
                ..Default::default()
            }
        );
        assert_eq!(
            parse(&["rw", "ro"]).attributes,
            MountAttributes {
                set: RDONLY,
                ..Default::default()
            }
        );
        assert_eq!(
            parse(&["noatime", "strictatime"]).attributes,
            MountAttributes {
                set: STRICTATIME,
                clear: ATIME,
                ..Default::default()
            }
        );
        assert_eq!(
            parse(&["noatime", "relatime"]).attributes,
            MountAttributes {
                clear: ATIME,
                ..Default::default()
            }
        );
    }

    #[test]
    fn an_r_in_front_means_the_whole_tree() {
        let options = parse(&["rbind", "rro", "rnosuid", "rprivate", "slave"]);
        assert!(options.bind && options.recursive);
        assert_eq!(options.recursive_attributes.set, RDONLY | NOSUID);
        assert_eq!(options.attributes, MountAttributes::default());
        let flags: Vec<_> = options
            .propagation
            .iter()
            .map(|one| (one.flag, one.recursive))
            .collect();
        assert_eq!(flags, [(libc::MS_PRIVATE, true), (libc::MS_SLAVE, false)]);
    }

    #[test]
    fn what_is_not_known_belongs_to_the_file_system() {
        let options = parse(&["nosuid", "mode=1777", "size=65536k", "newinstance"]);
        let data: Vec<_> = options
            .data
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()))
            .collect();
        assert_eq!(
            data,
            [
                ("mode", Some("1777")),
                ("size", Some("65536k")),
                ("newinstance", None)
            ]
        );
        assert!(MountOptions::parse(Some("bind"), &["size=1k"]).is_err());
    }

    #[test]
    fn what_is_not_done_is_refused() {
        for word in ["idmap", "ridmap", "remount"] {
            assert!(
                MountOptions::parse(Some("bind"), &[word]).is_err(),
                "{word}"
            );
        }
    }
}
