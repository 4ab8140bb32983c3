//! From the specification's rules to a BPF program: names become numbers, rules become one verdict a number, neighbours with the
//! same verdict become ranges, ranges become a binary search.
//!
//! Which rule decides (libseccomp's answers, which runc's users rely on):
//! 1. A rule whose action is the default one is no rule.
//! 2. The first rule without conditions decides, before or after conditional ones.
//! 3. Else the first rule whose conditions all hold. A rule that tests one argument twice is as many rules, one a condition.
//! 4. Else the default; for calls newer than any the profile names ENOSYS, if the default is a refusal: a C library takes ENOSYS
//!    for "use the older call", and EPERM for a failure.

use super::{
    Program,
    arch::{Abi, FilterArch, Names, X32_BIT},
    emit::{Comparison, Condition, Emitter, Label, Operand},
};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};
use thiserror::Error;

/// `BPF_MAXINSNS`.
const MAX_INSTRUCTIONS: usize = 4096;
/// System calls have six arguments.
const ARGUMENTS: usize = 6;

pub(super) const RET_KILL_PROCESS: u32 = 0x8000_0000;
pub(super) const RET_KILL_THREAD: u32 = 0;
pub(super) const RET_TRAP: u32 = 0x0003_0000;
pub(super) const RET_ERRNO: u32 = 0x0005_0000;
pub(super) const RET_USER_NOTIF: u32 = 0x7fc0_0000;
pub(super) const RET_TRACE: u32 = 0x7ff0_0000;
pub(super) const RET_LOG: u32 = 0x7ffc_0000;
pub(super) const RET_ALLOW: u32 = 0x7fff_0000;

const FLAG_LOG: u32 = 1 << 1;
const FLAG_SPEC_ALLOW: u32 = 1 << 2;
const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Why a profile cannot be compiled.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeccompError {
    /// The program would be longer than the kernel accepts.
    #[error("the filter needs {0} instructions, the kernel accepts {MAX_INSTRUCTIONS}")]
    TooLong(usize),
    /// A condition on an argument that does not exist.
    #[error("system call {name}: there is no argument {index}")]
    Argument {
        /// The call.
        name: String,
        /// The argument asked for; they are counted from 0 to 5.
        index: usize,
    },
    /// An error number that does not fit into the answer of a filter.
    #[error("error number {0} is above 4095")]
    ErrorNumber(u32),
    /// Asking a listener about every call, also the one that would carry its answer.
    #[error(
        "SCMP_ACT_NOTIFY cannot be used for the {0} syscall: a listener cannot decide about it"
    )]
    Notify(&'static str),
}

impl From<SeccompError> for crate::error::Error {
    fn from(error: SeccompError) -> Self {
        let kind = crate::error::ErrorKind::InvalidSpec {
            field: "linux.seccomp".to_owned(),
        };
        Self::new(kind, "compile the system call filter").with_source(error)
    }
}

/// What happens to a call with one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same whatever the arguments are.
    Always(u32),
    /// The action of the first alternative whose conditions all hold, else the default.
    First(Vec<(Vec<Condition>, u32)>),
}

/// Compiles a profile for programs of `arch` and of those of the profile's architectures that such a machine can run.
///
/// Programs of any other architecture are killed, as libseccomp does. Names that no architecture knows are listed in
/// [`Program::unknown`] and skipped: the profile may be newer, or older, than this crate.
///
/// # Errors
/// The profile asks for what no filter can do.
pub fn compile(profile: &LinuxSeccomp, arch: FilterArch) -> Result<Program, SeccompError> {
    let listed = profile.architectures().as_deref().unwrap_or_default();
    let abis = arch.abis(listed);
    let syscalls = profile.syscalls().as_deref().unwrap_or_default();
    let default = answer(profile.default_action(), profile.default_errno_ret())?;
    if default == RET_USER_NOTIF {
        return Err(SeccompError::Notify("every call"));
    }
    let mut emitter = Emitter::default();
    // Programs are emitted from their last instruction to their first: what is jumped to must exist.
    let mut otherwise = emitter.ret(RET_KILL_PROCESS);
    let names: Vec<Names> = abis.iter().map(|abi| abi.names()).collect();
    for (abi, names) in abis.iter().zip(&names).rev() {
        let table = Table::build(*abi, names, syscalls, default)?;
        let entry = table.emit(&mut emitter, default);
        otherwise = emitter.arch(abi.audit(), entry, otherwise);
    }
    emitter.load_arch(otherwise);
    let instructions = emitter.finish();
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(SeccompError::TooLong(instructions.len()));
    }
    let needs_listener = syscalls
        .iter()
        .any(|rule| rule.action() == Action::ScmpActNotify);
    let unknown: BTreeSet<&String> = syscalls
        .iter()
        .flat_map(LinuxSyscall::names)
        .filter(|name| !names.iter().any(|abi| abi.know(name)))
        .collect();
    Ok(Program {
        instructions,
        flags: flags(profile, needs_listener),
        needs_listener,
        unknown: unknown.into_iter().cloned().collect(),
    })
}

/// TSYNC is left out: the filter is loaded by a process with one thread. A profile without the field gets SPEC_ALLOW, as with runc and
/// crun: kernels before 5.16 slow a process with a filter down otherwise. An empty list is no flag.
fn flags(profile: &LinuxSeccomp, needs_listener: bool) -> u32 {
    let Some(listed) = profile.flags() else {
        return FLAG_SPEC_ALLOW;
    };
    listed.iter().fold(0, |bits, flag| {
        bits | match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => FLAG_LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => FLAG_SPEC_ALLOW,
            // The kernel refuses it without a listener.
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if needs_listener => {
                FLAG_WAIT_KILLABLE_RECV
            }
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv
            | LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
        }
    })
}

/// The value a filter returns for an action.
pub(super) fn answer(action: Action, errno: Option<u32>) -> Result<u32, SeccompError> {
    let number = errno.unwrap_or(libc::EPERM as u32);
    // MAX_ERRNO of the kernel, which would cut a larger one to this without a word.
    if number > 4095 {
        return Err(SeccompError::ErrorNumber(number));
    }
    Ok(match action {
        Action::ScmpActKill | Action::ScmpActKillThread => RET_KILL_THREAD,
        Action::ScmpActKillProcess => RET_KILL_PROCESS,
        Action::ScmpActTrap => RET_TRAP,
        Action::ScmpActErrno => RET_ERRNO | number,
        Action::ScmpActNotify => RET_USER_NOTIF,
        Action::ScmpActTrace => RET_TRACE | number,
        Action::ScmpActLog => RET_LOG,
        Action::ScmpActAllow => RET_ALLOW,
    })
}

/// What one rule says of one number: its alternatives, and its action.
type Found = (u32, Rc<[Vec<Condition>]>, u32);

impl Verdict {
    /// What all rules for one number say together.
    fn of(rules: &[Found]) -> Self {
        let always = rules
            .iter()
            .find(|(_, alternatives, _)| alternatives.iter().any(Vec::is_empty));
        if let Some((.., action)) = always {
            return Self::Always(*action);
        }
        let each = |(_, alternatives, action): &Found| {
            let action = *action;
            alternatives
                .iter()
                .map(move |conditions| (conditions.clone(), action))
                .collect::<Vec<_>>()
        };
        Self::First(rules.iter().flat_map(each).collect())
    }
}

/// The verdicts of one architecture.
#[derive(Debug)]
pub(super) struct Table {
    abi: Abi,
    pub(super) verdicts: BTreeMap<u32, Verdict>,
    /// For numbers that are not in `verdicts`, up to the largest that the profile names.
    pub(super) default: u32,
    /// For numbers above.
    pub(super) newer: u32,
    /// The largest number that the profile names; without one, nothing is newer than the profile.
    pub(super) last: Option<u32>,
}

impl Table {
    pub(super) fn build(
        abi: Abi,
        names: &Names,
        rules: &[LinuxSyscall],
        default: u32,
    ) -> Result<Self, SeccompError> {
        let refuses = matches!(
            default & 0xffff_0000,
            RET_ERRNO | RET_KILL_THREAD | RET_KILL_PROCESS | RET_TRAP
        );
        let newer = if refuses {
            RET_ERRNO | libc::ENOSYS as u32
        } else {
            default
        };
        let mut table = Self {
            abi,
            verdicts: BTreeMap::new(),
            default,
            newer,
            last: None,
        };
        let mut found = Vec::with_capacity(names.count());
        for rule in rules {
            table.rule(names, rule, &mut found)?;
        }
        // Stable: of the rules for one number the first stays the first.
        found.sort_by_key(|(number, ..)| *number);
        let same = found.chunk_by(|(one, ..), (other, ..)| one == other);
        table.verdicts = same.map(|rules| (rules[0].0, Verdict::of(rules))).collect();
        Ok(table)
    }

    fn rule(
        &mut self,
        names: &Names,
        rule: &LinuxSyscall,
        found: &mut Vec<Found>,
    ) -> Result<(), SeccompError> {
        let action = answer(rule.action(), rule.errno_ret())?;
        let alternatives: Rc<[Vec<Condition>]> = alternatives(rule, self.abi)?.into();
        for name in rule.names() {
            if action == RET_USER_NOTIF && name == "write" {
                return Err(SeccompError::Notify("write"));
            }
            for number in names.numbers(name) {
                // x32's own numbers lie far above the others, and say nothing about how new the profile is.
                if number < X32_OWN {
                    self.last = self.last.max(Some(number));
                }
                if action != self.default {
                    found.push((number, Rc::clone(&alternatives), action));
                }
            }
            // Arguments behind a multiplexer are in memory, where no filter sees them.
            if let (Some((number, call)), [only]) = (names.multiplexer(name), &alternatives[..])
                && only.is_empty()
                && action != self.default
            {
                let selects = Condition {
                    argument: 0,
                    comparison: Comparison::Equal,
                    value: call.into(),
                    mask: u64::MAX,
                };
                found.push((number, [vec![selects]].into(), action));
            }
        }
        Ok(())
    }

    /// The first number of each range, and its verdict.
    fn ranges(&self) -> Vec<(u32, Verdict)> {
        let mut ranges: Vec<(u32, Verdict)> = Vec::new();
        let mut push = |start: u32, verdict: Verdict| {
            if ranges.last().is_none_or(|(_, before)| *before != verdict) {
                ranges.push((start, verdict));
            }
        };
        let mut next = 0;
        for (number, verdict) in &self.verdicts {
            self.gap(next, *number, &mut push);
            push(*number, verdict.clone());
            next = number + 1;
        }
        self.gap(next, u32::MAX, &mut push);
        ranges
    }

    /// The numbers from `start` up to `end`, which no rule names.
    fn gap(&self, start: u32, end: u32, push: &mut impl FnMut(u32, Verdict)) {
        let newer = self
            .last
            .map_or(u32::MAX, |last| start.max(last.saturating_add(1)));
        if start < newer.min(end) {
            push(start, Verdict::Always(self.default));
        }
        if newer < end {
            push(newer, Verdict::Always(self.newer));
        }
    }

    fn emit(&self, emitter: &mut Emitter, default: u32) -> Label {
        let root = Search {
            emitter,
            default,
            chains: HashMap::new(),
        }
        .among(&self.ranges());
        let entry = match self.abi {
            // The bit is cleared, and the same table serves: see `Abi::X86_64`.
            Abi::X86_64 { x32: true } => emitter.clear_bit(X32_BIT, root),
            Abi::X86_64 { x32: false } => {
                // A number of -1 is no x32 call but one that a tracer has cancelled.
                let ordinary = emitter.ret(default);
                let foreign = emitter.ret(RET_KILL_PROCESS);
                let canceled = emitter.number_is(u32::MAX, ordinary, foreign);
                emitter.number_from(X32_BIT, canceled, root)
            }
            _ => root,
        };
        emitter.load_number(entry)
    }
}

/// x32's own numbers start here: [`super::arch`].
const X32_OWN: u32 = 512;

/// A binary search over ranges: each comparison halves them.
struct Search<'a> {
    emitter: &'a mut Emitter,
    default: u32,
    /// Lists of conditions already emitted: the calls of one rule share theirs.
    chains: HashMap<Vec<(Vec<Condition>, u32)>, Label>,
}

impl Search<'_> {
    fn among(&mut self, ranges: &[(u32, Verdict)]) -> Label {
        match ranges {
            [] => self.emitter.ret(self.default),
            [(_, Verdict::Always(action))] => self.emitter.ret(*action),
            [(_, Verdict::First(alternatives))] => self.first(alternatives),
            more => {
                let (below, above) = more.split_at(more.len() / 2);
                let upper = self.among(above);
                let lower = self.among(below);
                self.emitter.number_from(above[0].0, upper, lower)
            }
        }
    }

    fn first(&mut self, alternatives: &[(Vec<Condition>, u32)]) -> Label {
        if let Some(known) = self.chains.get(alternatives) {
            return *known;
        }
        let mut otherwise = self.emitter.ret(self.default);
        for (conditions, action) in alternatives.iter().rev() {
            let mut holds = self.emitter.ret(*action);
            for condition in conditions.iter().rev() {
                holds = self.emitter.condition(condition, holds, otherwise);
            }
            otherwise = holds;
        }
        self.chains.insert(alternatives.to_vec(), otherwise);
        otherwise
    }
}

/// The conditions of a rule; each inner list is an alternative whose members must all hold.
fn alternatives(rule: &LinuxSyscall, abi: Abi) -> Result<Vec<Vec<Condition>>, SeccompError> {
    let args = rule.args().as_deref().unwrap_or_default();
    if let Some(bad) = args.iter().find(|arg| arg.index() >= ARGUMENTS) {
        return Err(SeccompError::Argument {
            name: rule.names().first().cloned().unwrap_or_default(),
            index: bad.index(),
        });
    }
    let conditions: Vec<Condition> = args.iter().map(|arg| condition(arg, abi)).collect();
    let distinct: BTreeSet<usize> = args.iter().map(LinuxSeccompArg::index).collect();
    if distinct.len() < args.len() {
        return Ok(conditions.into_iter().map(|one| vec![one]).collect());
    }
    Ok(vec![conditions])
}

fn condition(arg: &LinuxSeccompArg, abi: Abi) -> Condition {
    let width = if abi.is_32_bit() {
        u64::from(u32::MAX)
    } else {
        u64::MAX
    };
    let (comparison, value, mask) = match arg.op() {
        Operator::ScmpCmpEq => (Comparison::Equal, arg.value(), width),
        Operator::ScmpCmpNe => (Comparison::Different, arg.value(), width),
        Operator::ScmpCmpLt => (Comparison::Less, arg.value(), width),
        Operator::ScmpCmpLe => (Comparison::LessOrEqual, arg.value(), width),
        Operator::ScmpCmpGe => (Comparison::GreaterOrEqual, arg.value(), width),
        Operator::ScmpCmpGt => (Comparison::Greater, arg.value(), width),
        // The specification's `value` is the mask here, and `valueTwo` what must remain; libseccomp masks that too.
        Operator::ScmpCmpMaskedEq => (
            Comparison::Equal,
            arg.value_two().unwrap_or(0) & arg.value(),
            arg.value() & width,
        ),
    };
    Condition {
        argument: arg.index() as Operand,
        comparison,
        value: value & width,
        mask,
    }
}
