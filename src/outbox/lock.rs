//! Locks of files, between processes and within this one.
//!
//! `flock` knows open files, but over NFS it becomes a lock of the whole
//! process, which a second lock of the same process passes and which closing
//! *any* descriptor of the file gives up. So a table of what this process
//! holds is asked before a file is even opened.
//!
//! The table knows a file by its inode, and an inode is a file's own only as
//! long as somebody has it open: freed, it goes to the next new file at once.
//! So the table tells what is held, and open, from what is just being locked
//! or unlocked, and perhaps another file already: that is waited for.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::disk::open_plain;
use super::error::{ErrorKind, OutboxError, Result};

/// The directory's lock is held for a few fsyncs; a disk that takes longer
/// hangs, and so may a stopped process that holds it.
const DIRECTORY_LOCK_PATIENCE: Duration = Duration::from_secs(20);
/// Long enough to cost nothing, short beside an fsync.
const DIRECTORY_LOCK_PAUSE: Duration = Duration::from_millis(3);

/// What makes a file the same file under another name: device and inode.
#[cfg(unix)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FileKey(u64, u64);
#[cfg(not(unix))]
type FileKey = std::path::PathBuf;

/// How far this process is with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Being locked or unlocked: for some system calls, and without a wait for any other lock.
    Changing,
    /// Locked, and open as long as this stands here.
    Held,
}

static PHASES: LazyLock<Mutex<HashMap<FileKey, Phase>>> = LazyLock::new(Mutex::default);
/// Some file is not [`Phase::Changing`] any more.
static CHANGED: Condvar = Condvar::new();

fn phases() -> MutexGuard<'static, HashMap<FileKey, Phase>> {
    // A panic elsewhere cannot leave a map half-changed.
    PHASES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The table once nobody is changing that file: it is held here, or not in it.
fn phases_without_change_of(key: &FileKey) -> MutexGuard<'static, HashMap<FileKey, Phase>> {
    CHANGED
        .wait_while(phases(), |phases| phases.get(key) == Some(&Phase::Changing))
        .unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
fn key_of(_path: &Path, metadata: &fs::Metadata) -> FileKey {
    use std::os::unix::fs::MetadataExt;
    FileKey(metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn key_of(path: &Path, _metadata: &fs::Metadata) -> FileKey {
    path.to_owned()
}

/// An exclusive lock of a file, given up when dropped or when the process ends.
#[derive(Debug)]
pub(super) struct FileLock {
    file: Option<File>,
    key: FileKey,
}

/// The outcome of a try.
pub(super) enum Attempt {
    Taken(FileLock),
    /// Somebody, perhaps this process, has it.
    Busy,
    /// The file is not there, or has become another one.
    Gone,
}

impl FileLock {
    /// Enters a file in the table before it is opened: nobody else here opens
    /// it until the lock, still without its file, is [held](Self::hold) or
    /// dropped. `None` when this process holds it.
    fn begin(key: FileKey) -> Option<Self> {
        let mut phases = phases_without_change_of(&key);
        if phases.contains_key(&key) {
            return None;
        }
        phases.insert(key.clone(), Phase::Changing);
        Some(Self { file: None, key })
    }

    /// Makes a begun lock one of this file, open and locked; `None` when that
    /// is not the one at `path`.
    fn hold(mut self, file: File, path: &Path) -> Option<Self> {
        self.file = Some(file);
        if !self.is_at(path) {
            return None;
        }
        phases().insert(self.key.clone(), Phase::Held);
        CHANGED.notify_all();
        Some(self)
    }

    /// Tries to lock the file at `path` itself, through a descriptor of its own.
    pub(super) fn try_lock(path: &Path) -> Result<Attempt> {
        let disk = |error: &io::Error| OutboxError::disk(path, error);
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Attempt::Gone),
            Err(error) => return Err(disk(&error)),
        };
        let key = key_of(path, &metadata);
        let Some(lock) = Self::begin(key) else {
            return Ok(Attempt::Busy);
        };
        // Some network file systems lock only what is open for writing.
        let file = match open_plain(path, true) {
            Err(error) if error.io_kind() == Some(io::ErrorKind::PermissionDenied) => {
                open_plain(path, false)
            }
            other => other,
        };
        let file = match file {
            Err(error) if error.io_kind() == Some(io::ErrorKind::NotFound) => {
                return Ok(Attempt::Gone);
            }
            other => other?,
        };
        match file.try_lock() {
            // Between look and lock its holder may have renamed or removed it.
            Ok(()) => Ok(lock.hold(file, path).map_or(Attempt::Gone, Attempt::Taken)),
            Err(TryLockError::WouldBlock) => Ok(Attempt::Busy),
            Err(TryLockError::Error(error)) if is_unsupported(&error) => {
                let text = format!("the file system has no locks: {error}");
                Err(OutboxError::new(ErrorKind::Unlockable, path, text))
            }
            Err(TryLockError::Error(error)) => Err(disk(&error)),
        }
    }

    /// Locks a file that this process just created at `path`. `None` where
    /// there are no locks, `AlreadyExists` when somebody else was faster.
    pub(super) fn of_new_file(path: &Path, file: &File) -> io::Result<Option<Self>> {
        let key = key_of(path, &file.metadata()?);
        let taken = || io::Error::from(io::ErrorKind::AlreadyExists);
        let lock = Self::begin(key).ok_or_else(taken)?;
        // The same open file: the lock lasts until both descriptors are closed.
        let file = file.try_clone()?;
        match file.try_lock() {
            Ok(()) => lock.hold(file, path).map(Some).ok_or_else(taken),
            Err(TryLockError::WouldBlock) => Err(taken()),
            Err(TryLockError::Error(error)) if is_unsupported(&error) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The directory's lock at `path`, waiting for it with patience.
    pub(super) fn wait(path: &Path) -> Result<Self> {
        let start = Instant::now();
        loop {
            match Self::try_lock(path)? {
                Attempt::Taken(lock) => return Ok(lock),
                Attempt::Gone => create_lock_file(path)?,
                Attempt::Busy if start.elapsed() > DIRECTORY_LOCK_PATIENCE => {
                    let text = "another process keeps the outbox locked";
                    return Err(OutboxError::new(ErrorKind::Busy, path, text));
                }
                Attempt::Busy => std::thread::sleep(DIRECTORY_LOCK_PAUSE),
            }
        }
    }

    /// Whether the locked file is the one at `path`.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|metadata| key_of(path, &metadata) == self.key)
    }

    /// The locked file.
    pub(super) fn file(&self) -> &File {
        self.file
            .as_ref()
            .expect("set by every function that gives a lock out")
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            phases().insert(self.key.clone(), Phase::Changing);
            // Explicitly, because a child process that is just being started
            // may still have a copy of the descriptor.
            let _ = file.unlock();
        }
        phases().remove(&self.key);
        CHANGED.notify_all();
    }
}

/// Whether this process holds a lock of the file at `path`: then nobody here may open and close it.
pub(super) fn is_held_here(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| {
        let key = key_of(path, &metadata);
        phases_without_change_of(&key).contains_key(&key)
    })
}

fn create_lock_file(path: &Path) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(OutboxError::disk(path, &error)),
    }
}

/// What systems say that have no locks here: NFS without a lock daemon, FUSE, plain old servers.
fn is_unsupported(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOTSUP]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
    }
    #[cfg(not(unix))]
    {
        error.kind() == io::ErrorKind::Unsupported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_even_in_one_process() {
        let path =
            std::env::temp_dir().join(format!("smtpmail-lock-{}", super::super::name::unique()));
        assert!(matches!(FileLock::try_lock(&path), Ok(Attempt::Gone)));
        let lock = FileLock::wait(&path).expect("free");
        assert!(is_held_here(&path));
        assert!(matches!(FileLock::try_lock(&path), Ok(Attempt::Busy)));
        drop(lock);
        assert!(!is_held_here(&path));
        assert!(matches!(FileLock::try_lock(&path), Ok(Attempt::Taken(_))));
        fs::remove_file(&path).expect("ours");
    }

    #[test]
    fn a_lock_follows_its_file_to_another_name() {
        let path =
            std::env::temp_dir().join(format!("smtpmail-lock-{}", super::super::name::unique()));
        let other = path.with_extension("renamed");
        fs::write(&path, "").expect("writable");
        let Ok(Attempt::Taken(lock)) = FileLock::try_lock(&path) else {
            panic!("free")
        };
        fs::rename(&path, &other).expect("ours");
        assert!(lock.is_at(&other) && !lock.is_at(&path));
        assert!(matches!(FileLock::try_lock(&other), Ok(Attempt::Busy)));
        fs::remove_file(&other).expect("ours");
    }

    #[test]
    fn what_is_being_unlocked_is_waited_for() {
        let path =
            std::env::temp_dir().join(format!("smtpmail-lock-{}", super::super::name::unique()));
        let file = File::create_new(&path).expect("a new name");
        let key = key_of(&path, &file.metadata().expect("open"));
        let ending = FileLock::begin(key).expect("free");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| FileLock::of_new_file(&path, &file));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!waiting.is_finished());
            drop(ending);
            let lock = waiting.join().expect("no panic");
            assert!(matches!(lock, Ok(Some(_))), "{lock:?}");
        });
        fs::remove_file(&path).expect("ours");
    }

    /// Many file systems give a freed inode to the next file at once: its last
    /// holder's end must not be taken for a lock of the new file.
    #[test]
    fn new_files_are_free_although_others_just_ended() {
        const THREADS: usize = 4;
        const FILES: usize = 3000;
        let make_files = || {
            for _ in 0..FILES {
                let name = format!("smtpmail-lock-{}", super::super::name::unique());
                let path = std::env::temp_dir().join(name);
                let file = File::create_new(&path).expect("a new name");
                let lock = FileLock::of_new_file(&path, &file);
                fs::remove_file(&path).expect("ours");
                drop(file);
                assert!(matches!(lock, Ok(Some(_))), "{lock:?}");
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(make_files);
            }
        });
    }
}
