//! Device rules: what a specification's list means, reduced, and as the files of v1 take it. Pure.
//!
//! The rules are applied in their order, so for each kind of access (read, write, make a node) the last rule that matches a device
//! decides; what no rule matches is denied. The reduced list means the same: it begins with the verdict for what no rule matches, and
//! rules that no access can reach are gone.

use super::{CgroupError, Write};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, LinuxResources};
use std::fmt;

/// Kinds of access, as bits with the values of the kernel's `BPF_DEVCG_ACC_*`.
pub(super) const MAKE: u8 = 1;
pub(super) const READ: u8 = 2;
pub(super) const WRITE: u8 = 4;
pub(super) const ALL_ACCESS: u8 = MAKE | READ | WRITE;

/// Which devices a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Block,
    Char,
}

/// A rule about devices of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) allow: bool,
    pub(super) kind: Kind,
    /// `None` is every number.
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) access: u8,
}

/// Rules in their order, after the verdict for what none of them matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) otherwise: bool,
    pub(super) rules: Vec<Rule>,
}

/// What every container may use whatever its rules say, as with runc: a bundle that denies all devices (the one that `runc spec`
/// makes) could not even have its `/dev` filled. Making any node is of no use without a rule to use it.
const ALWAYS: [Rule; 10] = [
    always(Kind::Char, None, None, MAKE),
    always(Kind::Block, None, None, MAKE),
    // null, zero, full, random, urandom, tty, ptmx, and the terminals.
    always(Kind::Char, Some(1), Some(3), ALL_ACCESS),
    always(Kind::Char, Some(1), Some(5), ALL_ACCESS),
    always(Kind::Char, Some(1), Some(7), ALL_ACCESS),
    always(Kind::Char, Some(1), Some(8), ALL_ACCESS),
    always(Kind::Char, Some(1), Some(9), ALL_ACCESS),
    always(Kind::Char, Some(5), Some(0), ALL_ACCESS),
    always(Kind::Char, Some(5), Some(2), ALL_ACCESS),
    always(Kind::Char, Some(136), None, ALL_ACCESS),
];

const fn always(kind: Kind, major: Option<u32>, minor: Option<u32>, access: u8) -> Rule {
    Rule {
        allow: true,
        kind,
        major,
        minor,
        access,
    }
}

impl Rules {
    /// The rules of a specification, with those that every container has behind them; `None` if everything is allowed. An empty list
    /// does not restrict the container unless it is to be `denied` what is not allowed, as with runc.
    pub(super) fn of(
        resources: &LinuxResources,
        denied: bool,
    ) -> Result<Option<Self>, CgroupError> {
        let listed = resources.devices().as_deref().unwrap_or_default();
        if listed.is_empty() && !denied {
            return Ok(None);
        }
        let mut all = Self::parse(listed)?;
        if !all.otherwise {
            all.rules.extend(ALWAYS);
        }
        let all = all.reduced();
        Ok((!all.otherwise || !all.rules.is_empty()).then_some(all))
    }

    /// Everything is allowed.
    pub(super) fn allow_all() -> Self {
        Self {
            otherwise: true,
            rules: Vec::new(),
        }
    }

    /// Reads the list. A rule for all devices makes those before it void.
    pub(super) fn parse(listed: &[LinuxDeviceCgroup]) -> Result<Self, CgroupError> {
        let mut all = Self {
            otherwise: false,
            rules: Vec::new(),
        };
        for rule in listed {
            match parse(rule)? {
                Some(rule) => all.rules.push(rule),
                None => {
                    all.otherwise = rule.allow();
                    all.rules.clear();
                }
            }
        }
        Ok(all)
    }

    /// Without what no access can reach: rules of which a later one covers everything, and, before the first rule that says otherwise,
    /// those that say what holds anyway.
    pub(super) fn reduced(mut self) -> Self {
        let mut kept: Vec<Rule> = Vec::with_capacity(self.rules.len());
        for rule in self.rules.iter().rev() {
            if !kept.iter().any(|later| later.covers(rule)) {
                kept.push(*rule);
            }
        }
        kept.reverse();
        let first = kept.iter().position(|rule| rule.allow != self.otherwise);
        self.rules = kept.split_off(first.unwrap_or(kept.len()));
        self
    }

    /// What is written into `devices.deny` and `devices.allow`, beginning with the verdict for everything else.
    ///
    /// # Errors
    /// The kernel keeps a list of exceptions, and takes away only what is in it literally: a rule that takes back a part of an earlier
    /// one cannot be said, and would be lost without a word.
    pub(super) fn v1(&self) -> Result<Vec<Write>, CgroupError> {
        let file = |allow| match allow {
            true => "devices.allow",
            false => "devices.deny",
        };
        let mut writes = vec![Write::new(file(self.otherwise), "a")];
        for (index, rule) in self.rules.iter().enumerate() {
            let before = self.rules.get(..index).unwrap_or_default();
            let overlaps = |other: &&Rule| other.allow != rule.allow && other.overlaps(rule);
            let mut changed = before.iter().filter(overlaps).peekable();
            if rule.allow == self.otherwise {
                // What holds anyway and was not changed.
                if changed.peek().is_none() {
                    continue;
                }
                if let Some(other) = changed.find(|other| !rule.same_devices(other)) {
                    return Err(CgroupError::Resource {
                        field: "devices",
                        reason: format!(
                            "says {rule} after {other}, which cgroup v1 cannot do: name the devices one by one"
                        ),
                    });
                }
            }
            writes.push(Write::new(file(rule.allow), rule.line()));
        }
        Ok(writes)
    }
}

impl Rule {
    fn same_devices(&self, other: &Self) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }

    /// Whether every access that `other` is about is one that this rule is about.
    fn covers(&self, other: &Self) -> bool {
        let number = |mine: Option<u32>, its: Option<u32>| mine.is_none() || mine == its;
        self.kind == other.kind
            && number(self.major, other.major)
            && number(self.minor, other.minor)
            && other.access & !self.access == 0
    }

    fn overlaps(&self, other: &Self) -> bool {
        let number =
            |mine: Option<u32>, its: Option<u32>| mine.is_none() || its.is_none() || mine == its;
        self.kind == other.kind
            && number(self.major, other.major)
            && number(self.minor, other.minor)
            && self.access & other.access != 0
    }

    /// As v1's files take it.
    pub(super) fn line(&self) -> String {
        let kind = match self.kind {
            Kind::Block => 'b',
            Kind::Char => 'c',
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |one| one.to_string());
        let access: String = [(READ, 'r'), (WRITE, 'w'), (MAKE, 'm')]
            .into_iter()
            .filter_map(|(bit, letter)| (self.access & bit != 0).then_some(letter))
            .collect();
        let (major, minor) = (number(self.major), number(self.minor));
        format!("{kind} {major}:{minor} {access}")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allow { "allow" } else { "deny" };
        write!(f, "{verdict} {}", self.line())
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.otherwise { "allow a" } else { "deny a" })?;
        self.rules.iter().try_for_each(|rule| write!(f, ", {rule}"))
    }
}

/// One rule; `None` is the one for all devices, of which the kernel reads nothing more.
fn parse(rule: &LinuxDeviceCgroup) -> Result<Option<Rule>, CgroupError> {
    let wrong = |reason: String| CgroupError::Resource {
        field: "devices",
        reason,
    };
    let kind = match rule.typ().unwrap_or(LinuxDeviceType::A) {
        LinuxDeviceType::A => return Ok(None),
        LinuxDeviceType::B => Kind::Block,
        LinuxDeviceType::C | LinuxDeviceType::U => Kind::Char,
        LinuxDeviceType::P => {
            return Err(wrong(
                "holds a rule for a FIFO, which is no device".to_owned(),
            ));
        }
    };
    let number = |number: Option<i64>| match number.filter(|number| *number >= 0) {
        None => Ok(None),
        Some(number) => u32::try_from(number)
            .map(Some)
            .map_err(|_| wrong(format!("holds the number {number}, which no device has"))),
    };
    let text = rule.access().as_deref().unwrap_or_default();
    let mut access = 0;
    // As runc: other letters say nothing. Nothing but them is a mistake.
    let known = |letter: &char| "rwm".contains(*letter);
    let any = text.chars().any(|letter| known(&letter));
    for letter in text.chars().filter(|letter| !any || known(letter)) {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MAKE,
            _ => {
                return Err(wrong(format!(
                    "holds the access {text:?}, which is not of r, w, m"
                )));
            }
        };
    }
    Ok(Some(Rule {
        allow: rule.allow(),
        kind,
        major: number(rule.major())?,
        minor: number(rule.minor())?,
        access: if access == 0 { ALL_ACCESS } else { access },
    }))
}

#[cfg(test)]
pub(super) mod tests;
