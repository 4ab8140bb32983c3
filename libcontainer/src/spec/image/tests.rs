//! Which specification comes of which image and wishes.

use super::*;
use crate::{
    idmap::IdMaps,
    rlimit::{self, HardLimits},
    seccomp::FilterArch,
    spec::{Volume, validate},
};
use oci_spec::{
    image::{Arch, Os},
    runtime::{Capability, LinuxNamespaceType as Namespace, PosixRlimitType},
};

const PASSWD: &[u8] = b"root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/srv/ann:/bin/sh\n";
const GROUP: &[u8] = b"root:x:0:\nann:x:1000:\naudio:x:29:ann\n";

fn files() -> UserFiles {
    UserFiles {
        passwd: PASSWD.to_vec(),
        group: GROUP.to_vec(),
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn image(edit: impl FnOnce(&mut Config)) -> ImageConfiguration {
    let mut config = Config::default();
    edit(&mut config);
    let mut image = ImageConfiguration::default();
    image
        .set_config(Some(config))
        .set_os(Os::Linux)
        .set_architecture(Arch::Amd64);
    image
}

fn options() -> RunOptions {
    let host = HostFacts {
        arch: Some(FilterArch::X86_64),
        ..HostFacts::default()
    };
    RunOptions {
        args: strings(&["true"]),
        host,
        ..RunOptions::default()
    }
}

fn make(options: &RunOptions) -> Spec {
    let spec = from_image(&image(|_| {}), options, &files()).unwrap();
    validate(&spec, &[]).unwrap();
    spec
}

fn process(spec: &Spec) -> &Process {
    spec.process().as_ref().unwrap()
}

fn linux(spec: &Spec) -> &Linux {
    spec.linux().as_ref().unwrap()
}

fn mount<'a>(spec: &'a Spec, at: &str) -> Option<&'a Mount> {
    spec.mounts()
        .as_ref()
        .unwrap()
        .iter()
        .find(|mount| mount.destination() == Path::new(at))
}

fn has_option(spec: &Spec, at: &str, option: &str) -> bool {
    mount(spec, at)
        .unwrap()
        .options()
        .iter()
        .flatten()
        .any(|known| known == option)
}

fn has_namespace(spec: &Spec, kind: Namespace) -> bool {
    linux(spec)
        .namespaces()
        .iter()
        .flatten()
        .any(|namespace| namespace.typ() == kind)
}

#[test]
fn the_command_follows_docker() {
    type Case<'a> = (
        Option<&'a [&'a str]>,
        Option<&'a [&'a str]>,
        Option<&'a [&'a str]>,
        &'a [&'a str],
        Option<&'a [&'a str]>,
    );
    // image entrypoint, image cmd, --entrypoint, words, result
    let cases: &[Case<'_>] = &[
        (None, Some(&["sh"]), None, &[], Some(&["sh"])),
        (
            None,
            Some(&["sh"]),
            None,
            &["ls", "-l"],
            Some(&["ls", "-l"]),
        ),
        (Some(&["e"]), Some(&["c"]), None, &[], Some(&["e", "c"])),
        (Some(&["e"]), Some(&["c"]), None, &["x"], Some(&["e", "x"])),
        (Some(&["e"]), None, None, &[], Some(&["e"])),
        (Some(&["e"]), Some(&["c"]), Some(&["f"]), &[], Some(&["f"])),
        (
            Some(&["e"]),
            Some(&["c"]),
            Some(&["f"]),
            &["x"],
            Some(&["f", "x"]),
        ),
        (Some(&["e"]), Some(&["c"]), Some(&[]), &["x"], Some(&["x"])),
        (Some(&["e"]), Some(&["c"]), Some(&[]), &[], None),
        (None, None, None, &[], None),
        (None, Some(&[""]), None, &[], None),
    ];
    for (entrypoint, cmd, given, words, expected) in cases {
        let image = image(|config| {
            config
                .set_entrypoint(entrypoint.map(strings))
                .set_cmd(cmd.map(strings));
        });
        let options = RunOptions {
            entrypoint: given.map(strings),
            args: strings(words),
            ..options()
        };
        let args = from_image(&image, &options, &files())
            .map(|spec| process(&spec).args().clone().unwrap());
        assert_eq!(
            args,
            expected.map(strings).ok_or(SpecError::NoCommand),
            "{entrypoint:?} {cmd:?} {given:?} {words:?}"
        );
    }
}

#[test]
fn variables_are_layered_and_the_last_one_wins() {
    let image = image(|config| {
        config.set_env(Some(strings(&[
            "PATH=/bin",
            "A=image",
            "B=image",
            "NOVALUE",
            "=x",
            "A=image2",
        ])));
    });
    let given = RunOptions {
        env: strings(&["B=user", "C=", "EQ=a=b", "C=user"]),
        terminal: true,
        ..options()
    };
    let spec = from_image(&image, &given, &files()).unwrap();
    assert_eq!(
        process(&spec).env().as_ref().unwrap().join(" "),
        "PATH=/bin container=trimaran HOSTNAME=container TERM=xterm A=image2 B=user C=user EQ=a=b HOME=/root"
    );
    for bad in ["NAME", "=x", "", "A=\0"] {
        let given = RunOptions {
            env: strings(&[bad]),
            ..options()
        };
        assert_eq!(
            from_image(&image, &given, &files()).unwrap_err(),
            SpecError::Variable(bad.to_owned())
        );
    }
    let home = RunOptions {
        env: strings(&["HOME=/x"]),
        user: Some("ann".to_owned()),
        ..options()
    };
    assert!(
        process(&make(&home))
            .env()
            .as_ref()
            .unwrap()
            .contains(&"HOME=/x".to_owned())
    );
    let empty = RunOptions {
        env: strings(&["HOME="]),
        user: Some("ann".to_owned()),
        ..options()
    };
    assert!(
        process(&make(&empty))
            .env()
            .as_ref()
            .unwrap()
            .contains(&"HOME=/srv/ann".to_owned())
    );
}

#[test]
fn the_user_is_the_words_then_the_images() {
    let image = image(|config| {
        config.set_user(Some("ann".to_owned()));
    });
    let spec = from_image(&image, &options(), &files()).unwrap();
    let user = process(&spec).user();
    assert_eq!(
        (
            user.uid(),
            user.gid(),
            user.additional_gids().clone(),
            user.umask()
        ),
        (1000, 1000, Some(vec![29]), Some(0o022))
    );
    let root = RunOptions {
        user: Some("0".to_owned()),
        group_add: strings(&["audio", "77", "77"]),
        ..options()
    };
    let spec = from_image(&image, &root, &files()).unwrap();
    assert_eq!(
        (
            process(&spec).user().uid(),
            process(&spec).user().additional_gids().clone()
        ),
        (0, Some(vec![29, 77]))
    );

    let eve = RunOptions {
        user: Some("eve".to_owned()),
        ..options()
    };
    let error = Error::from(from_image(&image, &eve, &files()).unwrap_err());
    assert_eq!(*error.kind(), ErrorKind::UnknownUser);
    assert!(error.hint().unwrap().contains("numeric id"));
}

#[test]
fn capabilities_depend_on_the_user() {
    let ann = RunOptions {
        user: Some("ann".to_owned()),
        cap_add: strings(&["net_raw"]),
        ..options()
    };
    let spec = make(&ann);
    let sets = process(&spec).capabilities().as_ref().unwrap();
    let raw = CapabilitySet::EMPTY.with(Capability::NetRaw);
    assert_eq!(CapabilitySet::from(sets.ambient().as_ref().unwrap()), raw);
    assert_eq!(
        CapabilitySet::from(sets.bounding().as_ref().unwrap()),
        CapabilitySet::container_default().with(Capability::NetRaw)
    );
    let privileged = make(&RunOptions {
        privileged: true,
        ..options()
    });
    let sets = process(&privileged).capabilities().as_ref().unwrap();
    assert_eq!(
        CapabilitySet::from(sets.effective().as_ref().unwrap()),
        CapabilitySet::ALL
    );
    let unknown = RunOptions {
        cap_add: strings(&["fly"]),
        ..options()
    };
    let error = Error::from(from_image(&image(|_| {}), &unknown, &files()).unwrap_err());
    assert_eq!(
        *error.kind(),
        ErrorKind::InvalidSpec {
            field: "process.capabilities".to_owned()
        }
    );
}

#[test]
fn the_filter_knows_the_capabilities() {
    let allows = |spec: &Spec, name: &str| {
        let seccomp = linux(spec).seccomp().as_ref().unwrap();
        let rules = seccomp.syscalls().as_ref().unwrap();
        rules.iter().any(|rule| {
            rule.action() == oci_spec::runtime::LinuxSeccompAction::ScmpActAllow
                && rule.names().iter().any(|known| known == name)
        })
    };
    assert!(!allows(&make(&options()), "sethostname"));
    assert!(allows(
        &make(&RunOptions {
            cap_add: strings(&["SYS_ADMIN"]),
            ..options()
        }),
        "sethostname"
    ));
    for open in [
        RunOptions {
            seccomp: SeccompChoice::Unconfined,
            ..options()
        },
        RunOptions {
            privileged: true,
            ..options()
        },
    ] {
        assert!(linux(&make(&open)).seccomp().is_none());
    }
    let own = RunOptions {
        seccomp: SeccompChoice::Profile(Box::default()),
        privileged: true,
        ..options()
    };
    assert_eq!(linux(&make(&own)).seccomp(), &Some(LinuxSeccomp::default()));
}

#[test]
fn working_directories_are_absolute() {
    for (image_dir, given, expected) in [
        (None, None, Ok("/")),
        (Some("/srv"), None, Ok("/srv")),
        (Some("srv"), None, Ok("/srv")),
        (Some("/srv"), Some("/tmp"), Ok("/tmp")),
        (
            Some("/srv"),
            Some("tmp"),
            Err(SpecError::WorkingDirectory("tmp".to_owned())),
        ),
    ] {
        let image = image(|config| {
            config.set_working_dir(image_dir.map(str::to_owned));
        });
        let options = RunOptions {
            workdir: given.map(str::to_owned),
            ..options()
        };
        let cwd = from_image(&image, &options, &files()).map(|spec| process(&spec).cwd().clone());
        assert_eq!(cwd, expected.map(PathBuf::from), "{image_dir:?} {given:?}");
    }
}

#[test]
fn namespaces_and_mounts_follow_network_host_and_rootless() {
    let spec = make(&options());
    for kind in [
        Namespace::Pid,
        Namespace::Ipc,
        Namespace::Uts,
        Namespace::Mount,
        Namespace::Network,
        Namespace::Cgroup,
    ] {
        assert!(has_namespace(&spec, kind), "{kind}");
    }
    assert!(!has_namespace(&spec, Namespace::User));
    assert!(has_option(&spec, "/dev/pts", "gid=5"));
    assert!(
        linux(&spec)
            .sysctl()
            .as_ref()
            .unwrap()
            .contains_key("net.ipv4.ping_group_range")
    );
    assert_eq!(
        linux(&spec)
            .resources()
            .as_ref()
            .unwrap()
            .pids()
            .unwrap()
            .limit(),
        2048
    );
    assert_eq!(
        linux(&spec)
            .resources()
            .as_ref()
            .unwrap()
            .devices()
            .as_ref()
            .unwrap()
            .len(),
        11
    );

    let host_network = make(&RunOptions {
        network: Network::Host,
        ..options()
    });
    assert!(!has_namespace(&host_network, Namespace::Network));
    assert!(linux(&host_network).sysctl().is_none());
    assert_eq!(
        mount(&host_network, "/sys").unwrap().typ().as_deref(),
        Some("sysfs")
    );

    let v1 = HostFacts {
        cgroup_v2: false,
        ..options().host
    };
    let v1 = make(&RunOptions {
        host: v1,
        ..options()
    });
    assert!(!has_namespace(&v1, Namespace::Cgroup));
    assert!(mount(&v1, "/sys/fs/cgroup").is_some());

    let rootless = HostFacts {
        rootless: true,
        ids: Some(IdMaps::single(1000, 1000)),
        setgroups: false,
        cgroup: false,
        cgroup_v2: false,
        ..options().host
    };
    let alone = RunOptions {
        host: rootless,
        ..options()
    };
    let spec = make(&alone);
    assert!(!has_option(&spec, "/dev/pts", "gid=5"));
    assert!(mount(&spec, "/sys/fs/cgroup").is_none());
    assert!(linux(&spec).resources().is_none());
    let spec = make(&RunOptions {
        network: Network::Host,
        ..alone.clone()
    });
    let sys = mount(&spec, "/sys").unwrap();
    assert_eq!(
        (sys.typ().as_deref(), sys.source().as_deref()),
        (Some("bind"), Some(Path::new("/sys")))
    );
    assert!(
        linux(&spec)
            .masked_paths()
            .as_ref()
            .unwrap()
            .contains(&"/sys/fs/cgroup".to_owned())
    );

    let user = |word: &str| RunOptions {
        user: Some(word.to_owned()),
        ..alone.clone()
    };
    let error = from_image(&image(|_| {}), &user("ann"), &files()).unwrap_err();
    assert_eq!(
        error,
        SpecError::Unmapped {
            kind: "user",
            id: 1000
        }
    );
    assert!(Error::from(error).hint().unwrap().contains("/etc/subuid"));
    let error = from_image(&image(|_| {}), &user("0:29"), &files()).unwrap_err();
    assert_eq!(
        error,
        SpecError::Unmapped {
            kind: "group",
            id: 29
        }
    );
    let added = RunOptions {
        group_add: strings(&["audio", "0"]),
        ..alone
    };
    assert!(
        process(&make(&added)).user().additional_gids().is_none(),
        "without setgroups there are no other groups"
    );
}

#[test]
fn mounts_come_from_the_outside_in_and_the_user_wins() {
    let volume = |word: &str| word.parse::<Volume>().unwrap();
    let mut hosts = Mount::default();
    hosts
        .set_destination("/etc/hosts".into())
        .set_typ(Some("bind".to_owned()))
        .set_source(Some("/x/hosts".into()));
    let mut resolv = hosts.clone();
    resolv.set_destination("/etc/resolv.conf".into());
    let wishes = RunOptions {
        read_only: true,
        extra_mounts: vec![hosts, resolv],
        volumes: vec![
            volume("/data:/tmp/deep/data"),
            volume("/data:/tmp:ro"),
            volume("/my:/etc/hosts"),
            volume("/my:/dev/shm/"),
        ],
        ..options()
    };
    let spec = make(&wishes);
    assert_eq!(spec.root().as_ref().unwrap().readonly(), Some(true));
    let order: Vec<_> = spec
        .mounts()
        .as_ref()
        .unwrap()
        .iter()
        .map(|mount| mount.destination().display().to_string())
        .collect();
    assert_eq!(
        order.join(" "),
        "/proc /dev /dev/pts /dev/mqueue /sys /sys/fs/cgroup /run /tmp /var/tmp /etc/resolv.conf /etc/hosts /dev/shm/ /tmp/deep/data"
    );
    assert_eq!(
        mount(&spec, "/etc/hosts").unwrap().source().as_deref(),
        Some(Path::new("/my"))
    );
    assert!(has_option(&spec, "/tmp", "ro"));
    let relative = RunOptions {
        volumes: vec![volume("./data:/data")],
        ..options()
    };
    let error = from_image(&image(|_| {}), &relative, &files()).unwrap_err();
    assert_eq!(error, SpecError::VolumeSource("./data".into()));
}

#[test]
fn limits_stay_below_our_own() {
    let limits = HardLimits::default().with(PosixRlimitType::RlimitNofile, 4096);
    let host = HostFacts {
        hard_limits: limits,
        ..options().host
    };
    let core = rlimit::limit_of(PosixRlimitType::RlimitCore, 0, 0);
    let files = rlimit::limit_of(PosixRlimitType::RlimitNofile, 100, 1 << 40);
    let given = |spec: &Spec, kind| {
        let limits = process(spec).rlimits().as_ref().unwrap();
        limits
            .iter()
            .find(|limit| limit.typ() == kind)
            .map(|limit| (limit.soft(), limit.hard()))
    };
    let spec = make(&RunOptions {
        host: host.clone(),
        ..options()
    });
    assert_eq!(
        given(&spec, PosixRlimitType::RlimitNofile),
        Some((4096, 4096))
    );
    let spec = make(&RunOptions {
        host,
        rlimits: vec![core, files],
        ..options()
    });
    assert_eq!(
        given(&spec, PosixRlimitType::RlimitNofile),
        Some((100, 4096))
    );
    assert_eq!(given(&spec, PosixRlimitType::RlimitCore), Some((0, 0)));
    assert_eq!(
        given(&make(&options()), PosixRlimitType::RlimitNofile),
        Some((1 << 20, 1 << 20))
    );
}

#[test]
fn privileged_masks_nothing() {
    let spec = make(&RunOptions {
        privileged: true,
        ..options()
    });
    assert!(linux(&spec).masked_paths().is_none() && linux(&spec).readonly_paths().is_none());
    assert!(has_option(&spec, "/sys", "rw"));
    assert!(
        linux(&spec)
            .resources()
            .as_ref()
            .unwrap()
            .devices()
            .is_none()
    );
    let usual = make(&options());
    assert!(
        linux(&usual)
            .masked_paths()
            .as_ref()
            .unwrap()
            .contains(&"/proc/kcore".to_owned())
    );
    assert!(
        linux(&usual)
            .readonly_paths()
            .as_ref()
            .unwrap()
            .contains(&"/proc/sys".to_owned())
    );
}

#[test]
fn annotations_and_volumes_come_from_the_image() {
    let mut image = image(|config| {
        config
            .set_stop_signal(Some("SIGQUIT".to_owned()))
            .set_labels(Some(HashMap::from([
                ("a".to_owned(), "1".to_owned()),
                ("b".to_owned(), "1".to_owned()),
            ])))
            .set_volumes(Some(strings(&["/var/lib/x", "/data", "/data"])));
    });
    image.set_created(Some("2026-01-01T00:00:00Z".to_owned()));
    let given = RunOptions {
        annotations: [("b".to_owned(), "2".to_owned())].into(),
        ..options()
    };
    let spec = from_image(&image, &given, &files()).unwrap();
    let annotations = spec.annotations().as_ref().unwrap();
    for (name, value) in [
        ("org.opencontainers.image.stopSignal", "SIGQUIT"),
        ("org.opencontainers.image.os", "linux"),
        ("org.opencontainers.image.architecture", "amd64"),
        ("org.opencontainers.image.created", "2026-01-01T00:00:00Z"),
        ("a", "1"),
        ("b", "2"),
    ] {
        assert_eq!(
            annotations.get(name).map(String::as_str),
            Some(value),
            "{name}"
        );
    }
    assert_eq!(image_volumes(&image), ["/data", "/var/lib/x"]);
}

#[test]
fn the_specification_survives_its_own_loader() {
    let spec = make(&options());
    let (again, warnings) = crate::spec::load(&serde_json::to_vec(&spec).unwrap()).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(again, spec);
}
