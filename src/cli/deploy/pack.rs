//! Packs a folder into a zip archive: selects the files, and writes the archive into a temporary file without a name.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ignore::{DirEntry, WalkBuilder};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Maximum number of files in a package; the gateway refuses more.
const FILES: usize = 10_000;
/// Maximum size of a package, unpacked; the gateway refuses a larger one.
const BYTES: u64 = 256 * 1024 * 1024;
/// Maximum size of one file; the gateway refuses a package with a larger one.
const FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Maximum number of names that a message lists.
const NAMED: usize = 5;

const IGNORE_FILE: &str = ".metagateignore";
/// Never packed, even if the ignore files include them: the gateway creates them itself or does not need them.
const LEFT_OUT: [&str; 5] = [".git", ".env", "node_modules", "__pycache__", "metagate.toml"];
const VIRTUAL_ENVIRONMENT: &str = "pyvenv.cfg";

/// A file that is packed.
#[derive(Debug)]
pub(super) struct Entry {
    /// The path relative to the folder.
    pub(super) path: PathBuf,
    file: PathBuf,
    size: u64,
}

/// An archive.
pub(super) struct Package {
    /// The file, to be read from its current position.
    pub(super) file: File,
    /// The length in bytes.
    pub(super) length: u64,
}

/// The files of a folder that are deployed, in the order of their names.
///
/// # Errors
/// The folder has links or special files, too many or too large files, or no files.
pub(super) fn list(folder: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut special = Vec::new();
    let mut total = 0;
    for found in walk(folder) {
        let found = found.context("reading the folder")?;
        let path = found.path().strip_prefix(folder).unwrap_or(found.path()).to_owned();
        // Only standard input has no type.
        let Some(kind) = found.file_type() else { continue };
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file() {
            special.push(path);
            continue;
        }
        let size = found.metadata().with_context(|| format!("reading {}", found.path().display()))?.len();
        if size > FILE_BYTES {
            bail!("{path:?} has {}, more than the limit of {} for one file", mebibytes(size), mebibytes(FILE_BYTES));
        }
        total += size;
        entries.push(Entry { path, file: found.into_path(), size });
        if entries.len() > FILES {
            bail!("more than {FILES} files: exclude some in {IGNORE_FILE}");
        }
    }
    if !special.is_empty() {
        let names: Vec<String> = special.iter().take(NAMED).map(|path| format!("{path:?}")).collect();
        let more = if special.len() > NAMED { format!(" and {} more", special.len() - NAMED) } else { String::new() };
        bail!(
            "links and special files cannot be deployed: {}{more}; replace them by files, or exclude them in \
             {IGNORE_FILE}",
            names.join(", ")
        );
    }
    if entries.is_empty() {
        bail!("nothing to deploy in {}: it is empty, or everything in it is hidden or ignored", folder.display());
    }
    if total > BYTES {
        bail!("{} of files, more than the limit of {}", mebibytes(total), mebibytes(BYTES));
    }
    Ok(entries)
}

fn walk(folder: &Path) -> ignore::Walk {
    // Ignore files of parent folders apply within a repository only: elsewhere, a stray one could exclude everything.
    let in_repository = folder.ancestors().any(|above| above.join(".git").exists());
    WalkBuilder::new(folder)
        .hidden(true)
        .ignore(false)
        .git_ignore(true)
        .git_global(false)
        .git_exclude(false)
        .require_git(in_repository)
        .parents(in_repository)
        .add_custom_ignore_filename(IGNORE_FILE)
        .follow_links(false)
        .sort_by_file_name(OsStr::cmp)
        .filter_entry(|entry| entry.depth() == 0 || !is_left_out(entry))
        .build()
}

fn is_left_out(entry: &DirEntry) -> bool {
    LEFT_OUT.iter().any(|name| entry.file_name() == *name)
        || entry.file_type().is_some_and(|kind| kind.is_dir()) && entry.path().join(VIRTUAL_ENVIRONMENT).exists()
}

/// Writes the archive into a temporary file without a name, which the system removes when it is closed.
pub(super) fn write(entries: &[Entry]) -> anyhow::Result<Package> {
    let mut archive = ZipWriter::new(unnamed_file().context("making a temporary file")?);
    for Entry { path, file, size } in entries {
        add(&mut archive, path, file, *size).with_context(|| format!("packing {}", file.display()))?;
    }
    let mut file = archive.finish().context("packing")?;
    let length = file.stream_position()?;
    file.rewind()?;
    Ok(Package { file, length })
}

fn add(archive: &mut ZipWriter<File>, path: &Path, file: &Path, size: u64) -> anyhow::Result<()> {
    let name = path.to_str().context("its name is not UTF-8")?;
    // A link that has replaced the file since it was listed is not followed.
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let opened = File::options().read(true).custom_flags(nofollow).open(file)?;
    let mode = if opened.metadata()?.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).unix_permissions(mode);
    archive.start_file(name, options)?;
    let copied = io::copy(&mut opened.take(size + 1), archive)?;
    if copied != size {
        bail!("the file changed while it was packed");
    }
    Ok(())
}

fn unnamed_file() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!(".metagate-{}.zip", ulid::Ulid::new()));
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1024 * 1024))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::files::folder_with as folder;

    fn paths(folder: &Path) -> Vec<String> {
        list(folder).unwrap().iter().map(|entry| entry.path.to_str().unwrap().to_owned()).collect()
    }

    fn refusal(folder: &Path) -> String {
        list(folder).unwrap_err().to_string()
    }

    #[test]
    fn ignored_hidden_and_installed_files_are_not_packed() {
        let folder = folder(&[
            ("index.js", ""),
            ("lib/a.js", ""),
            (".gitignore", "*.log\n/dist\n!keep.log\n"),
            (".metagateignore", "tests/\n!dist\n!.npmrc\n"),
            ("run.log", ""),
            ("keep.log", ""),
            ("dist/bundle.js", ""),
            ("tests/a.js", ""),
            ("lib/.gitignore", "tmp\n"),
            ("lib/tmp/x", ""),
            (".env", "SECRET=1"),
            (".npmrc", ""),
            (".hidden/x", ""),
            (".git/config", ""),
            ("node_modules/a/index.js", ""),
            ("lib/__pycache__/a.pyc", ""),
            ("my-venv/pyvenv.cfg", ""),
            ("my-venv/bin/python", ""),
        ]);
        assert_eq!(paths(folder.path()), [".npmrc", "dist/bundle.js", "index.js", "keep.log", "lib/a.js"]);
    }

    #[test]
    fn ignore_files_of_parent_folders_apply_within_a_repository_only() {
        let above = folder(&[(".gitignore", "*.txt\n"), ("app/index.js", ""), ("app/a.txt", "")]);
        assert_eq!(paths(&above.path().join("app")), ["a.txt", "index.js"]);
        fs::create_dir(above.path().join(".git")).unwrap();
        assert_eq!(paths(&above.path().join("app")), ["index.js"]);
    }

    #[test]
    fn links_and_special_files_are_named() {
        let folder = folder(&[("index.js", ""), ("node_modules/.bin/x", "")]);
        symlink("index.js", folder.path().join("link.js")).unwrap();
        symlink("/", folder.path().join("root")).unwrap();
        let refused = refusal(folder.path());
        assert!(refused.contains("cannot be deployed: \"link.js\", \"root\"; replace"), "{refused}");
        fs::write(folder.path().join(IGNORE_FILE), "link.js\nroot\n").unwrap();
        assert_eq!(paths(folder.path()), ["index.js"]);
    }

    #[test]
    fn folders_that_exceed_the_limits_are_refused() {
        let empty = folder(&[(".hidden", "")]);
        assert!(refusal(empty.path()).contains("nothing to deploy"));
        let large = folder(&[]);
        File::create(large.path().join("a.bin")).unwrap().set_len(FILE_BYTES + 1).unwrap();
        assert!(refusal(large.path()).contains("\"a.bin\" has 65 MiB"), "{}", refusal(large.path()));
        File::create(large.path().join("a.bin")).unwrap().set_len(FILE_BYTES).unwrap();
        for name in ["b", "c", "d", "e"] {
            File::create(large.path().join(name)).unwrap().set_len(FILE_BYTES).unwrap();
        }
        assert!(refusal(large.path()).contains("320 MiB of files, more than the limit of 256 MiB"));
        let many = folder(&[]);
        for number in 0..=FILES {
            File::create(many.path().join(number.to_string())).unwrap();
        }
        assert!(refusal(many.path()).contains("more than 10000 files"));
    }

    #[test]
    fn the_archive_holds_the_files_with_their_modes_and_nothing_else() {
        let folder = folder(&[("index.js", "exports.a = 1\n"), ("lib/größe.txt", "ä"), ("run.sh", "#!/bin/sh\n")]);
        fs::set_permissions(folder.path().join("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
        let package = write(&list(folder.path()).unwrap()).unwrap();
        assert_eq!(package.file.metadata().unwrap().len(), package.length);
        let mut archive = zip::ZipArchive::new(package.file).unwrap();
        let mut found = Vec::new();
        for at in 0..archive.len() {
            let mut entry = archive.by_index(at).unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((entry.name().unwrap().to_string(), entry.unix_mode().unwrap() & 0o777, text));
        }
        let expected =
            [("index.js", 0o644, "exports.a = 1\n"), ("lib/größe.txt", 0o644, "ä"), ("run.sh", 0o755, "#!/bin/sh\n")];
        assert_eq!(found, expected.map(|(name, mode, text)| (name.to_owned(), mode, text.to_owned())));
    }

    #[test]
    fn a_file_that_changes_while_it_is_packed_is_named() {
        let folder = folder(&[("a.txt", "abc")]);
        let files = list(folder.path()).unwrap();
        fs::write(folder.path().join("a.txt"), "abcdef").unwrap();
        let error = format!("{:#}", write(&files).err().unwrap());
        assert!(error.contains("a.txt: the file changed while it was packed"), "{error}");
        fs::remove_file(folder.path().join("a.txt")).unwrap();
        symlink("/etc/hostname", folder.path().join("a.txt")).unwrap();
        assert!(write(&files).is_err());
    }
}
