//! How is a program under test started, and how does a test survive when it hangs?

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a program under test may take before [`run`] ends it: far above any honest run on a slow machine.
const LIMIT: Duration = Duration::from_secs(180);

/// What a program did.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output, with invalid UTF-8 replaced.
    pub stdout: String,
    /// What it wrote to its standard error, with invalid UTF-8 replaced.
    pub stderr: String,
}

impl Outcome {
    /// Returns the exit code, or 128 + the signal's number as a shell would.
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Asserts that the exit code is `code`, and shows both streams where it is not.
    ///
    /// # Panics
    /// When the code differs.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Outcome {
        assert_eq!(
            self.code(),
            code,
            "exit code\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

/// Makes a command which inherits nothing of the developer's environment but `PATH`: `HOME` is `home`, and no `XDG_*`,
/// `TRIMARAN_*`, proxy or authentication variable reaches the program.
pub fn command(program: impl AsRef<std::ffi::OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home)
        .env("LC_ALL", "C.UTF-8");
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end and returns what it did.
///
/// # Panics
/// When it cannot be started, or runs longer than three minutes (it is then killed).
#[track_caller]
pub fn run(command: &mut Command) -> Outcome {
    let shown = format!("{command:?}");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{shown} cannot be started: {error}"));
    let stdout = drain(child.stdout.take().expect("piped above"));
    let stderr = drain(child.stderr.take().expect("piped above"));
    let end = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            break status;
        }
        if Instant::now() > end {
            child.kill().expect("the child is ours");
            child.wait().expect("the child is ours");
            panic!(
                "{shown} ran longer than {LIMIT:?}\n--- stderr\n{}",
                stderr.join().expect("the reader ends")
            );
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Outcome {
        status,
        stdout: stdout.join().expect("the reader ends"),
        stderr: stderr.join().expect("the reader ends"),
    }
}

fn drain(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        if let Err(error) = from.read_to_end(&mut bytes) {
            bytes.extend_from_slice(format!("<reading failed: {error}>").as_bytes());
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Copies a program that is going to be executed, by another process: a descriptor for writing of ours that a fork elsewhere in the tests
/// inherited would make the copy "busy" (ETXTBSY) for a while.
///
/// # Panics
/// When it cannot be copied.
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let (from, to) = (from.as_ref(), to.as_ref());
    let copied = Command::new("cp").arg("-p").args([from, to]).status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "cannot copy {} to {}",
        from.display(),
        to.display()
    );
}

/// Writes a script that is going to be executed, by another process as well.
///
/// # Panics
/// When it cannot be written.
pub fn write_script(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    let written = std::fs::write(&draft, text)
        .and_then(|()| std::fs::set_permissions(&draft, PermissionsExt::from_mode(0o755)));
    assert!(written.is_ok(), "{}: {written:?}", path.display());
    copy_program(&draft, path);
}
