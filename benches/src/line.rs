//! A line that takes its time: what comes in goes out half a round trip later.
//! It is as wide as the machine allows.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::Report;

/// Octets taken from a socket at once.
const READ_SIZE: usize = 256 * 1024;

/// Pieces on the way in one direction: enough that the line is never full.
const MOST_PIECES: usize = 4096;

/// Carry each connection to `listener` on to `port`. The report counts the
/// octets that clients sent.
pub(crate) fn start(listener: TcpListener, port: u16, round_trip_ms: u64) -> Report {
    let delay = Duration::from_millis(round_trip_ms) / 2;
    let sent = Arc::new(AtomicU64::new(0));
    let counted = sent.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
                continue;
            };
            let both = (client.try_clone(), server.try_clone());
            let (Ok(client_again), Ok(server_again)) = both else {
                continue;
            };
            carry(client, server, delay, counted.clone());
            carry(server_again, client_again, delay, Arc::default());
        }
    });
    Box::new(move || format!(r#"{{"sent":{}}}"#, sent.swap(0, Ordering::SeqCst)))
}

/// One direction, on two threads: one reads at once, one writes when it is time.
fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration, count: Arc<AtomicU64>) {
    let (give, take) = mpsc::sync_channel::<(Instant, Vec<u8>)>(MOST_PIECES);
    // Without it small pieces would wait for an acknowledgement.
    drop(to.set_nodelay(true));
    thread::spawn(move || {
        let mut buffer = vec![0; READ_SIZE];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            count.fetch_add(length as u64, Ordering::SeqCst);
            if give
                .send((Instant::now() + delay, buffer[..length].to_vec()))
                .is_err()
            {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, piece) in take {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                return;
            }
        }
        drop(to.shutdown(Shutdown::Write));
    });
}
