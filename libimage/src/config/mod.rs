//! Configuration files of the field.
