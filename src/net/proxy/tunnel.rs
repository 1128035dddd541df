//! A command whose standard input and output are the connection, as
//! `ssh -W mx.example.org:587 gate`. No shell is in between.
//!
//! It gets a process group of its own, so that nothing that it starts is left, and
//! so that it cannot take the terminal from Emacs. A thread hears what it says on its
//! standard error, of which the end is kept, and waits for it when the connection is
//! over: nothing of it stays behind.

use std::fmt;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::process::{Pid, Signal as Kill, kill_process_group};

use crate::net::signal::{Signal, Waited};
use crate::net::threads;
use crate::net::words::words;
use crate::smtp::failure::{Failure, FailureKind, Phase};
use crate::smtp::visible::visible;

/// Octets kept of what it says on standard error: the last ones tell why it ended.
const MAX_WORDS: usize = 2048;

/// Most characters shown of that.
const MAX_SHOWN: usize = 400;

/// How long it has to end by itself, and then by SIGTERM.
const GRACE: Duration = Duration::from_secs(1);

/// How often it is looked at meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How long its last words are waited for when the connection is gone.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A command and its environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    /// Its file and arguments, one at least; `%h` and `%p` stand for host and port,
    /// `%%` for `%`.
    pub arguments: Vec<String>,
    /// Names and values; nothing is that of this process.
    pub environment: Vec<(String, String)>,
}

/// Without the environment, which is nobody's business.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Program").field(&self.arguments).finish()
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.arguments.first().map_or("", String::as_str);
        let name = file.rsplit('/').next().unwrap_or_default();
        write!(f, "the command {}", visible(name.as_bytes(), MAX_SHOWN))
    }
}

/// A command that runs for as long as this lives, and not much longer.
pub struct Tunnel {
    shared: Arc<Shared>,
    name: String,
}

struct Shared {
    signal: Signal,
    state: Mutex<State>,
    changed: Condvar,
    /// It is told that the connection ends, and may take its time.
    gently: AtomicBool,
}

struct State {
    child: Child,
    /// Once it was waited for: its number may be another's by now.
    ended: Option<ExitStatus>,
    words: Vec<u8>,
    /// Nothing more will be said.
    silent: bool,
}

impl Program {
    /// Start it for a connection to `host` at `port`; our end of the connection does
    /// not block.
    ///
    /// # Errors
    /// `Connect`: it cannot be started.
    pub fn start(&self, host: &str, port: u16) -> Result<(TcpStream, Tunnel), Failure> {
        let failed = |error: &dyn fmt::Display| {
            let text = format!("{self} cannot be started: {}", words(&error));
            Failure::new(FailureKind::Connect, Phase::Proxy, text)
        };
        let expanded = |argument: &String| expand(argument, host, port);
        let mut arguments = self.arguments.iter().map(expanded);
        let file = arguments.next().ok_or_else(|| failed(&"no file"))?;
        let (ours, theirs) = UnixStream::pair().map_err(|error| failed(&error))?;
        ours.set_nonblocking(true).map_err(|error| failed(&error))?;
        let theirs_too = theirs.try_clone().map_err(|error| failed(&error))?;
        let signal = Signal::new().map_err(|error| failed(&error))?;
        let environment = self.environment.iter();
        let mut child = Command::new(file)
            .args(arguments)
            .env_clear()
            .envs(environment.map(|(name, value)| (name, value)))
            .stdin(OwnedFd::from(theirs))
            .stdout(OwnedFd::from(theirs_too))
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| failed(&error))?;
        let errors = child.stderr.take();
        let shared = Arc::new(Shared {
            signal,
            state: Mutex::new(State {
                child,
                ended: None,
                words: Vec::new(),
                silent: false,
            }),
            changed: Condvar::new(),
            gently: AtomicBool::new(false),
        });
        let tunnel = Tunnel {
            shared: shared.clone(),
            name: self.to_string(),
        };
        threads::spawn("smtpmail-tunnel", move || shared.keep_company(errors))
            .inspect_err(|_| tunnel.shared.end())
            .map_err(|error| failed(&error))?;
        // No more is done with it than with any socket: octets, shutdown, poll.
        Ok((TcpStream::from(OwnedFd::from(ours)), tunnel))
    }
}

fn expand(argument: &str, host: &str, port: u16) -> String {
    let mut expanded = String::with_capacity(argument.len());
    let mut characters = argument.chars();
    while let Some(character) = characters.next() {
        match character {
            '%' => match characters.next() {
                Some('h') => expanded.push_str(host.trim_matches(['[', ']'])),
                Some('p') => expanded.push_str(&port.to_string()),
                Some('%') => expanded.push('%'),
                Some(other) => expanded.extend(['%', other]),
                None => expanded.push('%'),
            },
            other => expanded.push(other),
        }
    }
    expanded
}

impl Tunnel {
    /// What it has said on standard error until now, made visible.
    pub fn words(&self) -> String {
        shown(&self.shared.lock().words)
    }

    /// What to say of the command when the connection is gone: how it ended, and its
    /// last words; nothing, if it has not ended.
    pub fn last_words(&self) -> Option<String> {
        let end = Instant::now() + LAST_WORDS;
        let mut state = self.shared.lock();
        loop {
            let status = state.status();
            let left = end.saturating_duration_since(Instant::now());
            if status.is_some() && state.silent || left.is_zero() {
                return status.map(|status| told(&self.name, status, &state.words));
            }
            let waited = (self.shared.changed).wait_timeout(state, left.min(LOOK_INTERVAL));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The connection ends as it should: the command has a moment to end by itself.
    pub fn leave(self) {
        self.shared.gently.store(true, Ordering::SeqCst);
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if !self.shared.gently.load(Ordering::SeqCst) {
            self.shared.lock().kill(Kill::TERM);
        }
        self.shared.signal.stop();
    }
}

/// One clause: name, end and words.
fn told(name: &str, status: ExitStatus, words: &[u8]) -> String {
    use std::os::unix::process::ExitStatusExt;
    let end = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    };
    match shown(words) {
        words if words.is_empty() => format!("{name} {end}"),
        words => format!("{name} {end}: {words}"),
    }
}

/// Its words in one line.
fn shown(words: &[u8]) -> String {
    let lines = words.split(|octet| matches!(octet, b'\n' | b'\r'));
    let lines = lines.filter(|line| !line.trim_ascii().is_empty());
    let words = lines.collect::<Vec<_>>().join(&b"; "[..]);
    visible(&words, MAX_SHOWN)
}

impl State {
    fn status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            // An error would mean that somebody else has waited for it.
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Unless it was waited for: then its number may be another's.
    fn kill(&mut self, signal: Kill) {
        if self.status().is_none()
            && let Ok(id) = i32::try_from(self.child.id())
            && let Some(group) = Pid::from_raw(id)
        {
            // It fails where all of them are gone.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What is behind it is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hear what it says until the connection is over, then see it end.
    fn keep_company(&self, mut errors: Option<ChildStderr>) {
        loop {
            let wanted = errors.iter().map(|errors| (errors.as_fd(), PollFlags::IN));
            let waited = self.signal.wait(&wanted.collect::<Vec<_>>(), None);
            if self.signal.is_stopped() || waited.is_err() {
                break;
            }
            if let (Ok(Waited::Ready), Some(pipe)) = (waited, &mut errors)
                && !self.hear(pipe)
            {
                errors = None;
                self.lock().silent = true;
                self.changed.notify_all();
            }
        }
        self.end();
    }

    /// Whether there may be more.
    fn hear(&self, errors: &mut ChildStderr) -> bool {
        let mut octets = [0; MAX_WORDS];
        match errors.read(&mut octets) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                let mut state = self.lock();
                state.words.extend_from_slice(&octets[..count]);
                let surplus = state.words.len().saturating_sub(MAX_WORDS);
                state.words.drain(..surplus);
                true
            }
        }
    }

    /// See it end, and reap it; each patience has an end.
    fn end(&self) {
        if self.gently.load(Ordering::SeqCst) && self.ends_within(GRACE) {
            return;
        }
        self.lock().kill(Kill::TERM);
        if !self.ends_within(GRACE) {
            self.lock().kill(Kill::KILL);
            // Nobody survives that, but it may hang in a system call.
            while !self.ends_within(GRACE) {}
        }
    }

    fn ends_within(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        loop {
            if self.lock().status().is_some() {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn shell(script: &str) -> Program {
        Program {
            arguments: ["sh", "-c", script, "x", "%h", "%p%%"]
                .map(String::from)
                .to_vec(),
            environment: vec![("PATH".into(), std::env::var("PATH").unwrap())],
        }
    }

    fn read_all(socket: &mut TcpStream) -> String {
        socket.set_nonblocking(false).unwrap();
        let mut text = String::new();
        // A connection that was cut says so.
        let _ = socket.read_to_string(&mut text);
        text
    }

    fn is_there(id: i32) -> bool {
        std::path::Path::new(&format!("/proc/{id}")).exists()
    }

    fn wait_until(what: &str, done: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn host_and_port_are_put_in() {
        for (argument, expanded) in [
            ("%h:%p", "mx:587"),
            ("%%h", "%h"),
            ("100%", "100%"),
            ("%x", "%x"),
            ("", ""),
        ] {
            assert_eq!(expand(argument, "mx", 587), expanded);
        }
        assert_eq!(expand("[%h]", "[::1]", 25), "[::1]");
    }

    #[test]
    fn it_is_the_connection() {
        let script = "read line; echo \"$line $1 $2 $HOME.\"";
        let (mut socket, _tunnel) = shell(script).start("mx.example.org", 25).unwrap();
        socket.write_all(b"hello\n").unwrap();
        assert_eq!(read_all(&mut socket), "hello mx.example.org 25% .\n");
    }

    #[test]
    fn its_end_and_its_last_words_are_told() {
        let flood = "i=0; while [ $i -lt 3000 ]; do echo noise >&2; i=$((i+1)); done";
        let script = format!("{flood}; printf 'no\\033 way\\r\\n\\n' >&2; exit 7");
        let (mut socket, tunnel) = shell(&script).start("mx", 25).unwrap();
        assert_eq!(read_all(&mut socket), "");
        let words = tunnel.last_words().unwrap();
        assert!(
            words.starts_with("the command sh ended with status 7: "),
            "{words}"
        );
        assert!(words.len() < 2 * MAX_SHOWN, "{words}");

        let (mut socket, tunnel) = shell("echo nein >&2; kill -9 $$").start("mx", 25).unwrap();
        read_all(&mut socket);
        assert_eq!(
            tunnel.last_words().unwrap(),
            "the command sh was ended by signal 9: nein"
        );

        let missing = Program {
            arguments: vec!["/nowhere/at-all".into()],
            environment: vec![],
        };
        let failure = missing.start("mx", 25).err().unwrap();
        assert_eq!(
            (failure.kind, failure.phase),
            (FailureKind::Connect, Phase::Proxy)
        );
        assert!(
            failure
                .text
                .contains("the command at-all cannot be started: no such file")
        );
    }

    /// Neither it nor what it has started stays, whatever they think of SIGTERM.
    #[test]
    fn it_ends_with_the_connection_and_is_reaped() {
        let stubborn = "trap '' TERM; sleep 1000 & echo $! $$; wait; wait; sleep 1000";
        for (script, gently) in [
            ("sleep 1000 & echo $! $$; wait", false),
            ("sleep 1000 & echo $! $$; wait", true),
            (stubborn, false),
        ] {
            let (mut socket, tunnel) = shell(script).start("mx", 25).unwrap();
            socket.set_nonblocking(false).unwrap();
            let mut line = Vec::new();
            let mut octet = [0];
            while socket.read(&mut octet).unwrap() == 1 && octet != *b"\n" {
                line.push(octet[0]);
            }
            let line = String::from_utf8(line).unwrap();
            let ids: Vec<i32> = line.split(' ').map(|id| id.parse().unwrap()).collect();
            assert!(ids.iter().all(|id| is_there(*id)));
            match gently {
                true => tunnel.leave(),
                false => drop(tunnel),
            }
            wait_until("it is not reaped", || !is_there(ids[1]));
            // Not our child: who reaps it is none of our business.
            let runs =
                |id| std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|c| !c.is_empty());
            wait_until("its child runs on", || !runs(ids[0]));
        }
    }
}
