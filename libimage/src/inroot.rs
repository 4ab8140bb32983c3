//! How paths of an image are resolved: inside its root, whatever its symlinks say.
