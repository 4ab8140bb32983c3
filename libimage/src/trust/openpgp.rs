//! OpenPGP signatures, checked by a program: `gpgv`, or one that is called as it is.
//!
//! The program gets keys and signature as anonymous files and answers with the signed text and with status lines. It finds no
//! other keys, no configuration and no environment.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
};

use rustix::fs::{MemfdFlags, memfd_create};

use super::{payload::PAYLOAD_BYTES, pem};

/// Bytes of status lines and messages; a signature makes about 600.
const STATUS_BYTES: u64 = 64 << 10;
const STATUS: &str = "[GNUPG:] ";

/// Returns the text that was signed by one of the keys; `Err` says why there is none.
pub(super) fn signed_text(
    program: &Path,
    keys: &[&[u8]],
    signature: &[u8],
) -> Result<Vec<u8>, String> {
    let mut ring = Vec::new();
    for key in keys {
        ring.extend(pem::dearmored(key).map_err(|why| format!("its key ring: {why}"))?);
    }
    let failed = |error: std::io::Error| format!("{} cannot be run: {error}", program.display());
    let ring = anonymous("keys", &ring).map_err(failed)?;
    let signature = anonymous("signature", signature).map_err(failed)?;
    let (status, text, lines) = run(program, &ring, &signature).map_err(failed)?;
    judge(status, &lines)?;
    if text.len() as u64 > PAYLOAD_BYTES {
        return Err("the signed text is too large".to_owned());
    }
    Ok(text)
}

/// Makes a file without a name.
fn anonymous(name: &str, content: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    Ok(file)
}

/// The path by which a child process opens one of our files.
fn path_of(file: &File) -> String {
    use std::os::fd::AsRawFd as _;
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}

/// Runs the program; reads no more than it may say, and then stops it.
fn run(
    program: &Path,
    ring: &File,
    signature: &File,
) -> std::io::Result<(ExitStatus, Vec<u8>, String)> {
    let mut child = Command::new(program)
        .args([
            "--homedir",
            "/nonexistent",
            "--status-fd",
            "2",
            "--output",
            "-",
        ])
        .args(["--keyring", &path_of(ring), "--", &path_of(signature)])
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Dropping a pipe that has more to say ends the program with SIGPIPE.
    let text = thread::spawn(move || read(stdout, PAYLOAD_BYTES + 1));
    let lines = read(stderr, STATUS_BYTES);
    let text = text.join().unwrap_or_default();
    let status = child.wait()?;
    Ok((status, text, String::from_utf8_lossy(&lines).into_owned()))
}

fn read(pipe: Option<impl Read>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe
        && pipe.take(limit).read_to_end(&mut bytes).is_err()
    {
        // What could not be read has not been verified.
        bytes.clear();
    }
    bytes
}

/// Accepts exactly one signed text, with good signatures only, and at least one of them.
fn judge(status: ExitStatus, lines: &str) -> Result<(), String> {
    let words = |line: &str| {
        let mut words = line.strip_prefix(STATUS)?.split(' ').map(str::to_owned);
        Some((words.next()?, words.next().unwrap_or_default()))
    };
    let told: Vec<(String, String)> = lines.lines().filter_map(words).collect();
    let count = |word: &str| told.iter().filter(|(found, _)| found == word).count();
    let bad = [
        ("NO_PUBKEY", "it was made by another key"),
        ("EXPSIG", "it has expired"),
        ("EXPKEYSIG", "its key has expired"),
        ("REVKEYSIG", "its key has been revoked"),
        ("BADSIG", "it was not made of this text"),
        ("ERRSIG", "it cannot be checked"),
        ("NODATA", "it is no OpenPGP signature"),
    ];
    for (word, why) in bad {
        if count(word) > 0 {
            return Err(why.to_owned());
        }
    }
    let one =
        count("VALIDSIG") >= 1 && count("VALIDSIG") == count("GOODSIG") && count("PLAINTEXT") == 1;
    if status.success() && one {
        return Ok(());
    }
    let last = lines.lines().rfind(|line| !line.starts_with(STATUS));
    let shown: String = last
        .unwrap_or("it is no signed text")
        .chars()
        .take(200)
        .collect();
    Err(shown)
}
