//! `ps`: the processes of a container.

use super::{Ended, global::Face};
use clap::{Parser, ValueEnum};
use libcontainer::ErrorKind;
use trimaran_cli::output;

/// List the processes of a container
#[derive(Debug, Parser)]
pub(crate) struct PsArgs {
    /// How to print: a table of ps(1), or the ids as JSON
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The container's id
    #[arg(value_name = "ID")]
    id: String,
    /// Options of ps(1), for the table
    #[arg(
        value_name = "OPTION",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    options: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

pub(crate) fn ps(face: &Face, args: &PsArgs) -> Result<u8, Ended> {
    // One that has stopped has none, which is no failure.
    let pids = match face.load(&args.id)?.processes() {
        Err(error) if *error.kind() == ErrorKind::NotRunning => Vec::new(),
        other => other?,
    };
    if args.format == Format::Json {
        output::line(serde_json::json!(pids))?;
        return Ok(0);
    }
    let options = if args.options.is_empty() {
        vec!["-ef".to_owned()]
    } else {
        args.options.clone()
    };
    let printed = std::process::Command::new("ps")
        .args(&options)
        .output()
        .map_err(|error| Ended::Failed(format!("ps(1) cannot be started: {error}")))?;
    if !printed.status.success() {
        let said = String::from_utf8_lossy(&printed.stderr);
        return Err(Ended::Failed(format!("ps(1) failed: {}", said.trim())));
    }
    output::text(&selected(&String::from_utf8_lossy(&printed.stdout), &pids)?)?;
    Ok(0)
}

/// The heading, and the lines whose PID is one of the container's.
fn selected(table: &str, pids: &[i32]) -> Result<String, Ended> {
    let mut lines = table.lines();
    let heading = lines.next().unwrap_or_default();
    let column = heading
        .split_whitespace()
        .position(|name| name == "PID")
        .ok_or_else(|| Ended::Failed("ps(1) printed no column PID".to_owned()))?;
    let ours = lines.filter(|line| {
        let pid = line.split_whitespace().nth(column);
        pid.and_then(|pid| pid.parse().ok())
            .is_some_and(|pid: i32| pids.contains(&pid))
    });
    Ok(std::iter::once(heading)
        .chain(ours)
        .fold(String::new(), |text, line| text + line + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_lines_are_left() {
        let table = "UID  PID PPID CMD\nroot 1 0 init\nroot 12 1 sh 1\nroot 120 12 1\n";
        assert_eq!(
            selected(table, &[12, 7]).ok().unwrap(),
            "UID  PID PPID CMD\nroot 12 1 sh 1\n"
        );
        assert!(selected("CMD\n", &[1]).is_err());
    }
}
