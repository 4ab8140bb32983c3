//! The files every container expects and no image can have: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.

use libcontainer::oci_spec::runtime::{Mount, MountBuilder};
use libcontainer::spec::{Network, RunOptions};
use std::io;
use std::path::Path;

/// What a container without a network knows.
const LOOPBACK: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// Writes the files into `directory` and returns the mounts that bring them into the container. A target that the user mounts
/// something else on is left out.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn make(
    directory: &Path,
    hostname: &str,
    options: &RunOptions,
) -> io::Result<Vec<Mount>> {
    let host = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut files = vec![("hostname", format!("{hostname}\n"))];
    match options.network {
        Network::Host => {
            files.push(("hosts", hosts(&host("/etc/hosts"), hostname)));
            files.push(("resolv.conf", host("/etc/resolv.conf")));
        }
        // Without a network nobody answers: an image's own resolv.conf may stay.
        _ => files.push(("hosts", hosts(LOOPBACK, hostname))),
    }
    let mut mounts = Vec::new();
    for (name, text) in files {
        let target = format!("/etc/{name}");
        if options
            .volumes
            .iter()
            .any(|volume| covers(&volume.target, &target))
        {
            continue;
        }
        let file = directory.join(name);
        std::fs::write(&file, text)?;
        mounts.push(bind(&file, &target, options.read_only)?);
    }
    Ok(mounts)
}

/// The host's entries, and one for the container where they have none.
fn hosts(entries: &str, hostname: &str) -> String {
    let knows = entries
        .lines()
        .filter_map(|line| line.split('#').next())
        .any(|line| line.split_whitespace().skip(1).any(|name| name == hostname));
    let mut text = entries.trim_end().to_owned() + "\n";
    if !knows {
        text.push_str(&format!("127.0.1.1\t{hostname}\n"));
    }
    text
}

fn covers(volume: &str, target: &str) -> bool {
    let volume = volume.trim_end_matches('/');
    target == volume
        || target
            .strip_prefix(volume)
            .is_some_and(|rest| rest.starts_with('/'))
}

fn bind(file: &Path, target: &str, read_only: bool) -> io::Result<Mount> {
    let access = if read_only { "ro" } else { "rw" };
    MountBuilder::default()
        .destination(target)
        .typ("bind")
        .source(file)
        .options(
            ["bind", "rprivate", "nosuid", "nodev", "noexec", access]
                .map(str::to_owned)
                .to_vec(),
        )
        .build()
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_finds_itself() {
        assert_eq!(
            hosts("127.0.0.1 localhost # web\n", "web"),
            "127.0.0.1 localhost # web\n127.0.1.1\tweb\n"
        );
        assert_eq!(hosts("10.0.0.1 a web\n\n", "web"), "10.0.0.1 a web\n");
    }

    #[test]
    fn a_volume_over_etc_wins() {
        assert!(
            covers("/etc", "/etc/hosts")
                && covers("/etc/hosts", "/etc/hosts")
                && covers("/", "/etc/hosts")
        );
        assert!(!covers("/et", "/etc/hosts") && !covers("/etc/host", "/etc/hosts"));
    }
}
