#![expect(unsafe_code, reason = "bpf has no safe wrapper")]
//! Loading BPF programs that decide about devices, and attaching them to cgroups: `bpf(2)`.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::check;

/// A register, 0 to 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register(pub u8);

/// One instruction, laid out as the kernel's `struct bpf_insn` on a little-endian machine and on a big-endian one.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Class, operation and kind of operand.
    pub code: u8,
    /// Two registers of four bits: see [`Instruction::registers`].
    registers: u8,
    /// Instructions to skip, or a place in memory.
    pub offset: i16,
    /// Operand.
    pub operand: i32,
}

/// `*(u32 *)(source + offset)`.
pub const LOAD_WORD: u8 = 0x61;
/// `target = source`, of 32 bits.
pub const COPY: u8 = 0xbc;
/// `target = operand`.
pub const SET: u8 = 0xb7;
/// `target &= operand`, of 32 bits.
pub const AND: u8 = 0x54;
/// `target >>= operand`, of 32 bits.
pub const SHIFT_RIGHT: u8 = 0x74;
/// A jump without a condition.
pub const JUMP: u8 = 0x05;
/// A jump if `target != operand`, of 32 bits (Linux 5.1).
pub const JUMP_UNLESS_EQUAL: u8 = 0x56;
/// A jump if `target & operand`, of 32 bits (Linux 5.1).
pub const JUMP_IF_ANY_BIT: u8 = 0x46;
/// The end; register 0 is the answer.
pub const EXIT: u8 = 0x95;

impl Instruction {
    const fn new(code: u8, target: u8, source: u8, offset: i16, operand: u32) -> Self {
        // The two are bit fields, whose order in a byte follows the order of the machine's bytes.
        let registers = if cfg!(target_endian = "little") {
            (source << 4) | target
        } else {
            (target << 4) | source
        };
        Self {
            code,
            registers,
            offset,
            operand: operand.cast_signed(),
        }
    }

    /// Target and source register.
    #[must_use]
    pub const fn registers(&self) -> (u8, u8) {
        let (low, high) = (self.registers & 15, self.registers >> 4);
        if cfg!(target_endian = "little") {
            (low, high)
        } else {
            (high, low)
        }
    }

    /// Reads 32 bits of memory.
    #[must_use]
    pub const fn load_word(target: Register, source: Register, offset: i16) -> Self {
        Self::new(LOAD_WORD, target.0, source.0, offset, 0)
    }

    /// Copies a register.
    #[must_use]
    pub const fn copy(target: Register, source: Register) -> Self {
        Self::new(COPY, target.0, source.0, 0, 0)
    }

    /// Sets a register.
    #[must_use]
    pub const fn set(target: Register, operand: u32) -> Self {
        Self::new(SET, target.0, 0, 0, operand)
    }

    /// Keeps some bits.
    #[must_use]
    pub const fn and(target: Register, operand: u32) -> Self {
        Self::new(AND, target.0, 0, 0, operand)
    }

    /// Shifts to the right.
    #[must_use]
    pub const fn shift_right(target: Register, operand: u32) -> Self {
        Self::new(SHIFT_RIGHT, target.0, 0, 0, operand)
    }

    /// Skips instructions.
    #[must_use]
    pub const fn jump(offset: i16) -> Self {
        Self::new(JUMP, 0, 0, offset, 0)
    }

    /// Skips instructions if a register has another value.
    #[must_use]
    pub const fn jump_unless_equal(target: Register, operand: u32, offset: i16) -> Self {
        Self::new(JUMP_UNLESS_EQUAL, target.0, 0, offset, operand)
    }

    /// Skips instructions if a register has one of these bits.
    #[must_use]
    pub const fn jump_if_any_bit(target: Register, operand: u32, offset: i16) -> Self {
        Self::new(JUMP_IF_ANY_BIT, target.0, 0, offset, operand)
    }

    /// Ends the program.
    #[must_use]
    pub const fn exit() -> Self {
        Self::new(EXIT, 0, 0, 0, 0)
    }
}

/// The commands of `bpf(2)` used here, its kind of program, and where that is attached.
const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const PROG_GET_FD_BY_ID: u32 = 13;
const PROG_QUERY: u32 = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;

/// The kernel runs at most so many programs of one cgroup.
const MOST_PROGRAMS: usize = 64;

/// The beginning of the kernel's `union bpf_attr`: members as words of 32 bits, those of 64 bits as two in the machine's order.
///
/// The structure is larger than what is told to the kernel: Linux 6.17 writes a member behind the end that was told.
#[repr(C, align(8))]
struct Attributes([u32; 64]);

impl Attributes {
    fn new(members: &[(usize, u32)]) -> Self {
        let mut words = [0; 64];
        for (index, value) in members {
            words[*index] = *value;
        }
        Self(words)
    }

    fn pointer(mut self, index: usize, address: u64) -> Self {
        let bytes = address.to_ne_bytes();
        let word = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        (self.0[index], self.0[index + 1]) = (word(0), word(4));
        self
    }

    /// Makes the call, telling the kernel of the first `words`.
    ///
    /// # Safety
    /// Addresses in the attributes must be those of live memory of the size that the command expects, writable where it writes.
    unsafe fn call(&mut self, command: u32, words: usize) -> Result<libc::c_long, Errno> {
        debug_assert!(words <= self.0.len());
        // SAFETY: the attributes are valid integers in the kernel's layout, more of them than the size says; what they point to is the
        // caller's promise.
        let returned =
            unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), words * 4) };
        check(returned)
    }
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

fn owned(returned: libc::c_long) -> Result<OwnedFd, Errno> {
    let raw = RawFd::try_from(returned).map_err(|_| Errno::OVERFLOW)?;
    // SAFETY: the kernel made this descriptor for us (close-on-exec, as all of bpf's), and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// `bpf(BPF_PROG_LOAD)`: a program that decides about devices.
///
/// # Errors
/// `EPERM` without `CAP_BPF` and `CAP_NET_ADMIN`, or `CAP_SYS_ADMIN`; `EINVAL` for a program that the kernel cannot verify.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd, Errno> {
    const LICENCE: &CStr = c"Apache-2.0";
    let length = u32::try_from(program.len()).map_err(|_| Errno::NOMEM)?;
    let mut attributes = Attributes::new(&[(0, PROG_TYPE_CGROUP_DEVICE), (1, length)])
        .pointer(2, program.as_ptr() as u64)
        .pointer(4, LICENCE.as_ptr() as u64);
    // SAFETY: the two addresses are those of `program`, whose elements have the layout of `struct bpf_insn` and of which there are
    // `length`, and of a string with a zero at its end. Both live until the call returns, and the kernel only reads them. There is no
    // buffer for a log.
    let returned = unsafe { attributes.call(PROG_LOAD, 12) }?;
    owned(returned)
}

/// Attaches a program to a cgroup and detaches those of its kind that were attached before: at no moment is there none.
///
/// # Errors
/// `EPERM` without privilege, or if a cgroup above has a program that it does not allow to be added to.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let old = attached(cgroup)?;
    let target = |flags: u32| {
        [
            (0, number(cgroup)),
            (1, number(program)),
            (2, CGROUP_DEVICE),
            (3, flags),
        ]
    };
    if let [old] = old.as_slice() {
        let mut attributes = Attributes::new(&target(ALLOW_MULTI | REPLACE));
        attributes.0[4] = number(std::os::fd::AsFd::as_fd(old));
        // SAFETY: the attributes hold no addresses.
        match unsafe { attributes.call(PROG_ATTACH, 5) } {
            // Linux before 5.6, or a program that was attached in another way.
            Err(Errno::INVAL | Errno::NOENT | Errno::PERM) => {}
            other => return other.map(drop),
        }
    }
    // SAFETY: the attributes hold no addresses.
    unsafe { Attributes::new(&target(ALLOW_MULTI)).call(PROG_ATTACH, 4) }?;
    for old in &old {
        let old = number(std::os::fd::AsFd::as_fd(old));
        let members = [(0, number(cgroup)), (1, old), (2, CGROUP_DEVICE)];
        // SAFETY: the attributes hold no addresses.
        match unsafe { Attributes::new(&members).call(PROG_DETACH, 4) } {
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The programs about devices that are attached to a cgroup itself.
///
/// # Errors
/// `EPERM` without privilege.
pub fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Errno> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut attributes = Attributes::new(&[
        (0, number(cgroup)),
        (1, CGROUP_DEVICE),
        (6, MOST_PROGRAMS as u32),
    ])
    .pointer(4, ids.as_mut_ptr() as u64);
    // SAFETY: the address is that of `ids`, writable memory for as many integers of 32 bits as member 6 says, and `ids` is not touched
    // before the call has returned.
    unsafe { attributes.call(PROG_QUERY, 7) }?;
    let count = (attributes.0[6] as usize).min(MOST_PROGRAMS);
    let mut programs = Vec::with_capacity(count);
    for id in ids.get(..count).unwrap_or_default() {
        // SAFETY: the attributes hold no addresses.
        match unsafe { Attributes::new(&[(0, *id)]).call(PROG_GET_FD_BY_ID, 3) } {
            Ok(returned) => programs.push(owned(returned)?),
            // It was detached meanwhile.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(programs)
}
