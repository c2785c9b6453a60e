//! `scaletwin init`.

use std::path::{Component, Path, PathBuf};

use scaletwin_scenarios::draft::{ManifestFile, draft, is_drafted};

use crate::failure::Failure;
use crate::{Answer, output, print, tell};

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A file that `kubectl get -o yaml` has printed, or a folder with manifests
    path: PathBuf,
    /// The new scenario; without it, it is printed
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write over the scenario if it is there
    #[arg(long, requires = "out")]
    force: bool,
    /// Do not list on stderr what is not carried over
    #[arg(long, short)]
    quiet: bool,
}

/// The longest file that is read, bytes.
const LONGEST: u64 = 16 << 20;
/// The most files of a folder.
const MOST_FILES: usize = 2_000;
/// How deep folders lie in folders.
const DEEPEST: usize = 12;

/// Writes a starting scenario.
pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    if let Some(out) = args.out.as_ref().filter(|out| out.exists() && !args.force) {
        let message = format!("{} is there already\n  = hint: --force writes over it", out.display());
        return Err(Failure::Other(message));
    }
    let mut paths = Vec::new();
    collect(&args.path, 0, &mut paths)?;
    if let Some(out) = &args.out {
        refuse_to_replace(out)?;
        // What an earlier call has written is no manifest.
        paths.retain(|path| !output::are_same(path, out));
    }
    if paths.is_empty() {
        let message = format!("{} has no .yaml, .yml or .json file", args.path.display());
        return Err(Failure::Other(message));
    }
    let folder = args.out.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
    let (mut files, mut unread) = (Vec::new(), Vec::new());
    for path in &paths {
        match read(path) {
            Ok(text) => files.push(ManifestFile { path: relative(path, &folder)?, text }),
            Err(why) => unread.push(format!("{}: {why}", path.display())),
        }
    }
    if files.is_empty() {
        return Err(Failure::Other(format!("cannot read {}", unread.join("\ncannot read "))));
    }
    let mut drafted = draft(&files, &folder, &args.path.display().to_string());
    drafted.left_out.extend(unread);
    match &args.out {
        None => print(&drafted.text)?,
        Some(out) => output::write(out, &drafted.text)?,
    }
    if !args.quiet {
        for what in &drafted.left_out {
            tell(&format!("not carried over: {what}"));
        }
        if let Some(out) = &args.out {
            tell(&format!("{}: set what is marked as guessed, then: scaletwin run {0}", out.display()));
        }
    }
    Ok(Answer::Done)
}

/// Refuses to write in place of a file that no earlier call has written.
fn refuse_to_replace(out: &Path) -> Result<(), Failure> {
    if !out.is_file() || read(out).is_ok_and(|text| is_drafted(&text)) {
        return Ok(());
    }
    let message =
        format!("{}: it is there already, and was not drafted\n  = hint: choose another name", out.display());
    Err(Failure::Other(message))
}

/// The manifests of a path: the file itself, or those in a folder and its folders, by name.
fn collect(path: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error: &std::io::Error| Failure::of(format!("cannot read {}", path.display()), error);
    if !path.metadata().map_err(|error| failed(&error))?.is_dir() {
        paths.push(path.to_owned());
        return Ok(());
    }
    if depth > DEEPEST {
        return Err(Failure::Other(format!("{}: folders lie too deep", path.display())));
    }
    let mut inside = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| failed(&error))? {
        inside.push(entry.map_err(|error| failed(&error))?.path());
    }
    inside.sort();
    let hidden = |path: &Path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with('.'))
    };
    for path in inside.iter().filter(|path| !hidden(path)) {
        let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or("");
        if path.is_dir() || ["yaml", "yml", "json"].contains(&kind) {
            collect(path, depth + 1, paths)?;
        }
        if paths.len() > MOST_FILES {
            return Err(Failure::Other(format!("more than {MOST_FILES} files: name a smaller folder")));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    let size = path.metadata().map_err(|error| error.to_string())?.len();
    if size > LONGEST {
        return Err("it is longer than 16 MiB".to_owned());
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// The way from a folder to a file, as a scenario names it.
fn relative(file: &Path, folder: &Path) -> Result<String, Failure> {
    let absolute = |path: &Path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        path.canonicalize().map_err(|error| Failure::of(format!("cannot read {}", path.display()), &error))
    };
    let (file, folder) = (absolute(file)?, absolute(folder)?);
    let (file, folder): (Vec<_>, Vec<_>) = (file.components().collect(), folder.components().collect());
    let shared = file.iter().zip(&folder).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(Component::ParentDir, folder.len() - shared);
    let way: PathBuf = up.chain(file[shared..].iter().copied()).collect();
    Ok(way.to_string_lossy().into_owned())
}
