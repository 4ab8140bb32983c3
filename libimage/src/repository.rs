//! What can be asked of and done to a repository without copying: digests, tags, deletion, catalogs.
