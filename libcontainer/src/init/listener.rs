//! Giving the listener of a system call filter to whoever answers for the calls.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::process::PidfdGetfdFlags;
use serde::Serialize;

use crate::console;
use crate::error::{Error, Result};
use crate::plan::Listener;
use crate::state::State;

/// What is said with the descriptor (runtime specification, "The Container Process State").
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'s> {
    oci_version: &'s str,
    /// The names of the descriptors that are sent, in their order.
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'s str,
    state: &'s State,
}

/// Takes the descriptor `number` out of the process `pid` and sends it.
pub(super) fn give(
    listener: &Listener,
    pid: i32,
    process: BorrowedFd<'_>,
    number: i32,
) -> Result<()> {
    const STEP: &str = "fetch the listener of the system call filter";
    let failed = |errno: Errno| Error::from_errno(errno.raw_os_error(), STEP);
    let descriptor =
        rustix::process::pidfd_getfd(process, number, PidfdGetfdFlags::empty()).map_err(failed)?;
    let mut state = listener.state.clone().ok_or_else(|| failed(Errno::INVAL))?;
    if state.pid == 0 {
        // The container is being made, and this is its first process.
        state.pid = pid;
    }
    let said = ContainerProcessState {
        oci_version: listener.version.unwrap_or(&state.oci_version),
        fds: ["seccompFd"],
        pid,
        metadata: &listener.metadata,
        state: &state,
    };
    let text = serde_json::to_vec(&said).map_err(|error| Error::from_io(error.into(), STEP))?;
    console::send_with(
        &listener.path,
        descriptor.as_fd(),
        "listener of the filter",
        &text,
    )
}
