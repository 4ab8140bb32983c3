//! Credentials and tokens.
