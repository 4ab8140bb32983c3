//! Plans of representative specifications, compared with files; and the property that no specification makes planning panic.

mod property;
mod snapshots;

use std::collections::HashMap;
use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::{
    HookBuilder, Hooks, LinuxIdMappingBuilder, LinuxNamespaceBuilder, LinuxNamespaceType,
    MountBuilder, PosixRlimitBuilder, PosixRlimitType, Spec,
};

use super::compile::{Wishes, compile};
use super::facts::{Facts, HostHierarchy};
use crate::id::ContainerId;
use crate::idmap::{IdMap, IdMaps};
use crate::seccomp::FilterArch;
use crate::spec::{HostFacts, RunOptions, SeccompChoice, UserFiles, from_image};

fn facts() -> Facts {
    Facts {
        arch: Some(FilterArch::X86_64),
        home: Some("/root".into()),
        ..Facts::default()
    }
}

fn rootless_facts() -> Facts {
    let map = |host, size| {
        vec![IdMap {
            container: 0,
            host,
            size,
        }]
    };
    Facts {
        in_user_namespace: true,
        ids: Some(IdMaps {
            uid: map(1000, 1),
            gid: map(1000, 1),
        }),
        ..facts()
    }
}

fn image(options: RunOptions) -> Spec {
    let args = vec!["sh".to_owned(), "-c".to_owned(), "true".to_owned()];
    from_image(
        &ImageConfiguration::default(),
        &RunOptions { args, ..options },
        &UserFiles::default(),
    )
    .unwrap()
}

fn text(spec: &Spec, facts: &Facts, wishes: &Wishes) -> String {
    compile(&ContainerId::parse("name").unwrap(), spec, facts, wishes)
        .unwrap()
        .to_string()
}

/// Compares with `tests/plans/<name>.txt`; with `TRIMARAN_SNAPSHOTS=write` the file is written instead.
fn compare(name: &str, found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/plans")
        .join(format!("{name}.txt"));
    if std::env::var_os("TRIMARAN_SNAPSHOTS").is_some_and(|value| value == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    let first = wanted
        .lines()
        .zip(found.lines())
        .find(|(wanted, found)| wanted != found);
    assert!(
        wanted == found,
        "{name}: the plan changed at {first:?}; TRIMARAN_SNAPSHOTS=write makes this the new snapshot:\n{found}"
    );
}

#[test]
fn an_image_as_root() {
    compare(
        "image-root",
        &text(&image(RunOptions::default()), &facts(), &Wishes::default()),
    );
}

#[test]
fn an_image_as_an_ordinary_user() {
    let host = HostFacts {
        rootless: true,
        cgroup: false,
        ids: rootless_facts().ids,
        ..HostFacts::default()
    };
    let options = RunOptions {
        host,
        network: crate::spec::Network::Host,
        terminal: true,
        ..RunOptions::default()
    };
    let wishes = Wishes {
        terminal: true,
        parent_death_signal: Some(9),
        ..Wishes::default()
    };
    compare(
        "image-rootless-terminal",
        &text(&image(options), &rootless_facts(), &wishes),
    );
}

#[test]
fn a_read_only_root_with_everything_else() {
    let mut spec = image(RunOptions {
        read_only: true,
        no_new_privileges: true,
        hostname: Some("box".into()),
        ..RunOptions::default()
    });
    let process = spec.process_mut().as_mut().unwrap();
    process.set_oom_score_adj(Some(100));
    process
        .user_mut()
        .set_uid(1000)
        .set_additional_gids(Some(vec![5]));
    process.set_rlimits(Some(vec![
        PosixRlimitBuilder::default()
            .typ(PosixRlimitType::RlimitNofile)
            .soft(10_u64)
            .hard(20_u64)
            .build()
            .unwrap(),
    ]));
    let linux = spec.linux_mut().as_mut().unwrap();
    linux.set_rootfs_propagation(Some("rshared".into()));
    linux.set_sysctl(Some(HashMap::from([(
        "net.ipv4.ip_forward".to_owned(),
        "1".to_owned(),
    )])));
    linux
        .namespaces_mut()
        .as_mut()
        .unwrap()
        .push(namespace(LinuxNamespaceType::User, None));
    let map = LinuxIdMappingBuilder::default()
        .host_id(100_000_u32)
        .container_id(0_u32)
        .size(65_536_u32)
        .build()
        .unwrap();
    linux
        .set_uid_mappings(Some(vec![map]))
        .set_gid_mappings(Some(vec![map]));
    spec.mounts_mut().as_mut().unwrap().push(
        MountBuilder::default()
            .destination("/data")
            .typ("bind")
            .source("relative")
            .options(
                ["rbind", "rro", "noexec", "rslave"]
                    .map(str::to_owned)
                    .to_vec(),
            )
            .build()
            .unwrap(),
    );
    let wishes = Wishes {
        bundle: Some("/bundle".into()),
        no_new_keyring: true,
        ..Wishes::default()
    };
    compare("everything", &text(&spec, &facts(), &wishes));
}

#[test]
fn joined_namespaces_and_the_control_groups_of_a_hybrid_host() {
    let mut spec = image(RunOptions {
        seccomp: SeccompChoice::Unconfined,
        ..RunOptions::default()
    });
    let list = spec
        .linux_mut()
        .as_mut()
        .unwrap()
        .namespaces_mut()
        .as_mut()
        .unwrap();
    list.retain(|one| {
        !matches!(
            one.typ(),
            LinuxNamespaceType::Pid | LinuxNamespaceType::Network
        )
    });
    list.push(namespace(LinuxNamespaceType::Network, Some("/run/netns/x")));
    list.push(namespace(LinuxNamespaceType::Pid, Some("/proc/7/ns/pid")));
    spec.mounts_mut().as_mut().unwrap().push(
        MountBuilder::default()
            .destination("/sys/fs/cgroup")
            .typ("cgroup")
            .options(vec!["ro".to_owned(), "nosuid".to_owned()])
            .build()
            .unwrap(),
    );
    let hierarchy = |name: &str, options: &[&str], unified| HostHierarchy {
        name: name.into(),
        options: options
            .iter()
            .map(|word| ((*word).to_owned(), None))
            .collect(),
        unified,
    };
    let cgroups = vec![
        hierarchy("cpu,cpuacct", &["cpu", "cpuacct"], false),
        hierarchy("unified", &[], true),
    ];
    let mut hooks = Hooks::default();
    hooks.set_create_runtime(Some(vec![
        HookBuilder::default().path("/bin/true").build().unwrap(),
    ]));
    spec.set_hooks(Some(hooks));
    let wishes = Wishes {
        rootfs: Some("/bundle/rootfs".into()),
        ..Wishes::default()
    };
    compare(
        "joined-hybrid-hooks",
        &text(&spec, &Facts { cgroups, ..facts() }, &wishes),
    );
}

fn namespace(kind: LinuxNamespaceType, path: Option<&str>) -> oci_spec::runtime::LinuxNamespace {
    let mut namespace = LinuxNamespaceBuilder::default().typ(kind).build().unwrap();
    namespace.set_path(path.map(PathBuf::from));
    namespace
}
