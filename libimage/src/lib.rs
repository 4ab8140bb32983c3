//! libimage
