//! PAX records: how an archive says what a ustar header cannot hold.
//!
//! Own code, because `tar` 0.4 splits records at newlines instead of by their length: a value with a newline (an extended
//! attribute, say) then hides the records after it or smuggles in false ones, and two readers of one archive disagree.

use std::borrow::Cow;

use base64::Engine as _;

/// An extended attribute: name and value.
pub(crate) type Xattr = (Vec<u8>, Vec<u8>);

/// What the records of one entry say. Absent means: see the header.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    /// Seconds since 1970 and nanoseconds.
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<Xattr>,
    /// A GNU sparse file in PAX form.
    pub(super) sparse: bool,
}

impl Records {
    /// Parses the body of a PAX header; the error says what is wrong.
    pub(super) fn parse(mut body: &[u8]) -> Result<Self, &'static str> {
        let mut records = Self::default();
        while !body.is_empty() {
            let (key, value, rest) = split_record(body).ok_or("malformed PAX record")?;
            records.set(key, value)?;
            body = rest;
        }
        Ok(records)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        // An empty value takes back an earlier record of the same key.
        let text = (!value.is_empty()).then_some(value);
        match key {
            b"path" => self.path = checked_name(text)?,
            b"linkpath" => self.link = checked_name(text)?,
            b"size" => {
                self.size = text
                    .map(|v| decimal(v).ok_or("malformed PAX size"))
                    .transpose()?
            }
            b"uid" => {
                self.uid = text
                    .map(|v| decimal(v).ok_or("malformed PAX uid"))
                    .transpose()?
            }
            b"gid" => {
                self.gid = text
                    .map(|v| decimal(v).ok_or("malformed PAX gid"))
                    .transpose()?
            }
            b"mtime" => {
                self.mtime = text
                    .map(|v| time(v).ok_or("malformed PAX mtime"))
                    .transpose()?
            }
            _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.set_xattr(name, Some(value), true);
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let value = base64::engine::general_purpose::STANDARD_NO_PAD
                        .decode(value.trim_ascii_end_matches(b'='));
                    let value = value.map_err(|_| "malformed LIBARCHIVE.xattr value")?;
                    self.set_xattr(&percent_decode(name), Some(&value), false);
                }
            }
        }
        Ok(())
    }

    /// Enters an attribute; libarchive writes each twice, and the plain form counts.
    fn set_xattr(&mut self, name: &[u8], value: Option<&[u8]>, replace: bool) {
        let value = value.unwrap_or_default().to_vec();
        match self.xattrs.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) if replace => *known = value,
            Some(_) => {}
            None => self.xattrs.push((name.to_vec(), value)),
        }
    }
}

trait TrimEnd {
    fn trim_ascii_end_matches(&self, byte: u8) -> &[u8];
}

impl TrimEnd for [u8] {
    fn trim_ascii_end_matches(&self, byte: u8) -> &[u8] {
        let end = self.iter().rposition(|b| *b != byte).map_or(0, |at| at + 1);
        &self[..end]
    }
}

/// Splits off the first record: `<decimal length> <key>=<value>\n`, the length being that of the whole record.
fn split_record(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = body.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&body[..space])?).ok()?;
    if length <= space + 1 || length > body.len() {
        return None;
    }
    let (record, rest) = body.split_at(length);
    let pair = record[space + 1..].strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    (equals > 0).then(|| (&pair[..equals], &pair[equals + 1..], rest))
}

fn checked_name(value: Option<&[u8]>) -> Result<Option<Vec<u8>>, &'static str> {
    match value {
        Some(value) if value.contains(&0) => Err("NUL in a PAX name"),
        other => Ok(other.map(<[u8]>::to_vec)),
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Parses `[-]seconds[.fraction]` into whole seconds (rounded down) and nanoseconds.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds = (0..9).fold(0, |sum, at| {
        sum * 10 + u32::from(fraction.get(at).map_or(0, |digit| digit - b'0'))
    });
    match (negative, nanoseconds) {
        (false, _) => Some((seconds, nanoseconds)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanoseconds)),
    }
}

fn percent_decode(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'%') {
        return Cow::Borrowed(name);
    }
    let mut out = Vec::with_capacity(name.len());
    let mut at = 0;
    while at < name.len() {
        let hex = name
            .get(at + 1..at + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match (
            name[at],
            hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

/// Appends a record.
pub(super) fn append_record(body: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    body.extend(length.to_string().bytes());
    body.push(b' ');
    body.extend(key);
    body.push(b'=');
    body.extend(value);
    body.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pairs: &[(&str, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (key, value) in pairs {
            append_record(&mut body, key.as_bytes(), value);
        }
        body
    }

    #[test]
    fn a_newline_in_a_value_neither_hides_nor_makes_records() {
        let value = b"x\n\n18 path=/evil/it\n12 size=999\n";
        let records = Records::parse(&body(&[
            ("SCHILY.xattr.user.a", value),
            ("path", b"good"),
            ("size", b"7"),
        ]))
        .unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"good"[..]));
        assert_eq!(records.size, Some(7));
        assert_eq!(records.xattrs, [(b"user.a".to_vec(), value.to_vec())]);
    }

    #[test]
    fn the_length_counts_its_own_digits() {
        for length in 85..120 {
            let written = body(&[("path", &vec![b'x'; length])]);
            assert_eq!(
                Records::parse(&written).unwrap().path.unwrap().len(),
                length
            );
        }
    }

    #[test]
    fn malformed_records_are_errors() {
        let table: [&[u8]; 8] = [
            b"9 path=x",
            b"99 path=x\n",
            b"x path=x\n",
            b"8 path x\n",
            b"6 =xx\n",
            b"10 size=-1\n",
            b"-9 path=x\n",
            b"5\n",
        ];
        for bad in table {
            assert!(
                Records::parse(bad).is_err(),
                "{:?}",
                String::from_utf8_lossy(bad)
            );
        }
        assert!(Records::parse(&body(&[("path", b"a\0b")])).is_err(), "NUL");
    }

    #[test]
    fn times_are_rounded_down() {
        let table = [
            ("1", (1, 0)),
            ("1.5", (1, 500_000_000)),
            ("-1.25", (-2, 750_000_000)),
            ("-3", (-3, 0)),
            ("2.0000000019", (2, 1)),
        ];
        for (text, expected) in table {
            assert_eq!(time(text.as_bytes()), Some(expected), "{text}");
        }
        for bad in ["", ".", "1e5", "1.x", "--1", "99999999999999999999"] {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn libarchive_attributes_are_decoded_and_the_plain_form_counts() {
        let written = body(&[
            ("LIBARCHIVE.xattr.user.a%20b", b"AAE="),
            ("LIBARCHIVE.xattr.user.c", b"QQ"),
            ("SCHILY.xattr.user.c", b"B"),
        ]);
        let xattrs = Records::parse(&written).unwrap().xattrs;
        assert_eq!(
            xattrs,
            [
                (b"user.a b".to_vec(), vec![0, 1]),
                (b"user.c".to_vec(), b"B".to_vec())
            ]
        );
    }
}
