//! Signs images and verifies signatures where images are.
