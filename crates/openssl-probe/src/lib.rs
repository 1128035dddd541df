//! Stands for the crate of that name, which looks for the system's authorities, for
//! an OpenSSL that was built for another system.
//!
//! The engine is linked with the system's own OpenSSL, which knows where they are, by
//! itself or by `SSL_CERT_FILE` and `SSL_CERT_DIR`. native-tls has it read them from
//! there, and then what this finds as well: the same bundle, for another 30 ms of each
//! Emacs's first session under TLS. So nothing is found here.

#![deny(missing_docs)]

use std::path::PathBuf;

/// Where authorities are beside those that OpenSSL knows of.
pub struct ProbeResult {
    /// A file of them in PEM.
    pub cert_file: Option<PathBuf>,
    /// Directories with a file each, named by its hash.
    pub cert_dir: Vec<PathBuf>,
}

/// Nowhere.
pub fn probe() -> ProbeResult {
    ProbeResult {
        cert_file: None,
        cert_dir: Vec::new(),
    }
}
