//! Artifacts: files in a registry, alone or attached to an image, and the tree of what refers to what.
