//! The exit codes of the tools: one closed list, so that scripts can rely on it.

/// What a tool's process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// 0: done.
    Success,
    /// The container's own code, `128 + n` if signal `n` ended it.
    Container(u8),
    /// 2: the command line makes no sense.
    Usage,
    /// 125: we failed, not the container.
    Failure,
    /// 126: the container's command exists and cannot be executed.
    NotExecutable,
    /// 127: the container's command does not exist.
    CommandNotFound,
    /// The code of another tool, while we speak its command line (called by its name).
    Other(u8),
}

impl ExitCode {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Container(code) | Self::Other(code) => code,
            Self::Usage => 2,
            Self::Failure => 125,
            Self::NotExecutable => 126,
            Self::CommandNotFound => 127,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.code())
    }
}

#[cfg(test)]
mod tests {
    use super::ExitCode;

    #[test]
    fn the_numbers_are_the_documented_ones() {
        for (code, number) in [
            (ExitCode::Success, 0),
            (ExitCode::Container(0), 0),
            (ExitCode::Container(3), 3),
            (ExitCode::Container(143), 143),
            (ExitCode::Usage, 2),
            (ExitCode::Failure, 125),
            (ExitCode::NotExecutable, 126),
            (ExitCode::CommandNotFound, 127),
            (ExitCode::Other(1), 1),
        ] {
            assert_eq!(code.code(), number, "{code:?}");
        }
    }
}
