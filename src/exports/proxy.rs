//! How the server is reached: the plist :proxy of a request.

use emacs::{Error, Result};

use super::lisp::Plist;
use crate::net::proxy::tunnel::Program;
use crate::net::proxy::{Protocol, Proxy, ProxyServer};

/// The proxy of the request that `plist` describes; without :proxy there is none.
///
/// :kind is socks5 or http, with :host, :port and perhaps :user; or command, with
/// :arguments and :environment, lists of strings.
///
/// # Errors
/// Our own Lisp gave something of the wrong type.
pub(super) fn parse(plist: Plist<'_>) -> Result<Option<Proxy>> {
    let proxy = plist.value(":proxy")?;
    if !proxy.is_not_nil() {
        return Ok(None);
    }
    let proxy = Plist::new(proxy);
    let protocol = match proxy.symbol(":kind")?.as_str() {
        "socks5" => Protocol::Socks5,
        "http" => Protocol::Http,
        "command" => return program(proxy).map(Proxy::Command).map(Some),
        other => return Err(Error::msg(format!("unknown kind of proxy {other}"))),
    };
    Ok(Some(Proxy::Server(ProxyServer {
        protocol,
        host: proxy.required(":host")?,
        port: proxy.required(":port")?,
        user: proxy.optional(":user")?,
    })))
}

fn program(proxy: Plist<'_>) -> Result<Program> {
    let arguments = proxy.strings(":arguments")?;
    // A NUL ends a string for the system.
    if arguments.is_empty() || arguments.iter().any(|argument| argument.contains('\0')) {
        return Err(Error::msg("not a command"));
    }
    let environment = proxy.strings(":environment")?;
    let pairs = environment.iter().filter_map(|line| line.split_once('='));
    let sound = pairs.filter(|(name, value)| !name.is_empty() && !value.contains('\0'));
    Ok(Program {
        arguments,
        environment: sound
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    })
}
