//! The default profile: what containers-common's default allows and refuses, from tables of our own.

use super::{FilterArch, names};
use crate::capability::CapabilitySet;
use oci_spec::runtime::{
    Capability, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompArgBuilder, LinuxSeccompOperator as Operator, LinuxSyscall,
};

/// The values of `personality(2)` that programs really ask for: Linux, Linux32, each with UNAME26, and "only tell me".
const PERSONALITIES: [u64; 5] = [0x0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

const AF_NETLINK: u64 = 16;
const NETLINK_AUDIT: u64 = 9;

/// What the default profile depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileFacts {
    /// The architecture of the machine.
    pub arch: FilterArch,
    /// The bounding set of the container.
    pub capabilities: CapabilitySet,
}

/// The profile a container gets unless told otherwise.
///
/// The default is ENOSYS, not EPERM: the C library tries newer calls first and falls back on ENOSYS alone.
pub fn default_profile(facts: &ProfileFacts) -> LinuxSeccomp {
    let mut rules = vec![
        allow(names::words(names::ALLOWED)),
        refuse(names::words(names::REFUSED)),
    ];
    rules.push(allow(names::words(match facts.arch {
        FilterArch::X86_64 => names::X86_ONLY,
        FilterArch::Aarch64 => names::ARM_ONLY,
    })));
    for (capabilities, list) in names::BY_CAPABILITY {
        let held = capabilities
            .iter()
            .any(|one| facts.capabilities.contains(*one));
        let list = names::words(&[list]);
        rules.push(if held { allow(list) } else { refuse(list) });
    }
    rules.extend(PERSONALITIES.iter().map(|value| {
        when(
            allow(one("personality")),
            &[arg(0, Operator::ScmpCmpEq, *value)],
        )
    }));
    rules.extend(socket_rules(
        facts.capabilities.contains(Capability::AuditWrite),
    ));

    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(Action::ScmpActErrno)
        .set_default_errno_ret(Some(libc::ENOSYS as u32))
        .set_architectures(Some(facts.arch.with_sub_architectures()))
        .set_syscalls(Some(rules));
    profile
}

/// Every socket, but the audit netlink socket only with CAP_AUDIT_WRITE: EINVAL tells login programs that there is no audit.
fn socket_rules(audit: bool) -> Vec<LinuxSyscall> {
    if audit {
        return vec![allow(one("socket"))];
    }
    let mut refused = rule(one("socket"), Action::ScmpActErrno);
    refused.set_errno_ret(Some(libc::EINVAL as u32));
    vec![
        when(
            refused,
            &[
                arg(0, Operator::ScmpCmpEq, AF_NETLINK),
                arg(2, Operator::ScmpCmpEq, NETLINK_AUDIT),
            ],
        ),
        when(
            allow(one("socket")),
            &[arg(2, Operator::ScmpCmpNe, NETLINK_AUDIT)],
        ),
        when(
            allow(one("socket")),
            &[arg(0, Operator::ScmpCmpNe, AF_NETLINK)],
        ),
    ]
}

fn one(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

fn rule(names: Vec<String>, action: Action) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names).set_action(action);
    rule
}

fn allow(names: Vec<String>) -> LinuxSyscall {
    rule(names, Action::ScmpActAllow)
}

fn refuse(names: Vec<String>) -> LinuxSyscall {
    let mut rule = rule(names, Action::ScmpActErrno);
    rule.set_errno_ret(Some(libc::EPERM as u32));
    rule
}

fn when(mut rule: LinuxSyscall, args: &[LinuxSeccompArg]) -> LinuxSyscall {
    rule.set_args(Some(args.to_vec()));
    rule
}

fn arg(index: usize, operator: Operator, value: u64) -> LinuxSeccompArg {
    LinuxSeccompArgBuilder::default()
        .index(index)
        .op(operator)
        .value(value)
        .build()
        .expect("the needed fields are set")
}
