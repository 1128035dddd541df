//! Locks of files, between processes and within this one.
//!
//! `flock` knows open files, but over NFS it becomes a lock of the whole
//! process, which a second lock of the same process passes and which closing
//! *any* descriptor of the file gives up. So a table of what this process
//! holds is asked before a file is even opened.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
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

static HELD: LazyLock<Mutex<HashSet<FileKey>>> = LazyLock::new(Mutex::default);

fn held() -> MutexGuard<'static, HashSet<FileKey>> {
    // A panic elsewhere cannot leave a set half-changed.
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Tries to lock the file at `path` itself, through a descriptor of its own.
    pub(super) fn try_lock(path: &Path) -> Result<Attempt> {
        let disk = |error: &io::Error| OutboxError::disk(path, error);
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Attempt::Gone),
            Err(error) => return Err(disk(&error)),
        };
        let key = key_of(path, &metadata);
        if !held().insert(key.clone()) {
            return Ok(Attempt::Busy);
        }
        // From here on dropping the lock takes the key out again.
        let mut lock = Self { file: None, key };
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
            Ok(()) => lock.file = Some(file),
            Err(TryLockError::WouldBlock) => return Ok(Attempt::Busy),
            Err(TryLockError::Error(error)) if is_unsupported(&error) => {
                let text = format!("the file system has no locks: {error}");
                return Err(OutboxError::new(ErrorKind::Unlockable, path, text));
            }
            Err(TryLockError::Error(error)) => return Err(disk(&error)),
        }
        // Between look and lock its holder may have renamed or removed it.
        if lock.is_at(path) {
            Ok(Attempt::Taken(lock))
        } else {
            Ok(Attempt::Gone)
        }
    }

    /// Locks a file that this process just created at `path`. `None` where
    /// there are no locks, `AlreadyExists` when somebody else was faster.
    pub(super) fn of_new_file(path: &Path, file: &File) -> io::Result<Option<Self>> {
        let key = key_of(path, &file.metadata()?);
        let taken = || io::Error::from(io::ErrorKind::AlreadyExists);
        if !held().insert(key.clone()) {
            return Err(taken());
        }
        let mut lock = Self { file: None, key };
        // The same open file: the lock lasts until both descriptors are closed.
        let file = file.try_clone()?;
        match file.try_lock() {
            Ok(()) => lock.file = Some(file),
            Err(TryLockError::WouldBlock) => return Err(taken()),
            Err(TryLockError::Error(error)) if is_unsupported(&error) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if lock.is_at(path) {
            Ok(Some(lock))
        } else {
            Err(taken())
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
            // Explicitly, because a child process that is just being started
            // may still have a copy of the descriptor.
            let _ = file.unlock();
        }
        held().remove(&self.key);
    }
}

/// Whether this process holds a lock of the file at `path`: then nobody here may open and close it.
pub(super) fn is_held_here(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| held().contains(&key_of(path, &metadata)))
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
}
