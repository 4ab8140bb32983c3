//! `features`: what containerd, docker and CRI-O ask before they use us. Only what works is listed.

use super::Ended;
use clap::Parser;
use libcontainer::features;
use trimaran_cli::output;

/// The runtime specification that is followed.
pub(crate) const SPEC_VERSION: &str = features::SPEC_VERSION_MAX;

/// Print what this runtime can do
#[derive(Debug, Parser)]
pub(crate) struct FeaturesArgs {}

pub(crate) fn features(_args: &FeaturesArgs) -> Result<u8, Ended> {
    let list = serde_json::to_value(features::features());
    output::json(&list.expect("the list is made of names and numbers"))?;
    Ok(0)
}
