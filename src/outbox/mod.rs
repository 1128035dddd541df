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
//! | taking a window back | entries waiting; the text is moved to where it belongs |
//! | writing an outcome | the outcome; the text is moved to where it belongs |
//! | the rename to `.done` | nothing; the rest of the entry goes |
//!
//! # Beside the built-in
//! It locks nothing.  Per entry it reads `NAME.el`, at once `NAME`, sends, and removes
//! both; that `NAME` is gone by then is no error to it. Both reads leave times of access,
//! which is how `readers.rs` knows, before an entry is marked, that another program may be sending it.
//! The looks are at the times of both files and at who has the text open, before and after
//! the rename to the hidden name. By when the built-in (B) reads:
//!
//! | B opens `NAME.el` | B opens `NAME` | then |
//! |---|---|---|
//! | after the rename | never finds it | B stops with an error; we send |
//! | before the rename | after it, in vain | the metadata was read and the text was not: we send, B stops |
//! | before the first look | before it | the first look shows both: left to B, nothing was touched |
//! | between the looks | between them | the second look shows both, or the text open: given back under its name, before any final dot; left to B |
//! | between the looks, and it removes `NAME` before the rename | | gone: B has sent it |
//! | between the looks, and it removes both before it is given back | | the metadata is gone: so goes the text |
//!
//! Only who has opened the text before the rename can read it after the second look, and that
//! one finds it open. Whoever has read both and removed neither, because its own sending failed,
//! looks the same as one who is sending: the entry waits until that must be over, or for the user's word.
//! An outcome that is written on such an entry has its new metadata take over the trace.
//!
//! It can go twice where this cannot be told: on other systems than Linux, over a network or
//! FUSE, where no times of access are kept (`noatime`), from another machine or a container
//! that we cannot see into, if B has one message in its hands for longer than
//! the limit of `readers.rs`, and if both files were read by something else before, with no look of ours
//! since, while B has no connection yet. Then it is at most the message that B has in its hands.
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
//!     let unmarked = outbox.mark_sending([&mut claim])?;
//!     // … the dot and its reply, unless it is unmarked …
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
