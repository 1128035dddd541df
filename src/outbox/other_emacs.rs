//! Whether an Emacs besides this process lives that could be sending what it has
//! read, from what the system tells of processes (proc(5)). In doubt there is one.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the busiest other Emacs of this user may be doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Activity {
    /// There is none.
    Absent,
    /// It has no connection.
    Alive,
    /// It has one, to whatever.
    Connected,
}

/// The first namespace of processes, in which all are seen: `PROC_PID_INIT_INO` of <linux/proc_ns.h>.
const ALL_PROCESSES: &str = "pid:[4026531836]";

/// A socket that waits for connections, in /proc/net/tcp.
const LISTENING: &str = "0A";

/// What other Emacsen of this user do.
pub(super) fn activity() -> Activity {
    let sees_all =
        fs::read_link("/proc/self/ns/pid").is_ok_and(|ns| ns == Path::new(ALL_PROCESSES));
    let (true, Ok(processes)) = (sees_all, fs::read_dir("/proc")) else {
        return Activity::Connected;
    };
    let us = std::process::id();
    processes
        .filter_map(|process| process.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|process| *process != us)
        .map(activity_of)
        .max()
        .unwrap_or(Activity::Absent)
}

/// What `process` does, as far as it is an Emacs that may read our files.
fn activity_of(process: u32) -> Activity {
    let directory = format!("/proc/{process}");
    let is_of_user = |owner: u32| owner == 0 || owner == rustix::process::geteuid().as_raw();
    match fs::metadata(&directory) {
        Ok(metadata) if is_of_user(metadata.uid()) => {}
        _ => return Activity::Absent,
    }
    let Ok(status) = fs::read_to_string(format!("{directory}/stat")) else {
        return Activity::Absent;
    };
    match is_emacs(&status) {
        false => Activity::Absent,
        true if may_be_connected(&directory) => Activity::Connected,
        true => Activity::Alive,
    }
}

/// Whether /proc/PID/stat is of an Emacs, by the name of its program, that has not ended.
fn is_emacs(status: &str) -> bool {
    let Some((name, rest)) = status
        .split_once('(')
        .and_then(|(_, rest)| rest.rsplit_once(')'))
    else {
        return true;
    };
    // Emacs, emacs-28.2, emacs-gtk, .emacs-wrapped …, not what waits for one.
    let name = name.to_ascii_lowercase();
    let has_ended = rest.trim_start().starts_with(['Z', 'X']);
    name.contains("emacs") && !name.starts_with("emacsclient") && !has_ended
}

/// Whether the process in `directory` has a socket of the Internet that is more than waiting.
fn may_be_connected(directory: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("{directory}/fd")) else {
        return true;
    };
    let sockets: HashSet<String> = descriptors
        .filter_map(|descriptor| {
            let target = fs::read_link(descriptor.ok()?.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?;
            Some(inode.strip_suffix(']')?.to_owned())
        })
        .collect();
    !sockets.is_empty()
        && ["tcp", "tcp6", "udp", "udp6"].iter().any(|table| {
            match fs::read_to_string(format!("{directory}/net/{table}")) {
                Ok(table) => has_one_of(&table, &sockets),
                // Without IPv6 there is no such table.
                Err(error) => error.kind() != std::io::ErrorKind::NotFound,
            }
        })
}

fn has_one_of(table: &str, sockets: &HashSet<String>) -> bool {
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_active = fields.get(3).is_some_and(|state| *state != LISTENING);
        is_active && fields.get(9).is_some_and(|inode| sockets.contains(*inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};

    /// Bash under the name of an Emacs, once it has run `code` and waits.
    fn start(program: &Path, code: &str) -> Child {
        let mut child = Command::new(program)
            .args(["-c", &format!("{code}; echo ready; read -r _")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.as_mut().expect("piped"));
        output.read_line(&mut line).expect("readable");
        assert_eq!(line, "ready\n");
        child
    }

    fn program(name: &str) -> PathBuf {
        let name = format!("{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::copy("/bin/bash", &path).expect("bash");
        path
    }

    #[test]
    fn an_emacs_is_seen_while_it_lives() {
        let emacs = program("emacs-t");
        let mut child = start(&emacs, "true");
        assert_eq!(activity_of(child.id()), Activity::Alive);
        assert!(activity() >= Activity::Alive);
        let port = TcpListener::bind("127.0.0.1:0").expect("a port");
        let connect = format!(
            "exec 7<>/dev/tcp/127.0.0.1/{}",
            port.local_addr().expect("bound").port()
        );
        let mut connected = start(&emacs, &connect);
        assert_eq!(activity_of(connected.id()), Activity::Connected);
        for child in [&mut child, &mut connected] {
            child.kill().expect("ours");
            // Dead, and still in the list until it is waited for.
            while is_emacs(
                &fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("still there"),
            ) {
                std::thread::yield_now();
            }
            assert_eq!(activity_of(child.id()), Activity::Absent);
            child.wait().expect("ours");
            assert_eq!(activity_of(child.id()), Activity::Absent);
        }
        fs::remove_file(&emacs).expect("ours");
    }

    #[test]
    fn others_are_none() {
        let client = program("emacsclient");
        let mut child = start(&client, "true");
        assert_eq!(activity_of(child.id()), Activity::Absent);
        child.kill().expect("ours");
        child.wait().expect("ours");
        fs::remove_file(&client).expect("ours");
        for (status, expected) in [
            ("1 (emacs) S 1", true),
            ("1 (.emacs-wrapped) R 1", true),
            ("1 (Emacs) (x)) S 1", true),
            ("1 (emacs-gtk) Z 1", false),
            ("1 (emacsclient) S 1", false),
            ("1 (less) S 1", false),
            ("unheard of", true),
        ] {
            assert_eq!(is_emacs(status), expected, "{status}");
        }
    }
}
