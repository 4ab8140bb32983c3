//! A compiled filter answers as its rules read, one after the other, for calls at the edges of what they name.
#![no_main]

use libcontainer::seccomp::{FilterArch, Instruction, SeccompError, compile};
use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};
use syscalls::x86_64::Sysno;

const ACTIONS: [Action; 6] = [
    Action::ScmpActAllow,
    Action::ScmpActErrno,
    Action::ScmpActKillProcess,
    Action::ScmpActKillThread,
    Action::ScmpActTrap,
    Action::ScmpActTrace,
];
const OPERATORS: [Operator; 7] = [
    Operator::ScmpCmpEq,
    Operator::ScmpCmpNe,
    Operator::ScmpCmpLt,
    Operator::ScmpCmpLe,
    Operator::ScmpCmpGt,
    Operator::ScmpCmpGe,
    Operator::ScmpCmpMaskedEq,
];
const X86_64: u32 = 0xC000_003E;

#[derive(Debug)]
struct Input {
    profile: LinuxSeccomp,
    calls: Vec<(u32, [u64; 6])>,
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let names: Vec<_> = Sysno::iter().map(|call| call.name()).collect();
        let mut rules = Vec::new();
        for _ in 0..u.int_in_range(0..=12)? {
            let mut rule = LinuxSyscall::default();
            let mut list = Vec::new();
            for _ in 0..u.int_in_range(1..=4)? {
                list.push((*u.choose(&names)?).to_owned());
            }
            let mut args = Vec::new();
            for _ in 0..u.int_in_range(0..=3)? {
                let arg = LinuxSeccompArgBuilder::default()
                    .index(u.int_in_range(0..=5_usize)?)
                    .op(*u.choose(&OPERATORS)?)
                    .value(u.arbitrary::<u64>()?)
                    .value_two(u.arbitrary::<u64>()?);
                args.push(arg.build().expect("all fields are set"));
            }
            rule.set_names(list)
                .set_action(*u.choose(&ACTIONS)?)
                .set_errno_ret(Some(u.int_in_range(0..=4095)?))
                .set_args((!args.is_empty()).then_some(args));
            rules.push(rule);
        }
        let mut calls = Vec::new();
        for rule in &rules {
            for name in rule.names() {
                let number = number(name);
                let mut edges = [0; 6];
                for arg in rule.args().iter().flatten() {
                    let nudge = u.int_in_range(0..=2_u64)?;
                    edges[arg.index()] = arg.value().wrapping_add(nudge).wrapping_sub(1);
                }
                calls.extend([(number, edges), (number.saturating_add(1), edges)]);
            }
        }
        calls.extend([(0, [0; 6]), (u32::MAX, [0; 6]), (511, [0; 6]), u.arbitrary()?]);
        let mut profile = LinuxSeccomp::default();
        profile
            .set_default_action(*u.choose(&ACTIONS)?)
            .set_default_errno_ret(Some(u.int_in_range(0..=4095)?))
            .set_architectures(Some(vec![Arch::ScmpArchX86_64]))
            .set_syscalls(Some(rules));
        Ok(Self { profile, calls })
    }
}

fn number(name: &str) -> u32 {
    Sysno::iter()
        .find(|call| call.name() == name)
        .map_or(u32::MAX, |call| call as u32)
}

fn answer(action: Action, data: Option<u32>) -> u32 {
    let data = data.unwrap_or(1);
    match action {
        Action::ScmpActAllow => 0x7fff_0000,
        Action::ScmpActErrno => 0x0005_0000 | data,
        Action::ScmpActKillProcess => 0x8000_0000,
        Action::ScmpActTrap => 0x0003_0000,
        Action::ScmpActTrace => 0x7ff0_0000 | data,
        _ => 0,
    }
}

fn holds(arg: &LinuxSeccompArg, args: &[u64; 6]) -> bool {
    let (has, value) = (args[arg.index()], arg.value());
    match arg.op() {
        Operator::ScmpCmpEq => has == value,
        Operator::ScmpCmpNe => has != value,
        Operator::ScmpCmpLt => has < value,
        Operator::ScmpCmpLe => has <= value,
        Operator::ScmpCmpGt => has > value,
        Operator::ScmpCmpGe => has >= value,
        Operator::ScmpCmpMaskedEq => has & value == arg.value_two().unwrap_or(0) & value,
    }
}

/// The rules, read from the first to the last.
fn oracle(profile: &LinuxSeccomp, call: u32, args: &[u64; 6]) -> u32 {
    let default = answer(profile.default_action(), profile.default_errno_ret());
    if call == u32::MAX {
        return default;
    }
    if call >= 0x4000_0000 {
        return 0x8000_0000;
    }
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    let newest = rules.iter().flat_map(|rule| rule.names()).map(|name| number(name)).max();
    let of_call: Vec<_> = rules
        .iter()
        .filter(|rule| rule.names().iter().any(|name| number(name) == call))
        .map(|rule| (rule, answer(rule.action(), rule.errno_ret())))
        .filter(|(_, action)| *action != default)
        .collect();
    if let Some((_, action)) = of_call.iter().find(|(rule, _)| rule.args().is_none()) {
        return *action;
    }
    for (rule, action) in &of_call {
        let args_of = rule.args().as_deref().unwrap_or_default();
        let repeated = (0..6).any(|index| args_of.iter().filter(|arg| arg.index() == index).count() > 1);
        let met = if repeated {
            args_of.iter().any(|arg| holds(arg, args))
        } else {
            args_of.iter().all(|arg| holds(arg, args))
        };
        if met {
            return *action;
        }
    }
    let refuses = !matches!(profile.default_action(), Action::ScmpActAllow | Action::ScmpActTrace);
    if refuses && newest.is_some_and(|newest| call > newest) {
        return 0x0005_0000 | 38;
    }
    default
}

/// The kernel's reading of a program.
fn run(program: &[Instruction], call: u32, args: &[u64; 6]) -> u32 {
    let (mut at, mut a) = (0, 0_u32);
    loop {
        let now = program[at];
        at += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { now.jt } else { now.jf });
        match now.code {
            0x20 => {
                a = match now.k {
                    0 => call,
                    4 => X86_64,
                    offset => (args[(offset as usize - 16) / 8] >> (offset % 8 * 8)) as u32,
                }
            }
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

fuzz_target!(|input: Input| {
    let program = match compile(&input.profile, FilterArch::X86_64) {
        Ok(program) => program.instructions,
        Err(SeccompError::TooLong(length)) => {
            assert!(length > 4096);
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert!(program.len() <= 4096);
    for (call, args) in &input.calls {
        let (ours, read) = (run(&program, *call, args), oracle(&input.profile, *call, args));
        assert_eq!(ours, read, "call {call} {args:x?}");
    }
});
