//! Requirement files as pip gets them: a copy where a file has lines that pip would read otherwise than the release
//! needs. Editable packages (`-e ./lib`) are installed as others, because pip would only note their place, which is
//! another one when the release has been moved into the store; and paths are those below the file's own folder, not
//! below the one in which pip runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files;
use crate::runtime::python::PACKAGES;
use crate::source::dependencies::step::place;

/// Files that one file names, and those that these name.
const FILES: usize = 200;
const EDITABLE: [&str; 2] = ["-e", "--editable"];
const REQUIREMENT: [&str; 2] = ["-r", "--requirement"];
const CONSTRAINT: [&str; 2] = ["-c", "--constraint"];

/// A line of a requirement file.
enum Line {
    /// One that stays.
    Same(String),
    /// One that pip gets otherwise.
    Changed(String),
    /// One that names another file, with the option for it.
    File(&'static str, PathBuf),
}

/// The file that pip gets in place of one of a release: itself, or a copy if it, or one that it names, has a line that
/// changes.
pub(super) fn given_to_pip(release: &Path, file: &Path) -> PathBuf {
    let all = files_from(release, file);
    let is_changed = all.iter().any(|(_, lines)| lines.iter().any(|line| matches!(line, Line::Changed(_))));
    let written = is_changed && all.iter().all(|(file, lines)| write(release, file, lines, &all).is_ok());
    // pip reports what is wrong with the file itself.
    if written { copy_of(release, file) } else { file.to_owned() }
}

/// A file and those that it names, with their lines. Those that cannot be read, and those outside of the release, whose
/// text is not the release's to see, are left out.
fn files_from(release: &Path, file: &Path) -> Vec<(PathBuf, Vec<Line>)> {
    let mut found: Vec<(PathBuf, Vec<Line>)> = Vec::new();
    let mut next = vec![file.to_owned()];
    while let Some(file) = next.pop() {
        if found.len() == FILES || found.iter().any(|(known, _)| *known == file) || inside(release, &file).is_none() {
            continue;
        }
        let text = files::read_small(&file).ok().and_then(|text| String::from_utf8(text).ok());
        let Some(text) = text else { continue };
        let text = text.replace("\\\r\n", " ").replace("\\\n", " ");
        let lines: Vec<_> = text.lines().map(|line| read_line(release, without_comment(line), &file)).collect();
        next.extend(lines.iter().filter_map(|line| match line {
            Line::File(_, other) => Some(other.clone()),
            Line::Same(_) | Line::Changed(_) => None,
        }));
        found.push((file, lines));
    }
    found
}

fn read_line(release: &Path, line: &str, file: &Path) -> Line {
    if let Some(named) = option(line, &EDITABLE) {
        return Line::Changed(below(file, named).unwrap_or_else(|| named.to_owned()));
    }
    for names in [REQUIREMENT, CONSTRAINT] {
        if let Some(named) = option(line, &names).filter(|named| !named.contains("://")) {
            let path = file.with_file_name(named);
            return Line::File(names[1], inside(release, &path).unwrap_or(path));
        }
    }
    let is_path = line.starts_with("./") || line.starts_with("../");
    below(file, line).filter(|_| is_path).map_or_else(|| Line::Same(line.to_owned()), Line::Changed)
}

/// Writes the copy of a file, which names the copies of others.
fn write(release: &Path, file: &Path, lines: &[Line], all: &[(PathBuf, Vec<Line>)]) -> io::Result<()> {
    let text = lines.iter().map(|line| match line {
        Line::Same(line) | Line::Changed(line) => format!("{line}\n"),
        Line::File(option, other) => {
            let is_copied = all.iter().any(|(known, _)| known == other);
            let other = if is_copied { copy_of(release, other) } else { other.clone() };
            format!("{option} {}\n", quoted(&other))
        }
    });
    let copy = copy_of(release, file);
    let folder = copy.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    // The release may have links of these names.
    if inside(release, folder).is_none() || copy.is_symlink() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    fs::write(copy, text.collect::<String>())
}

/// The path of what a path leads to, if that is in the release.
fn inside(release: &Path, path: &Path) -> Option<PathBuf> {
    let (whole, path) = (release.canonicalize().ok()?, path.canonicalize().ok()?);
    path.strip_prefix(whole).ok().map(|inside| release.join(inside))
}

/// The place of the copy of a file.
fn copy_of(release: &Path, file: &Path) -> PathBuf {
    // Names that differ have copies that differ.
    let name = place(release, file).replace('_', "__").replace('/', "_");
    release.join(PACKAGES).with_file_name(name)
}

/// A path, with what follows it in a requirement, from the folder of the file that names it; none if nothing is there.
fn below(file: &Path, named: &str) -> Option<String> {
    let end = named.find(['[', ';']).unwrap_or(named.len());
    let (path, rest) = named.split_at(end);
    let path = file.with_file_name(path.trim_end());
    path.exists().then(|| format!("{}{}{rest}", path.display(), if rest.starts_with(';') { " " } else { "" }))
}

/// A line without its comment: `six # needed` is `six`, `https://…#egg=six` has none.
fn without_comment(line: &str) -> &str {
    let line = line.trim();
    let starts = line.match_indices('#').map(|(at, _)| at);
    let mut comments = starts.filter(|at| *at == 0 || line[..*at].ends_with([' ', '\t']));
    comments.next().map_or(line, |at| line[..at].trim_end())
}

/// The value of an option that a line begins with: `-e ./lib`, `-e./lib`, `--editable=./lib`, `-e "./lib"`.
fn option<'a>(line: &'a str, [short, long]: &[&str; 2]) -> Option<&'a str> {
    let is_value = |rest: &&str| rest.starts_with([' ', '\t', '=']);
    let rest = line.strip_prefix(long).filter(is_value).or_else(|| line.strip_prefix(short))?;
    let value = rest.trim_start_matches([' ', '\t', '=']).trim_end();
    let bare = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    Some(bare.unwrap_or(value)).filter(|value| !value.is_empty())
}

/// A path as pip reads it, which splits lines as a shell does.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |one: char| one.is_alphanumeric() || "/._-+".contains(one);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\"'\"'")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn release(files: &[(&str, &str)]) -> tempfile::TempDir {
        let release = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = release.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        release
    }

    /// What pip reads, with `~` for the release.
    fn read(release: &Path, file: &str) -> String {
        let copy = given_to_pip(release, &release.join(file));
        fs::read_to_string(copy).unwrap().replace(release.to_str().unwrap(), "~")
    }

    #[test]
    fn editable_packages_are_installed_as_others_however_they_are_written() {
        let text = "six\n-e ./lib[x]\n-e./lib # ours\n --editable=git+https://x/y#egg=z\n-e \"./lib\" \n\
            -e \\\n ./lib ; python_version > '3'\n-r more.txt\n-rmore.txt\n-cmore.txt\n-r none.txt\n";
        let release = release(&[("app/requirements.txt", text), ("app/lib/setup.py", ""), ("app/more.txt", "six\n")]);
        let lines = "six\n~/app/./lib[x]\n~/app/./lib\ngit+https://x/y#egg=z\n~/app/./lib\n\
            ~/app/./lib ; python_version > '3'\n";
        let others = "--requirement ~/.packages/app_more.txt\n--requirement ~/.packages/app_more.txt\n\
            --constraint ~/.packages/app_more.txt\n--requirement ~/app/none.txt\n";
        assert_eq!(read(release.path(), "app/requirements.txt"), format!("{lines}{others}"));
    }

    #[test]
    fn files_that_a_file_names_are_read_alike_even_in_a_circle() {
        let release = release(&[
            ("requirements.txt", "-r deps/base.txt\n--constraint=deps/bounds.txt\n"),
            ("deps/base.txt", "-rmore.txt\n"),
            ("deps/more.txt", "-e ../lib\n-r base.txt\n"),
            ("deps/bounds.txt", "six<2\n"),
            ("lib/setup.py", ""),
        ]);
        let first = "--requirement ~/.packages/deps_base.txt\n--constraint ~/.packages/deps_bounds.txt\n";
        assert_eq!(read(release.path(), "requirements.txt"), first);
        let more = fs::read_to_string(release.path().join(".packages/deps_more.txt")).unwrap();
        assert!(more.contains("/deps/../lib\n--requirement /"), "{more}");
    }

    #[test]
    fn files_outside_of_the_release_are_not_copied_and_links_not_followed() {
        let outside = release(&[("secret.txt", "token\n")]);
        let secret = outside.path().join("secret.txt");
        let text = format!("-e ./lib\n-r {}\n-r link.txt\n", secret.display());
        let release = release(&[("requirements.txt", &text)]);
        symlink(&secret, release.path().join("link.txt")).unwrap();
        let first = read(release.path(), "requirements.txt");
        assert_eq!(first, format!("./lib\n--requirement {}\n--requirement ~/link.txt\n", secret.display()));
        let copies = fs::read_dir(release.path().join(".packages")).unwrap();
        assert_eq!(copies.count(), 1);
        // Nor are copies written there.
        fs::remove_dir_all(release.path().join(".packages")).unwrap();
        symlink(outside.path(), release.path().join(".packages")).unwrap();
        let file = release.path().join("requirements.txt");
        assert_eq!(given_to_pip(release.path(), &file), file);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_path_is_below_the_folder_of_its_file() {
        let release = release(&[("a/requirements.txt", "./lib\n./none\n"), ("a/lib/setup.py", "")]);
        assert_eq!(read(release.path(), "a/requirements.txt"), "~/a/./lib\n./none\n");
    }

    #[test]
    fn a_file_without_such_lines_stays_itself() {
        let text = "six # -e ./lib\n-r more.txt\n--extra-index-url https://x\n-i https://y\n";
        let release = release(&[("requirements.txt", text), ("more.txt", "six\n")]);
        let file = release.path().join("requirements.txt");
        assert_eq!(given_to_pip(release.path(), &file), file);
    }

    #[test]
    fn a_path_with_a_space_is_one_word() {
        assert_eq!(quoted(Path::new("/a b/c'd")), "'/a b/c'\"'\"'d'");
    }
}
