//! Owner, mode, attributes and times, set by descriptor: never through a name that could lead elsewhere (CVE-2026-33056 class).

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid},
    io::Errno,
};

use super::{
    ApplyOptions, LayerError, LayerStats, Owners,
    archive::Member,
    path::shown,
    pax::Xattr,
    xattr::{self, Verdict},
};

/// What a member says about its inode.
#[derive(Debug)]
pub(super) struct Metadata {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, u32),
    xattrs: Vec<Xattr>,
}

impl Metadata {
    /// Takes what the options let pass.
    pub(super) fn of(member: Member, stats: &mut LayerStats) -> Self {
        let mut xattrs = member.xattrs;
        xattrs.retain(|(name, _)| {
            let verdict = xattr::verdict(name);
            stats.skipped_xattrs += u64::from(verdict == Verdict::Skip);
            verdict == Verdict::Keep
        });
        Self {
            mode: member.mode,
            uid: member.uid,
            gid: member.gid,
            mtime: member.mtime,
            xattrs,
        }
    }

    /// Returns what directories get that the archive does not mention: always the same, so that trees are, too.
    pub(super) fn implied() -> Self {
        Self {
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            xattrs: Vec::new(),
        }
    }

    /// Sets everything on an open file or directory.
    pub(super) fn set(
        &self,
        file: BorrowedFd<'_>,
        directory: bool,
        path: &[u8],
        options: &ApplyOptions,
        stats: &mut LayerStats,
    ) -> Result<(), LayerError> {
        if options.owners == Owners::Keep {
            rustix::fs::fchown(file, Some(self.owner()), Some(self.group()))
                .map_err(|errno| self.chown_error(errno, path))?;
        }
        // After chown, which clears the set-id bits and file capabilities.
        let mode = self.mode_for(directory, options);
        rustix::fs::fchmod(file, mode).map_err(entry("set the mode of", path))?;
        for (name, value) in &self.xattrs {
            if !xattr::set(file, name, value).map_err(|source| LayerError::Entry {
                operation: "set an extended attribute of",
                path: shown(path),
                source,
            })? {
                stats.skipped_xattrs += 1;
            }
        }
        rustix::fs::futimens(file, &self.times()).map_err(entry("set the times of", path))
    }

    /// Sets what a symlink has, by its name in the directory it was just made in.
    pub(super) fn set_link(
        &self,
        parent: impl AsFd,
        name: &std::ffi::OsStr,
        path: &[u8],
        options: &ApplyOptions,
    ) -> Result<(), LayerError> {
        if options.owners == Owners::Keep {
            rustix::fs::chownat(
                &parent,
                name,
                Some(self.owner()),
                Some(self.group()),
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .map_err(|errno| self.chown_error(errno, path))?;
        }
        rustix::fs::utimensat(&parent, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(entry("set the times of", path))
    }

    /// Sets what a device or FIFO has, by its name in the directory it was just made in: opening it could have effects.
    pub(super) fn set_node(
        &self,
        parent: impl AsFd,
        name: &std::ffi::OsStr,
        path: &[u8],
        options: &ApplyOptions,
    ) -> Result<(), LayerError> {
        if options.owners == Owners::Keep {
            rustix::fs::chownat(
                &parent,
                name,
                Some(self.owner()),
                Some(self.group()),
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .map_err(|errno| self.chown_error(errno, path))?;
        }
        rustix::fs::chmodat(
            &parent,
            name,
            self.mode_for(false, options),
            AtFlags::empty(),
        )
        .map_err(entry("set the mode of", path))?;
        rustix::fs::utimensat(&parent, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(entry("set the times of", path))
    }

    fn owner(&self) -> Uid {
        Uid::from_raw(self.uid)
    }

    fn group(&self) -> Gid {
        Gid::from_raw(self.gid)
    }

    /// Squashed trees must stay readable and removable for their one owner. Set-id bits are kept: they lead to the caller itself.
    fn mode_for(&self, directory: bool, options: &ApplyOptions) -> Mode {
        let extra = match (options.owners, directory) {
            (Owners::Keep, _) => 0,
            (Owners::Squash, true) => 0o700,
            (Owners::Squash, false) => 0o400,
        };
        Mode::from_raw_mode(self.mode | extra)
    }

    /// The access time is set too: the layer is the same whenever it is unpacked.
    fn times(&self) -> Timestamps {
        let time = Timespec {
            tv_sec: self.mtime.0,
            tv_nsec: self.mtime.1.into(),
        };
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }

    fn chown_error(&self, errno: Errno, path: &[u8]) -> LayerError {
        match errno {
            // EPERM: an ordinary user outside of any user namespace.
            Errno::INVAL | Errno::PERM => LayerError::NotMapped {
                path: shown(path),
                uid: self.uid,
                gid: self.gid,
            },
            _ => entry("set the owner of", path)(errno),
        }
    }
}

/// Makes an error of a failed call on an entry.
pub(super) fn entry(operation: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> LayerError {
    move |errno| LayerError::Entry {
        operation,
        path: shown(path),
        source: io::Error::from(errno),
    }
}
