//! From a specification to the flat list of steps that start a container.

use std::fmt;

/// Everything that will be done to start one container. Displaying it prints the steps in order.
#[derive(Debug)]
#[must_use = "a plan does nothing until it is run"]
pub struct Plan {
    _private: (),
}

impl fmt::Display for Plan {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
    }
}
