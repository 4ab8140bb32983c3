//! Many copies at once: repositories, selections of tags, and only what changed.
