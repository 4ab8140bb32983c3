//! Programs, run by a small machine of our own, against a plain reading of the rules.

use super::super::devices::tests::{allowed, any_kind, any_rules};
use super::*;
use crate::sys::bpf;
use proptest::prelude::*;

/// Runs a program; `None` if it does what the kernel would not let it do.
fn run(program: &[Instruction], context: [u32; 3]) -> Option<u64> {
    let mut registers = [None; 11];
    // Where the context is does not matter; register 10 would be the stack.
    registers[1] = Some(0);
    let mut at: usize = 0;
    // Jumps go forward only, so every program ends.
    loop {
        let one = program.get(at)?;
        let (target, source) = one.registers();
        let (target, source) = (usize::from(target), usize::from(source));
        let operand = one.operand.cast_unsigned();
        let mut skip = 0;
        let value = |register: usize| -> Option<u64> { registers[register] };
        let low = |register: usize| value(register).map(|value| value as u32);
        match one.code {
            bpf::LOAD_WORD => {
                if source != 1 || one.offset % 4 != 0 {
                    return None;
                }
                let word = context.get(usize::try_from(one.offset / 4).ok()?)?;
                registers[target] = Some((*word).into());
            }
            bpf::COPY => registers[target] = low(source).map(u64::from),
            bpf::SET => registers[target] = Some(operand.into()),
            bpf::AND => registers[target] = Some((low(target)? & operand).into()),
            bpf::SHIFT_RIGHT => registers[target] = Some((low(target)? >> operand).into()),
            bpf::JUMP => skip = one.offset,
            bpf::JUMP_UNLESS_EQUAL if low(target)? != operand => skip = one.offset,
            bpf::JUMP_IF_ANY_BIT if low(target)? & operand != 0 => skip = one.offset,
            bpf::JUMP_UNLESS_EQUAL | bpf::JUMP_IF_ANY_BIT => {}
            bpf::EXIT => return value(0),
            _ => return None,
        }
        at += 1 + usize::try_from(skip).ok()?;
    }
}

/// The verifier refuses what cannot be reached.
fn reachable(program: &[Instruction]) -> bool {
    let mut reached = vec![false; program.len()];
    let mut next = vec![0];
    while let Some(at) = next.pop() {
        let (Some(one), Some(seen)) = (program.get(at), reached.get_mut(at)) else {
            return false;
        };
        if std::mem::replace(seen, true) {
            continue;
        }
        let target = at + 1 + one.offset as usize;
        match one.code {
            bpf::EXIT => {}
            bpf::JUMP => next.push(target),
            bpf::JUMP_UNLESS_EQUAL | bpf::JUMP_IF_ANY_BIT => next.extend([at + 1, target]),
            _ => next.push(at + 1),
        }
    }
    reached.iter().all(|one| *one)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_program_says_what_its_rules_say(rules in any_rules(), kind in any_kind(), major in 0..4_u32, minor in 0..4_u32, access in 1..=7_u8) {
        let number = match kind {
            Kind::Block => BLOCK,
            Kind::Char => CHAR,
        };
        let program = program(&rules);
        prop_assert!(reachable(&program), "{}", rules);
        let context = [u32::from(access) << 16 | number, major, minor];
        prop_assert_eq!(
            run(&program, context),
            Some(allowed(&rules, kind, major, minor, access).into()),
            "{}", rules
        );
    }
}

#[test]
fn the_usual_rules_are_a_short_program() {
    let resources =
        serde_json::from_value(serde_json::json!({"devices": [{"allow": false, "access": "rwm"}]}))
            .unwrap();
    let rules = Rules::of(&resources, false).unwrap().unwrap();
    let program = program(&rules);
    assert!(program.len() < 64, "{}", program.len());
    assert!(reachable(&program));
    for (context, expected) in [
        ([(6 << 16) | CHAR, 1, 3], 1),
        ([(1 << 16) | BLOCK, 8, 0], 1),
        ([(2 << 16) | BLOCK, 8, 0], 0),
        ([(6 << 16) | CHAR, 136, 5], 1),
        ([(6 << 16) | CHAR, 5, 1], 0),
    ] {
        assert_eq!(run(&program, context), Some(expected), "{context:?}");
    }
}
