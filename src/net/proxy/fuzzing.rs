//! Conversations with proxies, without a socket: for the fuzz target, which says what
//! a hostile proxy could, and for the tests beside the code. Nothing else calls it.

use super::{Handshake, Protocol, ProxyServer, Step, Trouble};
use crate::smtp::failure::Failure;
use crate::smtp::sasl::Credentials;

/// What was said, and how it ended: what is left to the server of what was heard; or
/// why the proxy does not pass us on, and nothing where more would have to be heard.
pub type Conversation<E> = (Vec<Vec<u8>>, Result<usize, Option<E>>);

pub(super) fn converse(handshake: &mut dyn Handshake, mut heard: &[u8]) -> Conversation<Trouble> {
    let mut said = Vec::new();
    loop {
        match handshake.next() {
            Step::Done => return (said, Ok(heard.len())),
            Step::Say(octets) => said.push(octets.expose().to_vec()),
            Step::Hear(count) => {
                let Some((octets, rest)) = heard.split_at_checked(count) else {
                    return (said, Err(None));
                };
                heard = rest;
                if let Err(trouble) = handshake.heard(octets) {
                    return (said, Err(Some(trouble)));
                }
            }
        }
    }
}

/// With a proxy that says `heard`, about `mx.example.org` at port 25.
pub fn conversation(
    protocol: Protocol,
    login: Option<&Credentials>,
    heard: &[u8],
) -> Conversation<Failure> {
    let proxy = ProxyServer {
        protocol,
        host: "proxy".into(),
        port: 1080,
        user: None,
    };
    match proxy.handshake(("mx.example.org", 25), login) {
        Ok(mut handshake) => {
            let (said, end) = converse(&mut *handshake, heard);
            (
                said,
                end.map_err(|end| end.map(|trouble| proxy.failure(trouble))),
            )
        }
        Err(failure) => (Vec::new(), Err(Some(failure))),
    }
}
