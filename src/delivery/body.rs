//! A message's text where it lies. One in a file is read a piece at a time, as
//! often as it is needed: a large text is not in memory twice.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::smtp::content::{Facts, Survey};

/// Octets of a text made ready at once: large writes, a lively progress, and
/// room for it and its wire form in the processor's cache.
pub(super) const BLOCK: usize = 256 * 1024;

/// A text with any line ends.
#[derive(Debug)]
pub(super) enum Body {
    Memory(Vec<u8>),
    /// A file and its length, which does not change: nobody else writes to it.
    File(File, usize),
}

impl Body {
    /// The text in `file`, from its beginning.
    ///
    /// # Errors
    /// The file's length cannot be learnt.
    pub fn of_file(file: File) -> io::Result<Self> {
        let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        Ok(Self::File(file, len))
    }

    /// Octets of the text as it lies there.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(octets) => octets.len(),
            Self::File(_, len) => *len,
        }
    }

    /// The text from `at` on, [`BLOCK`] octets or what is left; `buffer` is for
    /// what must be read.
    ///
    /// # Errors
    /// The file cannot be read or became shorter.
    pub fn piece<'a>(&'a self, at: usize, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let len = BLOCK.min(self.len() - at);
        match self {
            Self::Memory(octets) => Ok(&octets[at..at + len]),
            Self::File(file, _) => {
                buffer.resize(len, 0);
                file.read_exact_at(buffer, at as u64)?;
                Ok(buffer)
            }
        }
    }

    /// What must be known of it before it goes.
    ///
    /// # Errors
    /// As [`Body::piece`].
    pub fn survey(&self) -> io::Result<Facts> {
        let mut survey = Survey::default();
        let (mut at, mut buffer) = (0, Vec::new());
        while at < self.len() {
            let piece = self.piece(at, &mut buffer)?;
            survey.look(piece);
            at += piece.len();
        }
        Ok(survey.facts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// The same text in memory and in a file, longer than a piece.  Each test
    /// gives a name of its own: tests run at the same time.
    fn both(name: &str) -> [Body; 2] {
        let line = b"From .\r\n.dotted\rand\n\xc3\xa4 ";
        let text: Vec<u8> = line.iter().copied().cycle().take(BLOCK * 5 / 2).collect();
        let path = std::env::temp_dir().join(format!("smtpmail-{name}-{}", std::process::id()));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(path).unwrap();
        file.write_all(&text).unwrap();
        [Body::Memory(text), Body::of_file(file).unwrap()]
    }

    #[test]
    fn a_file_reads_as_memory_does() {
        let [memory, file] = both("body-reads");
        assert_eq!(memory.len(), file.len());
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for at in [0, 1, BLOCK, BLOCK * 2 + 7, memory.len()] {
            let piece = memory.piece(at, &mut one).unwrap();
            assert_eq!(piece, file.piece(at, &mut other).unwrap());
            assert_eq!(piece.len(), BLOCK.min(memory.len() - at));
        }
        assert_eq!(memory.survey().unwrap(), file.survey().unwrap());
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let [_, file] = both("body-shorter");
        let Body::File(inner, _) = &file else {
            panic!("a file")
        };
        inner.set_len(BLOCK as u64).unwrap();
        assert!(file.piece(0, &mut Vec::new()).is_ok());
        assert!(file.piece(1, &mut Vec::new()).is_err());
        assert!(file.survey().is_err());
    }
}
