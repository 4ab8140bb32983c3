//! How does an entry become tar? ustar headers, and a PAX header in front where a value does not fit into one.
//!
//! Honest archives only; archives that lie are written block by block with [`crate::image`]'s raw neighbour in the tests of
//! the reader.
//!
//! # References
//! POSIX.1-2017, pax: "ustar Interchange Format" and "pax Header Block".

use super::tree::{Entry, Kind};

const BLOCK: usize = 512;

/// Writes the archive with its two closing blocks.
pub(super) fn write(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        append(&mut out, entry);
    }
    out.extend_from_slice(&[0; 2 * BLOCK]);
    out
}

fn append(out: &mut Vec<u8>, entry: &Entry) {
    let path = match entry.kind {
        Kind::Dir => format!("{}/", entry.path),
        _ => entry.path.clone(),
    };
    let (flag, link, body): (u8, &str, &[u8]) = match &entry.kind {
        Kind::Dir => (b'5', "", &[]),
        Kind::File(bytes) => (b'0', "", bytes),
        Kind::Symlink(target) => (b'2', target, &[]),
        Kind::Hardlink(target) => (b'1', target, &[]),
        Kind::Fifo => (b'6', "", &[]),
        Kind::Char(..) => (b'3', "", &[]),
        Kind::Block(..) => (b'4', "", &[]),
    };
    let mut records = Vec::new();
    if path.len() > 100 {
        record(&mut records, "path", path.as_bytes());
    }
    if link.len() > 100 {
        record(&mut records, "linkpath", link.as_bytes());
    }
    for (name, id) in [("uid", entry.uid), ("gid", entry.gid)] {
        if id > 0o7_777_777 {
            record(&mut records, name, id.to_string().as_bytes());
        }
    }
    for (name, value) in &entry.xattrs {
        record(&mut records, &format!("SCHILY.xattr.{name}"), value);
    }
    if !records.is_empty() {
        out.extend_from_slice(&header(entry, "PaxHeaders/entry", "", b'x', records.len()));
        body_of(out, &records);
    }
    out.extend_from_slice(&header(entry, &path, link, flag, body.len()));
    body_of(out, body);
}

fn body_of(out: &mut Vec<u8>, body: &[u8]) {
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

/// Appends "LENGTH NAME=VALUE\n", where LENGTH counts its own digits.
fn record(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let rest = name.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} {name}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn header(entry: &Entry, path: &str, link: &str, flag: u8, size: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, width: usize, bytes: &[u8]| {
        let length = bytes.len().min(width);
        block[at..at + length].copy_from_slice(&bytes[..length]);
    };
    put(0, 100, path.as_bytes());
    put(100, 8, format!("{:07o}", entry.mode).as_bytes());
    put(
        108,
        8,
        format!("{:07o}", entry.uid & 0o7_777_777).as_bytes(),
    );
    put(
        116,
        8,
        format!("{:07o}", entry.gid & 0o7_777_777).as_bytes(),
    );
    put(124, 12, format!("{size:011o}").as_bytes());
    put(136, 12, format!("{:011o}", entry.mtime).as_bytes());
    put(148, 8, b"        ");
    put(156, 1, &[flag]);
    put(157, 100, link.as_bytes());
    put(257, 8, b"ustar\x0000");
    if let Kind::Char(major, minor) | Kind::Block(major, minor) = entry.kind {
        put(329, 8, format!("{major:07o}").as_bytes());
        put(337, 8, format!("{minor:07o}").as_bytes());
    }
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::super::Tree;
    use super::record;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn record_lengths_count_themselves() {
        for size in [1, 5, 86, 87, 88, 89, 985, 990, 995] {
            let mut out = Vec::new();
            record(&mut out, "path", &vec![b'x'; size]);
            let text = String::from_utf8(out.clone()).unwrap();
            assert_eq!(
                text.split(' ').next().unwrap().parse::<usize>().unwrap(),
                out.len()
            );
        }
    }

    #[test]
    fn gnu_tar_lists_what_was_written() {
        let long = format!("d/{}", "n".repeat(150));
        let tar = Tree::new()
            .dir("d", 0o1777)
            .file(&long, 0o4755, "x".repeat(600))
            .symlink("d/l", "../e")
            .hardlink("d/h", &long)
            .whiteout("d/gone")
            .opaque("d")
            .tar();
        let mut child = Command::new("tar")
            .args(["-t", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&tar).unwrap();
        let listed = child.wait_with_output().unwrap();
        assert!(listed.status.success());
        let expected = format!("d/\n{long}\nd/l\nd/h\nd/.wh.gone\nd/.wh..wh..opq\n");
        assert_eq!(String::from_utf8(listed.stdout).unwrap(), expected);
    }
}
