//! Policy and signatures.
