//! Whether another program may have an entry in its hands: the built-in locks
//! nothing, but it reads `NAME.el` and at once `NAME` before it sends, and what
//! is read has its time of access changed. That time is asked for here, and
//! whether anybody has the text open.
//!
//! What is read under `relatime` (the rule of almost all Linux systems) has its
//! time changed only if it is not later than the times of the last change of
//! content or attributes: the trap is *armed*. The first read springs it, and later ones
//! leave no trace until it is armed again, by any change of attributes. So all
//! that the outbox itself reads is read with `O_NOATIME`, and what others have
//! sprung is armed again when it is seen.
//!
//! Nothing of this can be told on other systems, over a network, or where no times of access
//! are kept: there nobody is ever found to be reading.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;
#[cfg(target_os = "linux")]
use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(target_os = "linux")]
use super::other_emacs::{self, Activity};
#[cfg(target_os = "linux")]
use rustix::fs::{
    AtFlags, CWD, StatVfsMountFlags, Timespec, Timestamps, UTIME_OMIT, fstatfs, fstatvfs, futimens,
    utimensat,
};

/// How long the built-in may have one message in its hands: it waits for the
/// reply to the final dot, for which RFC 5321 §4.5.3.2.6 gives a server ten minutes, …
const IN_HAND: Duration = Duration::from_secs(10 * 60);

/// … after it has sent the text, by a line of so many octets a second at least: a telephone's.
const SLOWEST_LINE: u64 = 4096;

/// How much older than its content a file's time of access is that nobody has read.
#[cfg(target_os = "linux")]
const UNREAD: Duration = Duration::from_secs(1);

/// Nanoseconds since 1970.
type Moment = i128;

/// The three times of a file.
#[derive(Clone, Copy, Debug)]
struct Times {
    accessed: Moment,
    /// Its content.
    modified: Moment,
    /// Its name, its times, or its content.
    changed: Moment,
}

/// What the times of an entry's two files tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trace {
    /// Nobody has it: it was not read, or too long ago.
    Nobody,
    /// Both were read, one of them so long ago.
    Read(Duration),
    /// Both were read, this long ago and longer; whether one was once more cannot be told.
    Unclear(Duration),
}

impl Times {
    fn was_read(self) -> bool {
        self.accessed > self.modified
    }

    /// Whether a read would leave no trace.
    fn is_sprung(self) -> bool {
        self.was_read() && self.accessed > self.changed
    }

    /// The latest moment at which it may have been read, given that it was.
    fn latest_read(self, now: Moment, is_relatime: bool) -> Moment {
        match (is_relatime, self.is_sprung()) {
            (true, true) => now.max(self.accessed),
            // Between the read that is known and the arming there may have been others.
            (true, false) => self.changed,
            (false, _) => self.accessed,
        }
    }
}

/// How long a message of that many octets may be in the built-in's hands.
fn in_hand(octets: u64) -> Duration {
    IN_HAND + Duration::from_secs(octets / SLOWEST_LINE)
}

/// What can be told at `now` of those who have read an entry. `is_open`: somebody has its text
/// open.
fn judge(
    metadata: Times,
    text: Times,
    is_open: bool,
    is_relatime: bool,
    now: Moment,
    limit: Duration,
) -> Trace {
    // The built-in has read the metadata before it opens the text.
    if !metadata.was_read() || !(is_open || text.was_read()) {
        return Trace::Nobody;
    }
    let limit = limit.as_nanos() as Moment;
    let latest_text = match is_open {
        true => now,
        false => text.latest_read(now, is_relatime),
    };
    let latest = latest_text.min(metadata.latest_read(now, is_relatime));
    if now - latest > limit {
        return Trace::Nobody;
    }
    // A moment that has not come yet is of a clock that was set back.
    let is_recent = |moment: Moment| (now - moment).abs() <= limit;
    let last = match text.was_read() {
        true => text.accessed.max(metadata.accessed),
        false => metadata.accessed,
    };
    let ago = Duration::from_nanos(u64::try_from(now - last).unwrap_or(0));
    match is_open || is_recent(last) {
        true => Trace::Read(ago),
        false => Trace::Unclear(ago),
    }
}

/// How long ago another program read the entry of this text and this metadata,
/// if it may be sending it. `text` is open and locked.
#[cfg(target_os = "linux")]
pub(super) fn another_program(text: &File, metadata: &Path) -> Option<Duration> {
    let is_relatime = keeps_access_times(text)?;
    let metadata = Times::of(&fs::symlink_metadata(metadata).ok()?);
    if !metadata.was_read() {
        return None;
    }
    // In this order: who has closed it by now has left his trace.
    let is_open = is_open_elsewhere(text);
    let attributes = text.metadata().ok()?;
    let now = moment(SystemTime::now());
    let limit = in_hand(attributes.len());
    let text = Times::of(&attributes);
    match judge(metadata, text, is_open, is_relatime, now, limit) {
        Trace::Nobody => None,
        Trace::Read(ago) => (other_emacs::activity() >= Activity::Alive).then_some(ago),
        Trace::Unclear(ago) => (other_emacs::activity() >= Activity::Connected).then_some(ago),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn another_program(_text: &File, _metadata: &Path) -> Option<Duration> {
    None
}

/// Lets the next read of the file at `path` leave its trace, where the last one has left one.
/// Best effort: what stays sprung is told apart by [`judge`].
#[cfg(target_os = "linux")]
pub(super) fn arm(path: &Path) {
    let Ok(attributes) = fs::symlink_metadata(path) else {
        return;
    };
    let times = Times::of(&attributes);
    if times.is_sprung() {
        // Both as they are: only the time of change becomes the present one.
        let times = timestamps(times.accessed, Some(times.modified));
        let _ = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn arm(_path: &Path) {}

/// Whether a read of the file would leave no trace.
#[cfg(target_os = "linux")]
pub(super) fn is_sprung(attributes: &fs::Metadata) -> bool {
    Times::of(attributes).is_sprung()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_sprung(_attributes: &fs::Metadata) -> bool {
    false
}

/// Makes a file that was just written one that nobody has read.
#[cfg(target_os = "linux")]
pub(super) fn note_unread(file: &File) {
    if let Ok(attributes) = file.metadata() {
        let written = Times::of(&attributes).modified;
        // Where it cannot be, only our own reading may be taken for another's.
        let _ = futimens(
            file,
            &timestamps(written - UNREAD.as_nanos() as Moment, None),
        );
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn note_unread(_file: &File) {}

/// Makes the file at `path` one that somebody reads now.
#[cfg(target_os = "linux")]
pub(super) fn note_read(path: &Path) {
    let times = timestamps(moment(SystemTime::now()), None);
    let _ = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn note_read(_path: &Path) {}

#[cfg(target_os = "linux")]
fn moment(time: SystemTime) -> Moment {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as Moment,
        Err(before) => -(before.duration().as_nanos() as Moment),
    }
}

#[cfg(target_os = "linux")]
fn timestamps(accessed: Moment, modified: Option<Moment>) -> Timestamps {
    const SECOND: Moment = 1_000_000_000;
    let timespec = |moment: Moment| Timespec {
        tv_sec: i64::try_from(moment.div_euclid(SECOND)).unwrap_or(0),
        tv_nsec: i64::try_from(moment.rem_euclid(SECOND)).expect("below a second"),
    };
    let as_it_is = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    };
    Timestamps {
        last_access: timespec(accessed),
        last_modification: modified.map_or(as_it_is, timespec),
    }
}

#[cfg(target_os = "linux")]
impl Times {
    fn of(attributes: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let moment = |seconds: i64, nanoseconds: i64| {
            Moment::from(seconds) * 1_000_000_000 + Moment::from(nanoseconds)
        };
        Self {
            accessed: moment(attributes.atime(), attributes.atime_nsec()),
            modified: moment(attributes.mtime(), attributes.mtime_nsec()),
            changed: moment(attributes.ctime(), attributes.ctime_nsec()),
        }
    }
}

/// Whether the file's times of access tell of readers, and if so, whether by the
/// rule of `relatime`.
#[cfg(target_os = "linux")]
fn keeps_access_times(file: &File) -> Option<bool> {
    if !is_local(file) {
        return None;
    }
    let flags = fstatvfs(file).ok()?.f_flag;
    let kept = !flags.intersects(StatVfsMountFlags::NOATIME | StatVfsMountFlags::RDONLY);
    kept.then(|| flags.contains(StatVfsMountFlags::RELATIME))
}

/// Whether the file is not one of another machine, or of a program, which keep
/// times and locks as they like.
#[cfg(target_os = "linux")]
pub(super) fn is_local(file: &File) -> bool {
    // From <linux/magic.h>: 9p, AFS (two), Ceph, Coda, CIFS, FUSE, NFS, SMB (two).
    const ELSEWHERE: [u32; 10] = [
        0x0102_1997,
        0x5346_414f,
        0x6b41_4653,
        0x00c3_6400,
        0x7375_7245,
        0xff53_4d42,
        0x6573_5546,
        0x6969,
        0x517b,
        0xfe53_4d42,
    ];
    // The numbers have 32 bits; where the field has more, some have their sign in them.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fstatfs(file).is_ok_and(|facts| !ELSEWHERE.contains(&(facts.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_local(_file: &File) -> bool {
    false
}

/// Whether anybody has the file open besides us, by this descriptor: then the
/// system gives no lease for writing. It is given up at once; who opens the file in
/// between waits for that long. False where there are no leases.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn is_open_elsewhere(file: &File) -> bool {
    use std::os::fd::AsRawFd;
    /// From <asm-generic/fcntl.h>; `libc` has it for some systems only.
    const F_SETSIG: libc::c_int = 10;
    let descriptor = file.as_raw_fd();
    // SAFETY: neither takes an address, and the descriptor is open as long as `file`.
    // Whoever opens the file in that moment has us sent a signal: SIGIO, which ends
    // a program that does not expect it, unless another one is chosen; SIGURG ends none.
    unsafe {
        if libc::fcntl(descriptor, F_SETSIG, libc::SIGURG) == -1 {
            return false;
        }
        if libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_WRLCK) == -1 {
            return std::io::Error::last_os_error().kind() == std::io::ErrorKind::WouldBlock;
        }
        libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_UNLCK);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = 1_790_000_000_000_000_000;
    const LIMIT: Duration = Duration::from_secs(600);

    /// Read, written and changed so many seconds ago.
    fn times(accessed: i64, modified: i64, changed: i64) -> Times {
        let ago = |seconds: i64| NOW - Moment::from(seconds) * 1_000_000_000;
        Times {
            accessed: ago(accessed),
            modified: ago(modified),
            changed: ago(changed),
        }
    }

    #[test]
    fn the_times_of_two_files_tell_who_may_have_them() {
        let read = |seconds| Trace::Read(Duration::from_secs(seconds));
        let unclear = |seconds| Trace::Unclear(Duration::from_secs(seconds));
        let unread = times(101, 100, 99);
        let fresh = times(20, 100, 99);
        let old = times(5000, 9000, 9000);
        let old_armed_just_now = times(5000, 9000, 5);
        let old_armed_long_ago = times(5000, 9000, 700);
        let of_a_future_clock = times(-5000, 9000, 9000);
        // Metadata, text, whether the text is open; with relatime, and with every read noted.
        let cases = [
            (
                "nobody read it",
                unread,
                unread,
                false,
                Trace::Nobody,
                Trace::Nobody,
            ),
            (
                "only the text: a person",
                unread,
                fresh,
                false,
                Trace::Nobody,
                Trace::Nobody,
            ),
            (
                "only the text, now",
                unread,
                unread,
                true,
                Trace::Nobody,
                Trace::Nobody,
            ),
            (
                "only the metadata",
                fresh,
                unread,
                false,
                Trace::Nobody,
                Trace::Nobody,
            ),
            ("both", fresh, fresh, false, read(20), read(20)),
            (
                "the text is being read",
                fresh,
                unread,
                true,
                read(20),
                read(20),
            ),
            (
                "the metadata, and perhaps the text again",
                fresh,
                old,
                false,
                read(20),
                Trace::Nobody,
            ),
            (
                "the text, and perhaps the metadata again",
                old,
                fresh,
                false,
                read(20),
                Trace::Nobody,
            ),
            (
                "both, and perhaps again",
                old,
                old,
                false,
                unclear(5000),
                Trace::Nobody,
            ),
            (
                "both, and perhaps again until a moment ago",
                old_armed_just_now,
                old_armed_just_now,
                false,
                unclear(5000),
                Trace::Nobody,
            ),
            (
                "the text only perhaps again",
                old_armed_long_ago,
                old,
                false,
                Trace::Nobody,
                Trace::Nobody,
            ),
            (
                "both, long before now",
                old_armed_long_ago,
                old_armed_long_ago,
                false,
                Trace::Nobody,
                Trace::Nobody,
            ),
            (
                "at a time that has not come",
                of_a_future_clock,
                of_a_future_clock,
                false,
                unclear(0),
                unclear(0),
            ),
        ];
        for (what, metadata, text, is_open, relatime, strict) in cases {
            let judge = |is_relatime| judge(metadata, text, is_open, is_relatime, NOW, LIMIT);
            assert_eq!(judge(true), relatime, "{what}");
            assert_eq!(judge(false), strict, "{what}, strictly");
        }
    }

    #[test]
    fn a_long_text_may_be_in_hand_longer() {
        assert_eq!(in_hand(0), Duration::from_secs(600));
        assert_eq!(in_hand(25 << 20), Duration::from_secs(600 + 6400));
    }
}
