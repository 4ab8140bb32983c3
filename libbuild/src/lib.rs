//! libbuild
