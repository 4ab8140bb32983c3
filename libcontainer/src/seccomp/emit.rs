//! A classic BPF program, written from its last instruction to its first.
//!
//! Jumps only lead forward, so in this order every target exists when a jump to it is written, and its distance is known. A
//! conditional jump reaches 255 instructions: where a target is farther away, an answer is repeated nearby, anything else
//! reached by an unconditional jump, which has 32 bits.

use super::Instruction;
use std::collections::HashMap;

/// Numbers of arguments.
pub(super) type Operand = u8;

const LD_W_ABS: u16 = 0x20;
const ALU_AND_K: u16 = 0x54;
const JMP_JA: u16 = 0x05;
const JMP_JEQ_K: u16 = 0x15;
const JMP_JGT_K: u16 = 0x25;
const JMP_JGE_K: u16 = 0x35;
const RET_K: u16 = 0x06;

/// Offsets in the kernel's `struct seccomp_data`.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

/// A reachable target must still be in reach after the few instructions that one branch may add in front of it.
const REACH: usize = 250;

/// A place in the program, counted from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Comparison {
    Equal,
    Different,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// `(argument & mask) comparison value`, with 64 bits and without sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Condition {
    pub(super) argument: Operand,
    pub(super) comparison: Comparison,
    pub(super) value: u64,
    pub(super) mask: u64,
}

impl Condition {
    /// What the emitted instructions compute.
    #[cfg(test)]
    pub(super) fn holds(&self, arguments: &[u64; 6]) -> bool {
        let argument = arguments[usize::from(self.argument)] & self.mask;
        match self.comparison {
            Comparison::Equal => argument == self.value,
            Comparison::Different => argument != self.value,
            Comparison::Less => argument < self.value,
            Comparison::LessOrEqual => argument <= self.value,
            Comparison::Greater => argument > self.value,
            Comparison::GreaterOrEqual => argument >= self.value,
        }
    }
}

/// The program so far, last instruction first.
#[derive(Debug, Default)]
pub(super) struct Emitter {
    reversed: Vec<Instruction>,
    answers: HashMap<u32, Label>,
}

impl Emitter {
    /// The program in the kernel's order.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }

    /// Answers with `value`.
    pub(super) fn ret(&mut self, value: u32) -> Label {
        if let Some(known) = self.answers.get(&value)
            && self.distance(*known) <= REACH
        {
            return *known;
        }
        let label = self.push(RET_K, 0, 0, value);
        self.answers.insert(value, label);
        label
    }

    /// Loads the architecture, and goes on at `next`.
    pub(super) fn load_arch(&mut self, next: Label) -> Label {
        self.load(OFFSET_ARCH, next)
    }

    /// Loads the number of the call, and goes on at `next`.
    pub(super) fn load_number(&mut self, next: Label) -> Label {
        self.load(OFFSET_NUMBER, next)
    }

    /// Compares what [`Self::load_arch`] loaded.
    pub(super) fn arch(&mut self, audit: u32, then: Label, otherwise: Label) -> Label {
        self.branch(JMP_JEQ_K, audit, then, otherwise)
    }

    /// Whether the loaded number is at least `first`.
    pub(super) fn number_from(&mut self, first: u32, then: Label, otherwise: Label) -> Label {
        self.branch(JMP_JGE_K, first, then, otherwise)
    }

    /// Whether the loaded number is `number`.
    pub(super) fn number_is(&mut self, number: u32, then: Label, otherwise: Label) -> Label {
        self.branch(JMP_JEQ_K, number, then, otherwise)
    }

    /// Clears a bit of what is loaded, and goes on at `next`.
    pub(super) fn clear_bit(&mut self, bit: u32, next: Label) -> Label {
        self.fall_into(next);
        self.push(ALU_AND_K, 0, 0, !bit)
    }

    /// Tests an argument. Destroys what is loaded.
    pub(super) fn condition(
        &mut self,
        condition: &Condition,
        then: Label,
        otherwise: Label,
    ) -> Label {
        match condition.comparison {
            Comparison::Equal => self.equal(condition, then, otherwise),
            Comparison::Different => self.equal(condition, otherwise, then),
            Comparison::Greater => self.order(condition, JMP_JGT_K, then, otherwise),
            Comparison::GreaterOrEqual => self.order(condition, JMP_JGE_K, then, otherwise),
            Comparison::Less => self.order(condition, JMP_JGE_K, otherwise, then),
            Comparison::LessOrEqual => self.order(condition, JMP_JGT_K, otherwise, then),
        }
    }

    fn equal(&mut self, condition: &Condition, then: Label, otherwise: Label) -> Label {
        let low = self.half(condition, false, JMP_JEQ_K, then, otherwise);
        if condition.mask >> 32 == 0 && condition.value >> 32 == 0 {
            return low;
        }
        self.half(condition, true, JMP_JEQ_K, low, otherwise)
    }

    fn order(
        &mut self,
        condition: &Condition,
        operation: u16,
        then: Label,
        otherwise: Label,
    ) -> Label {
        let low = self.half(condition, false, operation, then, otherwise);
        if condition.mask >> 32 == 0 && condition.value >> 32 == 0 {
            return low;
        }
        let upper = (condition.value >> 32) as u32;
        let same = self.branch(JMP_JEQ_K, upper, low, otherwise);
        self.half(condition, true, JMP_JGT_K, then, same)
    }

    /// Loads one half of an argument, masks it where that changes it, and compares it.
    fn half(
        &mut self,
        condition: &Condition,
        upper: bool,
        operation: u16,
        then: Label,
        otherwise: Label,
    ) -> Label {
        let shift = if upper { 32 } else { 0 };
        let (value, mask) = (
            (condition.value >> shift) as u32,
            (condition.mask >> shift) as u32,
        );
        let mut label = self.branch(operation, value, then, otherwise);
        if mask != u32::MAX {
            label = self.push(ALU_AND_K, 0, 0, mask);
        }
        // Both supported architectures are little-endian: the lower half comes first.
        let offset =
            OFFSET_ARGUMENTS + u32::from(condition.argument) * 8 + if upper { 4 } else { 0 };
        self.load(offset, label)
    }

    fn load(&mut self, offset: u32, next: Label) -> Label {
        self.fall_into(next);
        self.push(LD_W_ABS, 0, 0, offset)
    }

    fn branch(&mut self, operation: u16, value: u32, then: Label, otherwise: Label) -> Label {
        let then = self.near(then);
        let otherwise = self.near(otherwise);
        let (jt, jf) = (self.distance(then), self.distance(otherwise));
        let reach =
            |distance: usize| u8::try_from(distance).expect("`near` keeps targets within reach");
        self.push(operation, reach(jt), reach(jf), value)
    }

    /// The target, or a place in reach from where it is reached.
    fn near(&mut self, target: Label) -> Label {
        if self.distance(target) <= REACH {
            return target;
        }
        let at = self.reversed[target.0];
        if at.code == RET_K {
            self.ret(at.k)
        } else {
            self.jump(target)
        }
    }

    /// Makes `target` the very next instruction.
    fn fall_into(&mut self, target: Label) {
        if target.0 + 1 != self.reversed.len() {
            self.jump(target);
        }
    }

    fn jump(&mut self, target: Label) -> Label {
        let distance = self.distance(target);
        self.push(
            JMP_JA,
            0,
            0,
            u32::try_from(distance).expect("a program is far shorter"),
        )
    }

    /// Instructions between the next one written and `target`.
    fn distance(&self, target: Label) -> usize {
        self.reversed.len() - 1 - target.0
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(Instruction { code, jt, jf, k });
        Label(self.reversed.len() - 1)
    }
}
