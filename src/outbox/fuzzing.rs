//! The readers of the queue's files, without the files: for the fuzz targets,
//! which hand in what a hostile disk could hold. Nothing else calls it.

use std::path::Path;

use super::index::{self, Line};
use super::metadata::Metadata as Content;
use super::window::{parse, to_text};

/// An entry's metadata: what was understood of it, and as it is written again.
#[derive(Debug, PartialEq, Eq)]
pub struct Metadata {
    understood: Content,
    /// The content of the `.el` file that would be written.
    pub source: String,
}

/// Reads the content of an `.el` file; none if it is not an entry's.
pub fn metadata(bytes: &[u8]) -> Option<Metadata> {
    let content = Content::parse(bytes).ok()?;
    let source = content
        .to_source()
        .expect("what a file held, a file can hold");
    Some(Metadata {
        understood: content,
        source,
    })
}

/// The names of entries in the lines of an index.
pub fn index(bytes: &[u8]) -> Vec<String> {
    index::lines(bytes, Path::new("/nowhere/queue"))
        .into_iter()
        .filter_map(|line| match line {
            Line::Entry(name) => Some(name.as_str().to_owned()),
            Line::Elsewhere(_) => None,
        })
        .collect()
}

/// A window file as it would be written again; none if it is not one.
pub fn window(bytes: &[u8]) -> Option<String> {
    Some(to_text(&parse(std::str::from_utf8(bytes).ok()?)?))
}
