//! FLOOR 1: the pure protocol. Bytes and values in, bytes and values out.
//!
//! No io, net, threads, clock, files or emacs in here: any program can use it.

pub mod address;
pub mod capabilities;
pub mod command;
pub mod content;
pub mod dialogue;
pub mod failure;
pub mod options;
pub mod reply;
pub mod sasl;
pub mod secret;
pub mod visible;
