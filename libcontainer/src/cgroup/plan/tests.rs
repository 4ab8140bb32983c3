//! Plans for fake hosts; the real one is in the integration tests.

use super::super::hierarchy::tests::{HYBRID, V2};
use super::*;
use serde_json::{Value, json};

fn hybrid() -> Hierarchies {
    Hierarchies::parse(HYBRID, "8:pids:/me\n0::/me\n", "hugetlb")
}

fn v1() -> Hierarchies {
    let text: String = HYBRID
        .lines()
        .filter(|line| !line.contains("cgroup2"))
        .map(|line| format!("{line}\n"))
        .collect();
    Hierarchies::parse(&text, "8:pids:/me\n", "")
}

fn v2() -> Hierarchies {
    Hierarchies::parse(V2, "0::/me\n", "cpuset cpu io memory hugetlb pids rdma")
}

fn try_plan(
    host: &Hierarchies,
    path: &str,
    resources: Value,
    rootless: bool,
) -> Result<String, CgroupError> {
    let resources: LinuxResources = serde_json::from_value(resources).unwrap();
    let request = CgroupRequest {
        path: Path::new(path),
        default_path: Path::new("/trimaran/box"),
        resources: Some(&resources),
        accounted: false,
        rootless,
    };
    Ok(plan(&request, host)?
        .to_string()
        .replace("/sys/fs/cgroup", "")
        .replace("  ", ""))
}

fn lines(host: &Hierarchies, resources: Value) -> Vec<String> {
    try_plan(host, "", resources, false)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn all() -> Value {
    json!({
        "memory": {"limit": 1000, "swap": 3000, "reservation": 500, "swappiness": 10},
        "cpu": {"shares": 1024, "quota": 50000, "period": 100_000, "burst": 7, "cpus": "0-1", "mems": "0"},
        "pids": {"limit": 5},
        "blockIO": {
            "weight": 505,
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 9}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 1, "rate": 9}],
        },
    })
}

#[test]
fn a_hybrid_host_keeps_track_in_one_hierarchy_and_limits_in_the_others() {
    assert_eq!(
        lines(&hybrid(), json!({})),
        ["mkdir /unified/trimaran/box (if allowed)"]
    );
    assert_eq!(
        lines(
            &hybrid(),
            json!({"pids": {"limit": 5}, "hugepageLimits": [{"pageSize": "2MB", "limit": 4}]})
        ),
        [
            "mkdir /unified/trimaran/box",
            "hand down hugetlb",
            "write hugetlb.2MB.max \"4\"",
            "write hugetlb.2MB.rsvd.max \"4\" (if there)",
            "mkdir /pids/trimaran/box",
            "write pids.max \"5\"",
        ]
    );
}

#[test]
fn v1_writes_its_own_files() {
    assert_eq!(
        lines(&v1(), json!({})),
        ["mkdir /freezer/trimaran/box (if allowed)"]
    );
    let got = lines(&v1(), all());
    let expected = [
        "mkdir /freezer/trimaran/box",
        "mkdir /memory/trimaran/box",
        "write memory.limit_in_bytes \"1000\"",
        "write memory.memsw.limit_in_bytes \"3000\"",
        "write memory.soft_limit_in_bytes \"500\"",
        "write memory.swappiness \"10\"",
        "mkdir /cpu,cpuacct/trimaran/box",
        "write cpu.shares \"1024\"",
        "write cpu.cfs_period_us \"100000\"",
        "write cpu.cfs_quota_us \"50000\"",
        "write cpu.cfs_burst_us \"7\"",
        "mkdir /cpuset/trimaran/box",
        "write cpuset.cpus \"0-1\"",
        "write cpuset.mems \"0\"",
        "mkdir /pids/trimaran/box",
        "write pids.max \"5\"",
        "mkdir /blkio/trimaran/box",
        "write blkio.weight \"505\", or blkio.bfq.weight \"505\"",
        "write blkio.throttle.read_bps_device \"8:0 9\"",
        "write blkio.throttle.write_iops_device \"8:1 9\"",
    ];
    assert_eq!(got, expected);
}

#[test]
fn v2_writes_its_own_files() {
    assert_eq!(
        lines(&v2(), all()),
        [
            "mkdir /trimaran/box",
            "hand down memory cpu cpuset pids io",
            "write memory.max \"1000\"",
            "write memory.swap.max \"2000\"",
            "write memory.low \"500\"",
            "write cpu.weight \"100\"",
            "write cpu.max \"50000 100000\"",
            "write cpu.max.burst \"7\"",
            "write cpuset.cpus \"0-1\"",
            "write cpuset.mems \"0\"",
            "write pids.max \"5\"",
            "write io.bfq.weight \"default 505\", or io.weight \"default 5000\"",
            "write io.max \"8:0 rbps=9\"",
            "write io.max \"8:1 wiops=9\"",
        ]
    );
    let raw = json!({"unified": {"memory.high": "5", "io.max": "8:0 rbps=1\n8:1 rbps=2", "cgroup.max.depth": "3"}});
    assert_eq!(
        lines(&v2(), raw),
        [
            "mkdir /trimaran/box",
            "hand down io memory",
            "write cgroup.max.depth \"3\"",
            "write io.max \"8:0 rbps=1\"",
            "write io.max \"8:1 rbps=2\"",
            "write memory.high \"5\"",
        ]
    );
}

#[test]
fn zero_asks_for_nothing_and_minus_one_for_no_limit() {
    let zero = json!({"memory": {"limit": 0, "swap": 0}, "cpu": {"shares": 0, "quota": 0, "cpus": ""}, "pids": {"limit": 0}});
    assert_eq!(
        lines(&v2(), zero.clone()),
        ["mkdir /trimaran/box (if allowed)"]
    );
    assert_eq!(
        lines(&v1(), zero),
        ["mkdir /freezer/trimaran/box (if allowed)"]
    );
    let unlimited =
        json!({"memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1}});
    assert_eq!(
        lines(&v2(), unlimited),
        [
            "mkdir /trimaran/box",
            "hand down memory cpu pids",
            "write memory.max \"max\"",
            "write memory.swap.max \"max\" (if there)",
            "write cpu.max \"max 100000\"",
            "write pids.max \"max\"",
        ]
    );
}

#[test]
fn device_rules_are_lines_on_v1_and_a_program_on_v2() {
    let rules = json!({"devices": [
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "b", "major": 8, "access": "r"},
    ]});
    let text = lines(&hybrid(), rules.clone());
    assert_eq!(
        text[1..5],
        [
            "mkdir /devices/trimaran/box",
            "write devices.deny \"a\"",
            "write devices.allow \"b 8:* r\"",
            "write devices.allow \"c *:* m\"",
        ]
    );
    let text = lines(&v2(), rules);
    assert_eq!(text[0], "mkdir /trimaran/box");
    let program =
        "attach a program: deny a, allow b 8:* r, allow c *:* m, allow b *:* m, allow c 1:3 rwm";
    assert!(text[1].starts_with(program), "{text:?}");
    let everything = json!({"devices": [{"allow": true, "access": "rwm"}]});
    assert_eq!(
        lines(&v2(), everything),
        ["mkdir /trimaran/box (if allowed)"]
    );
}

#[test]
fn paths_are_names_below_their_place() {
    let first = |host: &Hierarchies, path: &str, rootless: bool| {
        try_plan(host, path, json!({}), rootless)
            .map(|text| text.lines().next().unwrap_or_default().to_owned())
    };
    for (path, rootless, expected) in [
        ("", false, "mkdir /unified/trimaran/box (if allowed)"),
        (
            "/kubepods/./pod1//x",
            false,
            "mkdir /unified/kubepods/pod1/x",
        ),
        ("mine/x", false, "mkdir /unified/me/mine/x"),
        ("", true, "mkdir /unified/me/trimaran/box (if allowed)"),
        ("/abs", true, "mkdir /unified/abs"),
    ] {
        assert_eq!(
            first(&hybrid(), path, rootless).unwrap(),
            expected,
            "{path:?}"
        );
    }
    for path in ["..", "/a/../b", "/", ".", "a/..", "/a\nb"] {
        assert!(
            matches!(first(&hybrid(), path, false), Err(CgroupError::Path(_))),
            "{path:?}"
        );
    }
}

#[test]
fn what_cannot_be_limited_is_refused_by_name() {
    let none = Hierarchies::parse(V2, "", "");
    for (host, resources, reason) in [
        (&none, json!({"memory": {"limit": 5}}), "controller memory"),
        (&none, json!({"pids": {"limit": 5}}), "controller pids"),
        (
            &v2(),
            json!({"network": {"classID": 5}}),
            "controller net_cls",
        ),
        (&v2(), json!({"cpu": {"realtimeRuntime": 5}}), "real-time"),
        (
            &v2(),
            json!({"memory": {"limit": 5, "swap": 4}}),
            "below the limit",
        ),
        (
            &v2(),
            json!({"unified": {"../x.y": "1"}}),
            "no file of a controller",
        ),
        (
            &v2(),
            json!({"unified": {"a..b": "1"}}),
            "no file of a controller",
        ),
        (&v1(), json!({"unified": {"memory.high": "1"}}), "cgroup v2"),
        (
            &v2(),
            json!({"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]}),
            "page size",
        ),
        (&v1(), json!({"memory": {"swappiness": 101}}), "above 100"),
    ] {
        let error = try_plan(host, "", resources.clone(), false).unwrap_err();
        assert!(error.to_string().contains(reason), "{resources}: {error}");
    }
    assert_eq!(
        lines(&none, json!({})),
        ["mkdir /trimaran/box (if allowed)"]
    );
    assert_eq!(lines(&Hierarchies::default(), json!({})), [""; 0]);
}

#[test]
fn only_a_container_without_limits_may_do_without() {
    let text = try_plan(&hybrid(), "", json!({"pids": {"limit": 5}}), true).unwrap();
    assert!(!text.contains("if allowed"), "{text}");
    let devices = json!({"devices": [{"allow": false, "access": "rwm"}]});
    let text = try_plan(&hybrid(), "", devices, true).unwrap();
    assert_eq!(text, "mkdir /unified/me/trimaran/box (if allowed)\n");
    // A place that is named is wanted.
    let text = try_plan(&hybrid(), "/mine", json!({}), true).unwrap();
    assert_eq!(text, "mkdir /unified/mine\n");
}
