//! Where the certificates for single hosts are.

use std::path::PathBuf;

/// Directories with certificates: `*.crt` are authorities, `*.cert` with `*.key` are client certificates.
///
/// # References
///
/// containers-certs.d(5)
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Directories that have a directory `HOST[:PORT]` for each host; the first that has one for a host is used.
    pub by_host: Vec<PathBuf>,
    /// A directory of certificates for the registry that is named on the command line, in place of the others.
    pub named: Option<PathBuf>,
}
