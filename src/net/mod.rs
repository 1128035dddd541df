//! FLOOR 2: sockets and TLS.
//!
//! Look-ups, connecting, certificates and one full-duplex [`wire::Wire`] a
//! connection. Everything that waits does so in `poll`, with a deadline, on its
//! socket and on a [`signal::Signal`], so that it can be stopped at any moment.
//! Nothing here knows SMTP beyond the [`Failure`](crate::smtp::failure::Failure)
//! that it reports.

pub mod certificate;
pub mod client;
pub mod connect;
pub mod known;
pub mod proxy;
pub mod resolve;
pub mod signal;
pub mod threads;
pub mod tls;
pub mod wire;
pub mod words;

mod adapter;
