//! The program: its ready line, its control channel, its exit.

#[allow(dead_code, reason = "only the raw client is used here")]
mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Client, options, tcp};

/// The program with its standard output; its spool goes with it.
struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
    spool: std::path::PathBuf,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let spool = options().spool;
        let mut child = Command::new(env!("CARGO_BIN_EXE_smtpmail-test-server"))
            .arg("--spool")
            .arg(&spool)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self {
            child,
            output,
            spool,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.spool));
    }
}

/// The value of a number in a line of JSON.
fn number(json: &str, name: &str) -> Option<u64> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    rest.split([',', '}']).next()?.parse().ok()
}

#[test]
fn it_says_where_it_listens_reports_and_ends_with_its_input() {
    let mut program = Program::start(&["--control", "--on", "noop=reply 299 hello"]);
    let ready = program.line();
    assert_eq!(number(&ready, "pid"), Some(program.child.id().into()));
    assert!(ready.contains("\"tls_port\":null"), "{ready}");
    assert!(
        ready.contains(&format!("{}/certs/ca.pem", program.spool.display())),
        "{ready}"
    );
    let port = number(&ready, "port")
        .and_then(|port| port.try_into().ok())
        .expect("a port");
    let mut client = Client::new(tcp(port));
    client.reply();
    client.expect("NOOP", "299 hello");
    client.expect("QUIT", "221");
    let mut input = program.child.stdin.take().expect("a pipe");
    input
        .write_all(b"report\nnonsense\n")
        .expect("an open pipe");
    let report = program.line();
    assert_eq!(number(&report, "sessions"), Some(1), "{report}");
    assert!(
        report.contains(r#""commands":{"NOOP":1,"QUIT":1}"#),
        "{report}"
    );
    assert!(program.line().contains("error"));
    drop(input);
    assert!(program.child.wait().expect("an end").success());
    let mut rest = String::new();
    program.output.read_to_string(&mut rest).expect("an end");
    assert_eq!(rest, "");
}

#[test]
fn it_can_end_when_it_is_idle() {
    let begin = Instant::now();
    let mut program = Program::start(&["--idle-exit", "1"]);
    drop(program.child.stdin.take());
    program.line();
    assert!(program.child.wait().expect("an end").success());
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

#[test]
fn it_refuses_what_it_does_not_know() {
    let output = Command::new(env!("CARGO_BIN_EXE_smtpmail-test-server"))
        .args(["--spool", "/nonexistent", "--on", "mail=dance"])
        .output()
        .expect("the program");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no such action: \"dance\""));
}
