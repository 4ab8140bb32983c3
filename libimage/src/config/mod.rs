//! What the field's configuration files say, as data: credentials and trust policies.
//!
//! Nothing here opens a file: the tools find the files and hand their texts in.

mod auth_file;
mod policy;
mod secret;

pub use auth_file::{AuthFile, AuthFileError};
pub use policy::{Policy, PolicyError, Requirement};
pub use secret::{Credentials, Secret};
