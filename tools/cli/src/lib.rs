//! What the three tools share: how they exit, print, find their directories and describe themselves.
//!
//! The libraries never print, never exit and never look for a file; this crate is where a tool does. It holds no
//! logic of containers or images.
//!
//! # Layout
//! | module | question it answers |
//! |---|---|
//! | [`exit`] | which number does the process end with |
//! | [`failure`] | how is an error told to the user |
//! | [`parse`] | how does a command line become a type, and its help text come out |
//! | [`program`] | by which name were we called |
//! | [`directories`] | where are images, containers and state |
//! | [`authfile`] | which files may hold registry credentials |
//! | [`policy`] | which images may be used, and where their signatures are |
//! | [`registries`] | which registries.conf is read, where are certificates and credential helpers |
//! | [`ends`] | which flags say how an end of a transfer is reached |
//! | [`password`] | how is a secret asked for on a terminal |
//! | [`registry`] | which flags and files make the surroundings of a transfer |
//! | [`progress`] | how is progress drawn |
//! | [`output`] | how does data reach stdout |
//! | [`table`], [`human`] | how are lists, sizes and ages written |
//! | [`template`] | how does a user say what is printed |
//! | [`time`] | how are points in time written and read |
//! | [`generate`] | man pages and shell completions |
//! | [`interrupt`] | dying of the signal that interrupted us |

pub mod authfile;
pub mod directories;
pub mod ends;
pub mod exit;
pub mod failure;
pub mod generate;
pub mod human;
pub mod interrupt;
pub mod output;
pub mod parse;
pub mod password;
pub mod policy;
pub mod program;
pub mod progress;
pub mod registries;
pub mod registry;
pub mod table;
pub mod template;
pub mod time;

pub use directories::Directories;
pub use exit::ExitCode;
pub use failure::Failure;
