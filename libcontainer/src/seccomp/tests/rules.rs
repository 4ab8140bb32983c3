//! Operators, actions, architectures, and which rule decides.

use super::*;

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
            let expected = if argument & mask == two & mask {
                RET_ERRNO | 7
            } else {
                RET_ALLOW
            };
            assert_eq!(
                verdict(&profile, &native("read", &[argument])),
                expected,
                "{argument:#x} & {mask:#x} == {two:#x}, masked as libseccomp does"
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
