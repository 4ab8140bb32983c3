//! Device rules as a BPF program for cgroup v2, which has no files for them.
//!
//! The program is asked for each use of a device: it finds `(access << 16) | kind`, the major and the minor number behind its first
//! register, and answers 1 or 0. It looks at the rules from the last to the first and crosses out the accesses a rule allows; it says
//! yes when nothing is left, and no as soon as a rule denies something of what is left.

use super::devices::{ALL_ACCESS, Kind, Rules};
use crate::sys::bpf::{Instruction, Register};

/// Where things are kept.
const VERDICT: Register = Register(0);
const CONTEXT: Register = Register(1);
const KIND: Register = Register(2);
/// What has not been decided yet.
const ACCESS: Register = Register(3);
const MAJOR: Register = Register(4);
const MINOR: Register = Register(5);

/// The kernel's `BPF_DEVCG_DEV_*`.
const BLOCK: u32 = 1;
const CHAR: u32 = 2;

pub(super) fn program(rules: &Rules) -> Vec<Instruction> {
    let mut program = vec![
        Instruction::load_word(KIND, CONTEXT, 0),
        Instruction::load_word(MAJOR, CONTEXT, 4),
        Instruction::load_word(MINOR, CONTEXT, 8),
        Instruction::copy(ACCESS, KIND),
        Instruction::and(KIND, 0xffff),
        Instruction::shift_right(ACCESS, 16),
    ];
    for rule in rules.rules.iter().rev() {
        let access = u32::from(rule.access);
        let mut matched = Vec::with_capacity(4);
        match (rule.allow, rule.access == ALL_ACCESS) {
            (_, true) => {}
            (true, false) => {
                matched.push(Instruction::and(ACCESS, u32::from(ALL_ACCESS) & !access));
                matched.push(Instruction::jump_unless_equal(ACCESS, 0, 2));
            }
            (false, false) => {
                matched.push(Instruction::jump_if_any_bit(ACCESS, access, 1));
                matched.push(Instruction::jump(2));
            }
        }
        matched.push(Instruction::set(VERDICT, rule.allow.into()));
        matched.push(Instruction::exit());
        let kind = match rule.kind {
            Kind::Block => BLOCK,
            Kind::Char => CHAR,
        };
        let conditions = [
            Some((KIND, kind)),
            rule.major.map(|number| (MAJOR, number)),
            rule.minor.map(|number| (MINOR, number)),
        ];
        let conditions: Vec<_> = conditions.into_iter().flatten().collect();
        for (index, (register, number)) in conditions.iter().enumerate() {
            // Over the other conditions, and over what is done if all of them hold: seven at most.
            let over = (conditions.len() - index - 1 + matched.len()) as i16;
            program.push(Instruction::jump_unless_equal(*register, *number, over));
        }
        program.extend(matched);
    }
    program.push(Instruction::set(VERDICT, rules.otherwise.into()));
    program.push(Instruction::exit());
    program
}

#[cfg(test)]
mod tests;
