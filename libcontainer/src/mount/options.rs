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

/// Words about a file system as a whole that the kernel takes for each (`mount(8)`, "filesystem-independent mount options").
pub(crate) const SUPERBLOCK: [&str; 5] = ["dirsync", "iversion", "lazytime", "mand", "sync"];

/// What a new tmpfs is told, and configurations that are made out of templates say of bind mounts too.
const OF_TMPFS: [&str; 6] = ["gid", "mode", "nr_blocks", "nr_inodes", "size", "uid"];

/// Words that need nothing done: defaults, and who may mount.
const NOTHING: [&str; 16] = [
    "",
    "_netdev",
    "async",
    "auto",
    "defaults",
    "loud",
    "noauto",
    "nofail",
    "noiversion",
    "nolazytime",
    "nomand",
    "nouser",
    "owner",
    // It is about the kernel's log, and the present interface for mounts writes nothing there.
    "silent",
    "user",
    "users",
];

/// Words about propagation, each also with an `r` in front.
const PROPAGATION: [&str; 4] = ["private", "shared", "slave", "unbindable"];

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
    /// Only a bind mount has this option.
    #[error("mount option {word:?} is for bind mounts only")]
    OnlyForBind {
        /// The option.
        word: &'static str,
    },
    /// Only a tmpfs has this option.
    #[error("mount option {word:?} is for mounts of type tmpfs only")]
    OnlyForTmpfs {
        /// The option.
        word: &'static str,
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
            Self::NotForBind { .. } | Self::OnlyForBind { .. } | Self::OnlyForTmpfs { .. } => {
                ErrorKind::InvalidSpec { field }
            }
        };
        Error::new(kind, "mount options").with_source(self)
    }
}

/// How much of a bind mount is id-mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapScope {
    /// `idmap`: the mount itself.
    Mount,
    /// `ridmap`: the mount and all mounts below it.
    Tree,
}

/// What is done with a symlink that is the last part of a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Links {
    /// `src-nofollow`: a source that is a symlink is bound itself.
    pub keep_source: bool,
    /// `dest-nofollow`: a mount point that is a symlink is covered itself.
    pub keep_target: bool,
    /// `copy-symlink`: a source that is a symlink is made anew in the container instead of being bound.
    pub copy: bool,
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
    /// Ids of files are mapped (`idmap`), for the mount alone or, with `ridmap`, the whole tree.
    pub idmap: Option<MapScope>,
    /// What is done with symlinks at the ends of the source and the mount point.
    pub links: Links,
    /// Words about a file system as a whole, which a bind mount cannot change.
    pub without_effect: Vec<String>,
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
        if options.bind {
            options.bound()?;
        } else if let Some(word) = options.only_for_bind() {
            return Err(OptionError::OnlyForBind { word });
        }
        if options.copy_up && kind != Some("tmpfs") {
            return Err(OptionError::OnlyForTmpfs { word: "tmpcopyup" });
        }
        Ok(options)
    }

    fn word(&mut self, word: &str) -> Result<(), OptionError> {
        match word {
            _ if NOTHING.contains(&word) => {}
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.idmap = Some(MapScope::Mount),
            "ridmap" => self.idmap = Some(MapScope::Tree),
            "src-nofollow" => self.links.keep_source = true,
            "dest-nofollow" => self.links.keep_target = true,
            "copy-symlink" => self.links.copy = true,
            "remount" => {
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

    /// Takes out what a bind mount has no file system for.
    fn bound(&mut self) -> Result<(), OptionError> {
        for (key, value) in std::mem::take(&mut self.data) {
            let known = match value {
                None => SUPERBLOCK.contains(&key.as_str()),
                // Other runtimes pass them on, and the kernel ignores them.
                Some(_) => OF_TMPFS.contains(&key.as_str()),
            };
            if !known {
                return Err(OptionError::NotForBind { word: key });
            }
            self.without_effect.push(key);
        }
        Ok(())
    }

    /// A word that means something for bind mounts alone.
    const fn only_for_bind(&self) -> Option<&'static str> {
        match (self.idmap, self.links) {
            (Some(MapScope::Mount), _) => Some("idmap"),
            (Some(MapScope::Tree), _) => Some("ridmap"),
            (
                None,
                Links {
                    keep_source: true, ..
                },
            ) => Some("src-nofollow"),
            (None, Links { copy: true, .. }) => Some("copy-symlink"),
            (None, _) => None,
        }
    }

    /// All words that are understood, sorted; others are left to the file system.
    #[must_use]
    pub fn words() -> Vec<String> {
        let own = [
            "bind",
            "copy-symlink",
            "dest-nofollow",
            "idmap",
            "rbind",
            "ridmap",
            "src-nofollow",
            "tmpcopyup",
        ];
        let both = ATTRIBUTES.iter().map(|(word, ..)| *word).chain(PROPAGATION);
        let nothing = NOTHING.into_iter().filter(|word| !word.is_empty());
        let mut words: Vec<String> = both
            .flat_map(|word| [word.to_owned(), format!("r{word}")])
            .chain(
                own.into_iter()
                    .chain(SUPERBLOCK)
                    .chain(nothing)
                    .map(str::to_owned),
            )
            .collect();
        words.sort();
        words
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
        for word in ["subvol=x", "size", "newinstance"] {
            assert!(
                MountOptions::parse(Some("bind"), &[word]).is_err(),
                "{word}"
            );
        }
    }

    #[test]
    fn what_is_not_done_is_refused() {
        let cases = [
            (Some("bind"), "remount"),
            (Some("bind"), "tmpcopyup"),
            (Some("tmpfs"), "idmap"),
            (Some("tmpfs"), "ridmap"),
            (Some("tmpfs"), "src-nofollow"),
            (Some("tmpfs"), "copy-symlink"),
            (Some("proc"), "tmpcopyup"),
        ];
        for (kind, word) in cases {
            assert!(MountOptions::parse(kind, &[word]).is_err(), "{word}");
        }
    }

    #[test]
    fn a_bind_mount_does_not_change_its_file_system() {
        let options = MountOptions::parse(Some("bind"), &["silent", "lazytime", "sync"]).unwrap();
        assert_eq!(options.without_effect, ["lazytime", "sync"]);
        assert_eq!(options.data, []);
        let options = MountOptions::parse(Some("bind"), &["mode=755", "size=1k"]).unwrap();
        assert_eq!(options.without_effect, ["mode", "size"]);
        assert_eq!(options.data, []);
    }

    #[test]
    fn every_word_that_is_listed_is_understood() {
        let words = MountOptions::words();
        for expected in [
            "rro",
            "rnosymfollow",
            "rshared",
            "ridmap",
            "tmpcopyup",
            "iversion",
        ] {
            assert!(words.iter().any(|word| word == expected), "{expected}");
        }
        for word in &words {
            let kinds = [Some("bind"), Some("tmpfs")];
            let read = |kind| {
                MountOptions::parse(kind, &[word])
                    .is_ok_and(|read| read.data.is_empty() || SUPERBLOCK.contains(&word.as_str()))
            };
            assert!(kinds.into_iter().any(read), "{word}");
        }
    }
}
