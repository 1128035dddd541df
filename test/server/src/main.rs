//! The program: a thin layer over the library.  It prints where it listens
//! and runs until standard input ends, or until it is idle for long enough.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use smtpmail_test_server::{CommandLine, Server, USAGE};

/// How often an idle server looks whether it may go.
const IDLE_LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The exit code for a command line that cannot be read, as of other programs.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let line = match CommandLine::parse(arguments.into_iter()) {
        Ok(line) => line,
        Err(problem) => {
            eprint!("smtpmail-test-server: {problem}\n\n{USAGE}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match run(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("smtpmail-test-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(line: CommandLine) -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::start(line.options)?;
    print_line(&server.to_json())?;
    match line.idle_exit {
        None => serve_input(&server, line.control)?,
        Some(limit) => thread::scope(|scope| {
            if line.control {
                // Standard input may stay open for longer than the server:
                // the process ends with the waiting below.
                scope.spawn(|| drop(serve_input(&server, true)));
            }
            wait_until_idle(&server, limit);
            std::process::exit(0);
        }),
    }
    Ok(())
}

/// Answers the lines of standard input until it ends.
fn serve_input(server: &Server, control: bool) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line?;
        match line.trim() {
            _ if !control => {}
            "report" => print_line(&server.report().to_json())?,
            _ => print_line(r#"{"error":"the only command is: report"}"#)?,
        }
    }
    Ok(())
}

fn wait_until_idle(server: &Server, limit: Duration) {
    while server.quiet_for().is_none_or(|quiet| quiet < limit) {
        thread::sleep(IDLE_LOOK_INTERVAL);
    }
}

fn print_line(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
