//! Repositories: real git against real servers and folders. What is fetched is what was committed, nothing of a
//! repository runs, and each way to fail has its own words.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metagate::source::repository::resolve::Resolve;
use metagate::source::repository::{Fetched, Repositories, RepositoryError};
use tempfile::TempDir;
use zip::ZipArchive;

use crate::support::{PATIENCE, fixture, marked};
use crate::utilities::{on_one_thread, spawner};

mod added;
mod hostile;

const TIME: Duration = Duration::from_secs(30);

/// Runs git in a folder, with settings of its own.
fn git(folder: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "init.defaultBranch=main"]);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.args(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A folder with `team/app.git`, which has these files on main, and `team/empty.git`.
pub(crate) fn repositories(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let work = root.path().join("team/app");
    git(root.path(), &["init", "-q", "team/app"]);
    git(root.path(), &["init", "-q", "--bare", "team/empty.git"]);
    for (name, text) in files {
        fs::create_dir_all(work.join(name).parent().unwrap()).unwrap();
        fs::write(work.join(name), text).unwrap();
    }
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-q", "--allow-empty", "-m", "first"]);
    git(root.path(), &["clone", "-q", "--bare", "team/app", "team/app.git"]);
    root
}

/// Fetches from what these texts list.
fn listed(prefixes: &[&str]) -> Repositories {
    let listed = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    Repositories::new(Arc::new(spawner()), listed, TIME)
}

fn folder_url(root: &Path, path: &str) -> String {
    format!("file://{}/{path}", root.display())
}

/// What was fetched, with its archive open.
#[derive(Debug)]
struct Got {
    fetched: Fetched,
    archive: File,
}

/// Fetches into a staging folder, in which nothing but the archive is left.
fn fetch(from: &Repositories, url: &str, branch: Option<&str>) -> Result<Got, RepositoryError> {
    let staging = tempfile::tempdir().unwrap();
    let fetched = on_one_thread(from.fetch(url, branch, staging.path()));
    assert_eq!(marked(std::process::id()), Vec::<u32>::new());
    let fetched = fetched?;
    assert_eq!(fs::read_dir(staging.path()).unwrap().count(), 1);
    let archive = File::open(&fetched.archive).unwrap();
    Ok(Got { fetched, archive })
}

fn error(from: &Repositories, url: &str, branch: Option<&str>) -> String {
    fetch(from, url, branch).unwrap_err().to_string()
}

/// The names of an archive's entries and what they hold.
fn entries(archive: File) -> Vec<(String, String)> {
    let mut archive = ZipArchive::new(archive).unwrap();
    let mut found = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        found.push((entry.name().unwrap().into_owned(), text));
    }
    found
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// A server of the repositories in a folder: `tests/fixtures/git-server.py`.
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    pub(crate) fn start(root: &Path) -> Self {
        let script = fixture("git-server.py");
        let mut child = Command::new("python3").arg(script).arg(root).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { port: line.trim().parse().unwrap(), child }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Says that every host has these addresses.
struct Says(Vec<IpAddr>);

impl Resolve for Says {
    fn addresses<'a>(&'a self, _: &'a str) -> futures_util::future::BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

#[test]
fn a_repository_is_fetched_as_it_was_committed() {
    let attributes = "*.js ident export-subst text eol=crlf\nhidden.js export-ignore\n*.bin filter=lfs diff=lfs\n\
        *.txt working-tree-encoding=UTF-16\n";
    let files = [
        ("index.js", "// $Id$ $Format:%H$\nexports.a = () => 1;\n"),
        ("hidden.js", "1"),
        ("data.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        ("lib/deep/note.md", "hello\n"),
        (".gitattributes", "*.js ident\n"),
    ];
    let root = repositories(&files);
    let work = root.path().join("team/app");
    std::os::unix::fs::symlink("/etc/passwd", work.join("link")).unwrap();
    // Only now, so that what is committed stays as it is written here.
    fs::write(work.join(".gitattributes"), attributes).unwrap();
    let id = git(&work, &["rev-parse", "HEAD"]);
    let inner = format!("160000,{id},module");
    git(&work, &["add", "link", ".gitattributes"]);
    git(&work, &["update-index", "--add", "--cacheinfo", &inner]);
    fs::write(work.join(".gitmodules"), "[submodule \"module\"]\npath = module\nurl = https://10.0.0.1/x\n").unwrap();
    git(&work, &["add", ".gitmodules"]);
    git(&work, &["commit", "-q", "-m", "second"]);
    git(&work, &["push", "-q", "../app.git", "main"]);
    let url = folder_url(root.path(), "team/app.git");
    let from = listed(&[&folder_url(root.path(), "")]);
    let Got { fetched, archive } = fetch(&from, &url, None).unwrap();
    assert_eq!((fetched.name.as_str(), fetched.branch.as_str()), ("team-app", "main"));
    assert_eq!(fetched.commit, git(&work, &["rev-parse", "HEAD"]));
    let mut expected = files.to_vec();
    expected.retain(|(name, _)| *name != ".gitattributes");
    let modules = fs::read_to_string(work.join(".gitmodules")).unwrap();
    let more = [(".gitattributes", attributes), (".gitmodules", &modules), ("link", "/etc/passwd")];
    expected.extend(more.into_iter().chain([("lib/", ""), ("lib/deep/", ""), ("module/", "")]));
    expected.sort_unstable();
    let mut found = entries(archive);
    found.sort_unstable();
    assert_eq!(found, pairs(&expected));
    let staging = tempfile::tempdir().unwrap();
    let names = on_one_thread(from.files(&url, "main", staging.path())).unwrap();
    let files: Vec<&str> = expected.iter().map(|(name, _)| *name).filter(|name| !name.ends_with('/')).collect();
    assert_eq!(names, files);
    assert_eq!(fs::read_dir(staging.path()).unwrap().count(), 0);
}

#[test]
fn branches_and_files_are_listed_over_http() {
    let root = repositories(&[("index.js", "1"), ("lib/ä b.js", "2")]);
    let work = root.path().join("team/app");
    for branch in ["feature/x", "other"] {
        git(&work, &["checkout", "-q", "-b", branch]);
        fs::write(work.join("extra.py"), branch).unwrap();
        git(&work, &["add", "-A"]);
        git(&work, &["commit", "-q", "-m", branch]);
        git(&work, &["push", "-q", "../app.git", branch]);
    }
    let server = Server::start(root.path());
    let from = listed(&[&server.url("git")]);
    let url = server.url("git/team/app.git");
    assert_eq!(on_one_thread(from.branches(&url)).unwrap(), ["feature/x", "main", "other"]);
    let staging = tempfile::tempdir().unwrap();
    let files = |branch| on_one_thread(from.files(&url, branch, staging.path())).unwrap();
    assert_eq!(files("main"), ["index.js", "lib/ä b.js"]);
    assert_eq!(files("feature/x"), ["extra.py", "index.js", "lib/ä b.js"]);
    let Got { fetched, archive } = fetch(&from, &url, Some("feature/x")).unwrap();
    assert_eq!((fetched.name.as_str(), fetched.branch.as_str()), ("team-app", "feature/x"));
    assert!(entries(archive).contains(&("extra.py".to_owned(), "feature/x".to_owned())));
}

#[test]
fn each_failure_of_a_fetch_has_its_own_message() {
    let root = repositories(&[("index.js", "1")]);
    let server = Server::start(root.path());
    let from = listed(&[&server.url(""), &folder_url(root.path(), "")]);
    let begins = |url: &str, words: &str| {
        let error = error(&from, url, None);
        assert!(error.starts_with(words), "{url}: {error}");
    };
    assert_eq!(error(&from, &server.url("git/team/empty.git"), None), "the repository is empty");
    assert_eq!(error(&from, &folder_url(root.path(), "team/empty.git"), None), "the repository is empty");
    let unknown = error(&from, &server.url("git/team/app.git"), Some("no/such"));
    assert_eq!(unknown, "the repository has no branch \"no/such\"");
    begins(&server.url("git/team/none.git"), "there is no repository at this address; git says: ");
    begins(&server.url("other/app"), "there is no repository at this address; git says: ");
    begins(&folder_url(root.path(), "team/none.git"), "there is no repository at this address; git says: ");
    begins(&server.url("private/team/app.git"), "the repository does not exist or is not public; git says: ");
    begins(&server.url("moved/team/app.git"), "the address redirects to another one: use that one; git says: ");
    let requests = fs::read_to_string(root.path().join("requests")).unwrap();
    let after = requests.split("/moved/").last().unwrap();
    assert!(!after.contains("/git/"), "a redirect was followed: {requests}");
    let port = server.port;
    drop(server);
    begins(&format!("http://127.0.0.1:{port}/git/team/app"), "the host could not be reached; git says: ");
}

#[test]
fn c4_a_server_that_hangs_or_never_ends_is_given_up() {
    let root = repositories(&[("index.js", "1")]);
    let server = Server::start(root.path());
    let from = Repositories::new(Arc::new(spawner()), vec![server.url("").parse().unwrap()], Duration::from_secs(1));
    let begun = Instant::now();
    let hanging = on_one_thread(from.branches(&server.url("hang/team/app"))).unwrap_err();
    assert_eq!(hanging.to_string(), "the repository was not fetched within 1s");
    assert!(matches!(fetch(&from, &server.url("hang/team/app"), None), Err(RepositoryError::TimedOut { .. })));
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    assert!(fetch(&from, &server.url("endless/team/app"), None).is_err());
    assert_eq!(marked(std::process::id()), Vec::<u32>::new());
}

#[test]
fn c4_a_repository_has_a_size() {
    let root = repositories(&[("small", "1")]);
    let work = root.path().join("team/app");
    let mut noise = vec![0; 3 << 20];
    fastrand::Rng::with_seed(1).fill(&mut noise);
    fs::write(work.join("noise"), &noise).unwrap();
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-q", "-m", "large"]);
    git(&work, &["push", "-q", "../app.git", "main"]);
    let url = folder_url(root.path(), "team/app.git");
    let from = listed(&[&folder_url(root.path(), "")]);
    assert_eq!(entries_of(&from, &url), 2);
    let from = from.with_size_limit(2 << 20);
    assert_eq!(error(&from, &url, None), "the repository has more than 2097152 bytes");
    // Little to fetch, but much to write.
    fs::write(work.join("noise"), vec![0; 64 << 20]).unwrap();
    git(&work, &["commit", "-q", "-a", "-m", "packed well"]);
    git(&work, &["push", "-q", "../app.git", "main"]);
    assert_eq!(entries_of(&from, &url), 2);
    let from = from.with_size_limit(40 << 10);
    assert_eq!(error(&from, &url, None), "the repository has more than 40960 bytes");
}

fn entries_of(from: &Repositories, url: &str) -> usize {
    ZipArchive::new(fetch(from, url, None).unwrap().archive).unwrap().len()
}

#[test]
fn c2_git_uses_the_addresses_that_were_checked() {
    let root = repositories(&[("index.js", "1")]);
    let server = Server::start(root.path());
    let url = format!("http://pinned.test:{}/git/team/app.git", server.port);
    let from = listed(&[&url]).with_resolver(Arc::new(Says(vec![[127, 0, 0, 1].into()])));
    // No name server knows this host: only the address that was checked leads to it.
    assert_eq!(fetch(&from, &url, None).unwrap().fetched.name.as_str(), "team-app");
    let requests = fs::read_to_string(root.path().join("requests")).unwrap();
    assert!(requests.starts_with(&format!("pinned.test:{} /git/team/app.git/info/refs", server.port)), "{requests}");
}

#[test]
fn c2_a_host_that_leads_to_this_network_is_refused_before_git_runs() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::start(root.path());
    for addresses in [vec![[127, 0, 0, 1]], vec![[1, 1, 1, 1], [10, 0, 0, 1]]] {
        let addresses = addresses.into_iter().map(IpAddr::from).collect();
        let from = listed(&[]).with_resolver(Arc::new(Says(addresses)));
        match on_one_thread(from.branches("https://inside.test/team/app")) {
            Err(RepositoryError::BadUrl(why)) => {
                assert_eq!(why, "\"inside.test\" is not a host of the public internet");
            }
            other => panic!("{other:?}"),
        }
    }
    for url in [server.url("git/team/app"), format!("https://127.0.0.1:{}/team/app", server.port)] {
        assert!(matches!(on_one_thread(listed(&[]).branches(&url)), Err(RepositoryError::BadUrl(_))), "{url}");
    }
    assert!(!root.path().join("requests").exists());
}

#[test]
fn c4_nothing_of_a_repository_or_of_this_machine_runs() {
    let root = repositories(&[(".gitattributes", "* filter=evil diff=evil merge=evil\n"), ("index.js", "1")]);
    let marker = root.path().join("marker");
    let command = format!("touch {}", marker.display());
    let served = root.path().join("team/app.git");
    for setting in ["filter.evil.smudge", "filter.evil.process", "uploadpack.packObjectsHook", "core.fsmonitor"] {
        git(&served, &["config", setting, &command]);
    }
    for hook in ["post-checkout", "reference-transaction", "post-update", "pre-auto-gc", "post-index-change"] {
        let path = served.join("hooks").join(hook);
        fs::create_dir_all(served.join("hooks")).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{command}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).unwrap();
    }
    // The staging folder may lie inside another repository.
    let around = tempfile::tempdir().unwrap();
    git(around.path(), &["init", "-q"]);
    let instead = format!("url.{}.insteadOf", folder_url(root.path(), "team/empty.git"));
    git(around.path(), &["config", &instead, &folder_url(root.path(), "team/app.git")]);
    git(around.path(), &["config", "core.sshCommand", &command]);
    let staging = around.path().join("staging");
    fs::create_dir(&staging).unwrap();
    let from = listed(&[&folder_url(root.path(), "")]);
    let url = folder_url(root.path(), "team/app.git");
    let fetched = on_one_thread(from.fetch(&url, None, &staging)).unwrap();
    assert_eq!(entries(File::open(fetched.archive).unwrap()).len(), 2);
    assert_eq!(on_one_thread(from.branches(&url)).unwrap(), ["main"]);
    assert!(!marker.exists());
}

#[test]
fn a_tree_with_names_that_no_checkout_has_is_refused() {
    let root = repositories(&[("index.js", "1")]);
    let served = root.path().join("team/app.git");
    let file = git(&served, &["rev-parse", "HEAD:index.js"]);
    let from = listed(&[&folder_url(root.path(), "")]);
    for name in [".git", "..", ".", ".GIT", "git~1", "a/b"] {
        let tree = tree_of(&served, name, &file);
        let commit = git(&served, &["commit-tree", "-m", "hostile", &tree]);
        git(&served, &["update-ref", "refs/heads/main", &commit]);
        let error = error(&from, &folder_url(root.path(), "team/app.git"), None);
        assert!(error.starts_with("the repository has objects that git refuses; git says: "), "{name}: {error}");
    }
}

/// The id of a tree with one file of this name. git makes none itself: a tree is "<mode> <name>", zero, the file's id.
fn tree_of(repository: &Path, name: &str, file: &str) -> String {
    let id = (0..file.len()).step_by(2).map(|at| u8::from_str_radix(&file[at..at + 2], 16).unwrap());
    let tree: Vec<u8> = format!("100644 {name}\0").into_bytes().into_iter().chain(id).collect();
    let path = repository.join("tree");
    fs::write(&path, tree).unwrap();
    git(repository, &["hash-object", "-t", "tree", "--literally", "-w", "tree"])
}

#[test]
fn a_folder_of_another_user_is_fetched_from_if_it_is_listed() {
    let root = repositories(&[("index.js", "1")]);
    let is_root = rustix::process::geteuid().is_root();
    // Only root can give folders away; otherwise the claim is that of the other tests.
    if is_root {
        let given = Command::new("chown").args(["-R", "65534:65534"]).arg(root.path().join("team")).status().unwrap();
        assert!(given.success());
    }
    let from = listed(&[&folder_url(root.path(), "")]);
    let url = folder_url(root.path(), "team/app.git");
    assert_eq!(on_one_thread(from.branches(&url)).unwrap(), ["main"]);
    assert_eq!(fetch(&from, &url, None).unwrap().fetched.name.as_str(), "team-app");
}
