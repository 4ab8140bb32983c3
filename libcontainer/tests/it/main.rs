//! Containers that really run. Most tests need root and a static busybox; without them they skip, and say so.

#[cfg(feature = "async")]
mod asynchronous;
mod attacks;
mod bed;
mod command;
mod criu;
mod embed;
mod exec;
mod fields;
mod host;
mod isolation;
mod life;
mod notify;
mod policy;
mod program;
mod rootless;
mod sleeper;
