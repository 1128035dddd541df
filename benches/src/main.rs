//! `smtpmail-bench sink` takes mail as fast as it can and tells what it got;
//! `smtpmail-bench line` is a line with a round-trip time before another port.
//!
//! Both print the port where they listen on 127.0.0.1, answer each line of
//! standard input with a report since the last one, and run until it ends.
//! The server of the tests would spend more time on a large message than what
//! is to be measured.

mod line;
mod sink;

use std::io::{self, BufRead, Write};
use std::net::TcpListener;
use std::process::ExitCode;

const USAGE: &str = "\
usage: smtpmail-bench sink [--tls CERTIFICATE KEY]
       smtpmail-bench line PORT ROUND-TRIP-MILLISECONDS
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *arguments.as_slice() {
        ["sink"] => run(|listener| sink::start(listener, None)),
        ["sink", "--tls", certificate, key] => {
            run(|listener| sink::start(listener, Some((certificate, key))))
        }
        ["line", port, round_trip] => match (port.parse(), round_trip.parse()) {
            (Ok(port), Ok(round_trip)) => {
                run(|listener| Ok(line::start(listener, port, round_trip)))
            }
            _ => return usage(),
        },
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("smtpmail-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}

/// A report in JSON of what came since the last one.
type Report = Box<dyn FnMut() -> String>;

fn run(start: impl FnOnce(TcpListener) -> io::Result<Report>) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    let mut report = start(listener)?;
    for line in io::stdin().lock().lines() {
        line?;
        writeln!(out, "{}", report())?;
        out.flush()?;
    }
    Ok(())
}
