//! Users of an image: `/etc/passwd` and `/etc/group`, read strictly. Pure.

use thiserror::Error;

/// Who the process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub additional: Vec<u32>,
    /// Home directory.
    pub home: String,
    /// Login name, if the image knows one.
    pub name: Option<String>,
}

/// Why a user word cannot be followed.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserError {
    /// The image has no such user.
    #[error("no user {name:?} in the image's /etc/passwd")]
    UnknownUser {
        /// As it was typed.
        name: String,
    },
}

/// Resolves `name|uid[:group|gid]`; the empty word is uid 0.
///
/// # Errors
/// A name the image does not know, a number that is none or does not fit.
pub fn resolve(word: &str, passwd: &[u8], group: &[u8]) -> Result<ResolvedUser, UserError> {
    let _unused = (word, passwd, group);
    unimplemented!()
}
