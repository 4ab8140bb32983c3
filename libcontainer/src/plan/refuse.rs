//! What a specification can ask for that is not done here. It is refused: a field that is silently ignored may be a restriction.

use oci_spec::runtime::{Linux, Spec};

use crate::error::{Error, ErrorKind};
use crate::namespace::{Kind, Namespaces};

/// Refuses the first field that asks for what is not supported.
pub(crate) fn refuse(spec: &Spec) -> Result<(), Error> {
    first(spec.linux().iter().flat_map(of_linux))
}

fn first(asked: impl IntoIterator<Item = (&'static str, bool)>) -> Result<(), Error> {
    match asked.into_iter().find(|(_, asked)| *asked) {
        Some((field, _)) => Err(Error::new(
            ErrorKind::Unsupported {
                feature: field.into(),
            },
            "specification",
        )),
        None => Ok(()),
    }
}

fn of_linux(linux: &Linux) -> Vec<(&'static str, bool)> {
    vec![("linux.intelRdt", linux.intel_rdt().is_some())]
}

/// The file below `/proc/sys` for a sysctl, if setting it cannot change the host, and the kind of namespace it belongs to.
///
/// Both spellings are read: `net.ipv4.ip_forward` and `net/ipv4/ip_forward`; the first separator decides which one it is, and the
/// other character is then part of a name (`net/ipv4/conf/eth0.1/forwarding`).
pub(crate) fn sysctl_path(key: &str, namespaces: &Namespaces) -> Result<(Kind, String), Error> {
    let refused = |hint: &'static str| {
        Err(Error::new(
            ErrorKind::InvalidSpec {
                field: format!("linux.sysctl.{key}"),
            },
            "specification",
        )
        .with_hint(hint))
    };
    let dotted = key
        .find(['.', '/'])
        .is_some_and(|place| key.as_bytes().get(place) == Some(&b'.'));
    let path: String = if dotted {
        key.chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect()
    } else {
        key.to_owned()
    };
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return refused("a sysctl is a path of names");
    }
    /// Sysctls of the IPC namespace.
    const IPC: [&str; 9] = [
        "msgmax",
        "msgmnb",
        "msgmni",
        "sem",
        "shmall",
        "shmmax",
        "shmmni",
        "shm_rmid_forced",
        "auto_msgmni",
    ];
    let needs = match path.split_once('/') {
        Some(("net", _)) => Kind::Network,
        Some(("fs", rest)) if rest.starts_with("mqueue/") => Kind::Ipc,
        Some(("kernel", name)) if IPC.contains(&name) => Kind::Ipc,
        Some(("kernel", "domainname")) => Kind::Uts,
        Some(("kernel", "hostname")) => {
            return refused(
                "the name of the host is set by `hostname`, which this could contradict",
            );
        }
        _ => {
            return refused(
                "this sysctl is not the container's own: setting it would change the host",
            );
        }
    };
    if !namespaces.has(needs) {
        return refused(
            "setting this sysctl needs a namespace of the container's own, or it would change the host",
        );
    }
    Ok((needs, format!("sys/{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};

    #[test]
    fn sysctls_of_the_host_are_refused() {
        let mut list = Vec::new();
        for kind in [
            LinuxNamespaceType::Mount,
            LinuxNamespaceType::Network,
            LinuxNamespaceType::Uts,
        ] {
            let mut entry = LinuxNamespace::default();
            entry.set_typ(kind);
            list.push(entry);
        }
        let namespaces = Namespaces::from_spec(&list).unwrap();
        let path = |key| sysctl_path(key, &namespaces).map(|(_, path)| path);
        assert_eq!(
            path("net.ipv4.ip_forward").unwrap(),
            "sys/net/ipv4/ip_forward"
        );
        assert_eq!(
            path("net/ipv4/conf/eth0.1/forwarding").unwrap(),
            "sys/net/ipv4/conf/eth0.1/forwarding"
        );
        assert_eq!(
            path("net.ipv4.conf.eth0/1.forwarding").unwrap(),
            "sys/net/ipv4/conf/eth0.1/forwarding"
        );
        assert_eq!(path("kernel.domainname").unwrap(), "sys/kernel/domainname");
        for bad in [
            "kernel.panic",
            "kernel.shmmax",
            "vm.swappiness",
            "net",
            "net..x",
            "net/../kernel/panic",
            "",
            "kernel.hostname",
        ] {
            path(bad).expect_err(bad);
        }
    }
}
