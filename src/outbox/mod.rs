//! The queue on disk: durable, locked, crash-safe, and still the directory
//! that the built-in `smtpmail`, mu4e and scripts read and write.
//!
//! No network, no Emacs, no policy, and no thread but for an fsync: when to send and
//! what a reply means is the courier's to decide. All calls may wait for the
//! disk and for a lock; none belongs on Emacs's own thread.
//!
//! # What counts
//! - An entry is its metadata `NAME.el`; its rename to that name is the
//!   commit. Everything else can be derived, and is, at the next use.
//! - The index lists those that any program may send now, and no others. Their
//!   text lies under its plain name; the text of all others is hidden
//!   (see `name.rs`), so that even a program that read the index before finds nothing to send.
//! - Who has the lock of an entry's text, and only he, sends or changes the
//!   entry. The directory's lock guards index, names and windows, and is held
//!   for some fsyncs at most.
//! - Other programs' entries are entries, whether the index names them or not;
//!   what is odd is reported and stays.
//!
//! # What a death leaves, step by step
//! | died after | found at the next use |
//! |---|---|
//! | writing temporary files | nothing; they go, since their lock is free |
//! | the text's rename | text without metadata: reported, stays |
//! | the metadata's rename | the entry; the index gets its line |
//! | claiming | the entry, waiting as before |
//! | the window's rename | entries *unknown*: a final dot may have gone out |
//! | writing an outcome | the outcome; the text is moved to where it belongs |
//! | the rename to `.done` | nothing; the rest of the entry goes |
//!
//! # What the built-in can still do
//! It locks nothing. If it has read an entry's text and is sending it at the
//! moment when we mark that entry, the message goes out twice; no file system
//! call can tell us. It is at most the one message that it has in hand.
//!
//! # Use
//! ```no_run
//! # use std::{path::Path, sync::atomic::AtomicBool};
//! # use smtpmail_core::outbox::*;
//! # fn main() -> Result<()> {
//! let outbox = Outbox::open(Path::new("/home/me/Mail/queued-mail"), "index")?;
//! let entry = NewEntry {
//!     recipients: vec!["you@example.org".into()],
//!     stored_variables: StoredVariables::default(),
//!     facts: Facts { sender: Some("me@example.org".into()), ..Facts::default() },
//!     state: State::Waiting,
//!     text: Text::Bytes(b"To: you@example.org\n\nHello\n"),
//! };
//! let added = outbox.add(entry, &AtomicBool::new(false))?;
//! if let Some(mut claim) = outbox.claim(&added.name)? {
//!     let text = claim.text()?; // up to, but not including, the final dot …
//!     let vanished = outbox.mark_sending([&mut claim])?;
//!     // … the dot and its reply, unless vanished …
//!     claim.settle(Outcome::Accepted)?;
//! }
//! outbox.sync()
//! # }
//! ```

mod add;
mod claim;
mod disk;
mod entry;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod header;
mod index;
mod lisp_data;
mod lock;
mod metadata;
mod name;
#[cfg(target_os = "linux")]
mod other_emacs;
mod problem;
mod readers;
mod reading;
mod refresh;
mod repair;
mod scan;
mod store;
mod window;

pub use add::{Added, NewEntry, PreparedText, Text};
pub use claim::{Claim, Obstacle, Outcome, Unmarked};
pub use disk::{Step, StepHook};
pub use entry::{EntryName, Facts, RefusedRecipient, State, StoredVariables, Value};
pub use error::{ErrorKind, OutboxError, Result};
pub use problem::{Problem, ProblemKind};
pub use store::{Listed, Listing, Outbox};
