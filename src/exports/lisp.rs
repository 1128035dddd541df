//! Lisp values to Rust ones and back.

use std::io::Write;

use emacs::{Env, FromLisp, Result, Value, Vector};

use crate::delivery::Bell;

/// A property list given by our Lisp.
#[derive(Clone, Copy)]
pub(super) struct Plist<'e>(Value<'e>);

impl<'e> Plist<'e> {
    pub fn new(list: Value<'e>) -> Self {
        Self(list)
    }

    /// The value of `key`, nil where it is not there.
    pub fn value(self, key: &str) -> Result<Value<'e>> {
        let env = self.0.env;
        env.call("plist-get", (self.0, env.intern(key)?))
    }

    /// Whether the value of `key` is non-nil.
    pub fn flag(self, key: &str) -> Result<bool> {
        Ok(self.value(key)?.is_not_nil())
    }

    /// The value of `key`, if it is non-nil.
    pub fn optional<T: FromLisp<'e>>(self, key: &str) -> Result<Option<T>> {
        let value = self.value(key)?;
        value.is_not_nil().then(|| value.into_rust()).transpose()
    }

    /// The value of `key`.
    pub fn required<T: FromLisp<'e>>(self, key: &str) -> Result<T> {
        self.value(key)?.into_rust()
    }

    /// The strings in the list that is the value of `key`.
    pub fn strings(self, key: &str) -> Result<Vec<String>> {
        let list = self.value(key)?;
        let env = list.env;
        let count: usize = env.call("length", [list])?.into_rust()?;
        // There may be thousands, and to take one over costs calls of Emacs for each.
        let joined: String = env
            .call("mapconcat", (env.intern("identity")?, list, "\n"))?
            .into_rust()?;
        let lines: Vec<String> = joined.split('\n').map(str::to_owned).collect();
        if lines.len() == count {
            return Ok(lines);
        }
        // One has a line end in it, or there is none.
        let vector = Vector::from_lisp(env.call("vconcat", [list])?)?;
        (0..vector.len()).map(|index| vector.get(index)).collect()
    }

    /// The name of the symbol that is the value of `key`.
    pub fn symbol(self, key: &str) -> Result<String> {
        let value = self.value(key)?;
        value.env.call("symbol-name", [value])?.into_rust()
    }
}

/// A list of `values`.
pub(super) fn list<'e>(env: &'e Env, values: &[Value<'e>]) -> Result<Value<'e>> {
    // One call of Lisp, whatever the length.
    env.call("list", values)
}

/// A value of any type, made into Lisp later.
pub(super) type Pair<'e> = (&'static str, Value<'e>);

/// A plist of `pairs`; those whose value is nil are left out.
pub(super) fn plist<'e>(env: &'e Env, pairs: &[Pair<'e>]) -> Result<Value<'e>> {
    let mut values = Vec::with_capacity(2 * pairs.len());
    for (key, value) in pairs.iter().filter(|(_, value)| value.is_not_nil()) {
        values.push(env.intern(key)?);
        values.push(*value);
    }
    list(env, &values)
}

/// A bell that writes one octet to the pipe process `pipe`.
pub(super) fn bell<'e>(env: &'e Env, pipe: Value<'e>) -> Result<Bell> {
    let mut channel = env.open_channel(pipe)?;
    close_on_exec(&channel);
    Ok(Box::new(move || {
        // Emacs is gone or has closed the pipe: nobody is left to hear it.
        let _ = channel.write_all(b"!");
    }))
}

/// Keep the descriptor of `channel` from the programs that Emacs starts: they
/// would hold the pipe open. The `emacs` crate names the descriptor only in the
/// channel's debug form.
#[cfg(unix)]
#[allow(unsafe_code)]
fn close_on_exec(channel: &impl std::fmt::Debug) {
    use rustix::io::{FdFlags, fcntl_setfd};
    let shown = format!("{channel:?}");
    let digits = shown
        .split("fd: ")
        .nth(1)
        .map(|rest| rest.trim_end_matches(|c: char| !c.is_ascii_digit()));
    let Some(Ok(number)) = digits.map(str::parse::<i32>) else {
        return;
    };
    // SAFETY: the descriptor is that of `channel`, which outlives this borrow.
    let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    // Without it a child may keep the pipe open, which harms nobody much.
    let _ = fcntl_setfd(descriptor, FdFlags::CLOEXEC);
}

#[cfg(not(unix))]
fn close_on_exec(_channel: &impl std::fmt::Debug) {}
