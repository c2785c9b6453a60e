//! Lines of bounded length, so that a file without line ends does not fill the memory.

use std::io::{self, BufRead};

use super::rows::Fault;

/// The longest line that is read, in bytes.
pub const LONGEST_LINE: usize = 4 << 20;

/// Reads lines one by one into a buffer of its own.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
}

/// Why there is no next line.
#[derive(Debug)]
pub(super) enum LineError {
    /// It is longer than [`LONGEST_LINE`].
    TooLong,
    /// The input ends within a compressed block.
    Truncated,
    /// The input fails.
    Input(String),
}

impl LineError {
    pub(super) fn of(error: &io::Error) -> LineError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => LineError::Truncated,
            _ => LineError::Input(error.to_string()),
        }
    }
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Lines<R> {
        Lines { input, line: Vec::new(), number: 0 }
    }

    /// Reads the next line that is not blank, without its end. Whether there is one.
    pub(super) fn advance(&mut self) -> Result<bool, LineError> {
        loop {
            self.line.clear();
            self.number += 1;
            if !self.read_line()? {
                return Ok(false);
            }
            if self.number == 1 && self.line.starts_with(b"\xef\xbb\xbf") {
                self.line.drain(..3);
            }
            while self.line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                self.line.pop();
            }
            if self.line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                return Ok(true);
            }
        }
    }

    /// Reads up to the next end of a line. Whether there was anything.
    fn read_line(&mut self) -> Result<bool, LineError> {
        loop {
            let read = match self.input.fill_buf() {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LineError::of(&error)),
            };
            let end = memchr::memchr(b'\n', read);
            let (length, is_whole) = end.map_or((read.len(), read.is_empty()), |end| (end + 1, true));
            self.line.extend_from_slice(&read[..length]);
            self.input.consume(length);
            if self.line.len() > LONGEST_LINE {
                return Err(LineError::TooLong);
            }
            if is_whole {
                return Ok(!self.line.is_empty());
            }
        }
    }

    /// Reads the next line that is not blank, for a reader of rows.
    pub(super) fn next(&mut self) -> Result<bool, Fault> {
        self.advance().map_err(|error| Fault::line_error(self.number, &error))
    }

    /// What comes after the present line.
    pub(super) fn rest(&mut self) -> &mut R {
        &mut self.input
    }

    /// The present line.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Gives the present line for a buffer that the next one may be read into.
    pub(super) fn swap(&mut self, buffer: &mut Vec<u8>) {
        std::mem::swap(&mut self.line, buffer);
    }

    /// Its number, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

/// What to say of a line that is too long.
pub(super) fn too_long() -> String {
    format!("the line is longer than {} MiB; is this a text file in the format named?", LONGEST_LINE >> 20)
}

impl Fault {
    /// What went wrong when line `line` was read.
    pub(super) fn line_error(line: u64, error: &LineError) -> Fault {
        let message = match error {
            LineError::TooLong => too_long(),
            LineError::Truncated => {
                "the compressed file ends too early: it is truncated, or something that is no gzip follows"
                    .to_owned()
            }
            LineError::Input(error) => format!("cannot be read: {error}"),
        };
        Fault::ends(line, 1, message, b"")
    }
}
