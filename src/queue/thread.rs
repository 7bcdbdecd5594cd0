//! The thread that owns the file of the queue. Changes that arrive while the disk is busy share the next write: one
//! commit makes all of them durable.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::queue::database::Database;
use crate::queue::fault::Fault;
use crate::queue::figures::Figures;
use crate::queue::open_files::OpenFiles;
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
            serve(&mut database, &mut receiver.lock(), &figures, &mut OpenFiles::of(&file));
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
        self.run_then(work, |_| ()).await
    }

    /// The same; what follows a change happens as well when whoever has asked for it has left.
    ///
    /// # Errors
    ///
    /// What `work` returns; the disk does not take it; the thread has stopped.
    pub(super) async fn run_then<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database) -> Result<T, Fault> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, Fault> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |database| {
            let done = database.and_then(|database| database.within(work));
            Box::new(move |committed| {
                let done = done.and_then(|value| committed.map(|()| value));
                if let Ok(value) = &done {
                    then(value);
                }
                // Who asked may have left.
                let _left = sender.send(done);
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

fn serve(database: &mut Database, jobs: &mut mpsc::Receiver<Job>, figures: &Figures, files: &mut OpenFiles) {
    // What is written into a damaged file may be lost: nothing is until the next start.
    let mut damaged: Option<Fault> = None;
    while let Some(first) = jobs.blocking_recv() {
        let begun = match &damaged {
            Some(fault) => Err(fault.clone()),
            None => files.check().and_then(|()| database.begin()),
        };
        if let Err(fault) = begun {
            if damaged.is_none() {
                tracing::warn!(%fault, "the file of asynchronous calls is not usable");
            }
            figures.fail(&fault);
            refuse(first, jobs, &fault);
            note_damage(&mut damaged, fault, database, files);
            continue;
        }
        let mut told = vec![first(Ok(&mut *database))];
        while told.len() < GROUP
            && let Ok(job) = jobs.try_recv()
        {
            told.push(job(Ok(&mut *database)));
        }
        // Somebody may have cut the files meanwhile.
        let committed = database.commit().and_then(|()| files.check());
        match &committed {
            Ok(()) => figures.work(),
            Err(fault) => figures.fail(fault),
        }
        if let Ok((waiting, bytes)) = database.room() {
            figures.holds(waiting, bytes);
        }
        for tell in told {
            tell(committed.clone());
        }
        if let Err(fault) = committed {
            tracing::warn!(%fault, "changes of asynchronous calls were not written");
            note_damage(&mut damaged, fault, database, files);
        }
    }
}

/// Fails all changes that wait, not one after the other: each would wait as long as the first one has.
fn refuse(first: Job, jobs: &mut mpsc::Receiver<Job>, fault: &Fault) {
    first(Err(fault.clone()))(Ok(()));
    // For those who come later, it may be usable again.
    for _ in 0..jobs.len() {
        let Ok(job) = jobs.try_recv() else { return };
        job(Err(fault.clone()))(Ok(()));
    }
}

/// Remembers that the file is damaged, if that is what a fault says. If its log alone was removed, what is in that is
/// saved: it is open still.
fn note_damage(damaged: &mut Option<Fault>, fault: Fault, database: &Database, files: &mut OpenFiles) {
    if damaged.is_some() || !matches!(fault, Fault::Damaged(_)) {
        return;
    }
    if files.lacks_log_alone() {
        match database.connection.execute_batch("PRAGMA wal_checkpoint") {
            Ok(()) => tracing::warn!("what was in the log of asynchronous calls is in their file now"),
            Err(error) => tracing::warn!(%error, "what was in the log of asynchronous calls is lost"),
        }
    }
    tracing::error!(%fault, "asynchronous calls are refused until the gateway starts again");
    *damaged = Some(fault);
}

#[cfg(test)]
mod tests {
    use std::fs::{File, remove_file};
    use std::time::{Duration, Instant};

    use rusqlite::Connection;

    use super::*;
    use crate::queue::schedules::Ticked;

    /// What somebody does to a file.
    type Act = fn(&Path);

    const TICKED: Ticked = Ticked { last: 1, times: None };

    async fn begin(writer: &Writer, name: &'static str) -> Result<(), Fault> {
        writer.run(move |database| database.begin_schedule(name, &TICKED)).await
    }

    async fn started(folder: &Path) -> Writer {
        let writer = Writer::start(&folder.join("calls.sqlite"), folder, Arc::default()).unwrap();
        begin(&writer, "first").await.unwrap();
        writer
    }

    #[tokio::test]
    async fn nothing_is_written_into_files_that_were_cut_or_removed() {
        let cut: Act = |path| File::options().write(true).open(path).unwrap().set_len(0).unwrap();
        let remove: Act = |path| remove_file(path).unwrap();
        let acts: [(&str, Act); 4] =
            [("calls.sqlite", cut), ("calls.sqlite", remove), ("calls.sqlite-wal", cut), ("calls.sqlite-wal", remove)];
        for (file, act) in acts {
            let folder = tempfile::tempdir().unwrap();
            let writer = started(folder.path()).await;
            let connection = Connection::open(folder.path().join("calls.sqlite")).unwrap();
            // The file itself has something to lose.
            connection.query_row("PRAGMA wal_checkpoint", [], |_| Ok(())).unwrap();
            begin(&writer, "second").await.unwrap();
            act(&folder.path().join(file));
            for _ in 0..2 {
                let refused = begin(&writer, "third").await.unwrap_err();
                assert!(matches!(refused, Fault::Damaged(_)), "{file}: {refused:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_in_a_log_that_was_removed_is_saved() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls.sqlite");
        let writer = started(folder.path()).await;
        remove_file(folder.path().join("calls.sqlite-wal")).unwrap();
        for _ in 0..2 {
            // The second answer comes once what follows the first one is done.
            begin(&writer, "second").await.unwrap_err();
        }
        drop(writer);
        // Until the thread has ended, both would have a log of their own.
        let again = loop {
            match Database::open(&file, folder.path()) {
                Ok(again) => break again,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        assert_eq!(again.last_ticks().unwrap().keys().map(|name| &**name).collect::<Vec<_>>(), ["first"]);
    }

    #[tokio::test]
    async fn all_who_wait_learn_at_once_that_the_file_is_locked() {
        let folder = tempfile::tempdir().unwrap();
        let writer = started(folder.path()).await;
        let other = Connection::open(folder.path().join("calls.sqlite")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let begun = Instant::now();
        let waiting: Vec<_> = (0..20).map(|_| begin(&writer, "second")).collect();
        for refused in futures_util::future::join_all(waiting).await {
            assert!(matches!(refused, Err(Fault::Broken(_))), "{refused:?}");
        }
        assert!(begun.elapsed().as_secs() < 3, "one after the other: {:?}", begun.elapsed());
        other.execute_batch("ROLLBACK").unwrap();
        begin(&writer, "second").await.unwrap();
    }
}
