//! What an overlay's upper directory changes: walked once beside the directories below, into a sorted list.

use std::os::fd::{AsFd, OwnedFd};

use cap_std::fs::Dir;
use rustix::{
    fs::{FileType, OFlags, Stat},
    io::Errno,
};

use super::{
    DiffOptions, LayerError,
    metadata::entry,
    path::shown,
    pax::Xattr,
    tree::{is_type, is_whiteout, stat},
    xattr,
};
use crate::inroot::{RootDir, names};

/// Something to write.
#[derive(Debug)]
pub(super) struct Item {
    /// As the archive orders it, without a slash at the end: that of the whiteout, not of what it hides; empty for the root.
    pub(super) path: Vec<u8>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Directory {
        stat: Stat,
        xattrs: Vec<Xattr>,
    },
    /// The mark that a directory hides those below.
    Opaque,
    Whiteout,
    /// Neither directory nor socket.
    File {
        stat: Stat,
    },
}

/// Everything that changes, in the order of the archive, and the number of sockets left out.
pub(super) fn scan(
    upper: &RootDir,
    lowers: &[Dir],
    options: &DiffOptions,
) -> Result<(Vec<Item>, u64), LayerError> {
    let lowers = lowers
        .iter()
        .map(RootDir::new)
        .collect::<Result<Vec<_>, _>>();
    let lowers = lowers.map_err(|source| LayerError::Entry {
        operation: "open the directories below",
        path: shown(b""),
        source,
    })?;
    let mut scanner = Scanner {
        upper,
        lowers,
        options,
        items: Vec::new(),
        sockets: 0,
    };
    let mut pending = vec![scanner.root()?];
    while let Some(directory) = pending.pop() {
        scanner.directory(&directory, &mut pending)?;
    }
    let mut items = scanner.items;
    // Bytewise by path; the mark of a directory right after it, before "a.b" which sorts before "a/b".
    items.sort_unstable_by(|left, right| {
        (&left.path, matches!(left.what, What::Opaque))
            .cmp(&(&right.path, matches!(right.what, What::Opaque)))
    });
    Ok((items, scanner.sockets))
}

struct Scanner<'a> {
    upper: &'a RootDir,
    lowers: Vec<RootDir>,
    options: &'a DiffOptions,
    items: Vec<Item>,
    sockets: u64,
}

/// A directory of the upper tree to look into.
struct Pending {
    path: Vec<u8>,
    /// Which of the lower trees contribute to it, topmost first.
    below: Vec<usize>,
    /// Overlay wrote whiteouts in here as attributes of empty files.
    attribute_whiteouts: bool,
}

/// What the lower trees together show at a path.
#[derive(Default)]
struct Below {
    stat: Option<Stat>,
    /// The tree that shows it, and those that contribute if it is a directory.
    trees: Vec<usize>,
}

impl Scanner<'_> {
    fn root(&mut self) -> Result<Pending, LayerError> {
        let directory = self
            .upper
            .exact(b"", OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(entry("open", b""))?;
        let ours = rustix::fs::fstat(&directory).map_err(entry("find", b""))?;
        let (xattrs, _) = read_xattrs(&directory, b"")?;
        let same = match self.lowers.first() {
            Some(lower) => {
                let lower = lower
                    .exact(b"", OFlags::RDONLY | OFlags::DIRECTORY)
                    .map_err(entry("open below", b""))?;
                let theirs = rustix::fs::fstat(&lower).map_err(entry("find below", b""))?;
                same_owner_and_mode(&ours, &theirs) && read_xattrs(&lower, b"")?.0 == xattrs
            }
            // What applying a layer without a member for its root makes.
            None => {
                (ours.st_mode & 0o7777, ours.st_uid, ours.st_gid) == (0o755, 0, 0)
                    && xattrs.is_empty()
            }
        };
        if !same {
            self.items.push(Item {
                path: Vec::new(),
                what: What::Directory { stat: ours, xattrs },
            });
        }
        let below = (0..self.lowers.len()).collect();
        Ok(Pending {
            path: Vec::new(),
            below,
            attribute_whiteouts: self.opaque_value(&directory, b"")?.as_deref() == Some(b"x"),
        })
    }

    fn directory(&mut self, at: &Pending, pending: &mut Vec<Pending>) -> Result<(), LayerError> {
        let directory = self
            .upper
            .exact(&at.path, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(entry("open", &at.path))?;
        let mut below = Vec::new();
        for tree in &at.below {
            let opened = self.lowers[*tree].exact(&at.path, OFlags::PATH | OFlags::DIRECTORY);
            below.push((*tree, opened.map_err(entry("open below", &at.path))?));
        }
        let listed = names(&directory).map_err(|source| LayerError::Entry {
            operation: "read",
            path: shown(&at.path),
            source,
        })?;
        for name in listed {
            let path = join(&at.path, &name);
            // What vanished since the listing is like what was removed before it.
            let Some(ours) = stat(&directory, &name, &path)? else {
                continue;
            };
            self.child(at, &directory, &below, &name, path, ours, pending)?;
        }
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the state of one step of the walk, taken apart for the borrow checker"
    )]
    fn child(
        &mut self,
        at: &Pending,
        directory: &OwnedFd,
        below: &[(usize, OwnedFd)],
        name: &[u8],
        path: Vec<u8>,
        ours: Stat,
        pending: &mut Vec<Pending>,
    ) -> Result<(), LayerError> {
        if name.starts_with(b".wh.") {
            return Err(LayerError::NotALayer {
                path: shown(&path),
                what: "names that begin with .wh. mean removal",
            });
        }
        let below = self.look_below(below, name, &path)?;
        if is_whiteout(&ours)
            || (at.attribute_whiteouts
                && self.is_attribute_whiteout(directory, name, &path, &ours)?)
        {
            // What hides nothing is not worth a word; without layers below it cannot hide anything.
            if below.stat.is_some() {
                self.items.push(Item {
                    path: join(&at.path, &[b".wh.", name].concat()),
                    what: What::Whiteout,
                });
            }
            return Ok(());
        }
        match FileType::from_raw_mode(ours.st_mode) {
            FileType::Socket => self.sockets += 1,
            FileType::Directory => pending.push(self.subdirectory(path, ours, below)?),
            _ => self.items.push(Item {
                path,
                what: What::File { stat: ours },
            }),
        }
        Ok(())
    }

    fn subdirectory(
        &mut self,
        path: Vec<u8>,
        ours: Stat,
        mut below: Below,
    ) -> Result<Pending, LayerError> {
        let opened = self
            .upper
            .exact(&path, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(entry("open", &path))?;
        let (xattrs, elsewhere) = read_xattrs(&opened, &path)?;
        if elsewhere {
            return Err(LayerError::NotALayer {
                path: shown(&path),
                what: "overlay moved it by redirect_dir, which must be off",
            });
        }
        let opaque = self.opaque_value(&opened, &path)?;
        let is_opaque = opaque.as_deref() == Some(b"y");
        let covers = below
            .stat
            .as_ref()
            .is_some_and(|theirs| is_type(theirs, FileType::Directory));
        if is_opaque {
            below.trees.clear();
        }
        let same = covers && !is_opaque && self.same_as_below(&path, &ours, &xattrs, &below)?;
        if !same {
            self.items.push(Item {
                path: path.clone(),
                what: What::Directory { stat: ours, xattrs },
            });
        }
        if is_opaque && covers {
            self.items.push(Item {
                path: path.clone(),
                what: What::Opaque,
            });
        }
        let below = if covers { below.trees } else { Vec::new() };
        Ok(Pending {
            path,
            below,
            attribute_whiteouts: opaque.as_deref() == Some(b"x"),
        })
    }

    /// Tells whether a directory differs from the one below in nothing but times and content.
    fn same_as_below(
        &self,
        path: &[u8],
        ours: &Stat,
        xattrs: &[Xattr],
        below: &Below,
    ) -> Result<bool, LayerError> {
        let (Some(theirs), Some(tree)) = (&below.stat, below.trees.first()) else {
            return Ok(false);
        };
        if !same_owner_and_mode(ours, theirs) {
            return Ok(false);
        }
        let lower = self.lowers[*tree]
            .exact(path, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(entry("open below", path))?;
        Ok(read_xattrs(&lower, path)?.0 == xattrs)
    }

    /// Looks a name up in the lower directories, as overlay does.
    fn look_below(
        &self,
        below: &[(usize, OwnedFd)],
        name: &[u8],
        path: &[u8],
    ) -> Result<Below, LayerError> {
        let mut found = Below::default();
        for (tree, directory) in below {
            let Some(theirs) = stat(directory, name, path)? else {
                continue;
            };
            if is_whiteout(&theirs) {
                break;
            }
            if !is_type(&theirs, FileType::Directory) {
                // Below a directory it is hidden, and hides what is below itself.
                found.stat = found.stat.or(Some(theirs));
                break;
            }
            found.stat = found.stat.or(Some(theirs));
            found.trees.push(*tree);
            let opened = self.lowers[*tree]
                .exact(path, OFlags::RDONLY | OFlags::DIRECTORY)
                .map_err(entry("open below", path))?;
            if self.opaque_value(&opened, path)?.as_deref() == Some(b"y") {
                break;
            }
        }
        Ok(found)
    }

    fn opaque_value(
        &self,
        directory: &OwnedFd,
        path: &[u8],
    ) -> Result<Option<Vec<u8>>, LayerError> {
        let name = self.options.overlay_xattrs.opaque().as_bytes();
        xattr::get(directory, name).map_err(|source| LayerError::Entry {
            operation: "read attributes of",
            path: shown(path),
            source,
        })
    }

    /// Tells whether an empty file is what newer kernels make in place of a device 0:0.
    fn is_attribute_whiteout(
        &self,
        directory: &OwnedFd,
        name: &[u8],
        path: &[u8],
        ours: &Stat,
    ) -> Result<bool, LayerError> {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        if !is_type(ours, FileType::RegularFile) || ours.st_size != 0 {
            return Ok(false);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(
            directory,
            OsStr::from_bytes(name),
            flags,
            rustix::fs::Mode::empty(),
        )
        .map_err(entry("open", path))?;
        let value = xattr::get(file, self.options.overlay_xattrs.whiteout().as_bytes());
        Ok(value
            .map_err(|source| LayerError::Entry {
                operation: "read attributes of",
                path: shown(path),
                source,
            })?
            .is_some())
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        name.to_vec()
    } else {
        [directory, b"/", name].concat()
    }
}

fn same_owner_and_mode(left: &Stat, right: &Stat) -> bool {
    (left.st_mode, left.st_uid, left.st_gid) == (right.st_mode, right.st_uid, right.st_gid)
}

/// Returns the attributes a layer carries, and whether overlay's own say that the content is elsewhere.
pub(super) fn read_xattrs(file: impl AsFd, path: &[u8]) -> Result<(Vec<Xattr>, bool), LayerError> {
    match xattr::read_all(file) {
        // Some file systems (proc, sysfs mounted by mistake) have none at all.
        Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
            Ok((Vec::new(), false))
        }
        other => other.map_err(|source| LayerError::Entry {
            operation: "read attributes of",
            path: shown(path),
            source,
        }),
    }
}
