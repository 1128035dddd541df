//! Every change that the outbox makes on the disk, and every file it opens.
//!
//! No other file of this floor creates, writes, renames or removes anything
//! but the directory's lock file: so each step can be interrupted by a test,
//! and none forgets the mode bits, the `O_NOFOLLOW` or the fsync.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind as IoErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::error::{ErrorKind, OutboxError, Result};
use super::lock::FileLock;
use super::name;
use super::readers;

/// How much is written between two looks at the cancel flag: some milliseconds of a slow disk.
const CHUNK_BYTES: usize = 1 << 20;

/// Tries to open a file that another program of ours looks at by a lease, for some
/// microseconds unless it is stopped just then, and the pause between them.
const MAX_OPEN_TRIES: usize = 50;
const OPEN_PAUSE: Duration = Duration::from_millis(2);

/// Collisions are rare; this many in a row mean that something else is wrong.
pub(super) const MAX_NAME_TRIES: usize = 100;

/// One change on the disk, told to the hook just before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new file is created.
    Create,
    /// The queue directory is created.
    CreateDirectory,
    /// A file disappears.
    Remove,
    /// A file gets its name.
    Rename,
    /// A directory is made durable.
    SyncDirectory,
    /// A file's content is made durable.
    SyncFile,
    /// A piece of a file is written.
    Write,
}

/// Sees each step before it is made; an error stands for the step's own
/// failure. For crash and fault tests.
pub type StepHook = dyn Fn(Step, &Path) -> io::Result<()> + Send + Sync;

/// The directory, and the way to change it.
pub(super) struct Disk {
    directory: PathBuf,
    hook: Option<Arc<StepHook>>,
}

/// A file being written under a name that says so, locked as long as its writer lives.
pub(super) struct NewFile {
    pub path: PathBuf,
    pub file: File,
    lock: Option<FileLock>,
}

impl Disk {
    pub(super) fn new(directory: PathBuf, hook: Option<Arc<StepHook>>) -> Self {
        Self { directory, hook }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    fn step<T>(
        &self,
        step: Step,
        path: &Path,
        change: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        if let Some(hook) = &self.hook {
            hook(step, path)?;
        }
        change()
    }

    /// Makes the directory for its owner alone, unless it is there.
    pub(super) fn ensure_directory(&self) -> Result<()> {
        let directory = &self.directory;
        match fs::metadata(directory) {
            Ok(metadata) if metadata.is_dir() => return Ok(()),
            Ok(_) => {
                return Err(OutboxError::new(
                    ErrorKind::Hostile,
                    directory,
                    "not a directory",
                ));
            }
            Err(error) if error.kind() == IoErrorKind::NotFound => {}
            Err(error) => return Err(OutboxError::disk(directory, &error)),
        }
        self.step(Step::CreateDirectory, directory, || {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(directory)
        })
        .and_then(|()| {
            directory
                .parent()
                .map_or(Ok(()), |parent| self.sync_directory_at(parent))
        })
        .map_err(|error| OutboxError::disk(directory, &error))
    }

    /// Creates a file that is nobody's yet. `path` must be new.
    fn create(&self, path: &Path) -> io::Result<File> {
        self.step(Step::Create, path, || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(path)
        })
    }

    /// Creates `.smtpmail-UNIQUE.new`; `AlreadyExists` when somebody has it.
    pub(super) fn create_new(&self, directory: &Path, unique: &str) -> io::Result<NewFile> {
        let path = directory.join(name::new_file(unique));
        let file = self.create(&path)?;
        // Whoever tidies up takes the lock first; losing that race is a
        // collision like any other. Without locks nobody tidies up.
        match FileLock::of_new_file(&path, &file) {
            Ok(lock) => Ok(NewFile { path, file, lock }),
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Creates a file of no particular name, to be renamed.
    pub(super) fn create_unique(&self, directory: &Path) -> io::Result<NewFile> {
        let mut tries = 0..MAX_NAME_TRIES;
        loop {
            match self.create_new(directory, &name::unique()) {
                // Somebody tidying up took it for a dead writer's before we had locked it.
                Err(error)
                    if error.kind() == IoErrorKind::AlreadyExists && tries.next().is_some() => {}
                other => return other,
            }
        }
    }

    /// Writes a whole small file beside `path` and renames it over it; durable
    /// once the directory is synced too.
    pub(super) fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let new = self.prepare(path, content)?;
        let put = self.sync(&new).and_then(|()| self.rename(&new.path, path));
        if put.is_err() {
            new.abandon();
        }
        put
    }

    /// Writes a whole small file beside `path`, to be synced and renamed.
    pub(super) fn prepare(&self, path: &Path, content: &[u8]) -> io::Result<NewFile> {
        let directory = path.parent().unwrap_or(&self.directory);
        let mut new = self.create_unique(directory)?;
        let written = self.write(&mut new, content, &AtomicBool::new(false));
        if written.is_err() {
            new.abandon();
        }
        written.map(|()| new)
    }

    /// Makes two files durable at the same time: a file system with a journal
    /// needs no more than one commit for both.
    pub(super) fn sync_both(&self, one: &NewFile, other: &NewFile) -> io::Result<()> {
        std::thread::scope(|scope| {
            let beside = std::thread::Builder::new().spawn_scoped(scope, || self.sync(other));
            let first = self.sync(one);
            let second = match beside {
                Ok(thread) => thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                // The system has no thread left: one after the other, then.
                Err(_) => self.sync(other),
            };
            first.and(second)
        })
    }

    /// Writes until done or cancelled (`Interrupted`).
    pub(super) fn write(
        &self,
        new: &mut NewFile,
        content: &[u8],
        cancel: &AtomicBool,
    ) -> io::Result<()> {
        for chunk in content.chunks(CHUNK_BYTES) {
            if cancel.load(Ordering::Relaxed) {
                return Err(IoErrorKind::Interrupted.into());
            }
            self.step(Step::Write, &new.path, || new.file.write_all(chunk))?;
        }
        Ok(())
    }

    pub(super) fn sync(&self, new: &NewFile) -> io::Result<()> {
        self.step(Step::SyncFile, &new.path, || {
            readers::note_unread(&new.file);
            new.file.sync_all()
        })
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Rename, to, || fs::rename(from, to))
    }

    /// Renames unless the new name is taken. Where the system cannot do both
    /// at once, the directory's lock keeps at least our own programs apart.
    pub(super) fn rename_to_free_name(&self, from: &Path, to: &Path) -> io::Result<()> {
        if fs::symlink_metadata(to).is_ok() {
            return Err(IoErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    /// True when the file was there.
    pub(super) fn remove(&self, path: &Path) -> io::Result<bool> {
        match self.step(Step::Remove, path, || fs::remove_file(path)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == IoErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn sync_directory(&self) -> io::Result<()> {
        self.sync_directory_at(&self.directory)
    }

    pub(super) fn sync_directory_at(&self, directory: &Path) -> io::Result<()> {
        self.step(Step::SyncDirectory, directory, || {
            // Elsewhere directories are no files, and renames are journalled.
            if cfg!(unix) {
                File::open(directory)?.sync_all()
            } else {
                Ok(())
            }
        })
    }
}

impl NewFile {
    /// Removes a file that never got its name. What cannot be removed is
    /// tidied up later, as if its writer had died.
    pub(super) fn abandon(&self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Whether the file is still the one at its path; without locks we can only believe it.
    pub(super) fn is_at_its_path(&self) -> bool {
        self.lock.as_ref().is_none_or(|lock| lock.is_at(&self.path))
    }
}

/// Opens a plain file without following links or waiting for a FIFO's other end.
/// That it is read shows nowhere, as far as the system lets us: see `readers.rs`.
pub(super) fn open_plain(path: &Path, write: bool) -> Result<File> {
    let hostile = || OutboxError::new(ErrorKind::Hostile, path, "not a plain file");
    // Also keeps `open' from touching devices, where opening alone does something.
    let metadata = fs::symlink_metadata(path).map_err(|error| OutboxError::disk(path, &error))?;
    if !metadata.is_file() {
        return Err(hostile());
    }
    let mut tries = 0;
    let file = loop {
        match open_unnoticed(path, write) {
            Err(error) if error.kind() == IoErrorKind::WouldBlock && tries < MAX_OPEN_TRIES => {
                tries += 1;
                std::thread::sleep(OPEN_PAUSE);
            }
            other => break other.map_err(|error| OutboxError::disk(path, &error))?,
        }
    };
    let metadata = file
        .metadata()
        .map_err(|error| OutboxError::disk(path, &error))?;
    if metadata.is_file() {
        Ok(file)
    } else {
        Err(hostile())
    }
}

fn open_unnoticed(path: &Path, write: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(write);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let int = |flags: OFlags| i32::try_from(flags.bits()).expect("open flags are ints in C");
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        #[cfg(target_os = "linux")]
        match options
            .custom_flags(int(flags | OFlags::NOATIME))
            .open(path)
        {
            // Another user's file may be read, but not unnoticed.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) => {}
            other => return other,
        }
        options.custom_flags(int(flags));
    }
    options.open(path)
}

/// Reads a file that must not be longer than `limit` bytes.
pub(super) fn read_bounded(path: &Path, mut file: &File, limit: u64) -> Result<Vec<u8>> {
    let length = file
        .metadata()
        .map_err(|error| OutboxError::disk(path, &error))?
        .len();
    let mut content = Vec::new();
    if length <= limit {
        content
            .try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX))
            .map_err(|error| OutboxError::new(ErrorKind::Disk, path, error.to_string()))?;
        // One more than allowed shows a file that grew meanwhile.
        Read::take(&mut file, limit + 1)
            .read_to_end(&mut content)
            .map_err(|error| OutboxError::disk(path, &error))?;
    }
    if length > limit || content.len() as u64 > limit {
        let text = format!("larger than {limit} bytes");
        return Err(OutboxError::new(ErrorKind::Hostile, path, text));
    }
    Ok(content)
}

/// What changes when a file's content or place does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    length: u64,
    modified: Option<std::time::SystemTime>,
    #[cfg(unix)]
    inode: (u64, u64, i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: (
                metadata.dev(),
                metadata.ino(),
                metadata.ctime(),
                metadata.ctime_nsec(),
            ),
        }
    }
}
