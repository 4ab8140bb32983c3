//! The compiler against a direct evaluation of the rules, by a simulator of classic BPF; the default profile against the one that
//! containers-common ships, where it is installed.

use super::arch::{Abi, X32_BIT};
use super::compile::{
    RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS, RET_LOG, RET_TRACE, RET_USER_NOTIF, Table, Verdict,
    answer,
};
use super::*;
use crate::capability::CapabilitySet;
use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompArgBuilder, LinuxSeccompFilterFlag as Flag, LinuxSeccompOperator as Operator,
    LinuxSyscall,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const ENOSYS: u32 = RET_ERRNO | 38;
const EPERM: u32 = RET_ERRNO | 1;
const X86_64: u32 = 0xC000_003E;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xC000_00B7;

/// What a filter sees of a call.
#[derive(Clone, Copy, Debug)]
struct Call {
    arch: u32,
    number: u32,
    args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) {
                    arg as u32
                } else {
                    (arg >> 32) as u32
                }
            }
            _ => panic!("load at {offset}"),
        }
    }
}

/// Runs a program as the kernel would; jumps past its end, loops and unknown operations fail the test.
fn run(program: &[Instruction], call: &Call) -> u32 {
    let (mut at, mut a) = (0_usize, 0_u32);
    loop {
        let now = program.get(at).expect("execution stays inside the program");
        at += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { now.jt } else { now.jf });
        match now.code {
            0x20 => a = call.word(now.k),
            0x54 => a &= now.k,
            0x05 => at += now.k as usize,
            0x15 => jump(a == now.k),
            0x25 => jump(a > now.k),
            0x35 => jump(a >= now.k),
            0x06 => return now.k,
            code => panic!("operation {code:#x}"),
        }
    }
}

fn number(abi: Abi, name: &str) -> u32 {
    abi.numbers(name)[0]
}

fn call(arch: u32, abi: Abi, name: &str, args: &[u64]) -> Call {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    Call {
        arch,
        number: number(abi, name),
        args: all,
    }
}

fn native(name: &str, args: &[u64]) -> Call {
    call(X86_64, Abi::X86_64 { x32: true }, name, args)
}

fn arg(index: usize, op: Operator, value: u64, two: Option<u64>) -> LinuxSeccompArg {
    let mut builder = LinuxSeccompArgBuilder::default()
        .index(index)
        .op(op)
        .value(value);
    if let Some(two) = two {
        builder = builder.value_two(two);
    }
    builder.build().unwrap()
}

fn rule(
    names: &[&str],
    action: Action,
    errno: Option<u32>,
    args: &[LinuxSeccompArg],
) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.iter().map(|name| (*name).to_owned()).collect())
        .set_action(action)
        .set_errno_ret(errno);
    if !args.is_empty() {
        rule.set_args(Some(args.to_vec()));
    }
    rule
}

fn profile(default: Action, errno: Option<u32>, rules: Vec<LinuxSyscall>) -> LinuxSeccomp {
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(default)
        .set_default_errno_ret(errno)
        .set_syscalls(Some(rules));
    profile
}

fn verdict(profile: &LinuxSeccomp, call: &Call) -> u32 {
    run(
        &compile(profile, FilterArch::X86_64).unwrap().instructions,
        call,
    )
}

#[test]
fn every_operator_compares_all_64_bits_without_sign() {
    let values = [
        0,
        1,
        0x1_0000_0000,
        0x1_0000_0001,
        0xffff_ffff,
        0x7fff_ffff_ffff_ffff,
        0x8000_0000_0000_0000,
        u64::MAX,
    ];
    type Meaning = fn(u64, u64) -> bool;
    let operators: [(Operator, Meaning); 6] = [
        (Operator::ScmpCmpEq, |a, b| a == b),
        (Operator::ScmpCmpNe, |a, b| a != b),
        (Operator::ScmpCmpLt, |a, b| a < b),
        (Operator::ScmpCmpLe, |a, b| a <= b),
        (Operator::ScmpCmpGe, |a, b| a >= b),
        (Operator::ScmpCmpGt, |a, b| a > b),
    ];
    for (operator, holds) in operators {
        for value in values {
            let rules = vec![rule(
                &["read"],
                Action::ScmpActErrno,
                Some(7),
                &[arg(5, operator, value, None)],
            )];
            let profile = profile(Action::ScmpActAllow, None, rules);
            for argument in values {
                let expected = if holds(argument, value) {
                    RET_ERRNO | 7
                } else {
                    RET_ALLOW
                };
                let got = verdict(&profile, &native("read", &[9, 9, 9, 9, 9, argument]));
                assert_eq!(got, expected, "{argument:#x} {operator:?} {value:#x}");
            }
        }
    }
    for (mask, two) in [
        (0xff, 0x12),
        (0xff_0000_0000, 0x12_0000_0000),
        (u64::MAX, 5),
        (0, 0),
        (0xf, 0x10),
    ] {
        let rules = vec![rule(
            &["read"],
            Action::ScmpActErrno,
            Some(7),
            &[arg(0, Operator::ScmpCmpMaskedEq, mask, Some(two))],
        )];
        let profile = profile(Action::ScmpActAllow, None, rules);
        for argument in [
            0,
            5,
            0x12,
            0x3412,
            0x12_0000_0000,
            0x7712_0000_0001,
            u64::MAX,
        ] {
            let expected = if argument & mask == two {
                RET_ERRNO | 7
            } else {
                RET_ALLOW
            };
            assert_eq!(
                verdict(&profile, &native("read", &[argument])),
                expected,
                "{argument:#x} & {mask:#x} == {two:#x}"
            );
        }
    }
}

#[test]
fn every_action_has_the_kernels_value() {
    for (action, errno, value) in [
        (Action::ScmpActKill, None, 0),
        (Action::ScmpActKillThread, None, 0),
        (Action::ScmpActKillProcess, None, RET_KILL_PROCESS),
        (Action::ScmpActTrap, None, 0x0003_0000),
        (Action::ScmpActErrno, None, EPERM),
        (Action::ScmpActErrno, Some(0), RET_ERRNO),
        (Action::ScmpActErrno, Some(38), ENOSYS),
        (Action::ScmpActNotify, None, RET_USER_NOTIF),
        (Action::ScmpActTrace, Some(3), RET_TRACE | 3),
        (Action::ScmpActLog, None, RET_LOG),
        (Action::ScmpActAllow, None, RET_ALLOW),
    ] {
        assert_eq!(answer(action, errno), Ok(value), "{action:?}");
        // The default action is one that no case has, or the rule would be skipped.
        let profile = profile(
            Action::ScmpActErrno,
            Some(99),
            vec![rule(&["read"], action, errno, &[])],
        );
        assert_eq!(verdict(&profile, &native("read", &[])), value, "{action:?}");
    }
}

#[test]
fn which_rule_decides_is_what_runc_users_know() {
    let allow = Action::ScmpActAllow;
    let errno = |number| (Action::ScmpActErrno, Some(number));
    let zero = || vec![arg(0, Operator::ScmpCmpEq, 0, None)];
    let first_zero = |(action, errno)| rule(&["read"], action, errno, &zero());
    let always = |(action, errno)| rule(&["read"], action, errno, &[]);
    let cases: Vec<(Vec<LinuxSyscall>, u32)> = vec![
        (vec![always((allow, None)), always(errno(33))], RET_ALLOW),
        (
            vec![always(errno(33)), always((allow, None))],
            RET_ERRNO | 33,
        ),
        (
            vec![first_zero(errno(33)), always((allow, None))],
            RET_ALLOW,
        ),
        (
            vec![always((allow, None)), first_zero(errno(33))],
            RET_ALLOW,
        ),
        (
            vec![first_zero((allow, None)), always(errno(33))],
            RET_ERRNO | 33,
        ),
        (
            vec![first_zero(errno(33)), first_zero(errno(34))],
            RET_ERRNO | 33,
        ),
        // What the default does anyway is no rule, so that a later one can say otherwise.
        (
            vec![always((Action::ScmpActLog, None)), always((allow, None))],
            RET_ALLOW,
        ),
    ];
    for (index, (rules, expected)) in cases.into_iter().enumerate() {
        assert_eq!(
            verdict(
                &profile(Action::ScmpActLog, None, rules),
                &native("read", &[0])
            ),
            expected,
            "case {index}"
        );
    }
    // One argument tested twice: each test is a rule of its own.
    let twice = [
        arg(0, Operator::ScmpCmpEq, 1, None),
        arg(0, Operator::ScmpCmpEq, 2, None),
    ];
    let twice = profile(
        Action::ScmpActLog,
        None,
        vec![rule(&["read"], allow, None, &twice)],
    );
    for (value, expected) in [(0, RET_LOG), (1, RET_ALLOW), (2, RET_ALLOW)] {
        assert_eq!(verdict(&twice, &native("read", &[value])), expected);
    }
}

#[test]
fn calls_newer_than_the_profile_do_not_exist_for_the_payload() {
    let rules = || vec![rule(&["openat2"], Action::ScmpActAllow, None, &[])];
    let newer = native("mseal", &[]);
    let older = native("clone3", &[]);
    for (action, errno, expected) in [
        (Action::ScmpActErrno, None, ENOSYS),
        (Action::ScmpActErrno, Some(13), ENOSYS),
        (Action::ScmpActKillProcess, None, ENOSYS),
        (Action::ScmpActKill, None, ENOSYS),
        (Action::ScmpActTrap, None, ENOSYS),
        (Action::ScmpActLog, None, RET_LOG),
        (Action::ScmpActTrace, Some(1), RET_TRACE | 1),
    ] {
        let profile = profile(action, errno, rules());
        assert_eq!(verdict(&profile, &newer), expected, "{action:?}");
        assert_eq!(
            verdict(&profile, &older),
            answer(action, errno).unwrap(),
            "{action:?}"
        );
    }
    let nothing = profile(Action::ScmpActErrno, None, vec![]);
    assert_eq!(
        verdict(&nothing, &newer),
        EPERM,
        "a profile without names says nothing about newer calls"
    );
}

#[test]
fn programs_of_other_architectures_are_killed() {
    let mut own = profile(Action::ScmpActAllow, None, vec![]);
    let x32 = Call {
        number: X32_BIT,
        ..native("read", &[])
    };
    let foreign = |arch| Call {
        arch,
        ..native("read", &[])
    };
    assert_eq!(verdict(&own, &native("read", &[])), RET_ALLOW);
    assert_eq!(verdict(&own, &foreign(I386)), RET_KILL_PROCESS);
    assert_eq!(verdict(&own, &foreign(AARCH64)), RET_KILL_PROCESS);
    assert_eq!(verdict(&own, &x32), RET_KILL_PROCESS);
    assert_eq!(
        verdict(
            &own,
            &Call {
                number: u32::MAX,
                ..x32
            }
        ),
        RET_ALLOW,
        "cancelled by a tracer"
    );
    own.set_architectures(Some(vec![
        Arch::ScmpArchX86,
        Arch::ScmpArchX32,
        Arch::ScmpArchS390x,
    ]));
    assert_eq!(verdict(&own, &foreign(I386)), RET_ALLOW);
    assert_eq!(verdict(&own, &x32), RET_ALLOW);
    assert_eq!(verdict(&own, &foreign(AARCH64)), RET_KILL_PROCESS);
}

#[test]
fn x32_and_i386_are_filtered_by_their_own_numbers() {
    let mut deny = profile(
        Action::ScmpActAllow,
        None,
        vec![rule(&["execve", "socket"], Action::ScmpActErrno, None, &[])],
    );
    deny.set_architectures(Some(vec![
        Arch::ScmpArchX86_64,
        Arch::ScmpArchX86,
        Arch::ScmpArchX32,
    ]));
    for (arch, number, args, expected) in [
        (X86_64, 59, [0; 6], EPERM),
        (X86_64, X32_BIT | 520, [0; 6], EPERM),
        (X86_64, X32_BIT | 41, [0; 6], EPERM),
        (X86_64, X32_BIT, [0; 6], RET_ALLOW),
        (I386, 11, [0; 6], EPERM),
        (I386, 359, [0; 6], EPERM),
        (I386, 59, [0; 6], RET_ALLOW),
        // socketcall(SYS_SOCKET) and socketcall(SYS_BIND)
        (I386, 102, [1, 0, 0, 0, 0, 0], EPERM),
        (I386, 102, [2, 0, 0, 0, 0, 0], RET_ALLOW),
    ] {
        assert_eq!(
            verdict(&deny, &Call { arch, number, args }),
            expected,
            "{arch:#x} {number}"
        );
    }
    // The kernel shows 32 bits of an argument there; a profile's -1 is 64 bits wide.
    let mut minus = profile(
        Action::ScmpActAllow,
        None,
        vec![rule(
            &["personality"],
            Action::ScmpActErrno,
            None,
            &[arg(0, Operator::ScmpCmpEq, u64::MAX, None)],
        )],
    );
    minus.set_architectures(Some(vec![Arch::ScmpArchX86]));
    assert_eq!(
        verdict(&minus, &call(I386, Abi::X86, "personality", &[0xffff_ffff])),
        EPERM
    );
    assert_eq!(
        verdict(&minus, &native("personality", &[0xffff_ffff])),
        RET_ALLOW
    );
}

#[test]
fn flags_listeners_and_what_no_filter_can_do() {
    let compile_own = |profile: &LinuxSeccomp| compile(profile, FilterArch::X86_64);
    let mut flagged = profile(
        Action::ScmpActAllow,
        None,
        vec![rule(&["mkdir"], Action::ScmpActNotify, None, &[])],
    );
    flagged.set_flags(Some(vec![
        Flag::SeccompFilterFlagLog,
        Flag::SeccompFilterFlagSpecAllow,
        Flag::SeccompFilterFlagTsync,
        Flag::SeccompFilterFlagWaitKillableRecv,
    ]));
    let program = compile_own(&flagged).unwrap();
    assert!(program.needs_listener);
    assert_eq!(program.flags, 2 | 4 | 32);
    flagged.set_syscalls(None);
    assert_eq!(
        compile_own(&flagged).unwrap().flags,
        2 | 4,
        "the kernel refuses the last without a listener"
    );

    let bad = |rules| compile_own(&profile(Action::ScmpActAllow, None, rules)).unwrap_err();
    let six = [arg(6, Operator::ScmpCmpEq, 0, None)];
    assert_eq!(
        bad(vec![rule(&["read"], Action::ScmpActErrno, None, &six)]),
        SeccompError::Argument {
            name: "read".to_owned(),
            index: 6
        }
    );
    assert_eq!(
        bad(vec![rule(&["read"], Action::ScmpActErrno, Some(4096), &[])]),
        SeccompError::ErrorNumber(4096)
    );
    assert_eq!(
        bad(vec![rule(&["write"], Action::ScmpActNotify, None, &[])]),
        SeccompError::Notify("write")
    );
    let all = profile(Action::ScmpActNotify, None, vec![]);
    assert_eq!(
        compile_own(&all).unwrap_err(),
        SeccompError::Notify("every call")
    );

    let names = profile(
        Action::ScmpActAllow,
        None,
        vec![rule(
            &["read", "no_such_call"],
            Action::ScmpActErrno,
            None,
            &[],
        )],
    );
    assert_eq!(compile_own(&names).unwrap().unknown, ["no_such_call"]);
}

/// Many conditions on one call make jumps that no 8-bit distance reaches.
#[test]
fn long_chains_jump_as_far_as_they_must() {
    let rules: Vec<_> = (0..700)
        .map(|value| {
            rule(
                &["read"],
                Action::ScmpActErrno,
                Some(value % 4000),
                &[arg(0, Operator::ScmpCmpEq, value.into(), None)],
            )
        })
        .chain([rule(&["write"], Action::ScmpActErrno, Some(77), &[])])
        .collect();
    let profile = profile(Action::ScmpActAllow, None, rules);
    let program = compile(&profile, FilterArch::X86_64).unwrap().instructions;
    assert!(program.len() > 2000, "{}", program.len());
    for value in [0_u64, 1, 254, 255, 256, 699] {
        assert_eq!(
            run(&program, &native("read", &[value])),
            RET_ERRNO | value as u32
        );
    }
    assert_eq!(run(&program, &native("read", &[700])), RET_ALLOW);
    assert_eq!(run(&program, &native("write", &[0])), RET_ERRNO | 77);
    assert_eq!(run(&program, &native("close", &[0])), RET_ALLOW);
    let more = (0..1500_u32).map(|value| {
        rule(
            &["read"],
            Action::ScmpActErrno,
            Some(value),
            &[arg(0, Operator::ScmpCmpEq, value.into(), None)],
        )
    });
    let more = self::profile(Action::ScmpActAllow, None, more.collect());
    assert!(matches!(
        compile(&more, FilterArch::X86_64),
        Err(SeccompError::TooLong(_))
    ));
}

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

/// The direct reading of the rules, in the words of the module page of `compile`.
fn evaluate(profile: &LinuxSeccomp, abi: Abi, call: &Call) -> u32 {
    let default = answer(profile.default_action(), profile.default_errno_ret()).unwrap();
    let mut mentioned = BTreeSet::new();
    let table = Table::build(
        abi,
        profile.syscalls().as_deref().unwrap_or_default(),
        default,
        &mut mentioned,
    )
    .unwrap();
    match table.verdicts.get(&call.number) {
        Some(Verdict::Always(action)) => *action,
        Some(Verdict::First(alternatives)) => alternatives
            .iter()
            .find(|(conditions, _)| {
                conditions
                    .iter()
                    .all(|condition| condition.holds(&call.args))
            })
            .map_or(default, |(_, action)| *action),
        None if table.last.is_some_and(|last| call.number > last) => table.newer,
        None => default,
    }
}

fn any_action() -> impl Strategy<Value = (Action, Option<u32>)> {
    prop_oneof![
        Just((Action::ScmpActAllow, None)),
        Just((Action::ScmpActKillProcess, None)),
        Just((Action::ScmpActLog, None)),
        (0_u32..200).prop_map(|errno| (Action::ScmpActErrno, Some(errno))),
    ]
}

fn any_value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..4,
        Just(u64::MAX),
        Just(1 << 32),
        Just((1 << 32) + 1),
        any::<u64>()
    ]
}

fn any_arg() -> impl Strategy<Value = LinuxSeccompArg> {
    let operators = prop_oneof![
        Just(Operator::ScmpCmpEq),
        Just(Operator::ScmpCmpNe),
        Just(Operator::ScmpCmpLt),
        Just(Operator::ScmpCmpLe),
        Just(Operator::ScmpCmpGe),
        Just(Operator::ScmpCmpGt),
        Just(Operator::ScmpCmpMaskedEq),
    ];
    (0_usize..3, operators, any_value(), any_value())
        .prop_map(|(index, op, value, two)| arg(index, op, value, Some(two)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_compiled_filter_answers_as_its_rules(
        default in any_action(),
        rules in proptest::collection::vec(
            (proptest::collection::vec(0_u32..470, 1..20), any_action(), proptest::collection::vec(any_arg(), 0..4)),
            0..12,
        ),
        calls in proptest::collection::vec((0_u32..600, [any_value(), any_value(), any_value()]), 40),
    ) {
        let table: BTreeMap<u32, &str> = syscalls::x86_64::Sysno::iter().map(|one| (one as u32, one.name())).collect();
        let rules: Vec<_> = rules.iter().map(|(numbers, (action, errno), args)| {
            let names: Vec<&str> = numbers.iter().filter_map(|number| table.get(number).copied()).collect();
            rule(&names, *action, *errno, args)
        }).collect();
        let mut profile = profile(default.0, default.1, rules);
        profile.set_architectures(Some(vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86]));
        let program = match compile(&profile, FilterArch::X86_64) {
            Ok(program) => program.instructions,
            Err(error) => {
                prop_assume!(!matches!(error, SeccompError::TooLong(_)));
                panic!("{error}");
            }
        };
        for (number, [a, b, c]) in calls {
            let own = Call { arch: X86_64, number, args: [a, b, c, 0, 0, 0] };
            prop_assert_eq!(run(&program, &own), evaluate(&profile, Abi::X86_64 { x32: false }, &own));
            let low = |value: u64| value & 0xffff_ffff;
            let sub = Call { arch: I386, number, args: [low(a), low(b), low(c), 0, 0, 0] };
            prop_assert_eq!(run(&program, &sub), evaluate(&profile, Abi::X86, &sub));
        }
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
