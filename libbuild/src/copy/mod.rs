//! Copies files into a working container, with the rules of a Containerfile's COPY.
//!
//! - A directory as source means what is in it; a file as source goes into the destination if that is a directory (or ends in
//!   `/`, or there are several sources), else it becomes the destination.
//! - Missing directories of the destination are made, 0755; existing ones keep their looks.
//! - A symlink as source means what it leads to; symlinks inside a source directory are copied as symlinks. A destination
//!   directory that is a symlink is followed, inside the container's root only.
//! - Owner root unless said otherwise, mode and extended attributes of the source, modification time *set* to the epoch (times
//!   of a checkout differ from clone to clone, even before the epoch), hard links kept, sockets left out.

mod archive;
mod error;
mod glob;
mod source;
mod write;

pub use error::CopyError;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libcontainer::rootfs::{Overlay, PreparedRoot, Root};
use libcontainer::spec::resolve;
use rustix::fs::{FileType, Mode, OFlags};

use crate::error::Result;
use crate::op::{CopyOp, Op};
use crate::rooted::{Rooted, file_type};
use crate::working::{
    Held, WorkingContainer, WorkingError, container_error, image_error, image_lowers, imitate,
    user_files,
};
use source::Item;
use write::{Looks, Writer};

/// What to copy, and how it shall look.
#[derive(Clone, Debug, Default)]
#[must_use = "it copies nothing until it is given to WorkingContainer::copy"]
pub struct CopyFiles {
    sources: Vec<String>,
    destination: String,
    context: PathBuf,
    from: Option<String>,
    chown: Option<String>,
    chmod: Option<u32>,
    unpack: bool,
}

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyStats {
    /// Files of all kinds, directories not counted.
    pub files: u64,
    /// Directories that were made.
    pub directories: u64,
    /// Bytes of content.
    pub bytes: u64,
}

impl CopyFiles {
    /// Copies `sources` (patterns allowed) to `destination`; relative sources are below `context`, an absolute path.
    pub fn new<S: Into<String>>(
        context: impl Into<PathBuf>,
        sources: impl IntoIterator<Item = S>,
        destination: impl Into<String>,
    ) -> Self {
        Self {
            sources: sources.into_iter().map(Into::into).collect(),
            destination: destination.into(),
            context: context.into(),
            ..Self::default()
        }
    }

    /// Takes the sources from another working container, or from an image of the store, instead of the host.
    pub fn from(mut self, name: impl Into<String>) -> Self {
        self.from = Some(name.into());
        self
    }

    /// Sets the owner: `user[:group]`, names as in the container's `/etc/passwd` and `/etc/group`, or numbers. A number
    /// without a group is the number of both.
    pub fn chown(mut self, owner: impl Into<String>) -> Self {
        self.chown = Some(owner.into());
        self
    }

    /// Sets the permission bits of files and directories.
    pub fn chmod(mut self, mode: u32) -> Self {
        self.chmod = Some(mode);
        self
    }

    /// Unpacks sources that are tar archives, plain or packed by gzip or zstd, into the destination directory: with the owners
    /// and times they hold (unless an owner is given), as a Containerfile's ADD does.
    pub fn unpack(mut self) -> Self {
        self.unpack = true;
        self
    }

    fn op(&self) -> Op {
        let shown = |source: &String| {
            let name = Path::new(source)
                .file_name()
                .filter(|_| self.from.is_none() && source.starts_with('/'));
            name.map_or_else(
                || source.clone(),
                |name| name.to_string_lossy().into_owned(),
            )
        };
        let op = CopyOp {
            sources: self.sources.iter().map(shown).collect(),
            destination: self.destination.clone(),
            from: self.from.clone(),
            chown: self.chown.clone(),
            chmod: self.chmod,
        };
        if self.unpack {
            Op::Add(op)
        } else {
            Op::Copy(op)
        }
    }
}

/// Where the sources are.
enum Origin {
    Host(File),
    /// A root file system, and what keeps its layers.
    Root(
        PreparedRoot,
        #[expect(dead_code, reason = "a guard: held while the layers are read")]
        Option<libimage::store::Lease>,
    ),
}

impl WorkingContainer {
    /// Copies files into the container.
    ///
    /// # Errors
    /// If a source is missing, the destination cannot be what is wanted, or the system refuses. What was copied before stays.
    pub fn copy(&self, copy: CopyFiles) -> Result<CopyStats> {
        if copy.sources.is_empty() || copy.destination.is_empty() {
            return Err(CopyError::Nothing.into());
        }
        let origin = self.origin(copy.from.as_deref())?;
        let (source, context) = match &origin {
            Origin::Host(slash) => (Rooted::new(slash.as_fd()), copy.context.as_path()),
            Origin::Root(mount, _) => (Rooted::new(mount.as_fd()), Path::new("/")),
        };
        let mut items = Vec::new();
        for pattern in &copy.sources {
            items.extend(source::expand(&source, context, pattern)?);
        }
        let mut held = self.hold()?;
        // The step is noted before it is done: after a kill in the middle, history tells what may have happened.
        let op = copy.op();
        if held.record.steps.last() != Some(&op) {
            held.record.steps.push(op);
            held.save()?;
        }
        if let Some(stats) = self.take_over(&copy, &source, &items, &held)? {
            return Ok(stats);
        }
        let root = held.open_root()?;
        let looks = looks(&copy, &root.mount, held.record.epoch.seconds)?;
        let upper = held.upper();
        let own = std::fs::metadata(&upper).map_err(WorkingError::io("look at", &upper))?;
        let own = (own.dev(), own.ino());
        let mut job = Job {
            writer: Writer::new(Rooted::new(root.mount.as_fd()), looks, own),
            source,
            destination: destination(&held, &copy.destination),
            wants_directory: items.len() > 1 || means_directory(&copy.destination),
            unpack: copy
                .unpack
                .then(|| (self.around.store.as_ref(), upper.with_file_name("unpacked"))),
        };
        items.iter().try_for_each(|item| job.item(item))?;
        Ok(job.writer.stats)
    }

    /// Unpacks an archive that makes up the whole of an empty container right into the upper directory: what a root file system
    /// from elsewhere is. `None` if that is not the case.
    fn take_over(
        &self,
        copy: &CopyFiles,
        source: &Rooted<'_>,
        items: &[Item],
        held: &Held<'_>,
    ) -> Result<Option<CopyStats>> {
        let plain = copy.unpack && copy.chown.is_none() && copy.chmod.is_none();
        let [item] = items else { return Ok(None) };
        let whole = destination(held, &copy.destination) == Path::new("/") && item.is_file();
        if !plain || !whole || !held.is_pristine()? {
            return Ok(None);
        }
        let file = File::from(item.open(source, OFlags::RDONLY)?);
        let Some(archive) = archive::open(file, &item.path)? else {
            return Ok(None);
        };
        let (upper, new) = (held.upper(), held.upper().with_file_name("unpacked"));
        remove_tree(&new)?;
        let stats = archive::unpack(archive, &item.path, &new, &self.around.store)?;
        imitate(None, &new).map_err(WorkingError::io("set the owner and mode of", &new))?;
        std::fs::remove_dir(&upper).map_err(WorkingError::io("replace", &upper))?;
        std::fs::rename(&new, &upper).map_err(WorkingError::io("replace", &upper))?;
        Ok(Some(CopyStats {
            files: stats.entries,
            directories: 0,
            bytes: stats.content_bytes,
        }))
    }

    fn origin(&self, from: Option<&str>) -> Result<Origin> {
        let Some(name) = from else {
            let slash = Path::new("/");
            return Ok(Origin::Host(
                File::open(slash).map_err(CopyError::source("open", slash))?,
            ));
        };
        if let Some(record) = crate::record::Record::list(&self.around.working)?
            .into_iter()
            .find(|record| record.name == name || record.id == name)
        {
            let other = WorkingContainer::of_record(self.around.clone(), &record);
            if other.id() == self.id() {
                return Err(CopyError::Itself {
                    name: name.to_owned(),
                }
                .into());
            }
            let root = other.hold()?.open_root()?;
            return Ok(Origin::Root(root.mount, root.lease));
        }
        let image = self.around.store.find(name).map_err(image_error)?;
        let (mut lowers, lease, userxattr) =
            image_lowers(&self.around.store, &image, self.around.progress.as_ref())?;
        // Overlay wants two directories if there is no upper one.
        let root = match lowers.len() {
            1 => Root::Path(lowers.remove(0)),
            _ => Root::Overlay(Overlay {
                lowers,
                userxattr,
                ..Overlay::default()
            }),
        };
        Ok(Origin::Root(
            PreparedRoot::open(&root).map_err(container_error)?,
            lease,
        ))
    }
}

/// The destination as an absolute path, with its trailing slash if it has one; relative ones are below the working directory.
fn destination(held: &Held<'_>, given: &str) -> PathBuf {
    Path::new("/")
        .join(held.record.settings.text("WorkingDir"))
        .join(given)
}

/// Whether a destination must be a directory by the way it is spelled.
fn means_directory(destination: &str) -> bool {
    destination.ends_with('/') || matches!(destination.rsplit('/').next(), Some("." | ".."))
}

/// A copy under way.
struct Job<'a> {
    writer: Writer<'a>,
    source: Rooted<'a>,
    destination: PathBuf,
    wants_directory: bool,
    /// If archives are to be unpacked: for which store, and where until they are merged.
    unpack: Option<(&'a libimage::store::Store, PathBuf)>,
}

impl Job<'_> {
    fn item(&mut self, item: &Item) -> Result<()> {
        match file_type(&item.stat) {
            FileType::Directory => {
                let opened = item.open(&self.source, OFlags::RDONLY | OFlags::DIRECTORY)?;
                self.writer.destination(&self.destination)?;
                Ok(self.writer.tree(opened, &item.path, &self.destination)?)
            }
            FileType::RegularFile => {
                let opened = item.open(&self.source, OFlags::RDONLY)?;
                if self.archive(&opened, item)? {
                    return Ok(());
                }
                let path =
                    self.writer
                        .place(&self.destination, self.wants_directory, &item.name)?;
                Ok(self.writer.file(opened, &item.stat, &item.path, &path)?)
            }
            _ => Err(CopyError::Kind {
                path: item.path.clone(),
            }
            .into()),
        }
    }

    /// Unpacks and merges a source that is an archive; returns whether it was one.
    fn archive(&mut self, file: &OwnedFd, item: &Item) -> Result<bool> {
        let Some((store, scratch)) = &self.unpack else {
            return Ok(false);
        };
        let file = file
            .try_clone()
            .map_err(CopyError::source("open", &item.path))?;
        let Some(archive) = archive::open(File::from(file), &item.path)? else {
            return Ok(false);
        };
        remove_tree(scratch)?;
        archive::unpack(archive, &item.path, scratch, store)?;
        let opened = File::open(scratch).map_err(CopyError::source("open", scratch))?;
        self.writer.destination(&self.destination)?;
        self.writer.looks.keep = true;
        let merged = self
            .writer
            .tree(opened.into(), &item.path, &self.destination);
        self.writer.looks.keep = false;
        merged?;
        remove_tree(scratch)?;
        Ok(true)
    }
}

fn remove_tree(path: &Path) -> Result<(), WorkingError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(WorkingError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Decides owner, mode and time of the copies.
fn looks(copy: &CopyFiles, root: &PreparedRoot, seconds: i64) -> Result<Looks> {
    let mut owner = None;
    if let Some(word) = &copy.chown {
        let files = user_files(root)?;
        let unknown = |source| CopyError::Owner {
            owner: word.clone(),
            source,
        };
        let user = resolve(word, &files.passwd, &files.group).map_err(unknown)?;
        let number = word.bytes().all(|byte| byte.is_ascii_digit());
        owner = Some((user.uid, if number { user.uid } else { user.gid }));
    }
    let mode = copy.chmod.map(|mode| Mode::from(mode).bits());
    Ok(Looks {
        owner,
        mode,
        seconds,
        keep: false,
    })
}
