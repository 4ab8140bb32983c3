//! Our programs answer as libseccomp's: the same rules compiled by both, the same calls asked of both.

use super::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

/// Reads profiles, one JSON array a line; writes programs in hexadecimal, or why there is none.
const PYTHON: &str = r#"
import sys, json, seccomp, os, signal
ops = dict(EQ=seccomp.EQ, NE=seccomp.NE, LT=seccomp.LT, LE=seccomp.LE, GT=seccomp.GT, GE=seccomp.GE, MASKED_EQ=seccomp.MASKED_EQ)
def action(a):
    kind, data = a
    return {"allow": lambda: seccomp.ALLOW, "errno": lambda: seccomp.ERRNO(data), "log": lambda: seccomp.LOG,
            "trap": lambda: seccomp.TRAP, "trace": lambda: seccomp.TRACE(data), "process": lambda: seccomp.KILL_PROCESS,
            "thread": lambda: seccomp.KILL, "notify": lambda: seccomp.NOTIFY}[kind]()
def program(line, file):
    default, archs, rules = json.loads(line)
    f = seccomp.SyscallFilter(action(default))
    f.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.KILL_PROCESS)
    for arch in archs:
        f.add_arch(arch)
    for names, act, args in rules:
        if act == default:
            continue
        for name in names:
            conditions = [seccomp.Arg(i, ops[op], a, b) if op == "MASKED_EQ" else seccomp.Arg(i, ops[op], a) for i, op, a, b in args]
            if len({i for i, *_ in args}) < len(args):
                for condition in conditions:
                    f.add_rule(action(act), name, condition)
            else:
                f.add_rule(action(act), name, *conditions)
    f.export_bpf(file)
for line in sys.stdin:
    # Some contradicting rules send libseccomp into a loop without end.
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(2)
        try:
            with os.fdopen(write, "wb") as file:
                program(line, file)
            os._exit(0)
        except Exception:
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        text = file.read().hex()
    failed = os.waitpid(child, 0)[1]
    print("!" if failed else text, flush=True)
"#;

type Act = (&'static str, u32);
type Arg = (usize, &'static str, u64, u64);
type Rule = (Vec<&'static str>, Act, Vec<Arg>);

fn oci_action((kind, data): Act) -> (Action, Option<u32>) {
    match kind {
        "allow" => (Action::ScmpActAllow, None),
        "errno" => (Action::ScmpActErrno, Some(data)),
        "log" => (Action::ScmpActLog, None),
        "trap" => (Action::ScmpActTrap, None),
        "trace" => (Action::ScmpActTrace, Some(data)),
        "process" => (Action::ScmpActKillProcess, None),
        "thread" => (Action::ScmpActKillThread, None),
        _ => (Action::ScmpActNotify, None),
    }
}

fn oci_arg((index, op, one, two): Arg) -> LinuxSeccompArg {
    let operator = match op {
        "EQ" => Operator::ScmpCmpEq,
        "NE" => Operator::ScmpCmpNe,
        "LT" => Operator::ScmpCmpLt,
        "LE" => Operator::ScmpCmpLe,
        "GT" => Operator::ScmpCmpGt,
        "GE" => Operator::ScmpCmpGe,
        _ => Operator::ScmpCmpMaskedEq,
    };
    arg(index, operator, one, Some(two))
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        Just(("allow", 0)),
        Just(("log", 0)),
        Just(("trap", 0)),
        Just(("process", 0)),
        Just(("thread", 0)),
        (1_u32..4095).prop_map(|data| ("errno", data)),
        (1_u32..4095).prop_map(|data| ("trace", data)),
    ]
}

const VALUES: [u64; 10] = [
    0,
    1,
    2,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    u64::MAX - 1,
    u64::MAX,
];

/// Calls that exist on both architectures under the same name, and lie at both ends of the table.
const NAMES: [&str; 10] = [
    "read",
    "write",
    "close",
    "getpid",
    "personality",
    "clone",
    "prctl",
    "openat2",
    "statx",
    "unshare",
];

fn any_rule() -> impl Strategy<Value = Rule> {
    let value = proptest::sample::select(&VALUES[..]);
    let op = proptest::sample::select(&["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"][..]);
    let one = (0_usize..3, op, value.clone(), value);
    (
        proptest::collection::vec(proptest::sample::select(&NAMES[..]), 1..4),
        any_act(),
        proptest::collection::vec(one, 0..3),
    )
}

/// The different actions of the rules that hold for a call.
fn matching(rules: &[Rule], default: &Act, name: &str, args: &[u64; 6], abi: Abi) -> BTreeSet<Act> {
    let low = |value: u64| {
        if abi.is_32_bit() {
            value & 0xffff_ffff
        } else {
            value
        }
    };
    let holds = |(index, op, one, two): &Arg| {
        let has = args[*index];
        match *op {
            "EQ" => has == low(*one),
            "NE" => has != low(*one),
            "LT" => has < low(*one),
            "LE" => has <= low(*one),
            "GT" => has > low(*one),
            "GE" => has >= low(*one),
            _ => has & low(*one) == low(*one & *two),
        }
    };
    let met = |list: &[Arg]| {
        let places: BTreeSet<_> = list.iter().map(|(index, ..)| index).collect();
        if places.len() < list.len() {
            list.iter().any(holds)
        } else {
            list.iter().all(holds)
        }
    };
    let of_call = rules
        .iter()
        .filter(|(names, act, list)| names.contains(&name) && act != default && met(list));
    of_call.map(|(_, act, _)| *act).collect()
}

/// libseccomp's programs for these profiles; `None` without its Python module.
fn theirs(profiles: &[String]) -> Option<Vec<Result<Vec<Instruction>, String>>> {
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take().unwrap();
    let text = profiles.join("\n");
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    if !output.status.success() {
        return None;
    }
    let program = |line: &str| {
        if let Some(error) = line.strip_prefix('!') {
            return Err(error.to_owned());
        }
        let bytes: Vec<u8> = (0..line.len() / 2)
            .map(|at| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let one = |bytes: &[u8]| Instruction {
            code: u16::from_le_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        };
        Ok(bytes.chunks_exact(8).map(one).collect())
    };
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(program).collect())
}

#[test]
fn verdicts_are_libseccomps() {
    const PROFILES: usize = 250;
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let strategy = (
        any_act(),
        any::<bool>(),
        proptest::collection::vec(any_rule(), 1..7),
    );
    let cases: Vec<(Act, bool, Vec<Rule>)> = (0..PROFILES)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect();
    let lines: Vec<String> = cases
        .iter()
        .map(|(default, sub, rules)| {
            let archs: &[&str] = if *sub { &["x86"] } else { &[] };
            serde_json::to_string(&(default, archs, rules)).unwrap()
        })
        .collect();
    let Some(programs) = theirs(&lines) else {
        return trimaran_testkit::skip("needs python3-seccomp");
    };
    assert_eq!(programs.len(), PROFILES);
    let mut compared = 0;
    for ((default, sub, rules), program) in cases.iter().zip(programs) {
        // Rules that contradict each other are refused there; here the first one wins.
        let Ok(program) = program else { continue };
        let (action, errno) = oci_action(*default);
        let list = rules.iter().map(|(names, act, args)| {
            let (action, errno) = oci_action(*act);
            let args: Vec<_> = args.iter().map(|one| oci_arg(*one)).collect();
            rule(names, action, errno, &args)
        });
        let mut profile = profile(action, errno, list.collect());
        let mut archs = vec![Arch::ScmpArchX86_64];
        archs.extend(sub.then_some(Arch::ScmpArchX86));
        profile.set_architectures(Some(archs));
        let ours = compile(&profile, FilterArch::X86_64).unwrap().instructions;
        let abis = [(X86_64, Abi::X86_64 { x32: false }), (I386, Abi::X86)];
        for (arch, abi) in abis.into_iter().take(if *sub { 2 } else { 1 }) {
            let known = |name: &&str| rules.iter().any(|(names, ..)| names.contains(name));
            for name in NAMES.into_iter().filter(known) {
                // Trees of several rules with conditions on 64 bits are merged wrongly by libseccomp 2.5; the fuzz target has an oracle
                // for those.
                let named = rules.iter().filter(|(names, act, args)| {
                    names.contains(&name) && act != default && !args.is_empty()
                });
                if named.count() > 1 {
                    continue;
                }
                for one in VALUES {
                    for two in [0, 1, 0xffff_ffff, u64::MAX] {
                        let low = |value: u64| {
                            if abi.is_32_bit() {
                                value & 0xffff_ffff
                            } else {
                                value
                            }
                        };
                        let asked = Call {
                            arch,
                            number: number(abi, name),
                            args: [low(one), low(two), low(one ^ two), 0, 0, 0],
                        };
                        // Where rules with different actions hold at once, libseccomp's answer depends on the shape of its tree.
                        if matching(rules, default, name, &asked.args, abi).len() > 1 {
                            continue;
                        }
                        let (us, them) = (run(&ours, &asked), run(&program, &asked));
                        assert_eq!(us, them, "{asked:x?} {name} of {default:?} {rules:?}");
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 10_000, "{compared} verdicts");
}
