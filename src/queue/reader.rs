//! The thread that reads the file of the queue for those who only look: they wait for no change, and none for them.

use std::path::Path;

use tokio::sync::{mpsc, oneshot};

use crate::queue::database::Database;
use crate::queue::fault::Fault;
use crate::supervise;

/// The name of the thread, in the log and the metrics.
const NAME: &str = "queue-reads";
/// Looks that wait for the thread; those who ask for more wait for room.
const WAITING: usize = 1024;

/// A look at the file.
type Job = Box<dyn FnOnce(Result<&Database, Fault>) + Send>;

/// Sends looks to the thread.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    jobs: mpsc::Sender<Job>,
}

impl Reader {
    /// Starts the thread for a file that is there already. It ends when the last reader is dropped.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or the operating system refuses another thread.
    pub(super) fn start(file: &Path, bodies: &Path) -> Result<Self, Fault> {
        let mut opened = Some(Database::open_to_read(file, bodies)?);
        let (sender, mut receiver) = mpsc::channel::<Job>(WAITING);
        let (file, bodies) = (file.to_owned(), bodies.to_owned());
        let started = supervise::forever_thread(NAME, move || {
            // Opened again after a panic; if that fails, all who ask learn why.
            let database = opened.take().map_or_else(|| Database::open_to_read(&file, &bodies), Ok);
            while let Some(job) = receiver.blocking_recv() {
                job(database.as_ref().map_err(Fault::clone));
            }
        });
        started.map_err(|error| Fault::of_io("the thread that reads the queue", &error))?;
        Ok(Self { jobs: sender })
    }

    /// Looks at the file, as the last change that was finished has left it.
    ///
    /// # Errors
    ///
    /// What `look` returns; the thread has stopped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Database) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |database| {
            // Who asked may have left, and nobody would see what is found.
            if !sender.is_closed() {
                let _left = sender.send(database.and_then(look));
            }
        });
        self.jobs.send(job).await.map_err(|_| Fault::Stopped)?;
        receiver.await.unwrap_or(Err(Fault::Stopped))
    }
}
