//! A compiled filter answers as a direct evaluation of its rules, for any rules and calls.

use super::*;
use proptest::prelude::*;

/// The direct reading of the rules, in the words of the module page of `compile`.
fn evaluate(profile: &LinuxSeccomp, abi: Abi, call: &Call) -> u32 {
    let default = answer(profile.default_action(), profile.default_errno_ret()).unwrap();
    let table = Table::build(
        abi,
        &abi.names(),
        profile.syscalls().as_deref().unwrap_or_default(),
        default,
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
