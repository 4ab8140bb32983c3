//! Copies between transports.
