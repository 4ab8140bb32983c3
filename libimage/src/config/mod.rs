//! What the field's configuration files say, as data: credentials, registries and trust policies.
//!
//! Nothing here opens a file: the tools find the files and hand their texts in.

mod auth_file;
mod certificates;
mod helpers;
mod policy;
mod registries;
mod secret;

pub use auth_file::{AuthFile, AuthFileError};
pub use certificates::Certificates;
pub use helpers::Helpers;
pub use policy::{Policy, PolicyError, Requirement};
pub use registries::{
    Endpoint, Place, PlaceError, Registries, RegistriesError, ShortNameError, ShortNameMode,
};
pub use secret::{Credentials, Secret};
