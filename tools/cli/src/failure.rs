//! How an error is told: `Error: …`, its causes, and `hint: …`, all on stderr.

use crate::exit::ExitCode;
use std::error::Error;
use std::fmt;
use std::io::Write;

/// Why a verb did not do its work, and what the process ends with because of it.
///
/// Any error turns into one with `?` and exit code 125.
pub struct Failure {
    code: ExitCode,
    error: Option<Box<dyn Error + Send + Sync>>,
    hint: Option<String>,
}

impl Failure {
    /// Wraps an error of ours: exit code 125.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: ExitCode::Failure,
            error: Some(error.into()),
            hint: None,
        }
    }

    /// A command line that clap accepted and we cannot: exit code 2.
    pub fn usage(message: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: ExitCode::Usage,
            error: Some(message.into()),
            hint: None,
        }
    }

    /// Ends with `code` and prints nothing: what had to be said has been said.
    pub fn quiet(code: ExitCode) -> Self {
        Self {
            code,
            error: None,
            hint: None,
        }
    }

    /// Ends with another code.
    #[must_use]
    pub fn with_code(mut self, code: ExitCode) -> Self {
        self.code = code;
        self
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What the process will end with.
    pub fn code(&self) -> ExitCode {
        self.code
    }

    /// What went wrong with an image, if the failure came from the library.
    pub fn error_kind(&self) -> Option<libimage::ErrorKind> {
        let error: &(dyn Error + 'static) = &**self.error.as_ref()?;
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(ours) = error.downcast_ref::<libimage::Error>() {
                return Some(ours.kind());
            }
            next = error.source();
        }
        None
    }

    /// The hint, if there is one.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Writes the error, one cause a line, and the hint. Nothing if it is a quiet one.
    ///
    /// # Errors
    /// Only what `out` reports.
    pub fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let Some(error) = &self.error else {
            return Ok(());
        };
        let mut last = error.to_string();
        writeln!(out, "Error: {last}")?;
        let mut cause = error.source();
        while let Some(error) = cause {
            // A transparent wrapper repeats its source: one line is enough.
            let text = error.to_string();
            if text != last {
                writeln!(out, "  caused by: {text}")?;
            }
            last = text;
            cause = error.source();
        }
        match &self.hint {
            Some(hint) => writeln!(out, "hint: {hint}"),
            None => Ok(()),
        }
    }

    /// Prints it to stderr and returns the code.
    pub fn report(&self) -> ExitCode {
        // A stderr that cannot be written leaves nobody to tell.
        self.write(&mut std::io::stderr().lock()).ok();
        self.code
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("code", &self.code)
            .field("error", &self.error)
            .field("hint", &self.hint)
            .finish()
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// Runs a tool's body and turns its outcome into what `main` returns.
pub fn run(body: impl FnOnce() -> Result<ExitCode, Failure>) -> std::process::ExitCode {
    match body() {
        Ok(code) => code.into(),
        Err(failure) => failure.report().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::io::Error);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot open the store")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    fn text(failure: &Failure) -> String {
        let mut out = Vec::new();
        failure.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn causes_and_hint_follow_the_error() {
        let failure =
            Failure::from(Outer(std::io::Error::other("disk on fire"))).with_hint("buy another");
        assert_eq!(
            text(&failure),
            "Error: cannot open the store\n  caused by: disk on fire\nhint: buy another\n"
        );
        assert_eq!(failure.code(), ExitCode::Failure);
    }

    #[test]
    fn a_quiet_failure_says_nothing() {
        assert_eq!(text(&Failure::quiet(ExitCode::Usage)), "");
    }
}
