//! Which texts name a container.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// Longest id: it becomes one path component, and other tools append to it.
const MAX_LENGTH_BYTES: usize = 128;

/// The id of a container, checked once when it is parsed.
///
/// An id is 1 to 128 characters of `[A-Za-z0-9_+.-]`, and not `.` or `..`: it names a directory and a cgroup, so a `/` in it would
/// escape from both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// Parses `text` as an id.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidId`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
        let sound = (1..=MAX_LENGTH_BYTES).contains(&text.len())
            && text != "."
            && text != ".."
            && text.bytes().all(allowed);
        if sound {
            return Ok(Self(text.to_owned()));
        }
        let rule = "an id has 1 to 128 characters out of letters, digits and _+.-";
        let hint = match text.chars().find(|c| !c.is_ascii() || !allowed(*c as u8)) {
            Some(wrong) => format!(
                "invalid character `{}` in the ID: {rule}",
                wrong.escape_debug()
            ),
            None => rule.to_owned(),
        };
        Err(Error::new(ErrorKind::InvalidId, format!("container id {text:?}")).with_hint(hint))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ContainerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_names_and_refuses_paths() {
        for good in ["a", "web-1", "A_b+c.d", "..a", &"x".repeat(128)] {
            assert_eq!(ContainerId::parse(good).expect(good).as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "../x",
            "a b",
            "ä",
            "a\n",
            "a\0",
            &"x".repeat(129),
        ] {
            let error = ContainerId::parse(bad).expect_err(bad);
            assert_eq!(*error.kind(), ErrorKind::InvalidId, "{bad:?}");
        }
    }
}
