//! Our own certificate: every form in which people keep keys, and the passphrase
//! of those that have one.
//!
//! The TLS library takes PKCS#8 without a passphrase, or PKCS#12; the other forms
//! are rewritten as that. A key that was unlocked is kept for the life of the
//! process, as passwords typed are, until [`forget`]; the passphrase is not.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, MutexGuard};

use native_tls::Identity;
use zeroize::Zeroizing;

use super::tls::{self, Stamp, read, stamp, unusable};
use crate::smtp::failure::Failure;
use crate::smtp::secret::Secret;

/// Where our own certificate is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientFiles {
    /// The private key, or a PKCS#12 file that holds all of it.
    pub key: PathBuf,
    /// The certificate, then those that lead to its authority; the same file as the
    /// key where that holds them.
    pub certificate: PathBuf,
}

/// Whether a key can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlocked {
    /// It wants a passphrase, or another one.
    No,
    /// Yes.
    Yes,
}

/// Most keys kept; a user has one or two.
const MAX_IDENTITIES: usize = 16;

/// Identities by the state of their files.
static IDENTITIES: LazyLock<Mutex<HashMap<[Stamp; 2], Identity>>> = LazyLock::new(Mutex::default);

fn identities() -> MutexGuard<'static, HashMap<[Stamp; 2], Identity>> {
    IDENTITIES
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Make the key usable, with a passphrase if it has one.
///
/// # Errors
/// `Tls`: a file cannot be read or is not what it should be.
pub fn unlock(files: &ClientFiles, passphrase: Option<&Secret>) -> Result<Unlocked, Failure> {
    let key = [&files.key, &files.certificate].map(|path| (path.clone(), stamp(path)));
    if identities().contains_key(&key) {
        return Ok(Unlocked::Yes);
    }
    let Some(identity) = load(files, passphrase)? else {
        return Ok(Unlocked::No);
    };
    let mut identities = identities();
    if identities.len() >= MAX_IDENTITIES {
        identities.clear();
    }
    identities.insert(key, identity);
    Ok(Unlocked::Yes)
}

/// Forget all keys: their passphrases are wanted again.
pub fn forget() {
    identities().clear();
    tls::forget_connectors();
}

/// Our certificate and key, unlocked before.
pub(super) fn identity(files: &ClientFiles) -> Result<Identity, Failure> {
    if unlock(files, None)? == Unlocked::No {
        return Err(unusable(
            &files.key,
            "not a private key that can be read without a passphrase",
        ));
    }
    let key = [&files.key, &files.certificate].map(|path| (path.clone(), stamp(path)));
    let found = identities().get(&key).cloned();
    found.ok_or_else(|| unusable(&files.key, "it changed while it was read"))
}

/// Read the files; nothing where another passphrase is wanted.
fn load(files: &ClientFiles, passphrase: Option<&Secret>) -> Result<Option<Identity>, Failure> {
    let key = Zeroizing::new(read(&files.key)?);
    // A SEQUENCE, in DER: no PEM begins with this octet.
    if key.first() == Some(&0x30) {
        return pkcs12(files, &key, passphrase);
    }
    let chain = read(&files.certificate)?;
    let Some(pem) = pkcs8(files, &key, passphrase)? else {
        return Ok(None);
    };
    Identity::from_pkcs8(&chain, &pem)
        .map(Some)
        .map_err(|_| unusable(&files.certificate, "not a file of certificates"))
}

fn pkcs12(
    files: &ClientFiles,
    der: &[u8],
    passphrase: Option<&Secret>,
) -> Result<Option<Identity>, Failure> {
    let unreadable = |reason| Err(unusable(&files.key, reason));
    let passphrase = passphrase.map_or(&b""[..], Secret::expose);
    let Ok(passphrase) = std::str::from_utf8(passphrase) else {
        return Ok(None);
    };
    match Identity::from_pkcs12(der, passphrase) {
        Ok(identity) => Ok(Some(identity)),
        Err(error) => match error.to_string() {
            text if text.contains("mac verify failure") => Ok(None),
            text if text.contains("unsupported") => {
                unreadable("its cipher is too old; openssl pkcs12 -legacy can convert it")
            }
            _ => unreadable("neither a PKCS#12 file nor a private key in PEM form"),
        },
    }
}

#[cfg(all(unix, not(target_vendor = "apple")))]
fn pkcs8(
    files: &ClientFiles,
    pem: &[u8],
    passphrase: Option<&Secret>,
) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let mut asked = false;
    let key = openssl::pkey::PKey::private_key_from_pem_callback(pem, |room: &mut [u8]| {
        asked = true;
        // Without one OpenSSL must not ask at the terminal; a longer one than it
        // takes is a wrong one.
        let said = passphrase.map_or(&b""[..], Secret::expose);
        let said = if said.len() <= room.len() { said } else { b"" };
        room[..said.len()].copy_from_slice(said);
        Ok(said.len())
    });
    match key.and_then(|key| key.private_key_to_pem_pkcs8()) {
        Ok(pem) => Ok(Some(Zeroizing::new(pem))),
        Err(_) if asked => Ok(None),
        Err(_) => Err(unusable(&files.key, "not a private key in PEM form")),
    }
}

#[cfg(not(all(unix, not(target_vendor = "apple"))))]
fn pkcs8(
    files: &ClientFiles,
    pem: &[u8],
    _passphrase: Option<&Secret>,
) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    // `Identity` takes these itself.
    match pem.starts_with(b"-----BEGIN PRIVATE KEY-----") {
        true => Ok(Some(Zeroizing::new(pem.to_vec()))),
        false => Err(unusable(&files.key, "not a private key in PKCS#8 form")),
    }
}
