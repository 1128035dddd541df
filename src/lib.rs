//! The engine of smtpmail: floors, lowest first.
//!
//! | floor | module | may use |
//! |---|---|---|
//! | 1 | [`smtp`], `calendar` | nothing of ours; no io, net, threads, clock, files, emacs |
//! | 2 | [`net`], [`outbox`] | `smtp`, `calendar` |
//! | 3 | [`delivery`] | `smtp`, `net`, `outbox` |
//! | 4 | `exports` | all of them, and `emacs`, which no other file imports |
//!
//! A file imports only from lower floors; `make floors` checks it.

#![deny(missing_docs)]
#![warn(rust_2018_idioms)]
#![deny(unsafe_code)]

mod calendar;
pub mod delivery;
mod exports;
pub mod net;
pub mod outbox;
pub mod smtp;
