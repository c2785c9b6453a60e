//! Files that a command writes: whole or not at all, and never in place of what it reads.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A file that stands under its name once it is whole. Until then it has the ending `.part`, and what stood under the
/// name stays. Pipes and devices are written to at once.
pub(crate) struct NewFile {
    path: PathBuf,
    part: Option<PathBuf>,
    file: BufWriter<File>,
}

impl NewFile {
    /// A file to be written.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn create(path: &Path) -> Result<NewFile, Failure> {
        let special = fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir());
        let part = (!special).then(|| with_ending(path, ".part"));
        let file = File::create(part.as_deref().unwrap_or(path));
        let file = file.map_err(|error| Failure::writing(path, &error))?;
        Ok(NewFile { path: path.to_owned(), part, file: BufWriter::new(file) })
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// When the rest cannot be written.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let named = self.file.flush().and_then(|()| match self.part.take() {
            Some(part) => fs::rename(&part, &self.path).inspect_err(|_| self.part = Some(part)),
            None => Ok(()),
        });
        named.map_err(|error| Failure::writing(&self.path, &error))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            // Nothing can be done about a part that cannot be removed.
            let _ = fs::remove_file(part);
        }
    }
}

/// Writes a text.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = NewFile::create(path)?;
    file.write_all(text.as_bytes()).map_err(|error| Failure::writing(path, &error))?;
    file.finish()
}

/// Refuses to write a file in place of one that is read.
///
/// # Errors
/// When `out` is one of `read`.
pub(crate) fn keep_apart<'a>(out: &Path, read: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    if out.is_file() && read.into_iter().any(|path| are_same(path, out)) {
        let message = format!(
            "{}: this file is read, and would be replaced\n  = hint: choose another name",
            out.display()
        );
        return Err(Failure::Other(message));
    }
    Ok(())
}

/// Whether two paths lead to the same file.
pub(crate) fn are_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}
