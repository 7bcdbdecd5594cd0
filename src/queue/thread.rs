//! The thread that owns the file of the queue. Changes that arrive while the disk is busy share the next write: one
//! commit makes all of them durable.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::queue::database::Database;
use crate::queue::fault::Fault;
use crate::queue::figures::Figures;
use crate::supervise;

/// The name of the thread, in the log and the metrics.
const NAME: &str = "queue";
/// Changes that wait for the thread; those who ask for more wait for room.
const WAITING: usize = 1024;
/// Changes that one commit makes durable, at most.
const GROUP: usize = 256;

/// Says how a change ended, once it is on the disk or is not.
type Tell = Box<dyn FnOnce(Result<(), Fault>) + Send>;
/// A change, within a transaction.
type Job = Box<dyn FnOnce(Result<&mut Database, Fault>) -> Tell + Send>;

/// Sends changes to the thread.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the thread. It ends when the last writer is dropped.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or the operating system refuses another thread.
    pub(super) fn start(file: &Path, bodies: &Path, figures: Arc<Figures>) -> Result<Self, Fault> {
        // SQLite gives its other files the mode of this one.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(file)
            .map_err(|error| Fault::of_io("the file of calls", &error))?;
        let first = Database::open(file, bodies)?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let (file, bodies) = (file.to_owned(), bodies.to_owned());
        let first = Mutex::new(Some(first));
        let receiver = Arc::new(Mutex::new(receiver));
        let started = supervise::forever_thread(NAME, move || {
            let taken = first.lock().take();
            let Some(mut database) = taken.or_else(|| reopened(&file, &bodies)) else { return };
            let place = Place { id: Place::id_of(&file), file: file.clone() };
            serve(&mut database, &mut receiver.lock(), &figures, &place);
        });
        started.map_err(|error| Fault::of_io("the thread of the queue", &error))?;
        Ok(Self { jobs: sender })
    }

    /// Does something with the file. When this returns, it is on the disk; on a fault, it has not happened.
    ///
    /// # Errors
    ///
    /// What `work` returns; the disk does not take it; the thread has stopped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |database| {
            let done = database.and_then(|database| database.within(work));
            Box::new(move |committed| {
                // Who asked may have left.
                let _left = sender.send(done.and_then(|value| committed.map(|()| value)));
            })
        });
        self.jobs.send(job).await.map_err(|_| Fault::Stopped)?;
        receiver.await.unwrap_or(Err(Fault::Stopped))
    }
}

/// Opens the file again after a panic. Without it, all who ask learn that the queue has stopped.
fn reopened(file: &Path, bodies: &Path) -> Option<Database> {
    Database::open(file, bodies)
        .inspect_err(|fault| tracing::error!(%fault, "the file of asynchronous calls cannot be opened again"))
        .ok()
}

/// Where the open file is, if it still is there.
struct Place {
    file: PathBuf,
    /// The device, and the number of the file on it.
    id: Option<(u64, u64)>,
}

impl Place {
    fn id_of(file: &Path) -> Option<(u64, u64)> {
        std::fs::metadata(file).map(|found| (found.dev(), found.ino())).ok()
    }

    /// Checks that nobody has removed or replaced the file: what is written into it then would be lost.
    fn check(&self) -> Result<(), Fault> {
        if self.id.is_some() && Self::id_of(&self.file) == self.id {
            return Ok(());
        }
        let text = format!("{} was removed or replaced: the gateway has to start again", self.file.display());
        Err(Fault::Broken(text.into()))
    }
}

fn serve(database: &mut Database, jobs: &mut mpsc::Receiver<Job>, figures: &Figures, place: &Place) {
    while let Some(first) = jobs.blocking_recv() {
        if let Err(fault) = place.check().and_then(|()| database.begin()) {
            tracing::warn!(%fault, "the file of asynchronous calls is not usable");
            figures.fail(&fault);
            first(Err(fault))(Ok(()));
            continue;
        }
        let mut told = vec![first(Ok(&mut *database))];
        while told.len() < GROUP
            && let Ok(job) = jobs.try_recv()
        {
            told.push(job(Ok(&mut *database)));
        }
        let committed = database.commit();
        match &committed {
            Ok(()) => figures.work(),
            Err(fault) => {
                tracing::warn!(%fault, "changes of asynchronous calls were not written");
                figures.fail(fault);
            }
        }
        if let Ok((waiting, bytes)) = database.room() {
            figures.holds(waiting, bytes);
        }
        for tell in told {
            tell(committed.clone());
        }
    }
}

/// Makes the folder of the queue, for this user only.
///
/// # Errors
///
/// It cannot be made.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
