//! OCI layouts: foreign ones are kept as they are, ours are read by others.
