//! The `copy` tool.
fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
