//! Hooks: programs of others that run at points of a container's life.

use std::os::fd::BorrowedFd;

use oci_spec::runtime::Spec;

use crate::error::{Error, ErrorKind, Result};
use crate::process::Process;
use crate::record::Record;

/// Whether a specification has any hook.
pub(crate) fn asked(spec: &Spec) -> bool {
    let Some(hooks) = spec.hooks() else {
        return false;
    };
    let lists = [
        hooks.prestart(),
        hooks.create_runtime(),
        hooks.create_container(),
        hooks.start_container(),
        hooks.poststart(),
        hooks.poststop(),
    ];
    lists
        .iter()
        .any(|list| list.as_ref().is_some_and(|list| !list.is_empty()))
}

fn refuse(record: &Record) -> Result<()> {
    if asked(&record.spec) {
        return Err(Error::new(
            ErrorKind::Unsupported {
                feature: "hooks".into(),
            },
            "run hooks",
        ));
    }
    Ok(())
}

pub(crate) fn create(record: &Record, _pidfd: BorrowedFd<'_>) -> Result<()> {
    refuse(record)
}

pub(crate) fn start_container(record: &Record, _process: &Process) -> Result<()> {
    refuse(record)
}

pub(crate) fn poststart(record: &Record, _process: &Process) -> Result<()> {
    refuse(record)
}

pub(crate) fn poststop(record: &Record) -> Result<()> {
    refuse(record)
}
