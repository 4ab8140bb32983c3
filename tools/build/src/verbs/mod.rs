//! One file a verb: arguments, options, one call of the library, print.

pub(crate) mod add;
pub(crate) mod commit;
pub(crate) mod config;
pub(crate) mod containers;
pub(crate) mod copy;
pub(crate) mod from;
pub(crate) mod inspect;
pub(crate) mod mount;
pub(crate) mod rename;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod umount;
pub(crate) mod unshare;
