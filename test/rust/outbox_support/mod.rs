//! What the tests of the outbox share: a directory that goes away, entries, looks at files.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smtpmail_core::outbox::{
    Added, EntryName, Facts, Listing, NewEntry, Outbox, Result, State, StoredVariables, Text,
};

/// A directory of this test alone, removed with it. Its queue does not exist yet.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("smtpmail-outbox-{}-{count}", std::process::id());
        let path = fs::canonicalize(std::env::temp_dir())
            .expect("a temporary directory")
            .join(name);
        fs::create_dir(&path).expect("a directory of ours");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn queue(&self) -> PathBuf {
        self.0.join("queue")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.queue().join(name)
    }

    pub fn outbox(&self) -> Outbox {
        Outbox::open(&self.queue(), "index").expect("good names")
    }

    /// What the index says, without the directory.
    pub fn index(&self) -> Vec<String> {
        let prefix = format!("{}/", self.queue().display());
        fs::read_to_string(self.file("index"))
            .expect("an index")
            .lines()
            .map(|line| {
                line.strip_prefix(&prefix)
                    .expect("an absolute path of ours")
                    .to_owned()
            })
            .collect()
    }

    /// All files but the lock.
    pub fn files(&self) -> BTreeSet<String> {
        fs::read_dir(self.queue())
            .expect("a queue")
            .map(|file| {
                file.expect("listed")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .filter(|file| file != ".smtpmail-lock")
            .collect()
    }

    /// Writes an entry as Emacs 28 to 30 do.
    pub fn add_as_built_in(&self, name: &str, recipient: &str, text: &str) {
        fs::create_dir_all(self.queue()).expect("a directory of ours");
        fs::write(self.file(name), text).expect("writable");
        let metadata = format!("(setq      smtpmail-recipient-address-list (\"{recipient}\")\n)\n");
        fs::write(self.file(&format!("{name}.el")), metadata).expect("writable");
        self.append_to_index(&format!("{}\n", self.file(name).display()));
    }

    pub fn append_to_index(&self, text: &str) {
        use std::io::Write;
        let mut options = fs::OpenOptions::new();
        let mut index = options
            .append(true)
            .create(true)
            .open(self.file("index"))
            .expect("writable");
        index.write_all(text.as_bytes()).expect("writable");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn text(id: &str) -> String {
    format!("From: me@example.org\nMessage-ID: <{id}>\nSubject: {id}\n\n.\nbody of {id}\n")
}

pub fn entry<'a>(recipient: &str, state: State, text: &'a [u8]) -> NewEntry<'a> {
    NewEntry {
        recipients: vec![recipient.to_owned()],
        stored_variables: StoredVariables::default(),
        facts: Facts::default(),
        state,
        text: Text::Bytes(text),
    }
}

/// Queues a message whose facts and text hold `id`.
pub fn add(outbox: &Outbox, id: &str, state: State) -> Result<Added> {
    let text = text(id);
    let mut entry = entry("you@example.org", state, text.as_bytes());
    entry.facts.message_id = Some(format!("<{id}>"));
    outbox.add(entry, &AtomicBool::new(false))
}

/// The `id` of a text made by [`text`].
pub fn id_of(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let (_, rest) = text.split_once("Message-ID: <").expect("a message of ours");
    rest.split('>').next().expect("split gives one").to_owned()
}

pub fn name(name: &str) -> EntryName {
    EntryName::new(name).expect("a legal name")
}

/// Message id without brackets and state of each entry.
pub fn states(listing: &Listing) -> Vec<(String, State)> {
    listing
        .entries
        .iter()
        .map(|entry| {
            let id = entry.facts.message_id.as_deref().expect("all have one");
            (id.trim_matches(['<', '>']).to_owned(), entry.state)
        })
        .collect()
}

/// A turn of one's own, for tests that start programs and look who has files open: between
/// fork and exec a child has all that the whole process has open.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that the system shows as an Emacs, for as long as it lives.
pub struct AnotherEmacs(Child, PathBuf);

impl AnotherEmacs {
    pub fn start(scratch: &Scratch) -> Self {
        let program = scratch.path().join("emacs-of-a-test");
        fs::copy("/bin/cat", &program).expect("cat");
        let mut command = Command::new(&program);
        let child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        Self(child, program)
    }
}

impl Drop for AnotherEmacs {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = fs::remove_file(&self.1);
    }
}

/// Another program reads files whole.
pub fn cat(files: &[&Path]) {
    let mut command = Command::new("cat");
    let output = command.args(files).output().expect("cat");
    assert!(output.status.success());
}
