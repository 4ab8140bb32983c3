//! One file a verb: arguments, options, one call of the library, print.

pub mod add;
pub mod commit;
pub mod config;
pub mod containers;
pub mod copy;
pub mod from;
pub mod inspect;
pub mod mount;
pub mod rename;
pub mod rm;
pub mod run;
pub mod umount;
pub mod unshare;
