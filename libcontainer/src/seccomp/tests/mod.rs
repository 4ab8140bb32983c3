//! What the tests of filters share: a simulator of classic BPF, and short ways to write rules and calls.

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
use std::collections::BTreeMap;

mod default;
mod libseccomp;
mod property;
mod rules;

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
    abi.names().numbers(name).next().expect("the call exists")
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
