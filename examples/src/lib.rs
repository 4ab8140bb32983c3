//! Examples: see the programs beside this file.
