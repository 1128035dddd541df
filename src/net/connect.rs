//! A TCP connection to whichever address answers first (RFC 8305, "happy
//! eyeballs": IPv6 and IPv4 in turn, a new attempt every 250 ms).

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use socket2::{Domain, Protocol, Socket, Type};

use super::signal::Signal;
use super::words::words;
use crate::smtp::failure::{Failure, FailureKind, Phase};

/// How long an attempt has before the next one starts beside it (RFC 8305 §8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Most octets that the kernel holds and has not sent: as web servers set it.
/// Its buffer takes megabytes at once otherwise, so that on a slow line the
/// progress is a fiction, the clock of the text restarts once in minutes, and
/// the end of a message seems sent long before it leaves.
#[cfg(any(target_os = "android", target_os = "linux"))]
const MAX_UNSENT: u32 = 128 * 1024;

/// Connect to the first of `addresses` that answers; the socket does not block
/// and does not delay small writes.
///
/// # Errors
/// `Connect` with the system's word on every address, `Timeout` or `Cancelled`.
pub fn connect(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
    signal: &Signal,
) -> Result<TcpStream, Failure> {
    let mut waiting = VecDeque::from(in_turn(addresses));
    let mut attempts: Vec<(SocketAddr, Socket)> = Vec::new();
    let mut errors: Vec<String> = Vec::new();
    let mut next_start = Instant::now();
    loop {
        while attempts.is_empty() || Instant::now() >= next_start {
            let Some(address) = waiting.pop_front() else {
                break;
            };
            next_start = Instant::now() + ATTEMPT_DELAY;
            match start(address) {
                Ok(socket) => attempts.push((address, socket)),
                Err(error) => errors.push(describe(address, &error)),
            }
        }
        if attempts.is_empty() {
            return Err(Failure::new(
                FailureKind::Connect,
                Phase::Connect,
                errors.join("; "),
            ));
        }
        let until = if waiting.is_empty() {
            deadline
        } else {
            deadline.min(next_start)
        };
        let wanted: Vec<_> = attempts
            .iter()
            .map(|(_, socket)| (socket.as_fd(), PollFlags::OUT))
            .collect();
        let waited = signal.wait(&wanted, Some(until));
        waited
            .map_err(|error| Failure::new(FailureKind::Connect, Phase::Connect, words(&error)))?;
        if signal.is_stopped() {
            return Err(Signal::stopped_failure(Phase::Connect));
        }
        let mut index = 0;
        while index < attempts.len() {
            let (address, socket) = &attempts[index];
            match outcome(socket) {
                None => index += 1,
                Some(Ok(())) => {
                    let (_, socket) = attempts.swap_remove(index);
                    return Ok(socket.into());
                }
                Some(Err(error)) => {
                    errors.push(describe(*address, &error));
                    attempts.swap_remove(index);
                    // No reason to wait for one that has failed.
                    next_start = Instant::now();
                }
            }
        }
        if Instant::now() >= deadline {
            let tried: Vec<_> = attempts
                .iter()
                .map(|(address, _)| address.to_string())
                .collect();
            let text = format!("no answer from {}", tried.join(", "));
            return Err(Failure::new(FailureKind::Timeout, Phase::Connect, text));
        }
    }
}

/// The families in turn, beginning with that of the first address, each in the
/// resolver's order (RFC 8305 §4).
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|a| a.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

fn start(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    // A flight is one write: waiting to fill a packet only costs (a
    // delayed acknowledgement takes 40 ms).
    socket.set_tcp_nodelay(true)?;
    // A kernel that cannot do it sends all the same.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let _ = socket.set_tcp_notsent_lowat(MAX_UNSENT);
    match socket.connect(&address.into()) {
        Err(error) if !in_progress(&error) => Err(error),
        _ => Ok(socket),
    }
}

fn in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS) || error.kind() == io::ErrorKind::WouldBlock
}

/// How an attempt ended, if it did.
fn outcome(socket: &Socket) -> Option<io::Result<()>> {
    match socket.take_error() {
        Ok(Some(error)) | Err(error) => Some(Err(error)),
        Ok(None) => match socket.peer_addr() {
            Ok(_) => Some(Ok(())),
            Err(_) => None,
        },
    }
}

fn describe(address: SocketAddr, error: &io::Error) -> String {
    format!("{address}: {}", words(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    /// A port that is ours and refuses: bound, and nobody listens.
    fn refusing() -> (Socket, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&address("127.0.0.1:0").into()).unwrap();
        let bound = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, bound)
    }

    #[test]
    fn the_kernel_holds_little_that_is_not_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = vec![listener.local_addr().unwrap()];
        let mut stream = connect(addresses, soon(), &Signal::new().unwrap()).unwrap();
        // Fills their buffer first, which is none of our business.
        let theirs = socket2::SockRef::from(&listener)
            .recv_buffer_size()
            .unwrap();
        let mut taken = 0;
        while let Ok(count) = io::Write::write(&mut stream, &[0; 4096]) {
            taken += count;
        }
        #[cfg(target_os = "linux")]
        assert!(taken < theirs * 2 + 4 * MAX_UNSENT as usize, "{taken}");
        assert!(taken > 0);
    }

    #[test]
    fn families_alternate() {
        let v6 = ["[::1]:1", "[::2]:1", "[::3]:1"].map(address);
        let v4 = ["10.0.0.1:1"].map(address);
        let all = [v6.as_slice(), &v4].concat();
        assert_eq!(in_turn(all), [v6[0], v4[0], v6[1], v6[2]]);
        assert_eq!(in_turn(vec![v4[0], v6[0]]), [v4[0], v6[0]]);
        assert!(in_turn(vec![]).is_empty());
    }

    #[test]
    fn the_second_address_answers_when_the_first_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (_held, refused) = refusing();
        let good = listener.local_addr().unwrap();
        let stream = connect(vec![refused, good], soon(), &Signal::new().unwrap()).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(stream.nodelay().unwrap());
    }

    #[test]
    fn refusal_names_every_address() {
        let (_held, addresses): (Vec<_>, Vec<_>) = (0..2).map(|_| refusing()).unzip();
        let failure = connect(addresses.clone(), soon(), &Signal::new().unwrap()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Connect);
        for address in addresses {
            assert!(
                failure
                    .text
                    .contains(&format!("{address}: connection refused")),
                "{}",
                failure.text
            );
        }
    }

    #[test]
    fn a_stop_ends_the_attempt() {
        let signal = Signal::new().unwrap();
        signal.stop();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let failure = connect(vec![listener.local_addr().unwrap()], soon(), &signal).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Cancelled);
    }
}
