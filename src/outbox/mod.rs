//! draft
mod entry;
mod error;
mod lisp_data;
mod metadata;
mod problem;
pub use entry::{EntryName, Facts, RefusedRecipient, State, StoredVariables, Value};
pub use error::{ErrorKind, OutboxError, Result};
pub use problem::{Problem, ProblemKind};
