//! `build containers`: the working containers there are.

use crate::place::Place;
use crate::told;
use clap::ValueEnum;
use libbuild::Record;
use serde_json::json;
use std::time::{Duration, UNIX_EPOCH};
use trimaran_cli::table::Table;
use trimaran_cli::{Failure, human, output};

/// Lists working containers (with --quiet, only their ids)
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How the list is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// Columns for people
    #[default]
    Table,
    /// JSON for programs
    Json,
}

/// Runs the verb.
pub(crate) fn run(args: &Args, place: &Place, ids_only: bool) -> Result<(), Failure> {
    let records = place.session.records().map_err(told::build)?;
    let id = |record: &Record| {
        record.id[..if args.no_trunc { 64 } else { 12 }.min(record.id.len())].to_owned()
    };
    if ids_only {
        return records
            .iter()
            .try_for_each(|record| output::line(id(record)));
    }
    match args.format {
        Format::Json => output::json(&records.iter().map(as_json).collect()),
        Format::Table => {
            let mut table = Table::new(&["CONTAINER ID", "NAME", "BASE", "CREATED"]);
            for record in &records {
                table.row([id(record), record.name.clone(), base(record), age(record)]);
            }
            output::text(&table.to_string())
        }
    }
}

fn as_json(record: &Record) -> serde_json::Value {
    json!({
        "id": record.id,
        "name": record.name,
        "base": record.base.as_ref().map(|base| json!({
            "name": base.name, "manifestDigest": base.manifest, "imageId": base.image_id,
        })),
        "created": record.created,
    })
}

fn base(record: &Record) -> String {
    match &record.base {
        None => "scratch".to_owned(),
        Some(base) => base
            .name
            .clone()
            .unwrap_or_else(|| base.image_id.hex()[..12].to_owned()),
    }
}

fn age(record: &Record) -> String {
    let made = UNIX_EPOCH + Duration::from_secs(record.created.unsigned_abs());
    human::age(made.elapsed().unwrap_or_default())
}
