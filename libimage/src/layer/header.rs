//! Headers of a canonical archive: ustar where it suffices, PAX records where not, and one way to write each thing.

use std::io::{self, Write};

use tar::{EntryType, Header};

use super::pax::{Xattr, append_record};

/// The name every PAX header has, instead of one with a process id in it.
const PAX_NAME: &[u8] = b"././@PaxHeader";

/// The largest numbers of ustar's fields of 12 and 8 bytes.
const MAX_12: u64 = 0o777_7777_7777;
const MAX_8: u64 = 0o777_7777;

/// What a header says.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    /// Directories end in a slash.
    pub(crate) path: &'a [u8],
    pub(crate) kind: EntryType,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// Seconds since 1970, rounded down, and nanoseconds.
    pub(crate) mtime: (i64, u32),
    pub(crate) link: &'a [u8],
    pub(crate) device: Option<(u32, u32)>,
    /// Sorted by name.
    pub(crate) xattrs: &'a [Xattr],
}

/// Writes the header of a member, and a PAX header before it if it needs one.
pub(crate) fn write(out: &mut impl Write, fields: &Fields<'_>) -> io::Result<()> {
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut record = |key: &str, value: &[u8]| records.push((key.into(), value.into()));
    let mut header = Header::new_ustar();
    header.set_entry_type(fields.kind);
    header.set_mode(fields.mode & 0o7777);
    let mut number = |key: &str, value: u64, max: u64| {
        if value <= max {
            return value;
        }
        record(key, value.to_string().as_bytes());
        0
    };
    header.set_uid(number("uid", fields.uid.into(), MAX_8));
    header.set_gid(number("gid", fields.gid.into(), MAX_8));
    header.set_size(number("size", fields.size, MAX_12));
    let whole = u64::try_from(fields.mtime.0).ok();
    let whole = whole.filter(|mtime| *mtime <= MAX_12);
    header.set_mtime(whole.unwrap_or(0));
    if whole.is_none() || fields.mtime.1 > 0 {
        record("mtime", decimal_time(fields.mtime).as_bytes());
    }
    if let Some((major, minor)) = fields.device {
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
    }
    set_path(&mut header, fields.path, &mut record);
    let ustar = header.as_ustar_mut().expect("it was made as one");
    if fields.link.len() > ustar.linkname.len() || !fields.link.is_ascii() {
        record("linkpath", fields.link);
    }
    copy_ascii(&mut ustar.linkname, fields.link);
    for (name, value) in fields.xattrs {
        records.push(([b"SCHILY.xattr.", &name[..]].concat(), value.clone()));
    }
    write_records(out, records)?;
    header.set_cksum();
    out.write_all(header.as_bytes())
}

/// Writes a point in time as PAX does: `-1.25` is a second and a quarter before 1970.
fn decimal_time((seconds, nanoseconds): (i64, u32)) -> String {
    if nanoseconds == 0 {
        return seconds.to_string();
    }
    let (sign, whole, fraction) = match seconds {
        0.. => ("", seconds.unsigned_abs(), nanoseconds),
        _ => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
    };
    let text = format!("{sign}{whole}.{fraction:09}");
    text.trim_end_matches('0').to_owned()
}

/// Returns the header of a plain file that belongs to root and is as old as time: all that archives of images hold.
#[cfg(feature = "registry")]
pub(crate) fn of_file(path: &str, size: u64) -> Vec<u8> {
    let fields = Fields {
        path: path.as_bytes(),
        kind: EntryType::Regular,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size,
        mtime: (0, 0),
        link: b"",
        device: None,
        xattrs: &[],
    };
    let mut header = Vec::new();
    write(&mut header, &fields).expect("a vector takes everything, and there is no device");
    header
}

fn write_records(out: &mut impl Write, mut records: Vec<(Vec<u8>, Vec<u8>)>) -> io::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    records.sort();
    let mut body = Vec::new();
    for (key, value) in &records {
        append_record(&mut body, key, value);
    }
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(body.len() as u64);
    copy_ascii(
        &mut header.as_ustar_mut().expect("it was made as one").name,
        PAX_NAME,
    );
    header.set_cksum();
    out.write_all(header.as_bytes())?;
    out.write_all(&body)?;
    pad(out, body.len() as u64)
}

/// Fills the last block of a member's content.
pub(crate) fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    let padding = size.next_multiple_of(512) - size;
    out.write_all(&[0; 512][..usize::try_from(padding).expect("less than a block")])
}

fn set_path(header: &mut Header, path: &[u8], record: &mut impl FnMut(&str, &[u8])) {
    let ustar = header.as_ustar_mut().expect("it was made as one");
    match split_path(path) {
        Some((prefix, name)) if path.is_ascii() => {
            copy_ascii(&mut ustar.prefix, prefix);
            copy_ascii(&mut ustar.name, name);
        }
        _ => {
            record("path", path);
            copy_ascii(&mut ustar.name, path);
        }
    }
}

/// Splits a path into ustar's prefix and name where Go does; `None` if it does not fit.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    let searched = if path.len() > 156 {
        156
    } else {
        path.len() - usize::from(path.ends_with(b"/"))
    };
    let slash = path[..searched].iter().rposition(|byte| *byte == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    let fits = !prefix.is_empty() && prefix.len() <= 155 && !name.is_empty() && name.len() <= 100;
    fits.then_some((prefix, name))
}

/// Copies what fits, with a placeholder for what a ustar field may not hold: a PAX record has the truth.
fn copy_ascii(field: &mut [u8], value: &[u8]) {
    for (to, from) in field.iter_mut().zip(value) {
        *to = if from.is_ascii() { *from } else { b'_' };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_decimals() {
        let table = [
            ((1, 0), "1"),
            ((1, 500_000_000), "1.5"),
            ((-2, 750_000_000), "-1.25"),
            ((-1, 999_999_999), "-0.000000001"),
            ((-3, 0), "-3"),
            ((0, 1), "0.000000001"),
        ];
        for (time, expected) in table {
            assert_eq!(decimal_time(time), expected, "{time:?}");
        }
    }
}
