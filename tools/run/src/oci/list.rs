//! `list`: every container of this state directory.

use super::{Ended, global::Face};
use clap::{Parser, ValueEnum};
use libcontainer::state::State;
use serde::Serialize;
use trimaran_cli::output;
use trimaran_cli::table::Table;

/// List containers
#[derive(Debug, Parser)]
pub(crate) struct ListArgs {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

pub(crate) fn list(face: &Face, args: &ListArgs) -> Result<u8, Ended> {
    let containers = face.runtime.list()?;
    if args.quiet {
        output::text(
            &containers
                .iter()
                .map(|container| format!("{}\n", container.id()))
                .collect::<String>(),
        )?;
        return Ok(0);
    }
    // One that is deleted while we look is not there any more.
    let states: Vec<State> = containers
        .iter()
        .filter_map(|container| container.state().ok())
        .collect();
    match args.format {
        // Compact, and in the order of the fields that others write.
        Format::Json => output::line(text(&states, serde_json::to_string)?)?,
        Format::Table => output::text(&table(&states)?.to_string())?,
    }
    Ok(0)
}

fn table(states: &[State]) -> Result<Table, Ended> {
    let mut table = Table::new(&["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    for state in states {
        let status = text(&state.status, serde_json::to_string)?;
        table.row([
            &state.id,
            &state.pid.to_string(),
            status.trim_matches('"'),
            &state.bundle.display().to_string(),
            &state.created,
            &state.owner,
        ]);
    }
    Ok(table)
}

/// JSON, in the order in which the fields are declared.
pub(super) fn text<T: Serialize>(
    value: &T,
    write: impl FnOnce(&T) -> serde_json::Result<String>,
) -> Result<String, Ended> {
    write(value).map_err(|error| Ended::Failed(format!("cannot print the state: {error}")))
}
