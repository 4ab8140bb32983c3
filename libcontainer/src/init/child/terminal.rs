//! The terminal and the standard streams.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::process::Uid;
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, OutputModes, Winsize};

use super::super::report::{At, Call, Failed, Kind, Report};
use super::Child;
use super::mounts::attach;
use super::path;
use crate::plan::Slot;

/// What is asked of a terminal: its size (zero if it does not matter), its owner, and whether newlines get no carriage return.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) rows: u16,
    pub(super) columns: u16,
    pub(super) uid: u32,
    pub(super) plain: bool,
}

impl Child<'_> {
    /// A new terminal of the container's own devpts: the master goes to the parent, the slave becomes `/dev/console`.
    pub(super) fn terminal(&mut self, look: Look) -> Result<(), Failed> {
        // Opened through the devpts that we mounted ourselves: no name in the container is trusted.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let master = rustix::fs::openat(self.slot(Slot::PTS)?, c"ptmx", flags, Mode::empty())
            .at(Call::Open)?;
        let slave = slave(&master, look)?;
        let console = path::make_file(self.slot(Slot::DEV)?, c"console")?;
        cover(&slave, &console)?;
        self.send(
            &Report::new(Kind::Terminal, self.progress.step),
            Some(master.as_fd()),
        )?;
        self.progress.terminal = Some(slave);
        Ok(())
    }

    /// A new terminal of the devpts of a container that runs already, or of one whose `/dev` is not its own. The mounts are what others
    /// made of them, so what is behind the name has to be a devpts.
    pub(super) fn peer_terminal(&mut self, look: Look) -> Result<(), Failed> {
        /// `DEVPTS_SUPER_MAGIC`.
        const DEVPTS: i64 = 0x1cd1;
        let resolve = ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        // A container that is only being made has its root elsewhere.
        let root = self.slot(Slot::ROOT).ok();
        let pts = match root {
            Some(root) => path::open(root, c"/dev/pts", resolve),
            None => path::open_with(CWD, c"/dev/pts", flags, resolve),
        };
        let pts = pts.at(Call::Open)?;
        if rustix::fs::fstatfs(&pts).at(Call::Stat)?.f_type as i64 != DEVPTS {
            return Err(Errno::NOTTY).at(Call::Verify);
        }
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let resolve = resolve | ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
        let master = path::open_with(pts.as_fd(), c"ptmx", flags, resolve).at(Call::Open)?;
        let slave = slave(&master, look)?;
        if let Some(root) = root {
            match path::open(root, c"/dev/console", ResolveFlags::NO_SYMLINKS) {
                Ok(console) => cover(&slave, &console)?,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).at(Call::Open),
            }
        }
        self.send(
            &Report::new(Kind::Terminal, self.progress.step),
            Some(master.as_fd()),
        )?;
        self.progress.terminal = Some(slave);
        Ok(())
    }

    pub(super) fn stdio(&mut self) -> Result<(), Failed> {
        if let Some(terminal) = &self.progress.terminal {
            rustix::process::ioctl_tiocsctty(terminal).at(Call::Ioctl)?;
            rustix::stdio::dup2_stdin(terminal).at(Call::Open)?;
            rustix::stdio::dup2_stdout(terminal).at(Call::Open)?;
            return rustix::stdio::dup2_stderr(terminal).at(Call::Open);
        }
        // The caller's own are where they belong.
        if self.slot(Slot::STDIO).is_err() {
            return Ok(());
        }
        let stream = |offset: u16| self.slot(Slot(Slot::STDIO.0.wrapping_add(offset)));
        let (input, output, error) = (stream(0)?, stream(1)?, stream(2)?);
        // The parent gives descriptors above 2, so none of these overwrites the next one's source.
        rustix::stdio::dup2_stdin(input).at(Call::Open)?;
        rustix::stdio::dup2_stdout(output).at(Call::Open)?;
        rustix::stdio::dup2_stderr(error).at(Call::Open)
    }
}

/// Mounts a terminal on a place.
fn cover(slave: &OwnedFd, place: &OwnedFd) -> Result<(), Failed> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(slave, c"", flags).at(Call::OpenTree)?;
    attach(tree.as_fd(), place.as_fd())
}

/// The slave side of a new terminal, as it was asked for.
fn slave(master: &OwnedFd, look: Look) -> Result<OwnedFd, Failed> {
    let Look {
        rows, columns, uid, ..
    } = look;
    rustix::pty::unlockpt(master).at(Call::Ioctl)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(master, flags).at(Call::Ioctl)?;
    if rows != 0 || columns != 0 {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&slave, size).at(Call::Ioctl)?;
    }
    if look.plain {
        let mut modes = rustix::termios::tcgetattr(&slave).at(Call::Ioctl)?;
        modes.output_modes.remove(OutputModes::ONLCR);
        rustix::termios::tcsetattr(&slave, OptionalActions::Now, &modes).at(Call::Ioctl)?;
    }
    match rustix::fs::fchown(&slave, Some(Uid::from_raw(uid)), None) {
        // An id that is not mapped; becoming the user will say so.
        Ok(()) | Err(Errno::INVAL) => Ok(slave),
        Err(errno) => Err(errno).at(Call::Chown),
    }
}
