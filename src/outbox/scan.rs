//! One look at the directory: entries, oddities, and what dead writers left.
//!
//! Looking changes nothing and fails only where the directory cannot be read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::disk::Disk;
use super::entry::{EntryName, State};
use super::error::{ErrorKind, OutboxError, Result};
use super::index::{self, Index, Line};
use super::metadata::{Metadata, Microseconds};
use super::name::{self, FileKind};
use super::problem::{Problem, ProblemKind};
use super::readers;
use super::reading::Cache;
use super::window::{self, Mark};

/// Larger than any server accepts; a whole text is held in memory while it is sent.
pub(super) const MAX_TEXT_BYTES: u64 = 1 << 30;

/// A directory with more files than this is no outbox.
const MAX_FILES: usize = 500_000;

/// The built-in and scripts write an entry in several steps without telling
/// anybody: what is younger than this may be unfinished.
pub(super) const SETTLE_TIME: Duration = Duration::from_secs(2);

/// Where an entry's text lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Plain,
    Hidden,
    /// Under a name with maildir flags.
    Renamed,
}

/// An entry as it lies on the disk.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub name: EntryName,
    pub metadata: Arc<Metadata>,
    pub metadata_file: String,
    pub text_file: String,
    pub place: Place,
    pub bytes: u64,
    pub queued: Microseconds,
    /// A window counts it.
    pub marked: bool,
    /// Somebody has read its text, and the next one would leave no trace.
    pub is_sprung: bool,
    /// Its writer may still be at it.
    unsettled: bool,
}

impl Found {
    /// Whether both files have the names by which other programs look for them.
    fn has_plain_names(&self) -> bool {
        self.place == Place::Plain && self.metadata_file == name::metadata_file(&self.name)
    }

    /// The stored state; an entry with a mark is [`State::Sending`] here, dead or alive.
    pub(super) fn state(&self) -> State {
        if self.marked {
            State::Sending
        } else {
            self.metadata.state()
        }
    }
}

/// All that one look shows.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// In the order of queueing.
    pub entries: Vec<Found>,
    pub problems: Vec<Problem>,
    pub index: Index,
    /// Why the index cannot be read, and must not be replaced either.
    pub index_error: Option<OutboxError>,
    /// Deletions that were begun.
    pub done: Vec<EntryName>,
    /// Files that somebody writes or wrote.
    pub new_files: Vec<String>,
    pub windows: Vec<(String, Vec<Mark>)>,
    /// Those that we took out of the index, and that are to be in it again.
    pub returned: HashSet<EntryName>,
    /// In the index, not ours to judge: their lines stay.
    foreign: Vec<EntryName>,
    /// Index lines without a usable entry.
    set_aside: Vec<String>,
    known_set_aside: HashSet<String>,
}

impl Snapshot {
    pub(super) fn take(disk: &Disk, index_path: &Path, cache: &Cache) -> Result<Self> {
        let mut snapshot = Self::default();
        let files = Files::list(disk, index_path, &mut snapshot.problems)?;
        let mut mentioned = snapshot.read_lines(disk, index_path);
        snapshot.done = files.done.iter().cloned().collect();
        snapshot.new_files.clone_from(&files.new);
        for file in &files.windows {
            match window::read(&disk.path(file)) {
                Ok(marks) => snapshot.windows.push((file.clone(), marks)),
                Err(error) => snapshot.problems.push(problem_of(&error)),
            }
        }
        let marks: HashSet<(&EntryName, u64)> = snapshot
            .windows
            .iter()
            .flat_map(|(_, marks)| marks.iter().map(|mark| (&mark.name, mark.revision)))
            .collect();
        let mut entries = Vec::new();
        let mut problems = Vec::new();
        for (entry, metadata_file) in &files.metadata {
            if files.done.contains(entry) {
                continue;
            }
            let is_mentioned = mentioned.remove(entry);
            match examine(disk, &files, entry, metadata_file, cache) {
                Ok(Some(mut found)) => {
                    found.marked = marks.contains(&(entry, found.metadata.revision()));
                    entries.push(found);
                }
                Ok(None) => {}
                Err(odd) if is_mentioned || odd.has_text => {
                    if odd.problem.kind == ProblemKind::UnsupportedVersion {
                        snapshot.foreign.push(entry.clone());
                    }
                    problems.push(odd.problem);
                }
                // Somebody's Lisp file that has nothing to do with mail.
                Err(_) => {}
            }
        }
        cache.keep_only(&files.metadata);
        for file in files.texts_without_metadata(&mentioned) {
            let path = disk.path(&file);
            if !is_unsettled(&path) {
                problems.push(Problem {
                    path,
                    kind: ProblemKind::MissingMetadata,
                    detail: String::new(),
                });
            }
        }
        entries.sort_by(|a, b| (a.queued, &a.name).cmp(&(b.queued, &b.name)));
        snapshot.entries = entries;
        snapshot.problems.append(&mut problems);
        snapshot.problems.sort();
        snapshot.problems.dedup();
        snapshot.find_lines_to_set_aside(disk, &files);
        Ok(snapshot)
    }

    /// Reads the index and the lines set aside; the entries that they name.
    fn read_lines(&mut self, disk: &Disk, index_path: &Path) -> HashSet<EntryName> {
        let mut mentioned = HashSet::new();
        for path in [index_path.to_owned(), disk.path(name::SET_ASIDE)] {
            match Index::read(&path, disk.directory()) {
                Ok(lines) => {
                    mentioned.extend(lines.names());
                    for line in &lines.lines {
                        if let Line::Elsewhere(line) = line {
                            self.problems.push(Problem {
                                path: PathBuf::from(line),
                                kind: ProblemKind::OutsideDirectory,
                                detail: format!("in {}", index_path.display()),
                            });
                        }
                    }
                    if path == index_path {
                        self.index = lines;
                    } else {
                        let text = String::from_utf8_lossy(&lines.content);
                        self.known_set_aside = text.lines().map(str::to_owned).collect();
                    }
                }
                Err(error) => {
                    self.problems.push(problem_of(&error));
                    if path == index_path {
                        self.index_error = Some(error);
                    }
                }
            }
        }
        mentioned
    }

    /// Lines that lead elsewhere, and lines to half an entry: the index loses
    /// them, we do not. Lines to nothing at all were sent by somebody.
    fn find_lines_to_set_aside(&mut self, disk: &Disk, files: &Files) {
        let usable: HashSet<&EntryName> = self
            .entries
            .iter()
            .map(|found| &found.name)
            .chain(&self.foreign)
            .collect();
        let lines = self.index.lines.iter().filter_map(|line| match line {
            Line::Elsewhere(line) => Some(line.clone()),
            Line::Entry(name) if usable.contains(name) || !files.has_anything_of(name) => None,
            Line::Entry(name) => {
                let line = index::line(disk.directory(), name);
                Some(String::from_utf8_lossy(&line).trim_end().to_owned())
            }
        });
        let lines: BTreeSet<String> = lines
            .filter(|line| !self.known_set_aside.contains(line))
            .collect();
        self.set_aside = lines.into_iter().collect();
    }

    /// What the file of lines set aside should hold, when that has changed.
    pub(super) fn set_aside_content(&self) -> Option<Vec<u8>> {
        if self.set_aside.is_empty() {
            return None;
        }
        let known: BTreeSet<&String> = self.known_set_aside.iter().chain(&self.set_aside).collect();
        Some(
            known
                .into_iter()
                .flat_map(|line| [line.as_bytes(), b"\n"].concat())
                .collect(),
        )
    }

    /// What the index should hold: exactly those that any program may send now.
    pub(super) fn index_content(&self, directory: &Path, now: SystemTime) -> Vec<u8> {
        let indexed = self.index.names();
        let sendable = self.entries.iter().filter(|found| {
            found.state().is_sendable(now)
                && found.has_plain_names()
                // The built-in is about to append the line itself.
                && (!found.unsettled
                    || indexed.contains(&found.name)
                    || self.returned.contains(&found.name))
        });
        let foreign = self.foreign.iter().filter(|name| indexed.contains(name));
        sendable
            .map(|found| &found.name)
            .chain(foreign)
            .flat_map(|name| index::line(directory, name))
            .collect()
    }
}

/// The names in the directory, sorted out.
#[derive(Default)]
struct Files {
    metadata: BTreeMap<EntryName, String>,
    hidden: HashSet<EntryName>,
    done: BTreeSet<EntryName>,
    new: Vec<String>,
    windows: Vec<String>,
    other: BTreeSet<String>,
    /// Entry name to the name with maildir flags.
    renamed: HashMap<String, String>,
}

impl Files {
    fn list(disk: &Disk, index_path: &Path, problems: &mut Vec<Problem>) -> Result<Self> {
        let directory = disk.directory();
        let failed = |error: &io::Error| OutboxError::disk(directory, error);
        let mut files = Self::default();
        let listing = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            other => other.map_err(|error| failed(&error))?,
        };
        for (count, entry) in listing.enumerate() {
            if count == MAX_FILES {
                let detail = format!("more than {MAX_FILES} files");
                let path = directory.to_owned();
                problems.push(Problem {
                    path,
                    kind: ProblemKind::TooLarge,
                    detail,
                });
                break;
            }
            let entry = entry.map_err(|error| failed(&error))?;
            // Names that are no text are nobody's we know.
            if let Ok(file) = entry.file_name().into_string()
                && directory.join(&file) != index_path
            {
                files.sort_in(file);
            }
        }
        let renamed: Vec<_> = files
            .renamed
            .iter()
            .filter_map(|(base, file)| {
                Some((EntryName::new(base.strip_suffix(".el")?)?, file.clone()))
            })
            .collect();
        for (name, file) in renamed {
            files.metadata.entry(name).or_insert(file);
        }
        Ok(files)
    }

    fn sort_in(&mut self, file: String) {
        match FileKind::of(&file) {
            FileKind::Metadata(name) => {
                self.metadata.insert(name, file);
            }
            FileKind::HiddenText(name) => {
                self.hidden.insert(name);
            }
            FileKind::Done(name) => {
                self.done.insert(name);
            }
            FileKind::New => self.new.push(file),
            FileKind::Window => self.windows.push(file),
            FileKind::Other => {
                if let Some(base) = name::without_maildir_flags(&file) {
                    self.renamed.insert(base.to_owned(), file.clone());
                }
                self.other.insert(file);
            }
        }
    }

    fn text_of(&self, disk: &Disk, name: &EntryName) -> Option<(Place, String)> {
        let plain = (Place::Plain, name.as_str().to_owned());
        let hidden = (Place::Hidden, name::hidden_text(name));
        if self.other.contains(name.as_str()) {
            return Some(plain);
        }
        if self.hidden.contains(name) {
            return Some(hidden);
        }
        if let Some(file) = self.renamed.get(name.as_str()) {
            return Some((Place::Renamed, file.clone()));
        }
        // A listing may miss a file that is renamed while it is made.
        [plain, hidden]
            .into_iter()
            .find(|(_, file)| fs::symlink_metadata(disk.path(file)).is_ok())
    }

    fn has_anything_of(&self, name: &EntryName) -> bool {
        self.metadata.contains_key(name)
            || self.hidden.contains(name)
            || self.other.contains(name.as_str())
            || self.renamed.contains_key(name.as_str())
    }

    fn texts_without_metadata(&self, mentioned: &HashSet<EntryName>) -> Vec<String> {
        let plain = self.other.iter().filter(|file| {
            let base = name::without_maildir_flags(file).unwrap_or(file);
            // NAME.el:2,S is no text.
            EntryName::new(base).is_some_and(|name| {
                !self.metadata.contains_key(&name)
                    && !self.done.contains(&name)
                    && (name::is_ours(&name)
                        || name::is_built_ins(&name)
                        || mentioned.contains(&name))
            })
        });
        let hidden = self
            .hidden
            .iter()
            .filter(|name| !self.metadata.contains_key(name));
        plain
            .cloned()
            .chain(hidden.map(name::hidden_text))
            .collect()
    }
}

/// An entry that is none.
struct Odd {
    problem: Problem,
    has_text: bool,
}

fn examine(
    disk: &Disk,
    files: &Files,
    name: &EntryName,
    metadata_file: &str,
    cache: &Cache,
) -> std::result::Result<Option<Found>, Odd> {
    let metadata_path = disk.path(metadata_file);
    let text = files.text_of(disk, name);
    let odd = |kind, path: &Path, detail: String| Odd {
        problem: Problem {
            path: path.to_owned(),
            kind,
            detail,
        },
        has_text: text.is_some(),
    };
    // Gone since the listing: somebody just sent it.
    let Some(reading) = cache.read(metadata_file, &metadata_path) else {
        return Ok(None);
    };
    let metadata = reading.map_err(|(kind, detail)| odd(kind, &metadata_path, detail))?;
    if metadata.record.is_none() && name::is_ours(name) {
        // We never write an entry without its record: the facts were cut off.
        return Err(odd(ProblemKind::HalfWritten, &metadata_path, String::new()));
    }
    let Some((place, text_file)) = &text else {
        if metadata.recipients.is_empty() {
            return Err(odd(
                ProblemKind::NoRecipients,
                &metadata_path,
                String::new(),
            ));
        }
        if fs::symlink_metadata(&metadata_path).is_err() {
            return Ok(None);
        }
        return Err(Odd {
            has_text: true,
            ..odd(ProblemKind::MissingText, &metadata_path, String::new())
        });
    };
    if metadata.recipients.is_empty() {
        return Err(odd(
            ProblemKind::NoRecipients,
            &metadata_path,
            String::new(),
        ));
    }
    let text_path = disk.path(text_file);
    let attributes = match fs::symlink_metadata(&text_path) {
        Ok(attributes) => attributes,
        Err(error) => return Err(odd(ProblemKind::MissingText, &text_path, error.to_string())),
    };
    if !attributes.is_file() {
        return Err(odd(ProblemKind::NotPlainFile, &text_path, String::new()));
    }
    if attributes.len() > MAX_TEXT_BYTES {
        return Err(odd(ProblemKind::TooLarge, &text_path, String::new()));
    }
    let queued = match &metadata.record {
        Some(record) => record.queued,
        None => Microseconds::of(attributes.modified().unwrap_or(SystemTime::UNIX_EPOCH)),
    };
    Ok(Some(Found {
        name: name.clone(),
        metadata_file: metadata_file.to_owned(),
        text_file: text_file.clone(),
        place: *place,
        bytes: attributes.len(),
        queued,
        marked: false,
        is_sprung: readers::is_sprung(&attributes),
        unsettled: metadata.record.is_none() && is_unsettled(&metadata_path),
        metadata,
    }))
}

pub(super) fn problem_of(error: &OutboxError) -> Problem {
    let kind = match error.kind {
        ErrorKind::Hostile if error.text.starts_with("larger") => ProblemKind::TooLarge,
        ErrorKind::Hostile => ProblemKind::NotPlainFile,
        _ => ProblemKind::Unreadable,
    };
    Problem {
        path: error.path.clone(),
        kind,
        detail: error.text.clone(),
    }
}

fn is_unsettled(path: &Path) -> bool {
    let Ok(attributes) = fs::symlink_metadata(path) else {
        return true;
    };
    #[cfg(unix)]
    let changed = {
        use std::os::unix::fs::MetadataExt;
        // Not the time of writing: the one of getting this name.
        let seconds = u64::try_from(attributes.ctime()).unwrap_or(0);
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    };
    #[cfg(not(unix))]
    let changed = attributes.modified().ok();
    // A time in the future is a clock set back, not a writer.
    changed
        .and_then(|changed| SystemTime::now().duration_since(changed).ok())
        .is_some_and(|age| age < SETTLE_TIME)
}
