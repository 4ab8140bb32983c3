//! An image as one flattened root file system.
