//! A second registry that is not ours: Debian's `docker-registry`.
