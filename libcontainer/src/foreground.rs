//! foreground
