//! From an image's configuration and a user's wishes to a runtime specification; and reading one somebody else wrote.
//!
//! All of it is pure but [`HostFacts::detect`]: nothing here opens a file of the image.

mod default;
mod home;
mod image;
mod load;
mod options;
mod user;
mod validate;
mod volume;

pub(crate) use home::{GROUP, PASSWD, PASSWD_BYTES, home};
pub use image::{SpecError, from_image, image_volumes};
pub use load::{LoadError, Warning, load};
pub use options::{HostFacts, Network, RunOptions, SeccompChoice, UserFiles};
pub use user::{ResolvedUser, UserError, resolve, resolve_group};
pub use validate::{ValidateError, validate};
pub use volume::{Volume, VolumeError};
