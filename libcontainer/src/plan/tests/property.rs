//! No specification makes planning panic, and a plan is the same each time: what varies is any field of the specification.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::compile::{Wishes, compile};
use super::super::exec::{Entering, compile as compile_exec};
use super::snapshots::base;
use super::{facts, rootless_facts};
use crate::id::ContainerId;

/// Shapes of values.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Text,
    Texts,
    Number,
    Flag,
    Mounts,
    Namespaces,
    Devices,
    Maps,
    Limits,
    Sysctl,
    Filter,
    Hooks,
}

/// Fields, as JSON pointers, and what they hold.
const FIELDS: [(&str, Shape); 53] = [
    ("/ociVersion", Shape::Text),
    ("/hostname", Shape::Text),
    ("/domainname", Shape::Text),
    ("/root/path", Shape::Text),
    ("/root/readonly", Shape::Flag),
    ("/process/terminal", Shape::Flag),
    ("/process/noNewPrivileges", Shape::Flag),
    ("/process/args", Shape::Texts),
    ("/process/env", Shape::Texts),
    ("/process/cwd", Shape::Text),
    ("/process/user/uid", Shape::Number),
    ("/process/user/gid", Shape::Number),
    ("/process/user/umask", Shape::Number),
    ("/process/user/additionalGids", Shape::Number),
    ("/process/oomScoreAdj", Shape::Number),
    ("/process/apparmorProfile", Shape::Text),
    ("/process/selinuxLabel", Shape::Text),
    ("/process/rlimits", Shape::Limits),
    ("/process/capabilities/bounding", Shape::Texts),
    ("/process/capabilities/ambient", Shape::Texts),
    ("/process/consoleSize/height", Shape::Number),
    ("/process/ioPriority/priority", Shape::Number),
    ("/process/ioPriority/class", Shape::Text),
    ("/process/scheduler/policy", Shape::Text),
    ("/process/scheduler/nice", Shape::Number),
    ("/process/execCPUAffinity/initial", Shape::Text),
    ("/process/execCPUAffinity/final", Shape::Text),
    ("/mounts", Shape::Mounts),
    ("/mounts", Shape::Mounts),
    ("/mounts", Shape::Mounts),
    ("/annotations", Shape::Sysctl),
    ("/hooks/createRuntime", Shape::Hooks),
    ("/hooks/startContainer", Shape::Hooks),
    ("/linux/namespaces", Shape::Namespaces),
    ("/linux/namespaces", Shape::Namespaces),
    ("/linux/devices", Shape::Devices),
    ("/linux/devices", Shape::Devices),
    ("/linux/uidMappings", Shape::Maps),
    ("/linux/gidMappings", Shape::Maps),
    ("/linux/maskedPaths", Shape::Texts),
    ("/linux/readonlyPaths", Shape::Texts),
    ("/linux/sysctl", Shape::Sysctl),
    ("/linux/rootfsPropagation", Shape::Text),
    ("/linux/mountLabel", Shape::Text),
    ("/linux/cgroupsPath", Shape::Text),
    ("/linux/seccomp", Shape::Filter),
    ("/linux/personality/domain", Shape::Text),
    ("/linux/timeOffsets/monotonic/secs", Shape::Number),
    ("/linux/timeOffsets/boottime/nanosecs", Shape::Number),
    ("/linux/netDevices/eth0/name", Shape::Text),
    ("/linux/memoryPolicy/mode", Shape::Text),
    ("/linux/memoryPolicy/nodes", Shape::Text),
    ("/linux/intelRdt/closID", Shape::Text),
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("/".to_owned()),
        Just("\0".to_owned()),
        Just("..".to_owned()),
        Just("x/".repeat(3000)),
        "/(dev|proc|sys|dev/pts|dev/shm|a/../b|dev/x|proc/uptime|proc/self/fd/3|sys/fs/cgroup)",
        "(CAP_CHOWN|CAP_NOTHING|HOME=|PATH=:.:/x|rshared|unbindable|LINUX32|IOPRIO_CLASS_RT|SCHED_FIFO|MPOL_BIND|0-3,7|0-)",
        "[a-z/.=:,0-9-]{0,12}",
        any::<String>(),
    ]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(vec![
            json!(0),
            json!(1),
            json!(-1),
            json!(u32::MAX),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(65_536),
        ]),
        any::<i32>().prop_map(|number| json!(number)),
    ]
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        prop::collection::vec(text(), 0..6),
        text().prop_map(|one| vec![one; 2000])
    ]
}

fn mounts() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        "(bind|proc|sysfs|tmpfs|devpts|mqueue|cgroup|cgroup2|none|overlay|)",
        text()
    ];
    let word = prop_oneof![
        "r?(bind|ro|rw|noexec|exec|noatime|relatime|private|shared|slave|unbindable|idmap|nosymfollow)",
        "(size|gid|mode|uid|idmap|copy-symlink|tmpcopyup)(=[0-9a-z#@-]{0,6})?",
        "(tmpcopyup|copy-symlink|src-nofollow|dest-nofollow|defaults|sync|iversion|lazytime)",
        text()
    ];
    let mount = (
        text(),
        proptest::option::of(kind),
        proptest::option::of(text()),
        prop::collection::vec(word, 0..5),
        proptest::option::of(maps()),
    );
    let mount = mount.prop_map(|(destination, kind, source, options, maps)| {
        let mut mount = json!({"destination": destination, "options": options});
        let more = [
            ("type", json!(kind)),
            ("source", json!(source)),
            ("uidMappings", json!(maps)),
            ("gidMappings", json!(maps)),
        ];
        for (key, value) in more.into_iter().filter(|(_, value)| !value.is_null()) {
            mount[key] = value;
        }
        mount
    });
    // Few of them, or one very often.
    (prop::collection::vec(mount, 0..6), any::<u8>()).prop_map(|(mounts, times)| {
        match mounts.first() {
            Some(first) if times < 25 => vec![first.clone(); 300].into(),
            _ => mounts.into(),
        }
    })
}

fn maps() -> impl Strategy<Value = Value> {
    let map = (number(), number(), number())
        .prop_map(|(a, b, c)| json!({"containerID": a, "hostID": b, "size": c}));
    prop::collection::vec(map, 0..4).prop_map(Value::from)
}

fn value(shape: Shape) -> BoxedStrategy<Value> {
    let list = |one: BoxedStrategy<Value>| {
        prop::collection::vec(one, 0..4)
            .prop_map(Value::from)
            .boxed()
    };
    match shape {
        Shape::Text => text().prop_map(Value::from).boxed(),
        Shape::Texts => texts().prop_map(Value::from).boxed(),
        Shape::Number => prop_oneof![
            number(),
            prop::collection::vec(number(), 0..4).prop_map(Value::from)
        ]
        .boxed(),
        Shape::Flag => any::<bool>().prop_map(Value::from).boxed(),
        Shape::Mounts => mounts().boxed(),
        Shape::Maps => maps().boxed(),
        Shape::Sysctl => prop::collection::hash_map(text(), text(), 0..5)
            .prop_map(|map| json!(map))
            .boxed(),
        Shape::Namespaces => list(
            (
                "(mount|cgroup|uts|ipc|user|pid|network|time)",
                proptest::option::of(text()),
            )
                .prop_map(|(kind, path)| match path {
                    Some(path) => json!({"type": kind, "path": path}),
                    None => json!({"type": kind}),
                })
                .boxed(),
        ),
        Shape::Devices => list(
            (text(), "[cbupa]", number(), number(), number())
                .prop_map(|(path, kind, major, minor, mode)| {
                    json!({"path": path, "type": kind, "major": major, "minor": minor, "fileMode": mode})
                })
                .boxed(),
        ),
        Shape::Limits => list(
            ("RLIMIT_(NOFILE|CORE|AS|NOTHING)", number(), number())
                .prop_map(|(kind, soft, hard)| json!({"type": kind, "soft": soft, "hard": hard}))
                .boxed(),
        ),
        Shape::Filter => (
            "SCMP_ACT_(ALLOW|ERRNO|KILL|NOTIFY|TRACE|LOG)",
            texts(),
            "SCMP_ACT_(ALLOW|ERRNO|KILL|NOTIFY|TRACE|LOG)",
            number(),
        )
            .prop_map(|(default, names, action, value)| {
                let argument = json!({"index": value, "value": value, "op": "SCMP_CMP_MASKED_EQ"});
                json!({"defaultAction": default, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                    "syscalls": [{"names": names, "action": action, "args": [argument]}]})
            })
            .boxed(),
        Shape::Hooks => list(
            (text(), texts(), number())
                .prop_map(|(path, args, timeout)| {
                    json!({"path": path, "args": args, "env": [], "timeout": timeout})
                })
                .boxed(),
        ),
    }
}

fn change() -> impl Strategy<Value = (&'static str, Value)> {
    prop::sample::select(FIELDS.to_vec())
        .prop_flat_map(|(pointer, shape)| value(shape).prop_map(move |value| (pointer, value)))
}

/// Sets a field, with the objects above it.
fn set(document: &mut Value, pointer: &str, value: Value) {
    let mut place = document;
    for name in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = json!({});
        }
        place = place
            .as_object_mut()
            .expect("it is one now")
            .entry(name)
            .or_insert(Value::Null);
    }
    *place = value;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn no_specification_makes_planning_panic_and_a_plan_is_always_the_same(
        changes in prop::collection::vec(change(), 1..6),
        flags in (any::<bool>(), any::<bool>(), any::<u32>(), any::<u32>()),
    ) {
        let mut document = base();
        for (pointer, value) in changes {
            set(&mut document, pointer, value);
        }
        let text = document.to_string();
        let Ok((spec, warnings)) = crate::spec::load(text.as_bytes()) else { return Ok(()) };
        // What is invalid is refused here in earnest; planning must not rely on it.
        crate::spec::validate(&spec, &warnings).ok();
        let facts = if flags.0 { rootless_facts() } else { facts() };
        let wishes = Wishes { terminal: flags.1, ..Wishes::default() };
        let id = ContainerId::parse("x").expect("an id");
        let plan = |text: &str| {
            // Read again each time: the maps in it have another order.
            let (spec, _) = crate::spec::load(text.as_bytes()).expect("it was read before");
            compile(&id, &spec, &facts, &wishes).map(|script| script.to_string()).map_err(|error| error.to_string())
        };
        prop_assert_eq!(plan(&text), plan(&text));
        if let Some(process) = spec.process() {
            let entering = Entering { flags: flags.3, terminal: flags.1, ..Entering::default() };
            if let Ok(script) = compile_exec(&id, &spec, process, &facts, &entering) {
                prop_assert!(!script.to_string().is_empty());
            }
        }
    }
}
