//! Names, fetches, verifies, stores, unpacks and transfers OCI images.
//!
//! # What flows where
//!
//! ```text
//! reference -> resolve -> verify -> fetch -> store (an OCI layout) -> unpack (layers by diffID) -> view (overlay lower directories)
//! ```
//!
//! The disk side (`digest` … `store`, `view`) is synchronous and works without a network stack; the network side (`auth`,
//! `registry`, `transport`, `copy`, `pull`) is behind the cargo feature `registry`, which is on by default.
//!
//! # Example
//!
//! ```no_run
//! use libimage::store::{IdMode, Store, StoreOptions};
//! let options = StoreOptions { ids: IdMode::Full, privileged: true };
//! let store = Store::open("/var/lib/trimaran".as_ref(), &options)?;
//! let image = store.find("debian")?;
//! store.unpack(&image, &libimage::progress::Silent)?;
//! let view = libimage::view::root(&store, &image)?;
//! println!("{:?}", view.lowers); // topmost first, for overlay's lowerdir
//! # Ok::<(), libimage::Error>(())
//! ```
//!
//! # Limitations
//!
//! Linux only. The store holds sha256 blobs only; Windows layers, schema 1 manifests and encrypted layers are refused.
//!
//! # Kernel features
//!
//! | feature | since | without it |
//! |---|---|---|
//! | `openat2` with `RESOLVE_IN_ROOT` | 5.6 | the operation fails: there is no unsafe fallback |
//! | whiteout character devices made without privileges | 5.8 | rootless unpacking of layers with whiteouts fails |
//! | overlay in a user namespace (`userxattr`) | 5.11 | the view cannot be mounted rootless |
//! | `O_TMPFILE` | 3.11 | a named temporary file is used |

pub mod compress;
pub mod digest;
pub mod durable;
mod error;
pub mod inroot;
pub mod layer;
pub mod layout;
pub mod limits;
pub mod lock;
pub mod manifest;
pub mod media;
pub mod name;
pub mod platform;
pub mod progress;
pub mod store;
pub mod view;

#[cfg(feature = "registry")]
pub mod archive;
#[cfg(feature = "registry")]
pub mod artifact;
#[cfg(feature = "registry")]
pub mod auth;
#[cfg(feature = "registry")]
pub mod config;
#[cfg(feature = "registry")]
pub mod context;
#[cfg(feature = "registry")]
pub mod copy;
#[cfg(feature = "registry")]
pub mod edit;
#[cfg(feature = "registry")]
pub mod export;
#[cfg(feature = "registry")]
pub mod pull;
#[cfg(feature = "registry")]
pub mod registry;
#[cfg(feature = "registry")]
pub mod repository;
#[cfg(feature = "registry")]
pub mod sign;
#[cfg(feature = "registry")]
pub mod sync;
#[cfg(feature = "registry")]
mod traffic;
#[cfg(feature = "registry")]
pub mod transport;
#[cfg(feature = "registry")]
pub mod trust;
#[cfg(feature = "registry")]
pub mod validate;

pub use error::{Error, ErrorKind};
