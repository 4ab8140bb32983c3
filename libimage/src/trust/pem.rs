//! PEM: a label, and base64 between two lines.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Bytes of a file with keys; an encrypted ECDSA key has about 700.
const FILE_BYTES: usize = 64 << 10;

/// Reads the only block of a text; `Err` says what is wrong. Text around the block is a comment.
pub(super) fn only_block(text: &[u8]) -> Result<(String, Vec<u8>), &'static str> {
    if text.len() > FILE_BYTES {
        return Err("it is too large for a key");
    }
    let text = std::str::from_utf8(text).map_err(|_| "it is no text (PEM)")?;
    let mut lines = text.lines().map(str::trim);
    let label = lines
        .find_map(|line| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .ok_or("it has no line -----BEGIN …-----")?;
    let end = format!("-----END {label}-----");
    let mut body = String::new();
    let mut ended = false;
    for line in lines.by_ref() {
        if line == end {
            ended = true;
            break;
        }
        body.push_str(line);
    }
    if !ended {
        return Err("its end is missing");
    }
    if lines.any(|line| line.starts_with("-----BEGIN ")) {
        return Err("it has more than one key");
    }
    let der = STANDARD.decode(body).map_err(|_| "it is no base64")?;
    Ok((label.to_owned(), der))
}

/// Writes a block.
pub(super) fn write(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for at in (0..body.len()).step_by(64) {
        text.push_str(&body[at..body.len().min(at + 64)]);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// Undoes ASCII armor if there is any; OpenPGP files come with and without.
pub(super) fn dearmored(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    const BEGIN: &str = "-----BEGIN PGP ";
    let Ok(ascii) = std::str::from_utf8(text) else {
        return Ok(text.to_vec());
    };
    if !ascii.lines().any(|line| line.starts_with(BEGIN)) {
        return Ok(text.to_vec());
    }
    let mut out = Vec::new();
    let mut lines = ascii.lines().map(str::trim);
    while lines.by_ref().any(|line| line.starts_with(BEGIN)) {
        let mut body = String::new();
        let mut ended = false;
        // Headers end at an empty line; the checksum begins with `=`, and says nothing that a signature does not say better.
        let mut in_body = false;
        for line in lines.by_ref() {
            if line.starts_with("-----END PGP ") {
                ended = true;
                break;
            }
            match in_body {
                true if line.starts_with('=') => {}
                true => body.push_str(line),
                false => in_body = line.is_empty(),
            }
        }
        if !ended {
            return Err("the end of its armor is missing");
        }
        out.extend(
            STANDARD
                .decode(body)
                .map_err(|_| "its armor is no base64")?,
        );
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_and_a_damaged_one_does_not() {
        let der: Vec<u8> = (0..200).collect();
        let text = write("PUBLIC KEY", &der);
        assert_eq!(
            only_block(text.as_bytes()),
            Ok(("PUBLIC KEY".to_owned(), der))
        );
        for (bad, why) in [
            (text[..text.len() - 30].to_owned(), "end"),
            (format!("{text}{text}"), "more than one"),
            (text.replace("AAEC", "A*EC"), "base64"),
            (String::new(), "BEGIN"),
            (" ".repeat(FILE_BYTES + 1), "large"),
        ] {
            let told = only_block(bad.as_bytes()).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        for cut in 0..text.len() - 1 {
            assert!(only_block(&text.as_bytes()[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn armor_is_undone() {
        let armored = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: x\n\neHl6\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(dearmored(armored.as_bytes()).unwrap(), b"xyz");
        let two = format!("{armored}\n{armored}");
        assert_eq!(dearmored(two.as_bytes()).unwrap(), b"xyzxyz");
        assert_eq!(dearmored(b"\x99raw").unwrap(), b"\x99raw");
        assert!(dearmored(&armored.as_bytes()[..60]).is_err());
    }
}
