//! The default profile: its size, what the design says of it, and the one that containers-common ships, where it is installed.

use super::*;

fn facts(capabilities: CapabilitySet) -> ProfileFacts {
    ProfileFacts {
        arch: FilterArch::X86_64,
        capabilities,
    }
}

#[test]
fn the_default_profile_compiles_small_for_each_architecture() {
    for (arch, most) in [(FilterArch::X86_64, 260), (FilterArch::Aarch64, 260)] {
        let profile = default_profile(&ProfileFacts {
            arch,
            capabilities: CapabilitySet::container_default(),
        });
        let program = compile(&profile, arch).unwrap();
        assert!(
            program.instructions.len() <= most,
            "{arch:?}: {} instructions",
            program.instructions.len()
        );
        assert!(!program.needs_listener);
    }
    let mut alone = default_profile(&facts(CapabilitySet::container_default()));
    alone.set_architectures(Some(vec![Arch::ScmpArchX86_64]));
    let length = compile(&alone, FilterArch::X86_64)
        .unwrap()
        .instructions
        .len();
    assert!(length <= 110, "{length} instructions for x86-64 alone");
}

#[test]
fn the_default_profile_says_what_the_design_says() {
    let base = CapabilitySet::container_default();
    let with = |capability| base.with(capability);
    for (capabilities, call, expected) in [
        (base, native("read", &[]), RET_ALLOW),
        (base, native("keyctl", &[]), RET_ALLOW),
        (base, native("kexec_load", &[]), EPERM),
        (base, native("sethostname", &[]), EPERM),
        (
            with(Capability::SysAdmin),
            native("sethostname", &[]),
            RET_ALLOW,
        ),
        (base, native("bpf", &[]), EPERM),
        (with(Capability::Bpf), native("bpf", &[]), RET_ALLOW),
        (with(Capability::SysAdmin), native("bpf", &[]), RET_ALLOW),
        (
            with(Capability::Perfmon),
            native("perf_event_open", &[]),
            RET_ALLOW,
        ),
        (base, native("chroot", &[]), RET_ALLOW),
        (
            base.without(Capability::SysChroot),
            native("chroot", &[]),
            EPERM,
        ),
        (base, native("personality", &[0]), RET_ALLOW),
        (base, native("personality", &[0xffff_ffff]), RET_ALLOW),
        (base, native("personality", &[0x4_0000]), ENOSYS),
        (base, native("socket", &[16, 3, 9]), RET_ERRNO | 22),
        (base, native("socket", &[16, 3, 0]), RET_ALLOW),
        (base, native("socket", &[2, 1, 9]), RET_ALLOW),
        (
            with(Capability::AuditWrite),
            native("socket", &[16, 3, 9]),
            RET_ALLOW,
        ),
        (base, native("io_uring_setup", &[]), ENOSYS),
        (base, native("add_key", &[]), ENOSYS),
        (
            base,
            Call {
                number: 9999,
                ..native("read", &[])
            },
            ENOSYS,
        ),
    ] {
        assert_eq!(
            verdict(&default_profile(&facts(capabilities)), &call),
            expected,
            "{call:?}"
        );
    }
}

/// containers-common's file, resolved for one set of capabilities; `None` where it is not installed.
fn installed(capabilities: CapabilitySet) -> Option<LinuxSeccomp> {
    let text = std::fs::read_to_string("/usr/share/containers/seccomp.json").ok()?;
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let holds = |list: &serde_json::Value, empty: bool| match list["caps"].as_array() {
        Some(words) => words.iter().any(|word| {
            capabilities.contains(crate::capability::parse(word.as_str().unwrap()).unwrap())
        }),
        None => empty,
    };
    let machine = |list: &serde_json::Value| {
        list["arches"]
            .as_array()
            .is_none_or(|words| words.iter().any(|word| word == "amd64"))
    };
    let mut rules = Vec::new();
    for entry in file["syscalls"].as_array().unwrap() {
        if holds(&entry["includes"], true)
            && !holds(&entry["excludes"], false)
            && machine(&entry["includes"])
        {
            rules.push(serde_json::from_value(entry.clone()).unwrap());
        }
    }
    Some(profile(Action::ScmpActErrno, Some(38), rules))
}

/// Names this crate's profile allows and Debian's older file does not know yet; unknown there is ENOSYS.
const NEWER: &[&str] = &[
    "cachestat",
    "fchmodat2",
    "futex_requeue",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "getxattrat",
    "listmount",
    "listxattrat",
    "map_shadow_stack",
    "mseal",
    "removexattrat",
    "set_mempolicy_home_node",
    "setxattrat",
    "statmount",
    "uretprobe",
    "quotactl_fd",
    "io_pgetevents_time64",
];

#[test]
fn verdicts_are_those_of_containers_common() {
    let sets = [
        CapabilitySet::container_default(),
        CapabilitySet::EMPTY,
        CapabilitySet::ALL,
    ]
    .into_iter()
    .chain(
        CapabilitySet::ALL
            .iter()
            .map(|one| CapabilitySet::container_default().with(one)),
    );
    for capabilities in sets {
        let Some(theirs) = installed(capabilities) else {
            return trimaran_testkit::skip("containers-common is not installed");
        };
        let ours = default_profile(&facts(capabilities));
        let ours = compile(&ours, FilterArch::X86_64).unwrap().instructions;
        let theirs = compile(&theirs, FilterArch::X86_64).unwrap().instructions;
        for name in syscalls::x86_64::Sysno::iter()
            .map(|one| one.name())
            .filter(|name| !NEWER.contains(name))
        {
            // Their BPF and PERFMON groups came after Debian 12's file.
            if ["bpf", "perf_event_open"].contains(&name)
                && !capabilities.contains(Capability::SysAdmin)
            {
                continue;
            }
            for args in [
                [0_u64, 0, 0],
                [16, 3, 9],
                [16, 3, 0],
                [8, 0, 0],
                [0x2_0008, 0, 9],
                [0xffff_ffff, 0, 0],
                [7, 7, 7],
            ] {
                let call = native(name, &args);
                assert_eq!(
                    run(&ours, &call),
                    run(&theirs, &call),
                    "{name}{args:?} with {capabilities:?}"
                );
            }
        }
    }
}
