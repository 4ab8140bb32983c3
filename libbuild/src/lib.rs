//! Builds OCI images without a Dockerfile: from Rust, or step by step from a shell script, and reproducibly.
//!
//! A *working container* is a base image, an upper directory that takes every change, and a record of what was done. Steps run
//! commands in it, copy files into it, or edit its configuration; a commit packs the upper directory as a layer, in one pass,
//! and publishes an image in the store. The same steps over the same base give the same bytes.
//!
//! ```text
//! base image -> working container -> run, copy, config, mount -> upper directory -> layer -> image
//! ```
//!
//! The crate is synchronous, prints nothing, reads no environment and changes nothing of the calling process: every path is
//! handed in. Images are fetched by [`libimage`] with its network side, which this crate does not link; processes are started by
//! [`libcontainer`], without executing the calling program again.
//!
//! ```no_run
//! use std::sync::Arc;
//! use libbuild::{Base, Change, Commit, CopyFiles, Run, Session, SessionOptions};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use libimage::store::{IdMode, Store, StoreOptions};
//! let ours = StoreOptions { ids: IdMode::Full, privileged: true };
//! let store = Store::open("/var/lib/trimaran".as_ref(), &ours)?;
//! let session = Session::open(Arc::new(store), SessionOptions::new("/run/trimaran"))?;
//! let container = session.from(Base::image("docker.io/library/debian:13"))?;
//! let make = container.run(Run::sh("apt-get update && apt-get install -y nginx"))?;
//! assert!(make.status.success());
//! container.copy(CopyFiles::new("/home/me/project", ["site/"], "/var/www/html/").chown("www-data:www-data"))?;
//! container.config([Change::Port("80".into()), Change::Cmd(vec!["nginx".into()])])?;
//! let built = container.commit(Commit::named("localhost/site:1".parse()?))?;
//! println!("{}", built.manifest_digest);
//! session.remove(&container)?;
//! # Ok(()) }
//! ```
//!
//! # Layout
//! | module | what it answers |
//! |---|---|
//! | [`op`] | what is a step, as data: canonical bytes, history text |
//! | [`repro`] | which moment does an image claim to be from |
//! | [`edit`] | how is the configuration changed |
//! | [`record`] | what is known about a working container, on disk |
//! | [`rooted`] | how are paths resolved inside a root file system |
//! | [`working`] | how is a working container opened and locked |
//! | [`copy`], [`run`], [`mount`] | how do its files change |
//! | [`commit`] | how does it become an image |
//! | [`session`] | how are containers made, found and removed |
//!
//! # Limitations
//! - Steps are not cached yet; every one runs.
//! - One commit makes one layer, whatever the number of steps.
//! - Working containers are not flushed to the disk: one that was changed shortly before a power cut may hold empty files. Images
//!   do survive.
//!
//! # Kernel
//! | feature | since | without it |
//! |---|---|---|
//! | overlay inside a user namespace | 5.11 | an error that says so |
//! | `openat2` | 5.6 | an error |
//! | `STATX_ATTR_MOUNT_ROOT` | 5.8 | `mount` is not recognised as mounted |

pub mod commit;
pub mod copy;
pub mod edit;
mod error;
pub mod mount;
pub mod op;
pub mod record;
pub mod repro;
pub mod rooted;
pub mod run;
pub mod session;
pub mod working;

pub use commit::{Built, BuiltLayer, Commit};
pub use copy::{CopyFiles, CopyStats};
pub use error::{Error, ErrorKind, Result};
pub use op::{Change, Op};
pub use record::Record;
pub use repro::{Clues, Epoch};
pub use run::{Run, RunOutput, Streams};
pub use session::{Base, Session, SessionOptions};
pub use working::WorkingContainer;

pub use libcontainer::{Error as ContainerError, Result as ContainerResult};
/// What a caller needs of the container side.
pub use libcontainer::{
    exit::ExitStatus,
    foreground, rootless,
    runtime::{Process, Stdio},
    seal,
    spec::{Network, Volume},
    sys::signal,
};
