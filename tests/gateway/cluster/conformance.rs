//! One suite for both halves of what gateways share: a gateway that is alone keeps records and packages on its disk, a
//! cluster on its servers. Deploys rely on no more than is checked here.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use metagate::cluster::Cluster;
use metagate::cluster::engine::Reach;
use metagate::config::{ClusterConfig, Sha256};
use metagate::deployment::DeploymentName;
use metagate::registry::local::{LocalArtefacts, LocalRecords};
use metagate::registry::record::{Origin, Record, Release, Variables};
use metagate::registry::shared::{Artefacts, Records, SharedError};
use metagate::registry::store::Store;
use sha2::Digest as _;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Servers;
use crate::support::wait_for;

/// A data folder with its store.
struct Data {
    folder: TempDir,
    store: Arc<Store>,
}

impl Data {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("staging")).unwrap();
        let store = Arc::new(Store::open(folder.path(), Vec::new(), None).unwrap());
        Self { folder, store }
    }

    /// A file outside of the store.
    fn file(&self, content: &[u8]) -> std::path::PathBuf {
        let path = self.folder.path().join("package");
        fs::write(&path, content).unwrap();
        path
    }
}

/// A gateway's part of the cluster on these servers.
async fn joined(servers: &Servers, data: &Data, tasks: &TaskTracker, stop: &CancellationToken) -> Cluster {
    let table = servers.table("conformance");
    let config: ClusterConfig = toml::from_str(table.strip_prefix("[cluster]\n").unwrap()).unwrap();
    let cluster = Cluster::new(&config, data.folder.path(), &data.store).unwrap();
    cluster.start(tasks, stop);
    while cluster.engine.reach() != Reach::Reached {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    cluster
}

fn name(text: &str) -> DeploymentName {
    DeploymentName::new(text).unwrap()
}

fn release(number: u64) -> Release {
    let env = Variables::from_iter([("KEY".to_owned(), "hunter2".to_owned())]);
    Release { number, files: number, origin: Origin::Package, created: 7, env, package: None }
}

async fn records_conform(records: Arc<dyn Records>) {
    let math = name("math");
    assert!(records.newest(&math).await.unwrap().is_none());
    let mut record = Record::new(math.clone(), 1);
    record.releases.push(release(1));
    record.live = Some(1);
    let stored = records.replace(record.clone()).await.unwrap();
    assert!(stored.revision.is_some());
    let newest = records.newest(&math).await.unwrap().unwrap();
    assert_eq!(newest.encode(), stored.encode());
    assert_eq!(newest.releases, [release(1)]);
    // Whoever does not know the newest revision changes nothing.
    let late = records.replace(record.clone()).await;
    assert!(matches!(late, Err(SharedError::Conflict(_))), "{late:?}");
    let second = records.replace(Record { next: 2, ..newest.clone() }).await.unwrap();
    assert_ne!(second.revision, stored.revision);
    let late = records.replace(Record { next: 9, ..newest }).await;
    assert!(matches!(late, Err(SharedError::Conflict(_))), "{late:?}");
    // Of many that replace the same revision, one does.
    let tries = (10..18).map(|next| {
        let (records, record) = (Arc::clone(&records), Record { next, ..second.clone() });
        tokio::spawn(async move { records.replace(record).await })
    });
    let mut won = Vec::new();
    for tried in tries.collect::<Vec<_>>() {
        match tried.await.unwrap() {
            Ok(record) => won.push(record),
            Err(SharedError::Conflict(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(won.len(), 1);
    let newest = records.newest(&math).await.unwrap().unwrap();
    assert_eq!(newest.next, won[0].next);
    // A name with dots is one name.
    for dotted in ["math.v2", "math.", "math-v2"] {
        let of = name(dotted);
        records.replace(Record::new(of.clone(), 1)).await.unwrap();
        assert_eq!(records.newest(&of).await.unwrap().unwrap().name, of);
    }
    assert_eq!(records.newest(&math).await.unwrap().unwrap().next, newest.next);
    // What was deleted counts as gone, and its name can be used again.
    records.replace(Record { deleted: true, ..newest }).await.unwrap();
    let gone = records.newest(&math).await.unwrap();
    assert!(gone.as_ref().is_none_or(|record| record.deleted), "{gone:?}");
}

async fn artefacts_conform(artefacts: &dyn Artefacts, data: &Data) {
    let content: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    let sha256 = Sha256::new(sha2::Sha256::digest(&content).into());
    let math = name("math");
    let missing = artefacts.fetch(&math, sha256).await;
    assert!(matches!(missing, Err(SharedError::Missing(found)) if found == sha256), "{missing:?}");
    for _again in 0..2 {
        artefacts.put(&math, sha256, data.file(&content)).await.unwrap();
        assert!(!data.folder.path().join("package").exists(), "the file is moved");
        assert_same(&artefacts.fetch(&math, sha256).await.unwrap(), &content);
    }
}

fn assert_same(file: &Path, content: &[u8]) {
    assert!(fs::read(file).unwrap() == content, "{}", file.display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_one_gateway_conforms() {
    let data = Data::new();
    records_conform(Arc::new(LocalRecords::new(Arc::clone(&data.store)))).await;
    artefacts_conform(&LocalArtefacts::new(Arc::clone(&data.store)), &data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_conforms() {
    let servers = tokio::task::spawn_blocking(|| Servers::start(3)).await.unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let (first, second) = (Data::new(), Data::new());
    let cluster = joined(&servers, &first, &tasks, &stop).await;
    records_conform(cluster.records()).await;
    artefacts_conform(&*cluster.artefacts(), &first).await;
    // Another gateway has all of it.
    let other = joined(&servers, &second, &tasks, &stop).await;
    let dotted = name("math.v2");
    assert_eq!(other.records().newest(&dotted).await.unwrap().unwrap().name, dotted);
    let content: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    let sha256 = Sha256::new(sha2::Sha256::digest(&content).into());
    assert_same(&other.artefacts().fetch(&name("math"), sha256).await.unwrap(), &content);
    let both = || (cluster.nodes.others().len() == 1 && other.nodes.others().len() == 1).then_some(());
    tokio::task::block_in_place(|| wait_for("both gateways", both));
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
