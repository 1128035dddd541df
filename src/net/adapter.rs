//! What stands between TLS and the socket: it notes which direction blocked,
//! which the TLS library does not say, and reads version and cipher out of the
//! ServerHello that passes by, which it does not say either (RFC 8446 §4.1.3).

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

/// Most octets of the handshake kept while waiting for a whole ServerHello: one
/// TLS record with its header (RFC 8446 §5.1).
const MAX_HELLO: usize = 5 + (1 << 14) + 256;

/// A non-blocking socket under TLS, or under nothing.
#[derive(Debug)]
pub(super) struct Adapter {
    pub socket: TcpStream,
    /// The last read had nothing to read.
    pub read_blocked: bool,
    /// The last write had no room.
    pub write_blocked: bool,
    hello: Hello,
}

/// The server's choice, as far as it has been seen.
#[derive(Debug)]
enum Hello {
    NotWatched,
    Partial(Vec<u8>),
    Seen(ServerHello),
}

/// What the server chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerHello {
    /// As on the wire: 0x0303 is TLS 1.2, 0x0304 TLS 1.3.
    pub version: u16,
    /// The cipher suite's number.
    pub cipher: u16,
}

impl Adapter {
    pub fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            read_blocked: false,
            write_blocked: false,
            hello: Hello::NotWatched,
        }
    }

    /// The handshake begins: watch for the ServerHello.
    pub fn watch(&mut self) {
        self.hello = Hello::Partial(Vec::new());
    }

    /// The server's choice, once seen.
    pub fn server_hello(&self) -> Option<ServerHello> {
        match self.hello {
            Hello::Seen(hello) => Some(hello),
            _ => None,
        }
    }

    fn note(&mut self, octets: &[u8]) {
        if let Hello::Partial(seen) = &mut self.hello {
            seen.extend_from_slice(octets);
            if let Some(hello) = parse_server_hello(seen) {
                self.hello = Hello::Seen(hello);
            } else if seen.len() > MAX_HELLO {
                self.hello = Hello::NotWatched;
            }
        }
    }
}

impl Read for Adapter {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let result = self.socket.read(into);
        self.read_blocked = is_blocked(&result);
        if let Ok(count) = result {
            self.note(&into[..count]);
        }
        result
    }
}

impl Write for Adapter {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let result = self.socket.write(octets);
        self.write_blocked = is_blocked(&result);
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_blocked(result: &io::Result<usize>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Version and cipher of the ServerHello at the start of a TLS stream.
fn parse_server_hello(stream: &[u8]) -> Option<ServerHello> {
    const HANDSHAKE: u8 = 22;
    const SERVER_HELLO: u8 = 2;
    const SUPPORTED_VERSIONS: u16 = 43;
    let mut record = Cursor(stream);
    if record.u8()? != HANDSHAKE {
        return None;
    }
    record.take(2)?;
    let length = record.u16()?;
    let mut message = Cursor(record.take(length.into())?);
    if message.u8()? != SERVER_HELLO {
        return None;
    }
    message.take(3)?;
    let mut version = message.u16()?;
    message.take(32)?; // random
    let session = message.u8()?;
    message.take(session.into())?;
    let cipher = message.u16()?;
    message.take(1)?; // compression
    // TLS 1.3 says 1.2 in the old field and the truth in an extension.
    let mut extensions = match message.u16() {
        Some(length) => Cursor(message.take(length.into())?),
        None => Cursor(&[]),
    };
    while let (Some(kind), Some(length)) = (extensions.u16(), extensions.u16()) {
        let mut body = Cursor(extensions.take(length.into())?);
        if kind == SUPPORTED_VERSIONS {
            version = body.u16()?;
        }
    }
    Some(ServerHello { version, cipher })
}

/// Reads big-endian fields off the front of a slice.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u16(&mut self) -> Option<u16> {
        let octets = self.take(2)?;
        Some(u16::from_be_bytes([octets[0], octets[1]]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version: [u8; 2], cipher: [u8; 2], extensions: &[u8]) -> Vec<u8> {
        let mut body = version.to_vec();
        body.extend([7; 32]);
        body.extend([4, 1, 2, 3, 4]);
        body.extend(cipher);
        body.push(0);
        if !extensions.is_empty() {
            body.extend((extensions.len() as u16).to_be_bytes());
            body.extend(extensions);
        }
        let mut message = vec![2, 0, 0, body.len() as u8];
        message.extend(body);
        let mut record = vec![22, 3, 3, 0, message.len() as u8];
        record.extend(message);
        record
    }

    #[test]
    fn both_generations() {
        let old = hello([3, 3], [0xc0, 0x2f], &[]);
        assert_eq!(
            parse_server_hello(&old),
            Some(ServerHello {
                version: 0x0303,
                cipher: 0xc02f
            })
        );
        let new = hello([3, 3], [0x13, 0x01], &[0, 51, 0, 1, 9, 0, 43, 0, 2, 3, 4]);
        assert_eq!(
            parse_server_hello(&new),
            Some(ServerHello {
                version: 0x0304,
                cipher: 0x1301
            })
        );
    }

    #[test]
    fn nothing_before_it_is_whole_and_the_same_with_more_behind() {
        let mut stream = hello([3, 3], [0x13, 0x01], &[0, 43, 0, 2, 3, 4]);
        for end in 0..stream.len() {
            assert_eq!(parse_server_hello(&stream[..end]), None, "{end}");
        }
        stream.extend([20, 3, 3, 0, 1, 1]);
        assert!(parse_server_hello(&stream).is_some());
    }

    #[test]
    fn other_streams_are_none() {
        assert_eq!(parse_server_hello(b"220 mx.example.org ESMTP\r\n"), None);
        assert_eq!(parse_server_hello(&[21, 3, 3, 0, 2, 2, 40]), None);
    }
}
