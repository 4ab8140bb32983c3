//! What is in a layer? A list of entries in the order in which the archive holds them.

use super::archive;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file with its content.
    File(Vec<u8>),
    /// A symbolic link and its target.
    Symlink(String),
    /// A hard link and the path of the entry it repeats.
    Hardlink(String),
    /// A named pipe.
    Fifo,
    /// A character device: major and minor number.
    Char(u32, u32),
    /// A block device: major and minor number.
    Block(u32, u32),
}

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path as the archive spells it.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Modification time in seconds since 1970.
    pub mtime: u64,
    /// Extended attributes.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// The time every entry gets unless it says otherwise: 2025-01-01.
pub(super) const MTIME: u64 = 1_735_689_600;

/// A layer's entries, in archive order.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    pub(super) entries: Vec<Entry>,
}

impl Tree {
    /// Makes an empty tree.
    pub fn new() -> Tree {
        Tree::default()
    }

    /// Adds an entry.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Tree {
        self.entries.push(entry);
        self
    }

    fn with(self, path: &str, mode: u32, kind: Kind) -> Tree {
        self.entry(Entry {
            path: path.to_owned(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: MTIME,
            xattrs: Vec::new(),
        })
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(self, path: &str, mode: u32) -> Tree {
        self.with(path, mode, Kind::Dir)
    }

    /// Adds a regular file.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Tree {
        self.with(path, mode, Kind::File(content.as_ref().to_vec()))
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Tree {
        self.with(path, 0o777, Kind::Symlink(target.to_owned()))
    }

    /// Adds a hard link to an earlier entry.
    #[must_use]
    pub fn hardlink(self, path: &str, target: &str) -> Tree {
        self.with(path, 0o644, Kind::Hardlink(target.to_owned()))
    }

    /// Adds the whiteout that removes `path` of the layers below.
    #[must_use]
    pub fn whiteout(self, path: &str) -> Tree {
        let (parent, name) = path
            .rsplit_once('/')
            .map_or(("", path), |(parent, name)| (parent, name));
        let slash = if parent.is_empty() { "" } else { "/" };
        self.with(
            &format!("{parent}{slash}.wh.{name}"),
            0o644,
            Kind::File(Vec::new()),
        )
    }

    /// Adds the marker that hides what the layers below have in the directory `path`.
    #[must_use]
    pub fn opaque(self, path: &str) -> Tree {
        self.with(
            &format!("{path}/.wh..wh..opq"),
            0o644,
            Kind::File(Vec::new()),
        )
    }

    /// Sets owner and group of the entry added last.
    ///
    /// # Panics
    /// When the tree is empty.
    #[must_use]
    pub fn owner(mut self, uid: u64, gid: u64) -> Tree {
        let last = self.entries.last_mut().expect("an entry was added");
        (last.uid, last.gid) = (uid, gid);
        self
    }

    /// Sets an extended attribute of the entry added last.
    ///
    /// # Panics
    /// When the tree is empty.
    #[must_use]
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Tree {
        self.entries
            .last_mut()
            .expect("an entry was added")
            .xattrs
            .push((name.to_owned(), value.to_vec()));
        self
    }

    /// Returns the entries in archive order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the archive: ustar, with PAX records only where a field does not fit.
    pub fn tar(&self) -> Vec<u8> {
        archive::write(&self.entries)
    }
}
