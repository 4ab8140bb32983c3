//! Reads everything of an image again and checks it.
