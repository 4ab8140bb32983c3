//! New images from old ones without their layers: labels, environment, indexes.
