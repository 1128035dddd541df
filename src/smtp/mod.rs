//! Floor 1: the protocol itself, bytes and values only.
//!
//! Nothing in here may use io, net, threads, the clock, files or Emacs, so
//! that any program can use it and any test can drive it.

pub mod address;
pub mod content;
pub mod sasl;
pub mod secret;
pub mod visible;
