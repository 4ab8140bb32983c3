//! Which images may be used: the flags and files about policy and signatures.

use crate::failure::Failure;
use clap::Args;
use libimage::config::{Policy, RegistriesD};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of a key file a policy names: a key ring of a distribution has some hundred KiB.
const KEY_BYTES: u64 = 16 << 20;

/// The flags about what is trusted.
#[derive(Debug, Clone, Default, Args)]
pub struct PolicyArgs {
    /// File that says which images may be used (containers-policy.json(5)), instead of the usual ones
    #[arg(long, value_name = "PATH")]
    pub policy: Option<PathBuf>,

    /// Use any image, whatever the policy files say
    #[arg(long, conflicts_with = "policy")]
    pub insecure_policy: bool,

    /// Use only images for which the policy wants a signature
    #[arg(long, conflicts_with = "insecure_policy")]
    pub require_signed: bool,

    /// Directory that says where signatures are (containers-registries.d(5)), instead of the usual one
    #[arg(long = "registries.d", value_name = "DIR")]
    pub registries_d: Option<PathBuf>,
}

impl PolicyArgs {
    /// Reads the policy, the keys it names, and where signatures are found.
    ///
    /// # Errors
    /// If a file cannot be read or understood: a policy that is ignored protects nobody.
    pub fn read(&self) -> Result<Policy, Failure> {
        self.read_for(rustix::process::getuid().as_raw())
    }

    /// As [`PolicyArgs::read`] for the user `uid`: inside a user namespace it is no longer our own id.
    ///
    /// # Errors
    /// As [`PolicyArgs::read`].
    pub fn read_for(&self, uid: u32) -> Result<Policy, Failure> {
        let found = match &self.policy {
            Some(path) => Some(path.clone()),
            None if self.insecure_policy => None,
            None => policy_here(),
        };
        let mut policy = match found {
            Some(path) => parsed(&path)?,
            None => Policy::accept_anything(),
        };
        policy = policy.with_registries_d(self.signatures(uid)?);
        if let Some(program) = in_path("gpgv") {
            policy = policy.with_openpgp(program);
        }
        if self.require_signed {
            policy = policy.requiring_signatures();
        }
        Ok(policy)
    }

    fn signatures(&self, uid: u32) -> Result<RegistriesD, Failure> {
        let files = match &self.registries_d {
            Some(directory) => yaml_files(directory)?,
            None => match registries_d_here() {
                Some(directory) => yaml_files(&directory)?,
                None => Vec::new(),
            },
        };
        let read = RegistriesD::parse(files).map_err(Failure::new)?;
        Ok(match lookaside_of(uid) {
            Some(directory) => read.with_built_in(format!("file://{}", directory.display())),
            None => read,
        })
    }
}

/// Reads the policy of this process for the user `uid`; without a file, every image is accepted.
///
/// # Errors
/// If a file cannot be read or understood.
pub fn read_for(uid: u32) -> Result<Policy, Failure> {
    PolicyArgs::default().read_for(uid)
}

/// The policy file that says which images may be used: the user's, else the system's; `None` if neither exists.
///
/// # References
/// containers-policy.json(5)
pub fn policy_here() -> Option<PathBuf> {
    of_user_or_system("policy.json")
}

fn registries_d_here() -> Option<PathBuf> {
    of_user_or_system("registries.d")
}

fn of_user_or_system(name: &str) -> Option<PathBuf> {
    let user = home("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("containers").join(name));
    user.into_iter()
        .chain([Path::new("/etc/containers").join(name)])
        .find(|path| path.exists())
}

/// Where signatures are that no file speaks about.
fn lookaside_of(uid: u32) -> Option<PathBuf> {
    if uid == 0 {
        return Some(PathBuf::from("/var/lib/containers/sigstore"));
    }
    let data = home("XDG_DATA_HOME", ".local/share")?;
    Some(data.join("containers/sigstore"))
}

fn home(variable: &str, below: &str) -> Option<PathBuf> {
    let value = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    value(variable)
        .map(PathBuf::from)
        .or_else(|| value("HOME").map(|home| Path::new(&home).join(below)))
}

fn parsed(path: &Path) -> Result<Policy, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(format!(
            "cannot read the policy {}: {error}",
            path.display()
        ))
    })?;
    Policy::parse_with(&text, &mut read_key).map_err(|error| {
        let mut message = format!("cannot use the policy {}: {error}", path.display());
        if let Some(cause) = std::error::Error::source(&error) {
            message.push_str(&format!(": {cause}"));
        }
        Failure::new(message)
    })
}

/// Reads a key file that a policy names.
fn read_key(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(path)?
        .take(KEY_BYTES + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > KEY_BYTES {
        return Err(std::io::Error::other(format!(
            "it has more than {KEY_BYTES} bytes"
        )));
    }
    Ok(content)
}

/// Reads the files of a registries.d, in the order of their names.
fn yaml_files(directory: &Path) -> Result<Vec<(String, String)>, Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::new(format!("cannot read {}: {error}", path.display()))
    };
    let entries = std::fs::read_dir(directory).map_err(|error| failed(directory, error))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed(directory, error))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: PathBuf| match std::fs::read_to_string(&path) {
        Ok(text) => Ok((path.display().to_string(), text)),
        Err(error) => Err(failed(&path, error)),
    };
    paths.into_iter().map(read).collect()
}

/// Finds a program as a shell does, but only by absolute directories.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}
