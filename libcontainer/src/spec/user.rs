//! Users of an image: `/etc/passwd` and `/etc/group`, read strictly. Pure.
//!
//! The files belong to the image and are as trustworthy as it is: a line that cannot be read names nobody. What the *user* typed is
//! refused when it cannot be read exactly (CVE-2026-30892 was a number with something behind it).

use crate::error::{Error, ErrorKind};
use thiserror::Error;

/// The largest id: the kernel keeps 4294967295 for "no change".
const LAST_ID: u32 = u32::MAX - 1;

/// Who the process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, each once, without `gid`.
    pub additional: Vec<u32>,
    /// Home directory.
    pub home: String,
    /// Login name, if the image knows one.
    pub name: Option<String>,
}

/// Why a user word cannot be followed.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserError {
    /// The image has no such user.
    #[error("the image's /etc/passwd has no user {name:?}")]
    UnknownUser {
        /// As it was typed.
        name: String,
    },
    /// The image has no such group.
    #[error("the image's /etc/group has no group {name:?}")]
    UnknownGroup {
        /// As it was typed.
        name: String,
    },
    /// A number that is no id.
    #[error("{word:?} is no user or group id: ids go from 0 to {LAST_ID}")]
    Number {
        /// As it was typed.
        word: String,
    },
    /// Nothing on one side of the colon, or more than one colon.
    #[error("{word:?} is not USER[:GROUP]")]
    Shape {
        /// As it was typed.
        word: String,
    },
}

impl From<UserError> for Error {
    fn from(error: UserError) -> Self {
        let kind = match error {
            UserError::UnknownUser { .. } | UserError::UnknownGroup { .. } => {
                ErrorKind::UnknownUser
            }
            UserError::Number { .. } | UserError::Shape { .. } => ErrorKind::InvalidSpec {
                field: "process.user".to_owned(),
            },
        };
        let whole = Self::new(kind, "find the user");
        let whole = match error {
            UserError::UnknownUser { .. } | UserError::UnknownGroup { .. } => {
                whole.with_hint("a numeric id works without an entry in the image's files")
            }
            _ => whole,
        };
        whole.with_source(error)
    }
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Resolves `name|uid[:group|gid]`; the empty word is uid 0.
///
/// A name is looked for before a number is read, so that a user whose *name* is a number is found, as in docker. Without a group
/// the user's own group and the groups that list the user are taken; with one, that one alone.
///
/// # Errors
/// A name the image does not know, a number that is none or does not fit.
pub fn resolve(word: &str, passwd: &[u8], group: &[u8]) -> Result<ResolvedUser, UserError> {
    let (passwd, group) = (
        String::from_utf8_lossy(passwd),
        String::from_utf8_lossy(group),
    );
    let (user, wanted_group) = match word.split_once(':') {
        None => (word, None),
        Some((user, group)) if user.is_empty() || group.is_empty() || group.contains(':') => {
            return Err(UserError::Shape {
                word: format!("{user}:{group}"),
            });
        }
        Some((user, group)) => (user, Some(group)),
    };
    let user = if user.is_empty() { "0" } else { user };

    let entry = match users(&passwd).find(|entry| entry.name == user) {
        Some(entry) => Some(entry),
        None if is_number(user) => {
            let uid = id(user)?;
            users(&passwd).find(|entry| entry.uid == uid)
        }
        None => {
            return Err(UserError::UnknownUser {
                name: user.to_owned(),
            });
        }
    };
    let uid = match &entry {
        Some(entry) => entry.uid,
        None => id(user)?,
    };
    let own_gid = entry.as_ref().map_or(0, |entry| entry.gid);
    let (gid, additional) = match wanted_group {
        Some(word) => (find_group(word, &group)?, Vec::new()),
        None => (
            own_gid,
            entry
                .as_ref()
                .map_or_else(Vec::new, |entry| memberships(entry, &group)),
        ),
    };
    let home = match entry
        .as_ref()
        .map(|entry| entry.home)
        .filter(|home| !home.is_empty())
    {
        Some(home) => home,
        None if uid == 0 => "/root",
        None => "/",
    };
    Ok(ResolvedUser {
        uid,
        gid,
        additional,
        home: home.to_owned(),
        name: entry.as_ref().map(|entry| entry.name.to_owned()),
    })
}

/// The id of a group given by name or number (`--group-add`).
///
/// # Errors
/// A name the image does not know, a number that does not fit.
pub fn resolve_group(word: &str, group: &[u8]) -> Result<u32, UserError> {
    find_group(word, &String::from_utf8_lossy(group))
}

fn find_group(word: &str, group: &str) -> Result<u32, UserError> {
    match groups(group).find(|entry| entry.name == word) {
        Some(entry) => Ok(entry.gid),
        None if is_number(word) => id(word),
        None => Err(UserError::UnknownGroup {
            name: word.to_owned(),
        }),
    }
}

fn memberships(user: &PasswdEntry<'_>, group: &str) -> Vec<u32> {
    let mut gids: Vec<u32> = groups(group)
        .filter(|entry| {
            entry.gid != user.gid
                && entry
                    .members
                    .split(',')
                    .any(|member| member.trim() == user.name)
        })
        .map(|entry| entry.gid)
        .collect();
    gids.sort_unstable();
    gids.dedup();
    gids
}

fn users(passwd: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields.as_slice() else {
            return None;
        };
        Some(PasswdEntry {
            name: non_empty(name)?,
            uid: id(uid).ok()?,
            gid: id(gid).ok()?,
            home,
        })
    })
}

fn groups(group: &str) -> impl Iterator<Item = GroupEntry<'_>> {
    group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, ..] = fields.as_slice() else {
            return None;
        };
        let members = fields.get(3).copied().unwrap_or_default();
        Some(GroupEntry {
            name: non_empty(name)?,
            gid: id(gid).ok()?,
            members,
        })
    })
}

fn non_empty(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}

/// Whether the word can only be meant as a number. `+1` and `-1` can not be names either.
fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix(['+', '-']).unwrap_or(word);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Digits and nothing else.
fn id(word: &str) -> Result<u32, UserError> {
    let exact = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let number = exact.then(|| word.parse::<u32>().ok()).flatten();
    number
        .filter(|id| *id <= LAST_ID)
        .ok_or_else(|| UserError::Number {
            word: word.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann:/srv/ann:/bin/sh\n# no user\nbad:x:12x:5::/:\n\
        big:x:4294967296:5::/:\nnohome:x:7:7:::\n42:x:4242:9:a number for a name:/:/bin/sh\n";
    const GROUP: &[u8] = b"root:x:0:\nusers:x:100:\nwheel:x:10:ann,root\naudio:x:29:bob,ann\nann2:x:29:ann\nbadgid:x:1e3:ann\nshort:x:55\n";

    fn user(
        uid: u32,
        gid: u32,
        additional: &[u32],
        home: &str,
        name: Option<&str>,
    ) -> ResolvedUser {
        ResolvedUser {
            uid,
            gid,
            additional: additional.to_vec(),
            home: home.to_owned(),
            name: name.map(str::to_owned),
        }
    }

    #[test]
    fn every_form_is_resolved() {
        for (word, expected) in [
            ("", user(0, 0, &[10], "/root", Some("root"))),
            ("root", user(0, 0, &[10], "/root", Some("root"))),
            ("ann", user(1000, 100, &[10, 29], "/srv/ann", Some("ann"))),
            ("1000", user(1000, 100, &[10, 29], "/srv/ann", Some("ann"))),
            ("ann:wheel", user(1000, 10, &[], "/srv/ann", Some("ann"))),
            ("ann:55", user(1000, 55, &[], "/srv/ann", Some("ann"))),
            ("ann:777", user(1000, 777, &[], "/srv/ann", Some("ann"))),
            ("5000", user(5000, 0, &[], "/", None)),
            ("5000:6000", user(5000, 6000, &[], "/", None)),
            ("5000:audio", user(5000, 29, &[], "/", None)),
            ("42", user(4242, 9, &[], "/", Some("42"))),
            ("nohome", user(7, 7, &[], "/", Some("nohome"))),
            ("4294967294", user(4_294_967_294, 0, &[], "/", None)),
        ] {
            assert_eq!(resolve(word, PASSWD, GROUP), Ok(expected), "{word:?}");
        }
        assert_eq!(resolve("0", b"", b""), Ok(user(0, 0, &[], "/root", None)));
    }

    #[test]
    fn what_is_not_exact_is_refused() {
        let number = |word: &str| UserError::Number {
            word: word.to_owned(),
        };
        let unknown = |name: &str| UserError::UnknownUser {
            name: name.to_owned(),
        };
        let group = |name: &str| UserError::UnknownGroup {
            name: name.to_owned(),
        };
        let shape = |word: &str| UserError::Shape {
            word: word.to_owned(),
        };
        for (word, expected) in [
            ("eve", unknown("eve")),
            ("bad", unknown("bad")),
            ("big", unknown("big")),
            ("1000x", unknown("1000x")),
            ("0x10", unknown("0x10")),
            (" 0", unknown(" 0")),
            ("-1", number("-1")),
            ("+1", number("+1")),
            ("4294967295", number("4294967295")),
            ("4294967296", number("4294967296")),
            ("99999999999999999999", number("99999999999999999999")),
            ("ann:nobody", group("nobody")),
            ("ann:badgid", group("badgid")),
            ("ann:-5", number("-5")),
            ("ann:", shape("ann:")),
            (":5", shape(":5")),
            (":", shape(":")),
            ("ann:5:6", shape("ann:5:6")),
        ] {
            assert_eq!(resolve(word, PASSWD, GROUP), Err(expected), "{word:?}");
        }
    }

    #[test]
    fn an_unknown_user_has_its_kind_and_a_hint() {
        let error = Error::from(resolve("eve", PASSWD, GROUP).unwrap_err());
        assert_eq!(*error.kind(), ErrorKind::UnknownUser);
        assert!(error.hint().unwrap().contains("numeric"));
        assert_eq!(resolve_group("audio", GROUP), Ok(29));
    }

    #[test]
    fn files_that_are_no_text_name_nobody() {
        assert_eq!(
            resolve("ann", b"\xff\xfe:::\0", b"").unwrap_err(),
            UserError::UnknownUser {
                name: "ann".to_owned()
            }
        );
    }
}
