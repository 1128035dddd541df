//! FLOOR 4: what Lisp can call. Only this floor knows Emacs.
//!
//! A plist becomes a [`Request`](crate::delivery::Request), an event becomes a
//! plist; no function blocks or calls back into Lisp beyond making lists. They
//! signal only for misuse by our own Lisp: all that a server, a network, a file
//! or a message can cause comes back as an event.

mod event;
mod lisp;
mod options;
mod proxy;
mod request;

use std::cell::RefCell;
use std::fs::File;

use emacs::{Env, IntoLisp, Result, Value, defun};

use self::lisp::Plist;
use crate::delivery::{self, Answer, Delivery, TrustAnswer, close_kept};
use crate::smtp::command::Line;
use crate::smtp::secret::Secret;

emacs::plugin_is_GPL_compatible!();

#[emacs::module(
    name = "smtpmail-core",
    defun_prefix = "smtpmail-module-",
    mod_in_name = false
)]
fn init(_env: &Env) -> Result<()> {
    quiet_panics();
    Ok(())
}

/// A panic is told where it is caught; nothing may write to the terminal that
/// Emacs draws on.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

/// How Lisp reads the version out of the file before it loads it.
#[used]
static VERSION: &str = concat!("smtpmail-core version ", env!("CARGO_PKG_VERSION"), ";");

/// Return the version of this module, a string.
#[defun]
fn version(_env: &Env) -> Result<&'static str> {
    let version = VERSION.rsplit(' ').next().unwrap_or_default();
    Ok(version.trim_end_matches(';'))
}

/// The text of a large message on its way from Emacs: a file in memory that
/// `write-region` can write to.
struct Content(Option<File>);

/// Return an object that takes a message's text, or nil where there is none.
///
/// Write the text to the file that `smtpmail-module--content-path' names, then
/// give the object to `smtpmail-module--open' as :content.
#[defun]
fn content(env: &Env) -> Result<Value<'_>> {
    match content_file() {
        Some(file) => Box::new(RefCell::new(Content(Some(file)))).into_lisp(env),
        None => ().into_lisp(env),
    }
}

#[cfg(target_os = "linux")]
fn content_file() -> Option<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    memfd_create("smtpmail", MemfdFlags::CLOEXEC)
        .ok()
        .map(File::from)
}

#[cfg(not(target_os = "linux"))]
fn content_file() -> Option<File> {
    None
}

/// Return the name of the file to which the text of CONTENT is to be written.
#[defun]
fn content_path(content: &Content) -> Result<String> {
    use std::os::fd::AsRawFd;
    match &content.0 {
        Some(file) => Ok(format!("/proc/self/fd/{}", file.as_raw_fd())),
        None => Err(emacs::Error::msg("the content was handed over already")),
    }
}

/// Begin what takes time of the delivery that the plist REQUEST says, before
/// its messages are known: reading the authorities, where TLS is certain.
///
/// REQUEST has the keys :security, :trust-files, :client-key and
/// :client-certificate, as for `smtpmail-module--open'.
#[defun]
fn prepare(request: Value<'_>) -> Result<()> {
    if let Some(files) = request::certain_tls(Plist::new(request))? {
        delivery::prepare_tls(&files);
    }
    Ok(())
}

/// Start to deliver what the plist REQUEST says; return a delivery.
///
/// The pipe process PIPE gets output whenever events wait for
/// `smtpmail-module--events'.
///
/// REQUEST has the keys :host, :port, :security (implicit, never, opportunistic
/// or required), :ehlo-name, :login-required, :clear-login, :verb,
/// :refused-recipients (abort, ask or send-rest), :trust-files, :client-key,
/// :client-certificate, :known-servers (a file), :pins, :ask-new-certificate,
/// :tls-1.3 (nothing older), :proxy (a plist, see `exports/proxy.rs`), :attempts, :connect-timeout, :timeout (seconds) and
/// :traced-octets; :keep-connection (seconds) and :login-account, a text that names
/// it, for connections that are kept; and one message or :messages, a list of
/// plists, which go in
/// order over one connection.  A message has the keys :sender, :recipients (a
/// list), :options (a plist, see `exports/options.rs`), and :text (a string), :content or :entry (the name of an entry of the
/// outbox that REQUEST's :queue-directory and :queue-index name).
///
/// With :probe, nothing is sent: every address is tried, then the connection goes as
/// far as it does for a message, and says the envelope of :sender and :recipients, if
/// they are given.  Its end is the event `probed'.
///
/// Each message ends with an event `finished' with its place in the list as
/// :index; the event `done' is the last one.
#[defun]
fn open<'e>(env: &'e Env, request: Value<'e>, pipe: Value<'e>) -> Result<Value<'e>> {
    let bell = lisp::bell(env, pipe)?;
    let delivery = match request::parse(Plist::new(request))? {
        Ok(request) => Delivery::open(request, bell),
        Err((messages, failure)) => Delivery::ended(messages, &failure, bell),
    };
    Box::new(RefCell::new(delivery?)).into_lisp(env)
}

/// Start what the plist REQUEST asks of the outbox; return a delivery.
///
/// REQUEST has the keys :job (add, list, accepted, drop, hold, refused, release
/// or schedule), :queue-directory and :queue-index, and, where the job wants
/// them, :entry, :expected-state (a symbol: an entry in another state is left as
/// it is), :not-before (seconds since 1970, perhaps a float; for add and schedule),
/// :held (for add), :reply, :recipients, :sender, :subject, :from, :message-id,
/// :account, :text or :content, and :stored-server, :stored-stream-type,
/// :stored-service and :stored-user, each a list of one value; :facts is an alist
/// of what Lisp keeps with it.
///
/// With :known-servers, the name of that file, :job is `servers' or, with :host and
/// :port, `forget-server'.
#[defun]
fn outbox<'e>(env: &'e Env, request: Value<'e>, pipe: Value<'e>) -> Result<Value<'e>> {
    let bell = lisp::bell(env, pipe)?;
    let delivery = Delivery::outbox(request::job(Plist::new(request))?, bell)?;
    Box::new(RefCell::new(delivery)).into_lisp(env)
}

/// Return the events of DELIVERY since the last call: a list of (TYPE . PLIST).
#[defun]
fn events<'e>(env: &'e Env, delivery: &Delivery) -> Result<Value<'e>> {
    let events: Vec<_> = delivery
        .events()
        .into_iter()
        .map(|e| event::to_lisp(env, e))
        .collect::<Result<_>>()?;
    lisp::list(env, &events)
}

/// Answer question ID of DELIVERY with credentials: the plist LOGIN or nil.
///
/// LOGIN has the keys :user, :secret (a unibyte string), :mechanisms (a list of
/// strings, best first) and :required.
#[defun]
fn login<'e>(delivery: &Delivery, id: u64, login: Value<'e>) -> Result<()> {
    let login = match login.is_not_nil() {
        true => Some(request::login(Plist::new(login))?),
        false => None,
    };
    delivery.answer(id, Answer::Login(login));
    Ok(())
}

/// Say LINE, a string, in the course of question ID of DELIVERY for credentials.
///
/// The event `heard' brings the reply. Return nil if LINE cannot be said.
#[defun]
fn say<'e>(env: &'e Env, delivery: &Delivery, id: u64, line: Vec<u8>) -> Result<Value<'e>> {
    let line = Line::new(Secret::from(line));
    let said = line.is_some();
    if let Some(line) = line {
        delivery.answer(id, Answer::Say(line));
    }
    said.into_lisp(env)
}

/// Answer question ID of DELIVERY: the lines said made a login.
#[defun]
fn logged_in(delivery: &Delivery, id: u64) -> Result<()> {
    delivery.answer(id, Answer::LoggedIn);
    Ok(())
}

/// Answer question ID of DELIVERY with yes if YES is non-nil, else with no.
#[defun]
fn answer<'e>(delivery: &Delivery, id: u64, yes: Value<'e>) -> Result<()> {
    delivery.answer(id, Answer::Yes(yes.is_not_nil()));
    Ok(())
}

/// Answer question ID of DELIVERY about a certificate: CHOICE is `always', `once' or
/// `no'.
#[defun]
fn trust<'e>(env: &'e Env, delivery: &Delivery, id: u64, choice: Value<'e>) -> Result<()> {
    let name: String = env.call("symbol-name", [choice])?.into_rust()?;
    let answer = match name.as_str() {
        "always" => TrustAnswer::Always,
        "once" => TrustAnswer::Once,
        _ => TrustAnswer::No,
    };
    delivery.answer(id, Answer::Trust(answer));
    Ok(())
}

/// Answer question ID of DELIVERY with PASSPHRASE, a unibyte string or nil.
#[defun]
fn passphrase(delivery: &Delivery, id: u64, passphrase: Option<Vec<u8>>) -> Result<()> {
    let passphrase = passphrase.map(Secret::from);
    delivery.answer(id, Answer::Passphrase(passphrase));
    Ok(())
}

/// Forget the keys of client certificates that were unlocked.
#[defun]
fn forget_keys(_env: &Env) -> Result<()> {
    crate::net::client::forget();
    Ok(())
}

/// Stop DELIVERY at once and wait for nothing.
///
/// Return non-nil if the server may have taken a message of which no event
/// `finished' tells yet.
#[defun]
fn cancel<'e>(env: &'e Env, delivery: &Delivery) -> Result<Value<'e>> {
    delivery.cancel().into_lisp(env)
}

/// Say QUIT on all connections that are kept for further messages.
#[defun]
fn close_connections(_env: &Env) -> Result<()> {
    close_kept();
    Ok(())
}
