//! The files a step sees in `/etc` instead of the image's: generated, bound over, never part of the layer.

use std::fs;
use std::path::{Path, PathBuf};

use crate::working::WorkingError;

/// The largest `resolv.conf` that is taken over.
const RESOLV_BYTES: u64 = 1 << 20;

/// Returns `/etc/hosts` for a step: this machine under its usual names and the container's fixed one.
pub(crate) fn hosts(hostname: &str) -> String {
    format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n"
    )
}

/// Writes the files into `directory` and returns (path in the container, file) of each.
///
/// A step may write to them, which is why they are made anew each time; what it writes is thrown away.
pub(crate) fn generate(
    directory: &Path,
    hostname: &str,
    resolv_conf: Option<&Path>,
) -> Result<Vec<(&'static str, PathBuf)>, WorkingError> {
    fs::create_dir_all(directory).map_err(WorkingError::io("create", directory))?;
    let resolv = match resolv_conf {
        Some(host) => read_resolv(host)?,
        None => Vec::new(),
    };
    let files = [
        ("/etc/hosts", "hosts", hosts(hostname).into_bytes()),
        ("/etc/resolv.conf", "resolv.conf", resolv),
    ];
    let mut made = Vec::new();
    for (target, name, content) in files {
        let path = directory.join(name);
        fs::write(&path, content).map_err(WorkingError::io("write", &path))?;
        made.push((target, path));
    }
    Ok(made)
}

/// The host's servers. A server on loopback is within reach, since only steps with the host's network get this file.
fn read_resolv(path: &Path) -> Result<Vec<u8>, WorkingError> {
    match fs::metadata(path) {
        Ok(about) if about.is_file() && about.len() <= RESOLV_BYTES => {
            fs::read(path).map_err(WorkingError::io("read", path))
        }
        Ok(_) => Err(WorkingError::io("read", path)(
            std::io::ErrorKind::InvalidInput.into(),
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(WorkingError::io("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_anew_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let host = directory.path().join("host");
        fs::write(&host, "nameserver 127.0.0.53\n").unwrap();
        let etc = directory.path().join("etc");
        for _ in 0..2 {
            let made = generate(&etc, "name", Some(&host)).unwrap();
            assert_eq!(
                fs::read_to_string(&made[1].1).unwrap(),
                "nameserver 127.0.0.53\n"
            );
            assert!(
                fs::read_to_string(&made[0].1)
                    .unwrap()
                    .ends_with("127.0.1.1\tname\n")
            );
            fs::write(&made[0].1, "scribbled").unwrap();
        }
        let without = generate(&etc, "name", Some(&directory.path().join("missing"))).unwrap();
        assert_eq!(fs::read(&without[1].1).unwrap(), b"");
    }
}
