//! An image's configuration and a user's wishes become a runtime specification. Pure.

use super::{RunOptions, UserFiles};
use oci_spec::{image::ImageConfiguration, runtime::Spec};
use thiserror::Error;

/// Why no specification can be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Neither the image nor the user names a program.
    #[error("no command: the image has none, and none was given")]
    NoCommand,
}

/// Makes the specification of a container.
///
/// # Errors
/// No program, an unknown user or capability, a path that is not absolute.
pub fn from_image(
    config: &ImageConfiguration,
    options: &RunOptions,
    files: &UserFiles,
) -> Result<Spec, SpecError> {
    let _unused = (config, options, files);
    unimplemented!()
}

/// The paths the image wants to be volumes, sorted. What is mounted there is the caller's decision.
pub fn image_volumes(config: &ImageConfiguration) -> Vec<String> {
    let _unused = config;
    unimplemented!()
}
