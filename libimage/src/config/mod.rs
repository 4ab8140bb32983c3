//! What the field's configuration files say, as data: credentials, registries and trust policies.
//!
//! Nothing here opens a file: the tools find the files and hand their texts in.

mod auth_edit;
mod auth_file;
mod certificates;
mod helpers;
mod policy;
mod registries;
mod registries_d;
pub(crate) mod scope;
mod secret;
pub(crate) mod strict;

pub use auth_edit::AuthEdit;
pub use auth_file::{AuthFile, AuthFileError, Candidate};
pub use certificates::Certificates;
pub use helpers::Helpers;
pub use policy::{
    Keys, Policy, PolicyError, Requirement, SignedBy, SignedIdentity, SignedName, SigstoreSigned,
};
pub use registries::{
    Endpoint, Place, PlaceError, Registries, RegistriesError, ShortNameError, ShortNameMode,
};
pub use registries_d::{RegistriesD, RegistriesDError, SignatureStorage};
pub use secret::{Credentials, Secret};
